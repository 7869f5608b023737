"""Evaluate a run, or the average of several: ``python -m alexnet_exp.evaluate runs/...``.

``--photos FOLDER`` evaluates other photos, in folders named as the classes are, instead. Overrides
alone evaluate weights of others: ``model=torchvision model.weights=alexnet.pth data=imagenet ...``.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_exp import trained
from alexnet_exp.console import say, some_of
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory
from alexnet_exp.words import matching, parted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.evaluation import Answers, Evaluation

_Runs = str | Path | Sequence[str | Path]

_EXAMPLES = """\
RUN is a run folder (its best.ckpt), a checkpoint, or a glob, quoted or not.
Several are averaged, as the paper averages five networks: the mean of their
probabilities. Overrides change the configuration that they were trained with.

examples:
  python -m alexnet_exp.evaluate runs/mine evaluation.views=one
  python -m alexnet_exp.evaluate 'runs/flowers/ablations/baseline/seed_*'
  python -m alexnet_exp.evaluate runs/mine --photos photos/ --mistakes bad.png
  python -m alexnet_exp.evaluate model=torchvision model.weights=alexnet.pth \\
    data=imagenet data.root=ILSVRC2012/
  python -m alexnet_exp.evaluate model=torchvision model.weights=alexnet.pth \\
    --photos imagenette/val/

exit codes: 0 done, 1 failed, 2 a mistake in the command or the data,
130 interrupted"""


def evaluate(
    runs: _Runs = (),
    overrides: Sequence[str] = (),
    photos: Path | str | None = None,
    progress: bool = True,
) -> "Evaluation":
    """Test networks that were trained, each alone and their average.

    Args:
        runs: Run folders or checkpoints; none: the weights that the overrides ``model=...`` and
            ``model.weights=...`` name.
        overrides: Changes to the configuration that each was trained with, such as
            ``evaluation.views=one`` or ``data.root=...``; without a run a whole command line.
            Weights of others have no names of classes: theirs are those of ``data``, in order; on
            photos, where no ``data=...`` is named, the 1,000 of ImageNet.
        photos: Evaluate the photos of these class folders; None: the validation and test images of
            the runs' data, which are packed again if their store is gone.
        progress: Show bars while packing and evaluating.

    Raises:
        UserError: A run, the weights, the data or the photos can't be used, or runs can't be
            averaged: they have other classes, folds, test images or views.
    """
    from alexnet_exp.data.photos import labeled_photos
    from alexnet_exp.training.checkpoint import digest
    from alexnet_exp.training.evaluation import Average

    paths = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if paths and trained.names_weights(overrides):
        raise UserError(
            f"model.weights=... and {paths[0]}: evaluate one of the two, leave out the other"
        )
    several = len(paths) > 1
    if several:
        _refuse_unlike(paths, overrides, photos is not None)
    labeled = None if photos is None else labeled_photos(photos)
    average, seen = Average(), dict[bytes, str]()
    for number, path in enumerate(paths or [None], start=1):
        if several and progress:
            say(f"{number} of {len(paths)}: {path}")
        classifier = _load(path, overrides, photos is not None, progress)
        name = str(path or " ".join(overrides))
        if (same := seen.setdefault(digest(classifier), name)) != name:
            raise UserError(f"{same} and {name} are one network: name each of an average once")
        answers, metrics = _test(classifier, path, labeled, progress)
        average.add(name, answers, metrics, _learned(classifier, path, answers))
    return average.evaluation(classifier)


def _refuse_unlike(paths: Sequence[Path], overrides: Sequence[str], on_photos: bool) -> None:
    """See, before any is tested, that runs have the same classes and views, and are of one fold."""
    from alexnet_exp.training.checkpoint import load_checkpoint

    where = [path.resolve() for path in paths]
    if double := [path for path in paths if where.count(path.resolve()) > 1]:
        raise UserError(f"{double[0]} is named twice: name each run of an average once")
    known = [load_checkpoint(path)["hyper_parameters"] for path in paths]
    for path, own in zip(paths, known, strict=True):
        ours, theirs = (of["config"]["data"] for of in (known[0], own))
        if (differing := _other_images(ours, theirs)) and not on_photos:
            raise UserError(
                f"{paths[0]} was tested on images of {differing[0]} and {path} of {differing[1]}:"
                " networks are averaged on the same ones; evaluate photos with --photos"
            )
        one, other = known[0]["class_names"], own["class_names"]
        if one != other:
            raise UserError(
                f"{paths[0]} has the classes {some_of(one)} and {path} {some_of(other)}: networks"
                " are averaged where their classes are the same, in the same order"
            )
        views = {str(of["config"]["evaluation"]["views"]) for of in (known[0], own)}
        if len(views) > 1 and not any(word.startswith("evaluation.views=") for word in overrides):
            raise UserError(
                f"{paths[0]} and {path} are evaluated with other views: set evaluation.views=ten or"
                " one for all"
            )
        if _fold(ours) != _fold(theirs) and not on_photos:
            raise UserError(
                f"{paths[0]} is of {_fold(ours)} and {path} of {_fold(theirs)}: each learned from"
                f" test images of the other. Average runs of one fold{_such(paths, known)}, or"
                " evaluate other photos with --photos"
            )


def _such(paths: Sequence[Path], known: Sequence[dict[str, Any]]) -> str:
    """Those of the first one's fold, where there are several."""
    folds = [_fold(of["config"]["data"]) for of in known]
    alike = [str(path) for path, fold in zip(paths, folds, strict=True) if fold == folds[0]]
    return f", such as {' '.join(alike)}" if len(alike) > 1 else ""


def _other_images(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """By what two data sets differ, such as ``data.subset=.1`` and ``data.subset=1``."""
    for name in ("name", "source", "subset", "split_seed"):
        if ours[name] != theirs[name]:
            return [f"data.{name}={data[name]}" for data in (ours, theirs)]
    return []


def _fold(data: dict[str, object]) -> str:
    return f"fold {data.get('fold')} of {data['folds']}" if data.get("folds") else "no fold"


def _load(
    path: Path | None, overrides: Sequence[str], on_photos: bool, progress: bool
) -> "Classifier":
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.experiments import load_config
    from alexnet_exp.network.pretrained import read_weights
    from alexnet_exp.training.settle import settle

    if path is not None:
        return trained.load(path, *overrides)
    if on_photos and trained.names_weights(overrides):
        return trained.for_photos(overrides)
    config = load_config(*overrides)
    if config.model.weights is None:
        raise UserError("there is nothing to evaluate: name a run, or model.weights=<file>")
    is_named = any(word.startswith(("data=", "+experiment=")) for word in overrides)
    if not is_named and not read_weights(config.model).class_names:
        raise UserError(
            f"name what model.weights={config.model.weights} is to be tested on: data=imagenet"
            " data.root=<folder>, or --photos <folder>"
        )
    store = prepare(config.data, progress=progress)
    settle(config, store)
    return trained.with_weights(config, store.classes)


def _test(
    classifier: "Classifier",
    path: Path | None,
    photos: Sequence[tuple[Path, str]] | None,
    progress: bool,
) -> "tuple[dict[str, Answers], dict[str, float]]":
    """Answers by split, and their metrics; on photos, or on images that it has not learned from."""
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.training.evaluation import evaluate_photos, evaluate_store
    from alexnet_exp.training.own_store import own_store
    from alexnet_exp.training.progress import EpochProgress
    from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

    config = classifier.config
    shown = [EpochProgress(config.data.batch_size)] if progress else []
    quiet = {"logger": False, "enable_checkpointing": False}
    trainer = make_trainer(config, **quiet, enable_progress_bar=progress, callbacks=shown)
    if photos is None:
        if path is None:
            store = prepare(config.data, progress=progress)
        else:
            store = own_store(path, config, progress=progress)
        with ctrl_c_raises():
            return evaluate_store(trainer, classifier, store), classifier.test_results()
    with ctrl_c_raises():
        answers = {"photos": evaluate_photos(trainer, classifier, photos)}
    results = classifier.test_results().items()
    return answers, {name.replace("test/", "photos/"): value for name, value in results}


def _learned(
    classifier: "Classifier", path: Path | None, answers: "dict[str, Answers]"
) -> "NDArray[np.bool_] | None":
    """Which of the images that are tested a run has learned from: of a test set none."""
    import numpy as np

    from alexnet_exp.training.own_store import learned_from

    *_, tested = answers.values()
    if "photos" not in answers:
        return np.zeros(len(tested.labels), bool)
    if path is None:
        return None
    return learned_from(classifier.config.data, tested.names, tested.pixels)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.evaluate",
        usage="%(prog)s RUN ... [overrides] [options]",
        description="Count the errors of a trained network, or of the average of several.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "runs; without one, what model.weights=<file> names"
    parser.add_argument("words", nargs="*", metavar="RUN", help=what)
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER",
        help="evaluate other photos, in a folder for each class",
    )  # fmt: skip
    parser.add_argument(
        "--confusion", type=Path, metavar="FILE",
        help="draw the confusion matrix, a .png or .svg",
    )  # fmt: skip
    parser.add_argument(
        "--mistakes", type=Path, metavar="FILE",
        help="draw the most confident mistakes, a .png or .svg",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_intermixed_args()
    words, overrides = parted(given.words)
    with answering("the evaluation has to be started again"):
        runs = matching(words)
        keep_freed_memory()
        with importing():
            from alexnet_exp.pictures import evaluated, saving
            from alexnet_exp.training.evaluation_tables import show
        wanted = [
            (draw, file)
            for draw, file in (
                (evaluated.confusion_matrix, given.confusion),
                (evaluated.mistakes, given.mistakes),
            )
            if file is not None
        ]
        saving.check_places([file for _, file in wanted])  # before what takes minutes
        found = evaluate(runs, overrides, given.photos, not given.json)
        if given.json:
            print(json.dumps(found.plain(), indent=2))
        else:
            show(found)
        for draw, file in wanted:
            if draw is evaluated.mistakes and not found.outcomes.wrong["top1"].any():
                say(f"{file} is not written: there are no mistakes")
                continue
            for written in saving.save(draw(found), file):
                say(f"written: {written}")


if __name__ == "__main__":
    main()

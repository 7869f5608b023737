"""Evaluate a run, or the average of several: ``python -m alexnet_exp.evaluate runs/...``.

``--photos FOLDER`` evaluates other photos, in folders named as the classes are, instead. Overrides
alone evaluate weights of others: ``model=torchvision model.weights=alexnet.pth data=imagenet ...``.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_exp import trained
from alexnet_exp.console import say
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory

if TYPE_CHECKING:
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
            Weights of others have no names of classes: theirs are those of ``data``, in order.
        photos: Evaluate the photos of these class folders; None: the validation and test images of
            the runs' data, which are packed again if their store is gone.
        progress: Show bars while packing and evaluating.

    Raises:
        UserError: A run, the weights, the data or the photos can't be used, or runs can't be
            averaged: they have other classes, folds, test images or views.
    """
    from alexnet_exp.training.evaluation import Average

    paths = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if paths and trained.names_weights(overrides):
        raise UserError(
            f"model.weights=... and {paths[0]}: evaluate one of the two, leave out the other"
        )
    several = len(paths) > 1
    if several:
        _refuse_unlike(paths, overrides, photos is not None)
    average = Average()
    for number, path in enumerate(paths or [None], start=1):
        if several and progress:
            say(f"{number} of {len(paths)}: {path}")
        classifier = _load(path, overrides, progress)
        answers, metrics = _test(classifier, path, photos, progress)
        average.add(str(path or " ".join(overrides)), answers, metrics)
    return average.evaluation(classifier)


def _refuse_unlike(paths: Sequence[Path], overrides: Sequence[str], on_photos: bool) -> None:
    """See, before any is tested, that runs have the same classes and views, and are of one fold."""
    from alexnet_exp.training.checkpoint import load_checkpoint

    where = [path.resolve() for path in paths]
    if double := [path for path in paths if where.count(path.resolve()) > 1]:
        raise UserError(f"{double[0]} is named twice: name each run of an average once")
    known = [load_checkpoint(path)["hyper_parameters"] for path in paths]
    for path, own in zip(paths, known, strict=True):
        one, other = known[0]["class_names"], own["class_names"]
        if one != other:
            raise UserError(
                f"{paths[0]} has the classes {_few(one)} and {path} {_few(other)}: networks are"
                " averaged where their classes are the same, in the same order"
            )
        views = {str(of["config"]["evaluation"]["views"]) for of in (known[0], own)}
        if len(views) > 1 and not any(word.startswith("evaluation.views=") for word in overrides):
            raise UserError(
                f"{paths[0]} and {path} are evaluated with other views: set evaluation.views=ten or"
                " one for all"
            )
        ours, theirs = (_fold(of["config"]["data"]) for of in (known[0], own))
        if ours != theirs and not on_photos:
            raise UserError(
                f"{paths[0]} is of {ours} and {path} of {theirs}: each learned from test images of"
                " the other. Average runs of one fold, or evaluate other photos with --photos"
            )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown}, ... ({len(names)})" if len(names) > 6 else shown


def _fold(data: dict[str, object]) -> str:
    return f"fold {data.get('fold')} of {data['folds']}" if data.get("folds") else "no fold"


def _load(path: Path | None, overrides: Sequence[str], progress: bool) -> "Classifier":
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.experiments import load_config
    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.settle import settle

    if path is not None:
        return Classifier.load(path, *overrides)
    config = load_config(*overrides)
    if config.model.weights is None:
        raise UserError("there is nothing to evaluate: name a run, or model.weights=<file>")
    store = prepare(config.data, progress=progress)
    settle(config, store)
    return trained.with_weights(config, store.classes)


def _test(
    classifier: "Classifier", path: Path | None, photos: Path | str | None, progress: bool
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
        answers = {"photos": evaluate_photos(trainer, classifier, Path(photos))}
    results = classifier.test_results().items()
    return answers, {name.replace("test/", "photos/"): value for name, value in results}


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
    words, overrides = trained.parted(given.words)
    with answering("the evaluation has to be started again"):
        runs = trained.matching(words)
        keep_freed_memory()
        with importing():
            from alexnet_exp.pictures import evaluated, saving
            from alexnet_exp.training.evaluation_tables import show
        for file in filter(None, (given.confusion, given.mistakes)):
            saving.files_of(file)  # before what takes minutes
        found = evaluate(runs, overrides, given.photos, not given.json)
        if given.json:
            print(json.dumps(found.plain(), indent=2))
        else:
            show(found)
        for draw, place in (
            (evaluated.confusion_matrix, given.confusion),
            (evaluated.mistakes, given.mistakes),
        ):
            for file in saving.save(draw(found), place) if place is not None else ():
                say(f"written: {file}")


if __name__ == "__main__":
    main()

"""Evaluate a checkpoint: ``python -m alexnet_exp.evaluate runs/.../checkpoints/best.ckpt``.

``--photos FOLDER`` evaluates other photos, in folders named as the classes are, instead. Overrides
alone evaluate weights of others: ``model=torchvision model.weights=alexnet.pth data=imagenet ...``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory


def evaluate(
    path: Path | None, overrides: list[str], photos: Path | None = None, progress: bool = True
) -> dict[str, Any]:
    """Count the errors of a checkpoint, or of weights of others.

    Args:
        path: ``best.ckpt`` or ``last.ckpt``, or the run folder that holds it; None: the weights
            that the overrides ``model=...`` and ``model.weights=...`` name.
        overrides: Changes to the configuration that the checkpoint was trained with, such as
            ``evaluation.views=one`` or ``data.root=...``; without one a whole command line. Weights
            of others have no names of classes: theirs are those of ``data``, in order.
        photos: Evaluate the photos of these class folders; None: the validation and test images of
            its data, which are packed again if their store is gone.
        progress: Show bars while packing and evaluating.

    Returns:
        Loss and errors as fractions by ``<split>/<metric>``, with views and image counts.

    Raises:
        UserError: The checkpoint, the weights, the data or the photos can't be used.
    """
    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.progress import EpochProgress
    from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

    if path is None:
        classifier = _with_weights(overrides, progress)
    elif any(override.lstrip("+").startswith("model.weights") for override in overrides):
        raise UserError(
            f"model.weights=... and {path}: evaluate one of the two, leave out the other"
        )
    else:
        classifier = Classifier.load(path, *overrides)
    config = classifier.config
    bar = EpochProgress(config.data.batch_size, progress)
    trainer = make_trainer(config, logger=False, enable_checkpointing=False, callbacks=[bar])
    with ctrl_c_raises():
        if photos is None:
            counts = _test_on_store(trainer, classifier, path, progress)
        else:
            counts = _test_on_photos(trainer, classifier, photos)
    tested = "test/" if photos is None else "photos/"
    return {
        "metrics": {k.replace("test/", tested): v for k, v in classifier.test_results().items()},
        "views": str(config.evaluation.views),
        "images": counts,
        "classes": len(classifier.class_names),
        "synthetic": photos is None and config.data.source == "synthetic",
    }


def _with_weights(overrides: list[str], progress: bool) -> Any:
    """A classifier of the data's classes with ``model.weights``."""
    from alexnet_exp.console import say
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.experiments import load_config
    from alexnet_exp.network.pretrained import read_weights
    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.settle import settle

    config = load_config(*overrides)
    if config.model.weights is None:
        raise UserError("there is nothing to evaluate: name a checkpoint, or model.weights=<file>")
    weights = read_weights(config.model)
    store = prepare(config.data, progress=progress)
    settle(config, store)
    if not weights.is_for(store.classes):
        others = " of other names" * (weights.classes == len(store.classes))
        raise UserError(
            f"model.weights={weights.path} has {weights.classes} classes and data="
            f"{config.data.name} has {len(store.classes)}{others}: choose other data, or train a"
            " new output layer with python -m alexnet_exp.train +experiment=finetune"
        )
    classifier = Classifier(config, store.classes, store.mean, store.covariance)
    for line in classifier.start_from(weights):
        say(line)
    return classifier


def _test_on_store(
    trainer: Any, classifier: Any, path: Path | None, progress: bool
) -> dict[str, int]:
    """Returns the number of images by split."""
    from alexnet_exp.data.datamodule import StoreDataModule
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.training.checkpoint import load_checkpoint

    config = classifier.config
    trained_on = fold, _ = config.data.fold, config.data.fingerprint
    if path is not None:
        fold = load_checkpoint(path)["hyper_parameters"]["config"]["data"].get("fold", fold)
    store = prepare(config.data, progress=progress)
    if trained_on != (fold, store.meta["fingerprint"]):
        raise UserError(
            f"checkpoint {path} was trained on other images or another split than those of"
            f" {config.data.root or config.data.name}: its test images might be among those it"
            " learned from. Use the data and data.* settings of its run, or --photos"
        )
    # The mean image of a start from weights of others is theirs.
    store = replace(store, mean=classifier.statistics["mean"].numpy())
    trainer.test(classifier, datamodule=StoreDataModule(config, store), verbose=False)
    return store.counts


def _test_on_photos(trainer: Any, classifier: Any, folder: Path) -> dict[str, int]:
    """Returns the number of photos; their folders are classes by name."""
    import torch
    from torch.utils.data import DataLoader

    from alexnet_exp.data.photos import labeled_photos

    known = {name: label for label, name in enumerate(classifier.class_names)}
    photos = labeled_photos(folder)
    others = sorted({name for _, name in photos} - known.keys())
    if others:
        raise UserError(
            f"{folder} has folders that are no class of the checkpoint: {', '.join(others)}; its"
            f" classes are {', '.join(known)}"
        )

    def batch(items: list[tuple[Path, str]]) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.tensor([known[name] for _, name in items])
        return classifier.read([photo for photo, _ in items]), labels

    loader: Any = DataLoader(photos, classifier.batch_size, collate_fn=batch)  # type: ignore[arg-type]
    trainer.test(classifier, loader, verbose=False)
    return {"photos": len(photos)}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.evaluate",
        description="Count the errors of a checkpoint on validation and test images.",
    )
    what = "a checkpoint, or a run folder (best.ckpt); none: what model.weights=<file> names"
    parser.add_argument("checkpoint", nargs="?", help=what)
    changes = "changes, such as evaluation.views=one data.root=photos/"
    parser.add_argument("overrides", nargs="*", default=[], help=changes)
    parser.add_argument("--photos", type=Path, help="other photos, in a folder for each class")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_intermixed_args()
    words = [word for word in (given.checkpoint, *given.overrides) if word is not None]
    alone = not words or ("=" in words[0] and not Path(words[0]).exists())
    path = None if alone else Path(words.pop(0))
    with answering("the evaluation has to be started again"):
        keep_freed_memory()
        with importing():
            from alexnet_exp.training.progress import show_errors
        result = evaluate(path, words, given.photos, not given.json)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        show_errors(result, str(path or " ".join(words)))


if __name__ == "__main__":
    main()

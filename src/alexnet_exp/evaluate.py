"""Evaluate a checkpoint: ``python -m alexnet_exp.evaluate runs/.../checkpoints/best.ckpt``.

``--photos FOLDER`` evaluates other photos, in folders named as the classes are, instead.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory


def evaluate(
    path: Path, overrides: list[str], photos: Path | None = None, progress: bool = True
) -> dict[str, Any]:
    """Count the errors of a checkpoint.

    Args:
        path: ``best.ckpt`` or ``last.ckpt``, or the run folder that holds it.
        overrides: Changes to the configuration that the checkpoint was trained with, such as
            ``evaluation.views=one`` or ``data.root=...``.
        photos: Evaluate the photos of these class folders; None: the validation and test images of
            its data, which are packed again if their store is gone.
        progress: Show bars while packing and evaluating.

    Returns:
        Loss and errors as fractions by ``<split>/<metric>``, with views and image counts.

    Raises:
        UserError: The checkpoint, the data or the photos can't be used.
    """
    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.progress import EpochProgress
    from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

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


def _test_on_store(trainer: Any, classifier: Any, path: Path, progress: bool) -> dict[str, int]:
    """Returns the number of images by split."""
    from alexnet_exp.data.datamodule import StoreDataModule
    from alexnet_exp.data.store.store import prepare

    config = classifier.config
    trained_on = config.data.fingerprint
    store = prepare(config.data, progress=progress)
    if trained_on != store.meta["fingerprint"]:
        raise UserError(
            f"checkpoint {path} was trained on other images or another split than those of"
            f" {config.data.root or config.data.name}: its test images might be among those it"
            " learned from. Use the data and data.* settings of its run, or --photos"
        )
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
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a run folder (best.ckpt)")
    changes = "changes, such as evaluation.views=one data.root=photos/"
    parser.add_argument("overrides", nargs="*", default=[], help=changes)
    parser.add_argument("--photos", type=Path, help="other photos, in a folder for each class")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_intermixed_args()
    with answering("the evaluation has to be started again"):
        keep_freed_memory()
        with importing():
            from alexnet_exp.training.progress import show_errors
        result = evaluate(given.checkpoint, given.overrides, given.photos, not given.json)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        show_errors(result, str(given.checkpoint))


if __name__ == "__main__":
    main()

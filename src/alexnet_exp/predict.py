"""Say what is on photos: ``python -m alexnet_exp.predict runs/... rose.jpg holidays/``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from alexnet_exp.console import console, percent
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory


def predict(path: Path, photos: Sequence[Path]) -> list[dict[str, Any]]:
    """The five most probable classes of photos, as evaluation would have them.

    ``path`` is a checkpoint or a run folder; ``photos`` are files, and folders of them.

    Returns:
        ``photo``, and ``classes`` with ``name`` and ``probability`` each, from best to worst.

    Raises:
        UserError: The checkpoint or a photo can't be used.
    """
    import torch
    from torch.utils.data import DataLoader

    from alexnet_exp.training.classifier import Classifier
    from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

    files = _files(photos)
    classifier = Classifier.load(path)
    trainer = make_trainer(
        classifier.config, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    loader: Any = DataLoader(files, classifier.batch_size, collate_fn=classifier.read)  # type: ignore[arg-type]
    with ctrl_c_raises():
        found = trainer.predict(classifier, loader)
    assert found is not None
    chosen = torch.cat(found).float().sort(dim=1, descending=True, stable=True)  # type: ignore[arg-type]
    names, rows = classifier.class_names, []
    for file, labels, values in zip(files, chosen.indices, chosen.values, strict=True):
        classes = [
            {"name": names[label] if label < len(names) else str(label), "probability": value}
            for label, value in zip(labels[:5].tolist(), values[:5].tolist(), strict=True)
        ]
        rows.append({"photo": str(file), "classes": classes})
    return rows


def _files(photos: Sequence[Path]) -> list[Path]:
    """Files as they are; of folders what has the ending of an image."""
    from PIL import Image

    endings = Image.registered_extensions()
    found: list[Path] = []
    for photo in photos:
        if not photo.exists():
            raise UserError(f"{photo} does not exist")
        below = (file for file in photo.rglob("*") if file.suffix.lower() in endings)
        found += sorted(below) if photo.is_dir() else [photo]
    if not found:
        raise UserError(f"there are no photos in {' '.join(map(str, photos))}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.predict",
        description="The five most probable classes of photos.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a run folder (best.ckpt)")
    parser.add_argument("photos", type=Path, nargs="+", help="photos, and folders of them")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    with answering("the prediction has to be started again"):
        keep_freed_memory()
        with importing():
            import alexnet_exp.training.classifier  # noqa: F401
        found = predict(given.checkpoint, given.photos)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("photo", "classes")
    for row in found:
        classes = (f"{item['name']} {percent(item['probability'])}" for item in row["classes"])
        table.add_row(row["photo"], ", ".join(classes))
    console.print(table)


if __name__ == "__main__":
    main()

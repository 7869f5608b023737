"""Say what is on photos: ``python -m alexnet_exp.predict runs/... rose.jpg holidays/``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from alexnet_exp import trained
from alexnet_exp.console import console, percent, progress_bar, say, visible
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory
from alexnet_exp.words import matching, parted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet_exp.training.classifier import Classifier

_EXAMPLES = """\
RUN is a run folder (its best.ckpt) or a checkpoint. Photos are files, folders
at any depth, and globs, quoted or not: JPEG, PNG, WebP, TIFF, and what else
training reads. Overrides change the configuration of the run. Weights of others
have ImageNet's classes, unless data=... names other ones.

examples:
  python -m alexnet_exp.predict runs/mine rose.jpg holidays/
  python -m alexnet_exp.predict runs/mine 'holidays/**/*.jpg' --sheet sheet.png
  python -m alexnet_exp.predict model=torchvision model.weights=alexnet.pth \\
    cat.jpg

exit codes: 0 done, 1 failed, 2 a mistake in the command or a photo,
130 interrupted"""


def predict(
    run: Path | str | None,
    photos: Sequence[Path | str],
    overrides: Sequence[str] = (),
    progress: bool = True,
) -> list[dict[str, Any]]:
    """The five most probable classes of photos, as evaluation would have them.

    Args:
        run: Run folder or checkpoint; None: the weights that the overrides ``model=...`` and
            ``model.weights=...`` name, as :func:`alexnet_exp.trained.for_photos` has them.
        photos: Files, folders of them, and globs.
        overrides: Changes to the configuration of the run, such as ``evaluation.views=one``.
        progress: Show a bar over many photos.

    Returns:
        ``photo``, and ``classes`` with ``name`` and ``probability`` each, from best to worst.

    Raises:
        UserError: The run, the weights or a photo can't be used.
    """
    files = photo_files(photos)
    return _predicted(_load(run, overrides), files, progress)


def _load(run: Path | str | None, overrides: Sequence[str]) -> "Classifier":
    if run is None:
        return trained.for_photos(overrides)
    if trained.names_weights(overrides):
        raise UserError(f"model.weights=... and {run}: use one of the two, leave out the other")
    return trained.load(Path(run), *overrides)


def _predicted(
    classifier: "Classifier", files: Sequence[Path], progress: bool
) -> list[dict[str, Any]]:
    import torch
    from torch.utils.data import DataLoader

    from alexnet_exp.runs.outcomes import five_best
    from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

    trainer = make_trainer(
        classifier.config, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    several = progress and len(files) > classifier.batch_size
    with progress_bar("predicting", len(files), unit="images", show=several) as advance:

        def read(batch: Sequence[Path]) -> torch.Tensor:
            advance(len(batch))
            return classifier.read(batch)

        loader: Any = DataLoader(files, classifier.batch_size, collate_fn=read)  # type: ignore[arg-type]
        with ctrl_c_raises():
            found: Any = trainer.predict(classifier, loader)
    probabilities = torch.cat(found).float().cpu().numpy()
    names = classifier.output_names
    return [
        {
            "photo": str(file),
            "classes": [{"name": names[i], "probability": float(own[i])} for i in best],
        }
        for file, own, best in zip(files, probabilities, five_best(probabilities), strict=True)
    ]


def photo_files(photos: Sequence[Path | str]) -> list[Path]:
    """Files as they are; of folders, at any depth, what data sets take for images; each once.

    Raises:
        UserError: A path is not there, or there are no images.
    """
    from alexnet_exp.data.sources.files import Files

    found: list[Path] = []
    for photo in matching(list(map(str, photos))):
        of_folder = (
            [photo / name for name in Files(photo, photo).images()] if photo.is_dir() else []
        )
        if photo.is_dir() and not of_folder:
            raise UserError(f"folder {photo} holds no photos: name another, or photos themselves")
        found += of_folder or [photo]
    once: dict[Path, Path] = {}
    for file in found:
        once.setdefault(file.resolve(), file)
    return [*once.values()]


def sheet_of(found: Sequence[dict[str, Any]], classifier: "Classifier") -> "Figure":
    """Photos with bars of their five best classes, as figure 4 left of the paper.

    The class that a photo's folder is called after, if it is one, is marked as the right one.
    """
    from alexnet_exp.data.photos import read_photo
    from alexnet_exp.pictures.canvas import trained_on
    from alexnet_exp.pictures.sheet import Tile, sheet

    called = dict(zip(classifier.class_names, classifier.output_names, strict=False))
    tiles = []
    for row in found:
        file, bars = Path(row["photo"]), [(c["name"], c["probability"]) for c in row["classes"]]
        right = called.get(file.absolute().parent.name)
        pixels = read_photo(file, classifier.config.data)
        caption = file.name if right else ""
        tiles.append(Tile(pixels, right or file.name, bars, right, caption))
    return sheet(tiles, notes=[trained_on(classifier.config.data.source)])


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print a table: a line for each class of a photo."""
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("photo", "class", "probability"):
        side: Any = "right" if heading == "probability" else "left"
        table.add_column(heading, justify=side, overflow="fold")
    for row in found:
        for place, item in enumerate(row["classes"]):
            photo, style = (row["photo"], "bold") if place == 0 else ("", "")
            name = Text(visible(item["name"]), style)
            table.add_row(Text(visible(photo)), name, percent(item["probability"]))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.predict",
        usage="%(prog)s RUN PHOTO ... [overrides] [options]",
        description="The five most probable classes of photos.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a run and photos; photos alone with model.weights=<file>"
    parser.add_argument("words", nargs="+", metavar="RUN PHOTO", help=what)
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE",
        help="draw the photos with their classes, a .png or .svg; the class that a photo's folder"
        " is called after is marked",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_intermixed_args()
    words, overrides = parted(given.words)
    run = None if trained.names_weights(overrides) or not words else words.pop(0)
    with answering("the prediction has to be started again"):
        _refuse_incomplete(run, words, overrides)
        keep_freed_memory()
        with importing():
            import alexnet_exp.training.classifier  # noqa: F401
            from alexnet_exp.data.decode import is_turned
            from alexnet_exp.pictures import saving
            from alexnet_exp.pictures.sheet import check_count
        files = photo_files(words)
        if given.sheet is not None:  # before what may take minutes
            saving.check_places([given.sheet])
            check_count(len(files))
        if turned := sum(is_turned(file.read_bytes()) for file in files if file.is_file()):
            say(f"EXIF orientations are not applied, as in training: {turned:,} photos have one")
        classifier = _load(run, overrides)
        found = _predicted(classifier, files, not given.json)
        if given.json:
            print(json.dumps(found, indent=2), flush=True)
        else:
            show(found)
        if given.sheet is not None:
            for file in saving.save(sheet_of(found, classifier), given.sheet):
                say(f"written: {file}")


def _refuse_incomplete(run: str | None, photos: Sequence[str], overrides: Sequence[str]) -> None:
    """See that a command names something that looks, and something to look at."""
    from alexnet_exp.data.sources.files import IMAGE_SUFFIXES

    if run is not None and Path(run).suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(f"{run} is a photo: name a run before it, or model.weights=<file>")
    if not photos:
        taken = f" ({' '.join(overrides)} is taken for an override)" if overrides else ""
        raise UserError(
            f"there are no photos to look at{taken}: name files, folders or globs behind the run"
        )


if __name__ == "__main__":
    main()

"""Writing a figure, whole or not at all."""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from alexnet_exp.errors import UserError
from alexnet_exp.pictures.canvas import DPI, styled

ENDINGS = (".png", ".svg")


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``, which ends in .png (200 dpi) or .svg; without an ending both, beside it.

    Folders that are missing are made.

    Returns:
        The files that were written.

    Raises:
        UserError: Another ending, or the file can't be written.
    """
    files = files_of(path)
    for file in files:
        partial = file.with_name(f".{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(figure, partial, file.suffix[1:].lower())
            os.replace(partial, file)
        except OSError as error:
            raise UserError(
                f"can't write {file} ({error.strerror or error}): name a file in another folder"
            ) from error
        finally:
            with suppress(OSError):
                partial.unlink()
    return files


def files_of(path: Path) -> list[Path]:
    """What :func:`save` would write; raises UserError as it does for another ending."""
    files = [path] if path.suffix else [path.with_name(path.name + end) for end in ENDINGS]
    if files[0].suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: pictures are written as {' or '.join(ENDINGS)}: name such a file")
    return files


def check_places(paths: Sequence[Path]) -> None:
    """See, before what takes minutes, that :func:`save` can write each, and none over another.

    Raises:
        UserError: Another ending, a folder, or one file for two pictures.
    """
    files = [file for path in paths for file in files_of(path)]
    for file in files:
        if file.is_dir():
            raise UserError(f"{file} is a folder: name a file for the picture")
        if files.count(file) > 1:
            raise UserError(f"{file} is named for two pictures: give each a name of its own")


def _write(figure: Figure, file: Path, kind: str) -> None:
    """The same bytes each time."""
    nothing = dict.fromkeys(
        ("Creator", "Date", "Format", "Type") if kind == "svg" else ("Software",)
    )
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of an SVG the reader's font draws it
        figure.savefig(file, format=kind, dpi=DPI, metadata=nothing)

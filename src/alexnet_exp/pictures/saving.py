"""Writing a figure, whole or not at all."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

from alexnet_exp.errors import UserError
from alexnet_exp.pictures.canvas import DPI, styled

ENDINGS = (".png", ".svg")

_SIGN = "alexnet_exp"  # in each picture, within its first bytes


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``, which ends in .png (200 dpi) or .svg; without an ending both, beside it.

    Folders that are missing are made. A file that is there is written over if it is such a picture.

    Returns:
        The files that were written.

    Raises:
        UserError: Another ending, another file of that name, or the file can't be written.
    """
    files = files_of(path)
    for file in files:
        _refuse_others(file)
        partial = file.with_name(f".{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(figure, partial, file.suffix[1:].lower())
            os.replace(partial, file)
        except OSError as error:
            raise _cannot_write(file, error) from error
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
        UserError: As :func:`save`, or one file is named for two pictures.
    """
    files = [file for path in paths for file in files_of(path)]
    for file in files:
        if files.count(file) > 1:
            raise UserError(f"{file} is named for two pictures: give each a name of its own")
        _refuse_others(file)
        there = next(folder for folder in file.absolute().parents if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise _cannot_write(file, error) from error


def _refuse_others(file: Path) -> None:
    """Let no photo be written over, such as one that was named in the place of the picture."""
    if file.is_dir():
        raise UserError(f"{file} is a folder: name a file for the picture")
    if file.exists():
        try:
            with file.open("rb") as content:
                is_ours = _SIGN.encode() in content.read(4096)
        except OSError as error:
            raise _cannot_write(file, error) from error
        if not is_ours:
            raise UserError(f"{file} is there, and no picture of {_SIGN}: name a new file")


def _cannot_write(file: Path, error: OSError) -> UserError:
    return UserError(
        f"can't write {file} ({error.strerror or error}): name a file in another folder"
    )


def _write(figure: Figure, file: Path, kind: str) -> None:
    """The same bytes each time."""
    told: dict[str, str | None] = {"Software": _SIGN}
    if kind == "svg":
        told = {"Creator": _SIGN, **dict.fromkeys(("Date", "Format", "Type"))}
    with styled():
        figure.savefig(file, format=kind, dpi=DPI, metadata=told)

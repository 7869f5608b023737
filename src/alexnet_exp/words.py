"""The words of a command line: paths, and overrides."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from alexnet_exp.errors import UserError


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths, and overrides such as ``evaluation.views=one`` and ``~recipe``.

    What is there, also by a glob, is a path; and so is what has a slash before its ``=``.
    """
    overrides = [word for word in words if _is_override(word)]
    return [word for word in words if word not in overrides], overrides


def _is_override(word: str) -> bool:
    name, equals, _ = word.partition("=")
    is_one = bool(equals) or name.startswith("~")
    return is_one and "/" not in name and not Path(word).exists() and not glob(word)


def matching(words: Sequence[str]) -> list[Path]:
    """The paths that each word names: itself, or what a quoted ``*``, ``?`` or ``**`` matches.

    Raises:
        UserError: There is none.
    """
    found: list[Path] = []
    for word in words:
        named = [word] if Path(word).exists() else sorted(glob(word, recursive=True))
        if not named:
            what = "matches no file" if set("*?[") & set(word) else "does not exist"
            raise UserError(f"{word} {what}: name one that is there")
        found += map(Path, named)
    return found

"""Reads back what a run folder holds, and checks it: the one place that parses its files.

A run may have been killed, and a disk may have lost bytes: whatever is not as a run wrote it is an
:class:`UnusableRunError`, which names the file.
"""

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from alexnet_exp.errors import UserError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C: a tenth of the time

_NUMBER = (int, float)
_Kinds = Mapping[str, type | tuple[type, ...]]

# What the fields of each file have to be, where they are there at all.
_CONFIG: _Kinds = {
    "seed": int, "experiment": str, "data": dict, "model": dict, "optim": dict, "trainer": dict,
    "strategy": dict,
}  # fmt: skip
_CONFIG_GROUPS: Mapping[str, _Kinds] = {
    "model": {"name": str},
    "optim": {"lr": _NUMBER},
    "trainer": {"num_nodes": int, "accelerator": str},
}
_RESULT: _Kinds = {
    "metrics": dict, "experiment": str, "data": str, "seed": int, "status": str, "epochs": int,
    "train_seconds": _NUMBER, "images_per_second": _NUMBER, "peak_memory_bytes": int, "views": str,
    "classes": int, "synthetic": bool, "precision": str, "strategy": str, "devices": int,
}  # fmt: skip
_ENVIRONMENT: _Kinds = {
    "git_revision": (str, type(None)), "python": str, "versions": dict, "cpu": str, "gpus": list,
    "command": list,
}  # fmt: skip
_NEEDED = ("index", "label", "split", "top5")
_COLUMNS = {  # kinds of NumPy, number of axes
    "index": ("iu", 1), "label": ("iu", 1), "split": ("U", 1), "name": ("U", 1),
    "top5": ("iu", 2), "center_top5": ("iu", 2), "top5_probability": ("f", 2),
}  # fmt: skip


class UnusableRunError(UserError):
    """A file of a run folder is damaged, or not of a run; ``reason`` is without the way out."""

    def __init__(self, file: Path, reason: str, way_out: str | None = None) -> None:
        super().__init__(f"{file} {reason}: {way_out or f'remove {file.parent} to run again'}")
        self.reason = f"{file.name} {reason}"


def run_folders(root: Path) -> list[Path]:
    """Every folder in ``root`` that a run was started in, or ``root`` itself, by path."""
    found = []
    for place, below, files in os.walk(root):
        started = "config.yaml" in files and ("environment.json" in files or "checkpoints" in below)
        if started or "result.json" in files or "diverged.json" in files:
            below.clear()  # what lies inside is not another run
            found.append(Path(place))
    return sorted(found)


def read_config(folder: Path) -> dict[str, Any] | None:
    """``config.yaml``, with ``seed`` and ``experiment`` and its groups; None if there is none."""
    file = folder / "config.yaml"
    if not file.exists():
        return None
    with _reading(file):
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    try:
        json.dumps(content)  # nothing but numbers, strings, lists and dicts, and no circles
        _checked(file, content, _CONFIG, "seed", "experiment")
        for group, kinds in _CONFIG_GROUPS.items():
            _checked(file, content.get(group, {}), kinds)
    except (TypeError, ValueError, RecursionError, UnusableRunError) as error:
        way_out = "set hydra.run.dir=<another folder>"
        raise UnusableRunError(file, "is not of a run", way_out) from error
    return dict(content)


def read_result(folder: Path) -> dict[str, Any] | None:
    """``result.json``, with ``metrics``; None if the run has not finished."""
    file = folder / "result.json"
    result = _read_json(file, _RESULT, "metrics")
    if result is not None and not all(_is(value, _NUMBER) for value in result["metrics"].values()):
        raise UnusableRunError(file, "is damaged (metrics are not numbers)")
    return result


def read_diverged(folder: Path) -> str | None:
    """Why the run came to nothing, as ``diverged.json`` says; None if it did not."""
    content = _read_json(folder / "diverged.json", {"message": str}, "message")
    return None if content is None else str(content["message"])


def read_environment(folder: Path) -> dict[str, Any] | None:
    """``environment.json``; None if there is none."""
    return _read_json(folder / "environment.json", _ENVIRONMENT)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of ``metrics.csv`` by epoch, from 1; an empty cell is NaN. Whole numbers are int.

    Of an epoch that was run twice the later row counts. A last row without its end is still being
    written and does not count. Without a file there are no rows.

    Raises:
        UnusableRunError: The file is damaged.
    """
    file = folder / "metrics.csv"
    if not file.exists():
        return []
    with _reading(file):
        text = file.read_text(encoding="utf-8")
        rows: dict[float, dict[str, float]] = {}
        for cells in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
            row = {
                name: int(cell) if cell.isdecimal() else float(cell or "nan")
                for name, cell in cells.items()
            }
            if not isinstance(row["epoch"], int) or row["epoch"] < 1:
                raise ValueError("epochs count from 1")
            rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


def read_predictions(folder: Path) -> dict[str, np.ndarray]:
    """The columns of ``predictions.npz``: arrays with one row per image.

    Returns:
        ``index`` (I,) int, ``label`` (I,) int, ``split`` (I,) str, ``top5`` (I, 5 or fewer) int,
        and, where they were recorded, ``name`` (I,) str, ``center_top5`` as ``top5``,
        ``top5_probability`` float of the same shape.

    Raises:
        UnusableRunError: The file is missing or damaged.
    """
    check_predictions(folder)  # NumPy would take it for a pickle and advise to trust it
    file = folder / "predictions.npz"
    with _reading(file), np.load(file) as archive:
        columns = {name: np.asarray(column) for name, column in archive.items()}
    for name, (kinds, axes) in _COLUMNS.items():
        column = columns.get(name)
        if column is None and name not in _NEEDED:
            continue
        if column is None or column.dtype.kind not in kinds or column.ndim != axes:
            raise UnusableRunError(file, f"is damaged (column {name})")
        if len(column) != len(columns["index"]) or 0 in column.shape[1:]:
            raise UnusableRunError(file, f"is damaged (length of column {name})")
    return columns


def check_predictions(folder: Path) -> None:
    """A quick look whether ``predictions.npz`` is there and whole, without reading all of it."""
    file = folder / "predictions.npz"
    with _reading(file), file.open("rb") as opened:
        whole = zipfile.is_zipfile(opened)
    if not whole:
        raise UnusableRunError(file, "is damaged (cut off)")


def _read_json(file: Path, kinds: _Kinds, *required: str) -> dict[str, Any] | None:
    if not file.exists():
        return None
    with _reading(file):
        content = json.loads(file.read_text(encoding="utf-8"))
    return _checked(file, content, kinds, *required)


def _checked(file: Path, content: Any, kinds: _Kinds, *required: str) -> dict[str, Any]:
    """The content, if it is a mapping with fields of these kinds."""
    if not isinstance(content, dict):
        raise UnusableRunError(file, "is damaged (not of a run)")
    for name in required:
        if name not in content:
            raise UnusableRunError(file, f"is damaged (it lacks {name})")
    for name, kind in kinds.items():
        if name in content and not _is(content[name], kind):
            raise UnusableRunError(file, f"is damaged ({name})")
    return content


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """As ``isinstance``, but a truth value is no number."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turns whatever goes wrong into UnusableRunError."""
    try:
        yield
    except OSError as error:
        raise UnusableRunError(file, f"can't be read ({error.strerror or error})") from error
    except Exception as error:  # no parser says what damaged bytes may make it raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnusableRunError(file, f"is damaged ({reason})") from error

"""Reads back what a run folder holds, and checks it: the one place that parses its files.

A run may have been killed, and a disk may have lost bytes: whatever is not as a run wrote it is an
:class:`UnusableRunError`, which names the file.
"""

import contextlib
import csv
import io
import json
import math
import os
import re
import reprlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from alexnet_exp.config import completed, mistyped
from alexnet_exp.errors import UserError

_MOST_NODES = 10_000  # deeper ones overflow the loader's stack, and end the process
_TOLD = re.compile(
    r"^(?:\w+:.*|  (?:name|source|fold|max_epochs|precision):.*)$", re.M
)  # as a run writes them
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C: a tenth of the time


@dataclass(frozen=True)
class _Kind:
    """What a field has to be: of one of these types, a number within these ends."""

    types: Any  # as isinstance takes them
    least: float | None = None
    most: float = math.inf
    inside: "_Kind | None" = None
    """What each value of a list or dict has to be."""

    def fits(self, value: Any) -> bool:
        if not isinstance(value, self.types) or (
            isinstance(value, bool) and self.types is not bool
        ):
            return False
        if self.least is not None and value is not None:
            return bool(self.least <= value <= self.most)  # which NaN is not
        return True

    def misfits(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        """What does not fit: it, or what is in it."""
        if not self.fits(value):
            yield path, value
        elif self.inside is not None:
            for name, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from self.inside.misfits(item, f"{path}.{name}")


_Kinds = Mapping[str, _Kind]

_NONE = type(None)
_TEXT, _TEXT_OR_NONE, _FLAG, _GROUP = _Kind(str), _Kind((str, _NONE)), _Kind(bool), _Kind(dict)
_AMOUNT, _FRACTION = _Kind((int, float), 0, 1e12), _Kind((int, float), 0, 1)
_COUNT, _NUMBER, _SEED = _Kind(int, 1, 10**7), _Kind(int, 0, 10**12), _Kind(int, 0, 2**31 - 1)
_FOLD, _PART = _Kind((int, _NONE), 0, 1000), _Kind((int, float, _NONE), 0, 1)

# What the fields of each file have to be, by dotted path, where they are there at all; a group
# before what is in it.
_CONFIG: _Kinds = {
    "seed": _SEED, "experiment": _TEXT, "data": _GROUP, "model": _GROUP, "optim": _GROUP,
    "trainer": _GROUP, "strategy": _GROUP, "sweep": _GROUP, "data.name": _TEXT,
    "data.source": _TEXT, "data.fold": _FOLD, "data.folds": _FOLD, "data.val_fraction": _PART,
    "data.subset": _PART, "model.name": _TEXT, "optim.lr": _AMOUNT, "trainer.num_nodes": _COUNT,
    "trainer.accelerator": _TEXT, "trainer.max_epochs": _COUNT, "sweep.margin": _PART,
    "config_hash": _TEXT,
}  # fmt: skip
_RESULT: _Kinds = {
    "metrics": _Kind(dict, inside=_Kind((int, float))), "experiment": _TEXT, "data": _TEXT,
    "seed": _SEED, "status": _TEXT, "epochs": _COUNT, "train_seconds": _AMOUNT,
    "images_per_second": _AMOUNT, "peak_memory_bytes": _Kind(int, 0, 2**60), "views": _TEXT,
    "classes": _COUNT, "synthetic": _FLAG, "precision": _TEXT, "strategy": _TEXT,
    "devices": _COUNT, "other_load": _Kind((int, float, _NONE), 0, 10**7),
    "images": _Kind(dict, inside=_NUMBER), "config_hash": _TEXT, "recipe": _TEXT,
    "best_epoch": _NUMBER, "steps": _NUMBER, "finished_at": _TEXT,
    "first_step_seconds": _Kind((int, float, _NONE), 0, 1e12),
    **{f"metrics.{split}/top{n}_error": _FRACTION for split in ("val", "test") for n in (1, 5)},
}  # fmt: skip
_ENVIRONMENT: _Kinds = {
    "git_revision": _TEXT_OR_NONE, "git_changed": _FLAG, "python": _TEXT, "cpu": _TEXT,
    "versions": _Kind(dict, inside=_TEXT), "gpus": _Kind(list, inside=_TEXT),
    "command": _Kind(list, inside=_TEXT), "platform": _TEXT,
    "cpu_cores": _Kind((int, _NONE), 1, 10**7), "cpu_threads": _COUNT,
}  # fmt: skip
_BEST, RECORDED_CLASSES = 5, 10
"""So many classes are recorded of every image, and up to so many with all probabilities."""
_NEEDED = ("index", "label", "split", "top5")
_COLUMNS = {  # kinds of NumPy, number of axes
    "index": ("iu", 1), "label": ("iu", 1), "split": ("U", 1), "name": ("U", 1),
    "top5": ("iu", 2), "center_top5": ("iu", 2), "top5_probability": ("f", 2),
    "probabilities": ("f", 2),
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
    """``config.yaml``, with ``seed`` and ``experiment`` and its groups; None if there is none.

    A field that it lacks, as it was not yet invented, has its default.
    """
    file = folder / "config.yaml"
    if not file.exists():
        return None
    with _reading(file):
        text = file.read_text(encoding="utf-8")
        if len(re.findall(r"[\[{]|[-?:]\s", text)) > _MOST_NODES:
            raise ValueError("not of this size")
        content = yaml.load(text, _Loader)
    try:
        json.dumps(content)  # nothing but numbers, strings, lists and dicts, and no circles
        problem = _problem(content, _CONFIG, "seed", "experiment") or _first(mistyped(content))
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        way_out = "set hydra.run.dir=<another folder>"
        raise UnusableRunError(file, f"is not of a run ({problem})", way_out)
    return dict(completed(content))


def read_told(folder: Path) -> dict[str, Any] | None:
    """What a list shows of ``config.yaml``, in a tenth of the time of all of it: experiment and
    seed, and in their groups names, source, fold, most epochs and precision; None if there is none.
    """
    file = folder / "config.yaml"
    if not file.exists():
        return None
    with _reading(file):
        lines = _TOLD.findall(file.read_text(encoding="utf-8"))
    with contextlib.suppress(yaml.YAMLError):
        content = yaml.load("\n".join(lines), _Loader)
        if not _problem(content, _CONFIG, "seed", "experiment"):
            return dict(content)
    return read_config(folder)  # which says what is wrong, and knows what others have written


def finish_time(folder: Path, result: dict[str, Any]) -> float:
    """When a run finished, seconds since 1970: as it says, or else as the file system does.

    Raises:
        UnusableRunError: It says what is no time.
    """
    file, said = folder / "result.json", result.get("finished_at")
    try:
        return datetime.fromisoformat(said).timestamp() if said else file.stat().st_mtime
    except (ValueError, OverflowError) as error:
        raise UnusableRunError(file, f"is damaged (finished_at={said!r})") from error


def read_result(folder: Path) -> dict[str, Any] | None:
    """``result.json``, with ``metrics``; None if the run has not finished."""
    return _read_json(folder / "result.json", _RESULT, "metrics")


def read_diverged(folder: Path) -> str | None:
    """Why the run came to nothing, as ``diverged.json`` says; None if it did not."""
    content = _read_json(folder / "diverged.json", {"message": _TEXT}, "message")
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
            if None in cells or None in cells.values():
                raise ValueError("a row has not the cells of the heading")
            row = {
                name: int(cell) if cell.isdecimal() else float(cell or "nan")
                for name, cell in cells.items()
            }
            if not isinstance(row["epoch"], int) or row["epoch"] < 1:
                raise ValueError("epochs count from 1")
            for name, value in row.items():
                if name.endswith("_error") and not (_FRACTION.fits(value) or math.isnan(value)):
                    raise ValueError(f"{name} of epoch {row['epoch']} is no share of images")
            rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


def read_predictions(folder: Path) -> dict[str, np.ndarray]:
    """The columns of ``predictions.npz``: arrays with one row per image.

    Returns:
        ``index`` (I,) int, ``label`` (I,) int, ``split`` (I,) str, ``top5`` (I, 5 or fewer) int,
        and, where they were recorded, ``name`` (I,) str, ``center_top5`` as ``top5``, and float
        ``probabilities`` (I, classes) of ten classes or fewer, of more ``top5_probability`` as
        ``top5``.

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
        wide = max(column.shape[1:], default=1)
        most = RECORDED_CLASSES if name == "probabilities" else _BEST
        if len(column) != len(columns["index"]) or not 1 <= wide <= most:
            raise UnusableRunError(file, f"is damaged (length of column {name})")
        if "i" in kinds:
            columns[name] = column.astype(np.int64)
            if (columns[name] < 0).any():
                raise UnusableRunError(file, f"is damaged (column {name} counts from 0)")
    if len(np.unique(columns["index"])) < len(columns["index"]):
        raise UnusableRunError(file, "is damaged (an index twice)")
    return columns


def read_kernels(folder: Path) -> np.ndarray | None:
    """``kernels.npy``: of conv1, (kernels, channels, side, side) float; None if there is none.

    Raises:
        UnusableRunError: The file is damaged.
    """
    file = folder / "kernels.npy"
    if not file.exists():
        return None
    with _reading(file):
        kernels: np.ndarray = np.load(file)
    is_whole = kernels.dtype.kind == "f" and kernels.ndim == 4 and kernels.size > 0
    if not is_whole or not np.isfinite(kernels).all():
        raise UnusableRunError(file, "is damaged (not kernels of finite numbers)")
    return kernels


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
    if problem := _problem(content, kinds, *required):
        raise UnusableRunError(file, f"is damaged ({problem})")
    return dict(content)


def _problem(content: Any, kinds: _Kinds, *required: str) -> str | None:
    """What is not as a run writes it: the field at fault with its value, or one that is lacking."""
    if not isinstance(content, dict):
        return "not of a run"
    for path in required:
        if path not in content:
            return f"it lacks {path}"
    for path, kind in kinds.items():
        group, _, name = path.rpartition(".")
        values = content.get(group, {}) if group else content
        if name in values and (problem := _first(kind.misfits(values[name], path))):
            return problem
    return None


def _first(misfits: Iterator[tuple[str, Any]]) -> str | None:
    return next((f"{path}={reprlib.repr(value)}" for path, value in misfits), None)


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

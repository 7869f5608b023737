"""The single files of a run folder, read back."""

import csv
import json
import math
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import yaml
from numpy.typing import NDArray

from alexnet_exp.config import leaves
from alexnet_exp.report.findings import Metric
from alexnet_exp.report.placement import Placement, placement_of
from alexnet_exp.runs.identity import bearing

Wrong = dict[Metric, NDArray[np.bool_]]


class UnusableRunError(Exception):
    """Why a folder has no part in the report."""


def read_json(file: Path) -> dict[str, Any]:
    """An object of JSON, or :class:`UnusableRunError`."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UnusableRunError(f"damaged: {file.name} can't be read ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise UnusableRunError(f"damaged: {file.name} is not of a run")
    return content


def read_fields(file: Path) -> tuple[dict[str, Any], Placement]:
    """What bears on the result in ``config.yaml``, by dotted path, and over which devices it ran.

    Returns:
        The fields, with seed and experiment; strategy and devices.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnusableRunError(f"damaged: {file.name} can't be read ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise UnusableRunError(f"damaged: {file.name} is not of a run")
    fields = dict(leaves(bearing(content)))
    if not {"seed", "experiment"} <= fields.keys():
        raise UnusableRunError(f"damaged: {file.name} is not of a run")
    fields.pop("config_hash", None)
    try:
        return fields, placement_of(content)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnusableRunError(f"damaged: {file.name} is not of a run") from error


def read_predictions(
    file: Path,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Wrong, Wrong | None]:
    """Index and labels (I,) of the test images, which are wrong, and which by the center view."""
    try:
        with np.load(file) as columns:
            test = np.flatnonzero(columns["split"] == "test")
            test = test[np.argsort(columns["index"][test], kind="stable")]
            index, labels = columns["index"][test], columns["label"][test]
            wrong = _wrong(columns["top5"][test], labels)
            center = None
            if "center_top5" in columns:
                center = _wrong(columns["center_top5"][test], labels)
    except (ValueError, KeyError, IndexError, EOFError, BadZipFile, zlib.error) as error:
        # NumPy takes what it can't read for a pickle and advises to trust it.
        raise UnusableRunError(f"{file.name} is damaged") from error
    except OSError as error:
        raise UnusableRunError(f"damaged: {file.name} can't be read ({_reason(error)})") from error
    if not len(index):
        raise UnusableRunError(f"damaged: {file.name} holds no test images")
    return index, labels, wrong, center


def _wrong(top5: NDArray[np.int64], labels: NDArray[np.int64]) -> Wrong:
    hits = top5 == labels[:, None]
    return {Metric.top1: ~hits[:, 0], Metric.top5: ~hits.any(1)}


def read_curves(file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Top-1 training and validation error by the ``epoch`` of the row, whatever their order."""
    try:
        with file.open(newline="") as lines:
            rows = {int(row["epoch"]): row for row in csv.DictReader(lines)}
        if rows and min(rows) < 1:
            raise ValueError("epochs count from 1")
        epochs = range(1, max(rows, default=0) + 1)
        train, val = (
            tuple(
                float(rows[epoch][f"{split}/top1_error"]) if epoch in rows else math.nan
                for epoch in epochs
            )
            for split in ("train", "val")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableRunError(f"damaged: {file.name} can't be read ({_reason(error)})") from error
    return train, val


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]

"""Finished runs, read back from their folders."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.report.files import (
    UnusableRunError,
    Wrong,
    read_curves,
    read_fields,
    read_json,
    read_predictions,
)
from alexnet_exp.report.findings import Metric
from alexnet_exp.report.placement import Placement


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run; errors are of its test images.

    Attributes:
        path: Its folder.
        experiment: Name of the factor that was changed.
        seed: Seed of the run.
        fields: All of the configuration that bears on the result, less seed and experiment, by
            dotted path.
        result: ``result.json``.
        index: (I,) int64, ascending: which images of the store were tested.
        labels: (I,) int64.
        wrong: (I,) bool for each of top-1 and top-5, with the views of the run.
        center_wrong: The same of the center view alone; None where it was not recorded.
        train_curve: Top-1 training error after each epoch from the first, fraction; NaN where
            metrics.csv has no row.
        val_curve: The same of the validation error.
        environment: ``environment.json``.
        placement: Strategy and devices, which have no part in ``fields``.
        written: When ``result.json`` was written, seconds.
    """

    path: Path
    experiment: str
    seed: int
    fields: dict[str, Any]
    result: dict[str, Any]
    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    wrong: Wrong
    center_wrong: Wrong | None
    train_curve: tuple[float, ...]
    val_curve: tuple[float, ...]
    environment: dict[str, Any]
    placement: Placement
    written: float

    @property
    def data(self) -> str:
        """Name of the data set."""
        return str(self.result["data"])

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return int(self.result["classes"])

    @property
    def model(self) -> str:
        """Name of the network."""
        return str(self.fields.get("model.name"))

    @property
    def top1_error(self) -> float:
        """Of the test images, fraction."""
        return float(self.result["metrics"]["test/top1_error"])

    @property
    def overrides(self) -> list[str]:
        """What was given on its command line, as far as it is recorded."""
        recorded = self.environment.get("overrides")
        if recorded is None:
            recorded = self.environment.get("command", [])[1:]
        return [item for item in recorded if "=" in item and not item.startswith("-")]

    @cached_property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """``fields`` as something that can be compared and counted."""
        return _comparable(self.fields)


@dataclass(frozen=True)
class Diverged:
    """A run whose loss was not finite, so that it has no error.

    Attributes:
        experiment: Name of the factor that was changed.
        seed: Seed of the run.
        model: Name of the network.
        configuration: As that of a :class:`Run`.
    """

    experiment: str
    seed: int
    model: str
    configuration: tuple[tuple[str, str], ...]


def _comparable(fields: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((path, json.dumps(value)) for path, value in fields.items()))


@dataclass(frozen=True)
class Found:
    """What a folder of runs holds.

    Attributes:
        runs: Finished runs, at most one of each configuration, seed, strategy and number of
            devices, by path.
        skipped: All other run folders, each with the reason.
        diverged: Those of them that diverged, as far as they say what they were.
    """

    runs: tuple[Run, ...]
    skipped: tuple[str, ...]
    diverged: tuple[Diverged, ...] = ()


def run_folders(folder: Path) -> list[Path]:
    """Every folder in ``folder`` that a run was started in, or ``folder`` itself, by path."""
    return sorted(_run_folders(folder))


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, below, files in os.walk(folder):
        started = "config.yaml" in files and ("environment.json" in files or "checkpoints" in below)
        if started or "result.json" in files or "diverged.json" in files:
            below.clear()  # what lies inside is not another run
            yield Path(place)


def read_runs(folders: list[Path], advance: Callable[[], None]) -> Found:
    """Read all that can be read.

    Args:
        folders: Run folders.
        advance: Called after each.
    """
    newest: dict[tuple[object, ...], Run] = {}
    skipped, diverged = [], []
    for folder in folders:
        try:
            run = read_run(folder)
        except UnusableRunError as reason:
            skipped.append(f"{folder}: {reason}")
            diverged += _diverged(folder)
        else:
            key = (run.experiment, run.seed, run.configuration, run.placement)
            other = newest.get(key)
            newest[key] = run if other is None or run.written >= other.written else other
            if other is not None:
                older = other if newest[key] is run else run
                skipped.append(
                    f"{older.path}: older than {newest[key].path}, of the same configuration and"
                    " seed"
                )
        advance()
    runs = tuple(sorted(newest.values(), key=lambda run: run.path))
    return Found(runs, tuple(skipped), tuple(diverged))


def _diverged(folder: Path) -> list[Diverged]:
    """The run of a folder, if it diverged."""
    if (folder / "result.json").exists() or not (folder / "diverged.json").exists():
        return []
    try:
        experiment, seed, fields, _ = _identity(folder)
    except UnusableRunError:
        return []
    return [Diverged(experiment, seed, str(fields.get("model.name")), _comparable(fields))]


def _identity(folder: Path) -> tuple[str, int, dict[str, Any], Placement]:
    """Experiment, seed, what else bears on the result, and the devices."""
    fields, placement = read_fields(folder / "config.yaml")
    return str(fields.pop("experiment")), int(fields.pop("seed")), fields, placement


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
        UnusableRunError: It is unfinished, diverged or damaged, or not of a run.
    """
    file = folder / "result.json"
    if not file.exists():
        raise UnusableRunError(_unfinished(folder))
    result = read_json(file)
    _require(
        result, file,
        "experiment", "data", "seed", "metrics", "epochs", "train_seconds", "images_per_second",
        "peak_memory_bytes", "views", "classes", "synthetic",
    )  # fmt: skip
    index, labels, wrong, center_wrong = read_predictions(folder / "predictions.npz")
    for metric, short in ((Metric.top1, "top1"), (Metric.top5, "top5")):
        _agree(result["metrics"].get(f"test/{short}_error"), wrong[metric], metric)
    train_curve, val_curve = read_curves(folder / "metrics.csv")
    _, _, fields, placement = _identity(folder)
    return Run(
        path=folder,
        experiment=str(result["experiment"]),
        seed=int(result["seed"]),
        fields=fields,
        result=result,
        index=index,
        labels=labels,
        wrong=wrong,
        center_wrong=center_wrong,
        train_curve=train_curve,
        val_curve=val_curve,
        environment=read_json(folder / "environment.json"),
        placement=placement,
        written=file.stat().st_mtime,
    )


def _agree(recorded: float | None, wrong: NDArray[np.bool_], metric: Metric) -> None:
    """Both files have to be of one evaluation."""
    counted = float(wrong.mean())
    # The recorded error has seven digits; half an image is more than that.
    if recorded is None or abs(recorded - counted) > 0.5 / len(wrong) + 1e-6:
        raise UnusableRunError(
            f"damaged: its test {metric} is {recorded} by result.json and {counted:.7g} by"
            " predictions.npz"
        )


def _unfinished(folder: Path) -> str:
    diverged = folder / "diverged.json"
    if diverged.exists():
        return str(read_json(diverged).get("message", "diverged"))
    return "unfinished"


def _require(content: dict[str, Any], file: Path, *names: str) -> None:
    lacking = [name for name in names if name not in content]
    if lacking or not isinstance(content["metrics"], dict):
        raise UnusableRunError(
            f"{file.name} is not of a run: it lacks {', '.join(lacking or ['metrics'])}"
        )

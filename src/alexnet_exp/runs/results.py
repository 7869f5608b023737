"""Finished runs, each as one object, for what compares many: the report."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config import leaves
from alexnet_exp.config.training import StrategyName
from alexnet_exp.runs import read
from alexnet_exp.runs.identity import bearing
from alexnet_exp.runs.outcomes import wrong
from alexnet_exp.runs.read import UnusableRunError

Wrong = dict[str, NDArray[np.bool_]]
"""By ``top1`` and ``top5`` (I,): whether the label is not the best class, or of the five best."""

_STRATEGIES = tuple(name.value for name in StrategyName)
_ROUNDING = 0.01  # of a sum of probabilities that were computed in bf16
_OPTIONS = ("--config-dir", "-cd", "--config-name", "-cn")


@dataclass(frozen=True)
class Placement:
    """Strategy of a run, its devices in all and its machines, which do not bear on its result."""

    strategy: str = "single"
    devices: int = 1
    nodes: int = 1

    @property
    def rank(self) -> tuple[int, int, int]:
        """The plainest comes first: few devices, then the order of the strategies."""
        known = [*_STRATEGIES, self.strategy].index(self.strategy)
        return self.devices, known, self.nodes

    def over(self, device: str, is_gpu: bool) -> str:
        """``towers, 2 x NVIDIA H200``; of a CPU ``ddp, 2 processes on ...``."""
        name = device
        if self.devices > 1:
            name = f"{self.devices} {'x' if is_gpu else 'processes on'} {device}"
        if self.nodes > 1:
            name += f" on {self.nodes} nodes"
        return name if self.strategy == "single" else f"{self.strategy}, {name}"


class Replicate(NamedTuple):
    """Which of several like trainings a run is."""

    fold: int
    """Whose images it is tested on; 0 where the data are not divided into folds."""

    seed: int


@dataclass(frozen=True)
class Identity:
    """What a run was told to do.

    Attributes:
        experiment: Name of what was changed.
        replicate: Its fold and seed.
        fields: All of the configuration that bears on the result, less experiment, fold and seed,
            by dotted path.
        nodes: Number of machines, which does not bear on it.
        margin: ``sweep.margin``, which it recorded before it began.
    """

    experiment: str
    replicate: Replicate
    fields: dict[str, Any]
    nodes: int
    margin: float | None

    @property
    def seed(self) -> int:
        return self.replicate.seed

    @cached_property
    def configuration(self) -> str:
        """``fields`` as something that can be compared and counted."""
        return json.dumps(self.fields, sort_keys=True)


@dataclass(frozen=True, eq=False)
class Run(Identity):
    """One finished run; errors are of its test images.

    Attributes:
        path: Its folder.
        result: ``result.json``.
        index: (I,) int64, ascending: which images of the store were tested.
        labels: (I,) int64.
        wrong: With the views of the run.
        center_wrong: The same of the center view alone; None where it was not recorded.
        train_curve: Top-1 training error after each epoch from the first, fraction; NaN where
            metrics.csv has no row.
        val_curve: The same of the validation error.
        environment: ``environment.json``.
        written: When it finished, seconds since 1970.
        probabilities: Of all classes, (I, classes) float, with the views of the run; None where
            they were not recorded.
        kernels: Of conv1, (K, C, s, s) float16; None where they were not recorded.
    """

    path: Path
    result: dict[str, Any]
    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    wrong: Wrong
    center_wrong: Wrong | None
    train_curve: tuple[float, ...]
    val_curve: tuple[float, ...]
    environment: dict[str, Any]
    written: float
    probabilities: NDArray[Any] | None = None
    kernels: NDArray[np.float16] | None = None

    @property
    def placement(self) -> Placement:
        return Placement(self.result["strategy"], self.result["devices"], self.nodes)

    @property
    def finished_at(self) -> str:
        """ISO 8601, UTC."""
        return datetime.fromtimestamp(self.written, UTC).isoformat(timespec="seconds")

    @cached_property
    def tested(self) -> tuple[int, int, int, bool]:
        """By which the test images of two runs can be compared, their labels and classes too."""
        images = (hash(column.tobytes()) for column in (self.index, self.labels))
        return (*images, self.result["classes"], self.result["synthetic"])

    @property
    def top1_error(self) -> float:
        """Of the test images, fraction."""
        return float(self.result["metrics"]["test/top1_error"])

    @property
    def overrides(self) -> list[str]:
        """What was given on its command line, own folders of configuration among it."""
        words = map(str, self.environment.get("command", [])[1:])
        given = [f"{word}={next(words, '')}" if word in _OPTIONS else word for word in words]
        return [w for w in given if "=" in w and (w[0] != "-" or w.startswith(_OPTIONS))]

    @property
    def device(self) -> tuple[str, bool]:
        """Processor or GPU that it was trained on, and whether it was a GPU."""
        gpus = self.environment.get("gpus")
        if self.fields.get("trainer.accelerator") == "cpu" or not gpus:
            return self.environment.get("cpu", "unknown processor"), False
        return str(gpus[0]), True

    @property
    def hardware(self) -> str:
        """Strategy, number and name of processors or GPUs that trained it, and the precision."""
        precision = self.fields.get("trainer.precision")
        return f"{self.placement.over(*self.device)}, {precision}"


@dataclass(frozen=True)
class Found:
    """What a folder of runs holds, by path: finished runs, at most one of each configuration,
    seed, strategy and number of devices; all others, with the reason; those that diverged.
    """

    runs: tuple[Run, ...]
    skipped: tuple[str, ...]
    diverged: tuple[Identity, ...] = ()


def read_runs(folders: Iterable[Path]) -> Found:
    """Read all that can be read of these run folders."""
    newest: dict[tuple[object, ...], Run] = {}
    skipped, diverged = [], []
    for folder in folders:
        try:
            run = read_run(folder)
            message = None if run else read.read_diverged(folder)
            if message:
                diverged.append(_identity(folder))
        except UnusableRunError as error:
            skipped.append(f"{folder}: {error.reason}")
            continue
        if run is None:
            skipped.append(f"{folder}: {message or 'unfinished'}")
            continue
        key = (run.experiment, run.replicate, run.configuration, run.placement)
        older, newer = sorted((newest.get(key, run), run), key=lambda run: run.written)
        if older is not newer:
            same = "of the same configuration and seed"
            skipped.append(f"{older.path}: older than {newer.path}, {same}")
        newest[key] = newer
    kept = []
    for members in _alike(newest.values()):
        (usual, _), *_ = Counter(run.tested for run in members).most_common(1)
        for run in members:
            if run.tested == usual:
                kept.append(run)
            else:
                skipped.append(f"{run.path}: other test images than runs of the same configuration")
    return Found(tuple(sorted(kept, key=lambda run: run.path)), tuple(skipped), tuple(diverged))


def _alike(runs: Iterable[Run]) -> Iterable[list[Run]]:
    """Runs that should have tested the same images: of one configuration and fold."""
    found: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.path):
        found[run.experiment, run.configuration, run.replicate.fold].append(run)
    return found.values()


def read_run(folder: Path) -> Run | None:
    """Read one run folder; None if the run has not finished.

    Raises:
        UnusableRunError: A file is damaged or not of a run.
    """
    result = read.read_result(folder)
    if result is None:
        return None
    file = folder / "result.json"
    needed = (
        "experiment", "data", "seed", "epochs", "train_seconds", "images_per_second", "classes",
        "peak_memory_bytes", "views", "synthetic", "strategy", "devices",
    )  # fmt: skip
    lacking = [name for name in needed if name not in result]
    if lacking:
        raise UnusableRunError(file, f"is not of a run: it lacks {', '.join(lacking)}")
    identity = _identity(folder)
    told = (identity.experiment, identity.seed, identity.fields.get("data.name"))
    for name, other in zip(("experiment", "seed", "data"), told, strict=True):
        if result[name] != other:
            raise UnusableRunError(file, f"has {name} {result[name]}, config.yaml {other}")
    columns = read.read_predictions(folder)
    test = np.flatnonzero(columns["split"] == "test")
    test = test[np.argsort(columns["index"][test], kind="stable")]
    if not len(test):
        raise UnusableRunError(folder / "predictions.npz", "holds no test images")
    labels = columns["label"][test]
    center = columns.get("center_top5")
    for name in ("label", "top5", "center_top5"):
        if (columns.get(name, labels) >= result["classes"]).any():
            reason = f"is damaged (column {name} goes beyond {result['classes']} classes)"
            raise UnusableRunError(folder / "predictions.npz", reason)
    own_wrong = wrong(columns["top5"][test], labels)
    for name, own in own_wrong.items():
        _agree(file, result["metrics"], f"test/{name}_error", float(own.mean()), len(own))
    probabilities = columns.get("probabilities")
    if probabilities is not None:
        probabilities = probabilities[test]
        if not (np.abs(probabilities.sum(1) - 1) < _ROUNDING).all():
            reason = "is damaged (column probabilities does not add up to 1)"
            raise UnusableRunError(folder / "predictions.npz", reason)
    train_curve, val_curve = _curves(folder)
    return Run(
        **vars(identity),
        path=folder,
        result=result,
        index=columns["index"][test],
        labels=labels,
        wrong=own_wrong,
        center_wrong=None if center is None else wrong(center[test], labels),
        train_curve=train_curve,
        val_curve=val_curve,
        environment=read.read_environment(folder) or {},
        written=read.finish_time(folder, result),
        probabilities=probabilities,
        kernels=_kernels(folder, int(identity.fields.get("model.towers", 1))),
    )


def _kernels(folder: Path, towers: int) -> NDArray[np.float16] | None:
    kernels = read.read_kernels(folder)
    if kernels is not None and len(kernels) % towers:
        reason = f"is damaged ({len(kernels)} kernels of {towers} towers)"
        raise UnusableRunError(folder / "kernels.npy", reason)
    return kernels


def _identity(folder: Path) -> Identity:
    content = read.read_config(folder)
    if content is None:
        raise UnusableRunError(folder / "config.yaml", "is missing")
    fields = dict(leaves(bearing(content)))
    fields.pop("config_hash", None)
    nodes = content.get("trainer", {}).get("num_nodes", 1)
    replicate = Replicate(int(fields.pop("data.fold", None) or 0), int(fields.pop("seed")))
    margin = content.get("sweep", {}).get("margin")
    return Identity(str(fields.pop("experiment")), replicate, fields, int(nodes), margin)


def _curves(folder: Path) -> list[tuple[float, ...]]:
    """Top-1 training and validation error by epoch."""
    rows = {int(row["epoch"]): row for row in read.read_metrics(folder)}
    file, columns = folder / "metrics.csv", ("train/top1_error", "val/top1_error")
    if not rows or not all(name in row for row in rows.values() for name in columns):
        raise UnusableRunError(file, "is missing, or holds no errors")
    if max(rows) > 2 * len(rows):
        raise UnusableRunError(file, f"is damaged ({len(rows)} rows of {max(rows)} epochs)")
    epochs = range(1, max(rows) + 1)
    return [tuple(rows.get(epoch, {}).get(name, np.nan) for epoch in epochs) for name in columns]


def _agree(file: Path, metrics: dict[str, float], name: str, counted: float, images: int) -> None:
    """Both files have to be of one evaluation."""
    recorded = metrics.get(name)
    # The recorded error has seven digits; half an image is more than that.
    if recorded is None or abs(recorded - counted) > 0.5 / images + 1e-6:
        raise UnusableRunError(
            file, f"says that {name} is {recorded}, predictions.npz {counted:.7g}"
        )

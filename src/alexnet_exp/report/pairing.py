"""Which runs may be set against which: those that differ in one factor alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hydra.errors import HydraException
from omegaconf import OmegaConf

from alexnet_exp.config import compose, composing, leaves
from alexnet_exp.report.placement import Placement
from alexnet_exp.report.results import Diverged, Run

_NAMED_FIELDS = 6
ABSENT = "absent"


@dataclass(frozen=True, eq=False)
class Cell:
    """All seeds of one experiment with one configuration.

    Attributes:
        experiment: Name of the factor that was changed.
        fields: All that bears on the result, less seed and experiment, by dotted path.
        runs: By seed, ascending, one of each.
        placed: Every run by strategy and devices, then by seed. ``runs`` has each seed from the
            first of them that ran it; the one with most seeds comes first, then the plainest.
        diverged: Other seeds, of which there is no finished run because they diverged.
    """

    experiment: str
    fields: dict[str, Any]
    runs: dict[int, Run]
    placed: dict[Placement, dict[int, Run]]
    diverged: set[int] = field(default_factory=set)

    @property
    def first(self) -> Run:
        """Any run stands for what all have in common."""
        return next(iter(self.runs.values()))

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.first.data

    def differing(self, other: "Cell") -> set[str]:
        """Paths of the fields in which two cells differ."""
        paths = self.fields.keys() | other.fields.keys()
        return {
            path
            for path in paths
            if self.fields.get(path, ABSENT) != other.fields.get(path, ABSENT)
        }


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cells that differ in one factor, with the seeds that both have."""

    baseline: Cell
    changed: Cell
    seeds: tuple[int, ...]

    @property
    def one_sided(self) -> str:
        """Names the seeds that only one side was run with; empty if there are none."""
        sides = ((self.baseline, self.changed), (self.changed, self.baseline))
        lone = (
            (cell.experiment, set(cell.runs) - set(self.seeds) - other.diverged)
            for cell, other in sides
        )
        return "; ".join(
            f"seed {_listed(sorted(seeds))} only of {name}" for name, seeds in lone if seeds
        )

    @property
    def diverged(self) -> str:
        """``2 of 5 seeds of no_lrn diverged``; empty if none did."""
        return "; ".join(
            f"{len(cell.diverged)} of {len(cell.diverged) + len(cell.runs)} seeds of"
            f" {cell.experiment} diverged"
            for cell in (self.baseline, self.changed)
            if cell.diverged
        )


def cells(runs: Iterable[Run], diverged: Iterable[Diverged] = ()) -> list[Cell]:
    """Runs by experiment and configuration, in the order of their first runs.

    Args:
        runs: Finished.
        diverged: Each is counted with the runs of its experiment and configuration.
    """
    alike: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        alike[run.experiment, run.configuration].append(run)
    found = {key: _cell(members) for key, members in alike.items()}
    for lost in diverged:
        cell = found.get((lost.experiment, lost.configuration))
        if cell is not None and lost.seed not in cell.runs:
            cell.diverged.add(lost.seed)
    return sorted(found.values(), key=lambda cell: cell.first.path)


def _cell(runs: Sequence[Run]) -> Cell:
    """Of runs that differ in seed, strategy and devices alone."""
    by_placement: dict[Placement, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        by_placement[run.placement][run.seed] = run
    order = sorted(by_placement, key=lambda one: (-len(by_placement[one]), one.rank))
    placed = {placement: by_placement[placement] for placement in order}
    # Not a mean over strategies, nor one more seed: under all of them a seed is the same training.
    chosen = {
        seed: next(own[seed] for own in placed.values() if seed in own)
        for seed in sorted({run.seed for run in runs})
    }
    return Cell(runs[0].experiment, runs[0].fields, chosen, placed)


@cache
def factor_fields(experiment: str) -> dict[str, Any]:
    """What ``+experiment=`` changes: dotted paths, with the values that they have without it.

    Empty for an experiment that the configuration tree no longer has.
    """
    if experiment == "baseline":
        return {}
    try:
        with_factor = _composed(f"+experiment={experiment}")
    except HydraException:
        return {}
    without = _composed()
    return {
        path: without.get(path, ABSENT)
        for path in with_factor.keys() | without.keys()
        if path != "experiment" and with_factor.get(path, ABSENT) != without.get(path, ABSENT)
    }


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    """Every field of a configuration; the paper's recipe hides none of what a factor sets."""
    with composing():
        composed = compose(["recipe=paper", *overrides])
    plain: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    return dict(leaves(plain))


def match(
    baselines: Sequence[Cell], changed: Sequence[Cell], free: frozenset[str] = frozenset()
) -> tuple[list[Pair], list[str]]:
    """Pair cells that differ in the factor of the changed one, and in nothing else.

    Args:
        baselines: Cells of the unchanged network.
        changed: Cells of the changed one.
        free: Paths that may differ besides.

    Returns:
        The pairs, and for every changed cell without one why it was refused.
    """
    pairs, refused = [], []
    for cell in changed:
        allowed = factor_fields(cell.experiment).keys() | free
        near = [base for base in baselines if base.data == cell.data]
        reasons = []
        found = False
        for base in sorted(near, key=lambda base: len(base.differing(cell) - allowed)):
            differing = base.differing(cell)
            reason = _refusal(base, cell, differing - allowed)
            if reason is None and differing - free:
                pairs.append(_pair(base, cell))
                found = True
            elif reason is not None:
                reasons.append(reason)
        if not found:
            lone = f"{cell.first.path}: no {_names(baselines)} run on data={cell.data}"
            refused.append(reasons[0] if reasons else lone)
    return pairs, refused


def _names(baselines: Sequence[Cell]) -> str:
    return baselines[0].experiment if baselines else "baseline"


def _pair(base: Cell, cell: Cell) -> Pair:
    return Pair(base, cell, tuple(sorted(base.runs.keys() & cell.runs.keys())))


def _refusal(base: Cell, cell: Cell, extra: set[str]) -> str | None:
    """Why two cells are no pair, naming one run of each."""
    seeds = base.runs.keys() & cell.runs.keys()
    seed = min(seeds) if seeds else None
    one = base.first if seed is None else base.runs[seed]
    two = cell.first if seed is None else cell.runs[seed]
    names = f"{two.path} against {one.path}"
    if extra:
        return f"{names}: also differ in {_values(one, two, extra)}"
    if seed is None:
        return f"{names}: no seed in common ({_listed(cell.runs)} against {_listed(base.runs)})"
    for run in (*base.runs.values(), *cell.runs.values()):
        if not (np.array_equal(run.index, one.index) and np.array_equal(run.labels, one.labels)):
            return f"{names}: other test images in {run.path}"
    return None


def _values(one: Run, two: Run, paths: set[str]) -> str:
    """``optim.lr (0.01, 0.02)``: the changed run's value first."""
    shown = [
        f"{path} ({show(two.fields.get(path, ABSENT))}, {show(one.fields.get(path, ABSENT))})"
        for path in sorted(paths)[:_NAMED_FIELDS]
    ]
    if len(paths) > _NAMED_FIELDS:
        shown.append(f"and {len(paths) - _NAMED_FIELDS} more fields")
    return ", ".join(shown)


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def show(value: Any) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(show, value))}]"
    return str(value)

"""Which runs may be set against which: those that differ in one factor alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from alexnet_exp.config.changes import ABSENT, Fields, factor_fields, show
from alexnet_exp.console import visible
from alexnet_exp.report.factors import contexts, first_few, grouped, overrides
from alexnet_exp.runs.results import Identity, Placement, Replicate, Run

_NAMED_FIELDS = 6


@dataclass(eq=False)
class Cell:
    """All folds and seeds of one experiment with one configuration.

    Attributes:
        experiment: Name of what was changed.
        fields: All that bears on the result, less experiment, fold and seed, by dotted path.
        runs: By fold and seed, ascending, one of each.
        placed: Every run by strategy and devices, then by fold and seed. ``runs`` has each from the
            first of them that ran it; the one with most runs comes first, then the plainest.
        diverged: Other folds and seeds, of which there is no finished run because they diverged.
        words: Overrides that tell it from other configurations of the report on the same data.
        apart: Of a user's own experiment, of which nobody knows what it changes: all overrides that
            tell it from the configuration nearest to it.
    """

    experiment: str
    fields: Fields
    runs: dict[Replicate, Run]
    placed: dict[Placement, dict[Replicate, Run]]
    diverged: set[Replicate] = field(default_factory=set)
    words: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join([self.experiment, *self.apart])

    @property
    def first(self) -> Run:
        """Any run stands for what all have in common."""
        return next(iter(self.runs.values()))

    @property
    def data(self) -> str:
        return visible(self.first.result["data"])

    @property
    def synthetic(self) -> bool:
        return bool(self.first.result["synthetic"])

    @property
    def model(self) -> str:
        return str(self.fields.get("model.name"))

    @property
    def context(self) -> str:
        return ", ".join(self.words)

    @property
    def hardware(self) -> str:
        """What the runs that count were trained on."""
        return visible(" / ".join(dict.fromkeys(run.hardware for run in self.runs.values())))

    def each(self, name: str) -> list[float]:
        """A figure of ``result.json`` of each run."""
        return [float(run.result[name]) for run in self.runs.values()]

    def differing(self, other: "Cell") -> set[str]:
        """Paths of the fields in which two cells differ."""
        one, two = self.fields, other.fields
        paths = one.keys() | two.keys()
        return {path for path in paths if one.get(path, ABSENT) != two.get(path, ABSENT)}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cells that differ in one factor, on the same test images."""

    baseline: Cell
    changed: Cell


def test_images(runs: Iterable[Run]) -> int:
    """Over all folds."""
    return sum({run.replicate.fold: len(run.index) for run in runs}.values())


def cells(runs: Iterable[Run], diverged: Iterable[Identity] = ()) -> list[Cell]:
    """Finished runs by experiment and configuration, in the order of the first of each.

    What diverged is counted with the runs of its experiment and configuration.
    """
    ordered = sorted(runs, key=lambda run: run.replicate)
    alike = grouped(ordered, lambda run: (run.experiment, run.configuration))
    by_key = {key: _cell(members) for key, members in alike.items()}
    for lost in diverged:
        cell = by_key.get((lost.experiment, lost.configuration))
        if cell is not None and lost.replicate not in cell.runs:
            cell.diverged.add(lost.replicate)
    found = sorted(by_key.values(), key=lambda cell: cell.first.path)
    for members in grouped(found, lambda cell: cell.data).values():
        _tell_apart(members)
    return found


def _tell_apart(members: Sequence[Cell]) -> None:
    """Set the words of cells on the same data."""
    known = [c for c in members if c.experiment == "baseline" or factor_fields(c.experiment)]
    known = known or [*members]
    words = contexts([(cell.experiment, cell.fields) for cell in known])
    for cell, told in zip(known, words, strict=True):
        cell.words = tuple(map(visible, told))
    for cell in members:
        if cell not in known:
            near = min(known, key=lambda one: len(one.differing(cell)))
            cell.words = near.words
            apart = overrides(cell.fields, near.differing(cell), _NAMED_FIELDS)
            cell.apart = tuple(map(visible, apart))


def _cell(runs: Sequence[Run]) -> Cell:
    """Of runs that differ in fold, seed, strategy and devices alone."""
    by_placement = grouped(runs, lambda run: run.placement)
    order = sorted(by_placement, key=lambda one: (-len(by_placement[one]), one.rank))
    placed = {one: {run.replicate: run for run in by_placement[one]} for one in order}
    # Not a mean over strategies, nor one more seed: under all of them a seed is the same training.
    counted = {
        one: next(own[one] for own in placed.values() if one in own)
        for one in sorted({run.replicate for run in runs})
    }
    return Cell(visible(runs[0].experiment), runs[0].fields, counted, placed)


def match(
    baselines: Sequence[Cell], changed: Sequence[Cell], free: frozenset[str] = frozenset()
) -> tuple[list[Pair], list[str]]:
    """Pair cells that differ in the factor of the changed one, else at most in ``free`` paths.

    Returns:
        The pairs, and for every changed cell without one why it was refused.
    """
    pairs: list[Pair] = []
    refused: list[str] = []
    for cell in changed:
        allowed = factor_fields(cell.experiment).keys() | free
        near = [base for base in baselines if base.data == cell.data]
        reasons, before = [], len(pairs)
        for base in sorted(near, key=lambda base: len(base.differing(cell) - allowed)):
            differing = base.differing(cell)
            reason = _refusal(base, cell, differing - allowed)
            if reason is None and differing - free:
                pairs.append(Pair(base, cell))
            elif reason is not None:
                reasons.append(reason)
        if len(pairs) == before:
            name = baselines[0].experiment if baselines else "baseline"
            lone = f"{cell.first.path}: no {name} run on data={cell.data}"
            refused.append(reasons[0] if reasons else lone)
    return pairs, refused


def _refusal(base: Cell, cell: Cell, extra: set[str]) -> str | None:
    """Why two cells are no pair, naming one run of each."""
    one, two = base.first, cell.first
    if both := base.runs.keys() & cell.runs.keys():
        one, two = base.runs[min(both)], cell.runs[min(both)]
    names = f"{two.path} against {one.path}"
    if extra:
        return f"{names}: also differ in {_values(base, cell, extra)}"
    if not {replicate.fold for replicate in base.runs} & {other.fold for other in cell.runs}:
        return f"{names}: no fold in common"
    of_fold: dict[int, Run] = {}
    for (fold, _), run in (*base.runs.items(), *cell.runs.items()):
        one = of_fold.setdefault(fold, run)
        if not (np.array_equal(run.index, one.index) and np.array_equal(run.labels, one.labels)):
            return f"{names}: other test images in {run.path}"
    return None


def _values(base: Cell, cell: Cell, paths: set[str]) -> str:
    """``optim.lr (0.01, 0.02)``: the changed run's value first."""
    shown = [
        f"{path} ({show(cell.fields.get(path, ABSENT))}, {show(base.fields.get(path, ABSENT))})"
        for path in sorted(paths)
    ]
    return ", ".join(first_few(shown, _NAMED_FIELDS, "more fields"))

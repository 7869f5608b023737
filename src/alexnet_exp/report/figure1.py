"""Epochs to 25 % training error, each activation at the learning rate that is best for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, isnan, log
from statistics import fmean

from alexnet_exp.report.commands import command
from alexnet_exp.report.findings import Claim
from alexnet_exp.report.measures import Measured, heading
from alexnet_exp.report.pairing import Cell, match
from alexnet_exp.report.results import Run
from alexnet_exp.report.statistics import ratio_interval

TARGET = 0.25
RATE = "optim.lr"


@dataclass(frozen=True)
class Tuned:
    """One activation at its best learning rate.

    Attributes:
        cell: Runs at that rate; at the one that came nearest where none reached the target.
        epochs: Epochs to the target by seed; empty where none reached it.
        text: How the rate was chosen.
    """

    cell: Cell
    epochs: dict[int, int]
    text: str


def epochs_to_target(run: Run) -> int | None:
    """The first epoch whose training error is at most 25 %; None if there is none."""
    reached = (i for i, error in enumerate(run.train_curve, start=1) if error <= TARGET)
    return next(reached, None)


def tune(cells: Sequence[Cell]) -> Tuned:
    """The learning rate with the fewest mean epochs over seeds.

    A rate counts only where every seed that was run with any rate has reached the target: the
    mean over those that happened to would flatter it.

    Args:
        cells: Of one experiment, differing in the learning rate alone.
    """
    seeds = {seed for cell in cells for seed in cell.runs.keys() | cell.diverged}
    reached: dict[Cell, dict[int, int]] = {}
    for cell in cells:
        epochs = {seed: epochs_to_target(run) for seed, run in cell.runs.items()}
        known = {seed: count for seed, count in epochs.items() if count is not None}
        if known.keys() == seeds:
            reached[cell] = known
    name = cells[0].experiment
    if not reached:
        best = min(cells, key=_least_error)
        # One rate may lack a seed and others the target: either way no rate has all.
        text = (
            f"{name} never reached 25 % training error with all of its seeds at any of"
            f" {_count(cells)} (nearest: {100 * _least_error(best):.1f} % at {RATE}={_rate(best)})"
        )
        return Tuned(best, {}, text)
    best = min(reached, key=lambda cell: (fmean(reached[cell].values()), _rate(cell)))
    return Tuned(best, reached[best], f"{name} at {RATE}={_rate(best)}, best of {_count(cells)}")


def _rate(cell: Cell) -> float:
    return float(cell.fields[RATE])


def _least_error(cell: Cell) -> float:
    """Mean over seeds of the least training error."""
    return fmean(
        min((error for error in run.train_curve if not isnan(error)), default=1.0)
        for run in cell.runs.values()
    )


def _count(cells: Sequence[Cell]) -> str:
    return f"{len(cells)} learning rate{'' if len(cells) == 1 else 's'}"


def tuning_families(
    baselines: Sequence[Cell], changed: Sequence[Cell]
) -> tuple[list[tuple[list[Cell], list[Cell]]], list[str]]:
    """Cells of both sides that differ in the factor and the learning rate alone.

    Returns:
        Pairs of lists, and for every changed cell without a counterpart why it was refused.
    """
    pairs, refused = match(baselines, changed, frozenset({RATE}))
    families: list[tuple[list[Cell], list[Cell]]] = []
    for pair in pairs:
        for bases, others in families:
            if pair.baseline.differing(bases[0]) <= {RATE}:
                _add(bases, pair.baseline)
                _add(others, pair.changed)
                break
        else:
            families.append(([pair.baseline], [pair.changed]))
    return families, refused


def _add(cells: list[Cell], cell: Cell) -> None:
    if cell not in cells:
        cells.append(cell)


def measure_speed(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], context: str
) -> Measured:
    """Ratio of epochs to 25 % training error, paired by seed."""
    one, two = tune(bases), tune(others)
    seeds = sorted(one.cell.runs.keys() & two.cell.runs.keys())
    runs = [side.cell.runs[seed] for side in (one, two) for seed in seeds]
    finding = heading(claim, runs[: len(seeds)], context, command(runs))
    remarks = (*_bound(one, two, bases, others), f"{one.text}; {two.text}")
    finding = replace(
        finding,
        baseline=_mean(one.epochs, seeds),
        changed=_mean(two.epochs, seeds),
    )
    if not (one.epochs and two.epochs):
        return Measured(finding, remarks=remarks)
    ratio = ratio_interval([one.epochs[s] for s in seeds], [two.epochs[s] for s in seeds])
    finding = replace(
        finding,
        difference=ratio.estimate,
        low=ratio.low,
        high=ratio.high,
        p_value=ratio.p_value,
    )
    return Measured(finding, log_deviation=ratio.deviation, remarks=remarks)


def _bound(one: Tuned, two: Tuned, bases: Sequence[Cell], others: Sequence[Cell]) -> list[str]:
    """What a ratio is at least, or at most, where one side alone never reached the target."""
    if bool(one.epochs) == bool(two.epochs):
        return []
    tuned, cells, word = (one, others, "least") if one.epochs else (two, bases, "most")
    # Any of the rates may be the best one, so the bound is that of the quickest.
    ratios = [
        fmean(
            log(_at_least(cell.runs[seed]) / tuned.epochs[seed])
            for seed in cell.runs.keys() & tuned.epochs.keys()
        )
        for cell in cells
        if cell.runs.keys() & tuned.epochs.keys()
    ]
    if not ratios:
        return []
    epochs = max(len(run.train_curve) for cell in cells for run in cell.runs.values())
    least = exp(min(ratios))
    bound = least if one.epochs else 1 / least
    return [
        f"{cells[0].experiment} was run for up to {epochs} epochs, {tuned.cell.experiment} took"
        f" {fmean(tuned.epochs.values()):.1f}: the ratio is at {word} {bound:.1f}"
    ]


def _at_least(run: Run) -> int:
    """Epochs to the target, or all that were run."""
    return epochs_to_target(run) or max(1, len(run.train_curve))


def _mean(epochs: dict[int, int], seeds: Sequence[int]) -> float | None:
    return fmean(epochs[seed] for seed in seeds) if epochs else None

"""Ratios behind a finding, before any verdict: epochs to 25 % training error, training time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import exp, isnan, log
from statistics import fmean
from typing import NamedTuple

import numpy as np

from alexnet_exp.report.claims import Claim
from alexnet_exp.report.findings import Finding
from alexnet_exp.report.measures import RATE, heading, with_difference
from alexnet_exp.report.pairing import Cell, Pair, match
from alexnet_exp.report.statistics import Components, Difference
from alexnet_exp.runs.results import Placement, Replicate, Run

TARGET = 0.25
"""Training error at which figure 1 of the paper compares activations."""

_TWO_GPUS, _ONE_GPU = Placement("towers", 2), Placement("single", 1)

_OF_WHOLE_NUMBERS = 1 / 12  # variance of rounding

# Of seconds per epoch: result.json holds milliseconds, and a run has at least one epoch.
_ROUNDING_VARIANCE = 1e-3**2 / 12


class Tuned(NamedTuple):
    """One activation at its best learning rate."""

    cell: Cell
    """Runs at that rate; at the one that came nearest where none reached the target."""

    epochs: dict[Replicate, int]
    """Epochs to the target by fold and seed; empty where none reached it."""

    text: str
    """How the rate was chosen."""


def epochs_to_target(run: Run) -> int | None:
    """The first epoch whose training error is at most 25 %; None if there is none."""
    reached = (i for i, error in enumerate(run.train_curve, start=1) if error <= TARGET)
    return next(reached, None)


def tune(cells: Sequence[Cell]) -> Tuned:
    """The learning rate with the fewest mean epochs over seeds.

    A rate counts only where every seed that was run with any rate has reached the target: the
    mean over those that happened to would flatter it. ``cells`` differ in the rate alone.
    """
    seeds = {seed for cell in cells for seed in cell.runs.keys() | cell.diverged}
    reached: dict[Cell, dict[Replicate, int]] = {}
    for cell in cells:
        epochs = {seed: epochs_to_target(run) for seed, run in cell.runs.items()}
        known = {seed: count for seed, count in epochs.items() if count is not None}
        if known.keys() == seeds:
            reached[cell] = known
    name = cells[0].experiment
    rates = f"{len(cells)} learning rate{'' if len(cells) == 1 else 's'}"
    if not reached:
        best = min(cells, key=_least_error)
        # One rate may lack a seed and others the target: either way no rate has all.
        text = (
            f"{name} never reached 25 % training error with all of its seeds at any of {rates}"
            f" (nearest: {100 * _least_error(best):.1f} % at {RATE}={_rate(best)})"
        )
        return Tuned(best, {}, text)
    best = min(reached, key=lambda cell: (fmean(reached[cell].values()), _rate(cell)))
    return Tuned(best, reached[best], f"{name} at {RATE}={_rate(best)}, best of {rates}")


def _rate(cell: Cell) -> float:
    return float(cell.fields.get(RATE, 0))


def _least_error(cell: Cell) -> float:
    """Mean over seeds of the least training error."""
    return fmean(
        min((error for error in run.train_curve if not isnan(error)), default=1.0)
        for run in cell.runs.values()
    )


def measure_speeds(
    claim: Claim, baselines: Sequence[Cell], changed: Sequence[Cell]
) -> tuple[list[Finding], list[str]]:
    """Ratios of epochs to 25 % training error, paired by seed.

    Returns:
        One for each set of cells of both sides that differ in the factor and the learning rate
        alone, and for every changed cell without a counterpart why it was refused.
    """
    pairs, refused = match(baselines, changed, frozenset({RATE}))
    families: list[tuple[list[Cell], list[Cell]]] = []
    for pair in pairs:
        for bases, others in families:
            if pair.baseline.differing(bases[0]) <= {RATE}:
                bases.append(pair.baseline)
                others.append(pair.changed)
                break
        else:
            families.append(([pair.baseline], [pair.changed]))
    return [
        _speed(claim, list(dict.fromkeys(one)), list(dict.fromkeys(two))) for one, two in families
    ], refused


def _speed(claim: Claim, bases: Sequence[Cell], others: Sequence[Cell]) -> Finding:
    one, two = tune(bases), tune(others)
    seeds = sorted(one.cell.runs.keys() & two.cell.runs.keys())
    before, after = ([side.cell.runs[seed] for seed in seeds] for side in (one, two))
    finding = heading(claim, one.cell, before, after)
    words = (word for word in bases[0].words if not word.startswith(f"{RATE}="))
    finding = replace(
        finding,
        context=", ".join(words),
        baseline=fmean(one.epochs[seed] for seed in seeds) if one.epochs else None,
        changed=fmean(two.epochs[seed] for seed in seeds) if two.epochs else None,
        remarks=(*_bound(one, two, bases, others), f"{one.text}; {two.text}"),
    )
    if not (one.epochs and two.epochs):
        return finding
    ratio = log_ratio([one.epochs[s] for s in seeds], [two.epochs[s] for s in seeds])
    return with_difference(finding, ratio)


def _bound(one: Tuned, two: Tuned, bases: Sequence[Cell], others: Sequence[Cell]) -> list[str]:
    """What a ratio is at least, or at most, where one side alone never reached the target."""
    if bool(one.epochs) == bool(two.epochs):
        return []
    tuned, cells, word = (one, others, "least") if one.epochs else (two, bases, "most")
    # Any of the rates may be the best one, so the bound is that of the quickest.
    ratios = []
    for cell in cells:
        # At least: all epochs of a run that did not reach the target.
        took = {s: epochs_to_target(run) or len(run.train_curve) for s, run in cell.runs.items()}
        if both := took.keys() & tuned.epochs.keys():
            ratios.append(fmean(log(took[s] / tuned.epochs[s]) for s in both))
    if not ratios:
        return []
    epochs = max(len(run.train_curve) for cell in cells for run in cell.runs.values())
    least = exp(min(ratios))
    bound = least if one.epochs else 1 / least
    return [
        f"{cells[0].experiment} was run for up to {epochs} epochs, {tuned.cell.experiment} took"
        f" {fmean(tuned.epochs.values()):.1f}: the ratio is at {word} {bound:.1f}"
    ]


def measure_time(claim: Claim, pair: Pair) -> Finding | str:
    """Ratio of seconds per epoch, paired by seed; or why there is none (section 3.2).

    The claim's baseline has two towers, its changed network fits one device.
    """
    towers = pair.baseline.placed.get(_TWO_GPUS, {})
    single = pair.changed.placed.get(_ONE_GPU, {})
    seeds = sorted(towers.keys() & single.keys())
    if not towers:
        return f"no run of {claim.baseline} under strategy=towers on 2 devices"
    if not single:
        return f"no run of {claim.changed} under strategy=single on one device"
    if not seeds:
        return f"no seed in common of {claim.baseline} on 2 devices and {claim.changed} on 1"
    one, two = ([side[seed] for seed in seeds] for side in (towers, single))
    # With validation; per epoch, since a schedule that waits for a plateau gives other lengths.
    before, after = (
        [run.result["train_seconds"] / run.result["epochs"] for run in side] for side in (one, two)
    )
    finding = replace(
        heading(claim, pair.baseline, one, two),
        baseline=fmean(before),
        changed=fmean(after),
        remarks=(f"{_cost(claim.baseline, one)}; {_cost(claim.changed, two)}",),
        unfit=_unfit(claim, one, two),
    )
    found = with_difference(finding, log_ratio(before, after, _ROUNDING_VARIANCE))
    # Unfit by the hardware, before any figure: what can't be judged corrects nothing.
    return replace(found, p_value=None) if found.unfit else found


def _unfit(claim: Claim, one: Iterable[Run], two: Iterable[Run]) -> tuple[str, ...]:
    """Why the times of these devices can't be compared."""
    names, changed = ({run.device for run in side} for side in (one, two))
    if len(names | changed) > 1:
        ran, other = (" / ".join(sorted(name for name, _ in side)) for side in (names, changed))
        return (
            f"{claim.baseline} ran on {ran} and {claim.changed} on {other}: times on other devices"
            " can't be compared",
        )
    ((name, is_gpu),) = names
    if is_gpu:
        return ()
    return (
        f"{_TWO_GPUS.over(name, is_gpu)} share its cores, and one process has them all: this says"
        " nothing about two GPUs",
    )


def _cost(name: str, runs: Iterable[Run]) -> str:
    results = [run.result for run in runs]
    rate, seconds, epochs = (
        fmean(float(result[key]) for result in results)
        for key in ("images_per_second", "train_seconds", "epochs")
    )
    return f"{name}: {rate:,.0f} images/s, {seconds:,.1f} s in all for {epochs:.3g} epochs"


def log_ratio(
    baseline: Sequence[float],
    changed: Sequence[float],
    rounding_variance: float = _OF_WHOLE_NUMBERS,
) -> Difference:
    """Mean logarithm of changed / baseline, two counts of epochs or two times, paired by seed.

    Epochs are whole numbers, and a few seeds may well agree in them, so the variance of rounding,
    1/12 epoch^2 on each side, is added to that between seeds; without it, equal counts on all
    seeds would be certain.

    Args:
        baseline: (S,) epochs or seconds of the unchanged network, above 0.
        changed: (S,) those of the changed network, same seeds in the same order.
        rounding_variance: Of each value, in its unit squared, above 0.

    Raises:
        ValueError: the lengths differ, there are no counts, or one is not above 0.
    """
    before, after = np.asarray(baseline, np.float64), np.asarray(changed, np.float64)
    if before.shape != after.shape or not before.size or min(before.min(), after.min()) <= 0:
        raise ValueError("two equally long sequences of positive counts wanted")
    logs = np.log(after / before)
    mean, seeds = float(logs.mean()), len(logs)
    if seeds == 1:
        return Difference(mean)
    rounding = rounding_variance * float((before**-2 + after**-2).mean())
    variance = float(logs.var(ddof=1) + rounding)
    return Difference(mean, (variance / seeds) ** 0.5, seeds - 1, Components(variance, 0.0))

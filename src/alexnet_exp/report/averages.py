"""What averaging five networks buys: the error of one less that of the mean of their softmax."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.report.claims import Claim
from alexnet_exp.report.commands import AVERAGED
from alexnet_exp.report.factors import grouped
from alexnet_exp.report.findings import Finding
from alexnet_exp.report.measures import (
    errors_by_fold,
    heading,
    not_above_chance,
    tested_labels,
    with_errors,
)
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.statistics import paired
from alexnet_exp.runs.outcomes import five_best, wrong
from alexnet_exp.runs.read import RECORDED_CLASSES
from alexnet_exp.runs.results import Run


def measure_average(claim: Claim, cell: Cell) -> Finding | str:
    """Mean error of five seeds less that of their average, within a fold; or why it can't be told.

    Seeds go into fives in ascending order; those that are left over do not count.
    """
    known = [run for run in cell.runs.values() if run.probabilities is not None]
    if not known:
        return (
            f"{cell.first.path} recorded no probabilities of all classes (of more than"
            f" {RECORDED_CLASSES} no run does: python -m alexnet_exp.evaluate averages them)"
        )
    folds = grouped(known, lambda run: run.replicate.fold).values()
    starts = range(0, max(map(len, folds)) - AVERAGED + 1, AVERAGED)
    fives = [own[i : i + AVERAGED] for own in folds for i in starts if len(own) >= i + AVERAGED]
    if not fives:
        where = " in each fold" * (len(folds) > 1)
        return f"{max(map(len, folds))} seeds of {cell.name}{where}, and {AVERAGED} are averaged"
    used = [run for five in fives for run in five]
    finding = heading(claim, cell, used)
    if finding.not_applicable:
        return finding
    values, average = (
        {
            fold: np.concatenate([of(five, claim.metric.name) for five in own])
            for fold, own in grouped(fives, lambda five: five[0].replicate.fold).items()
        }
        for of in (influences, _average_wrong)
    )
    alone = errors_by_fold({run.replicate: run for run in used}, claim.metric)
    sides = {"the average": [*average.values()], "one network": [*alone.values()]}
    unfit = not_above_chance(tested_labels(used), claim.metric, sides)
    return replace(with_errors(finding, paired(values), average, alone), unfit=unfit)


def influences(runs: Sequence[Run], name: str) -> NDArray[np.float64]:
    """What averaging S runs gains for each image, spread over the runs as they bear on it: (S, I).

    Their mean is the gain. Their variance over S is the jackknife's of it, from what the average of
    the others gains without each: no less than the true one on average (Efron and Stein 1981).
    ``name`` is ``top1`` or ``top5``.
    """
    others = [[run for run in runs if run is not one] for one in runs]
    without = np.stack([_gains(own, name) for own in others])
    return _gains(runs, name) + (len(runs) - 1) * (without.mean(0) - without)


def _gains(runs: Sequence[Run], name: str) -> NDArray[np.float64]:
    """By image (I,)."""
    return np.mean([run.wrong[name] for run in runs], 0) - _average_wrong(runs, name)[0]


def _average_wrong(runs: Sequence[Run], name: str) -> NDArray[np.bool_]:
    """(1, I)."""
    mean = np.mean([run.probabilities for run in runs if run.probabilities is not None], axis=0)
    return wrong(five_best(mean), runs[0].labels)[name][None]

"""Errors behind a finding, before any verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.report.claims import Claim, Metric
from alexnet_exp.report.commands import command
from alexnet_exp.report.findings import Finding
from alexnet_exp.report.pairing import Cell, Pair
from alexnet_exp.report.results import Run
from alexnet_exp.report.statistics import paired_difference
from alexnet_exp.runs.chance import chance_error, clearly_below

FEW_CLASSES = 5
"""With so many classes or fewer the five best hold every class."""

# Networks and classes that the paper's error rates are about.
_PUBLISHED_MODELS = ("paper", "original")
_PUBLISHED_CLASSES = 1000

_NAMED = {Metric.top1: 1, Metric.top5: 5}


def heading(claim: Claim, cell: Cell, runs: Sequence[Run], changed: Sequence[Run] = ()) -> Finding:
    """A finding without numbers, of the baseline's ``runs`` and others of the changed network."""
    few = cell.first.result["classes"] <= FEW_CLASSES
    return Finding(
        claim=claim,
        data=cell.data,
        context=cell.context,
        synthetic=cell.synthetic,
        replicates=tuple(run.replicate for run in runs),
        images=0 if claim.kind.is_ratio else len(cell.first.index),
        not_applicable=claim.metric is Metric.top5 and few,
        command=command([*runs, *changed]),
    )


def measure_experiment(claim: Claim, pair: Pair) -> Finding:
    """Difference of error between two trainings, paired by seed and test image."""
    one, two = (
        [cell.runs[one] for one in pair.replicates] for cell in (pair.baseline, pair.changed)
    )
    finding = _compare(
        heading(claim, pair.baseline, one, two),
        one[0],
        {
            claim.baseline: np.stack([run.wrong[claim.metric] for run in one]),
            claim.changed: np.stack([run.wrong[claim.metric] for run in two]),
        },
    )
    lost = pair.diverged and f"{pair.diverged}, and the others by themselves would mislead"
    return replace(
        finding,
        remarks=(pair.one_sided,) if pair.one_sided else (),
        unfit=(lost, *finding.unfit) if lost else finding.unfit,
    )


def measure_views(claim: Claim, cell: Cell) -> Finding | str:
    """Error of the center view less that of ten views; or why it can't be told."""
    if cell.first.result["views"] != "ten":
        return f"{cell.first.path} was evaluated with one view: evaluation.views=ten has both"
    runs = [run for run in cell.runs.values() if run.center_wrong is not None]
    if not runs:
        return f"{cell.first.path} did not record the center view by itself"
    center = [run.center_wrong[claim.metric] for run in runs if run.center_wrong is not None]
    ten = [run.wrong[claim.metric] for run in runs]
    sides = {"ten views": np.stack(ten), "the center view": np.stack(center)}
    return _compare(heading(claim, cell, runs), runs[0], sides)


def measure_level(claim: Claim, cell: Cell) -> Finding | str:
    """Error of one network over seeds and images; or why the figure is about another one."""
    runs, views = list(cell.runs.values()), cell.first.result["views"]
    errors = [run.wrong for run in runs]
    if claim.views == "one" and views == "ten":
        errors = [run.center_wrong for run in runs if run.center_wrong is not None]
        views = "one" if len(errors) == len(runs) else views
    reasons = {
        f"it was measured on {claim.data}": cell.data != claim.data_name,
        f"it is about {_PUBLISHED_CLASSES} classes": (
            cell.first.result["classes"] != _PUBLISHED_CLASSES
        ),
        "it is about the paper's network at its width": (
            cell.model not in _PUBLISHED_MODELS or cell.fields.get("model.width") != 1
        ),
        f"it is about evaluation.views={claim.views}": views != claim.views,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    wrong = np.stack([each[claim.metric] for each in errors])
    found = paired_difference(np.zeros_like(wrong), wrong)
    return replace(
        heading(claim, cell, runs),
        baseline=found.estimate,
        changed=found.estimate,
        difference=found.estimate,
        low=found.low,
        high=found.high,
        components=found.components,
        unfit=not_above_chance(runs[0].labels, claim.metric, {claim.baseline: wrong}),
    )


def _compare(finding: Finding, run: Run, sides: dict[str, NDArray[np.bool_]]) -> Finding:
    """Of two sides (S, I), the unchanged one first, on the test images of a run."""
    if finding.not_applicable:
        return finding
    baseline, changed = sides.values()
    found = paired_difference(baseline, changed)
    return replace(
        finding,
        baseline=float(baseline.mean()),
        changed=float(changed.mean()),
        difference=found.estimate,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        components=found.components,
        unfit=not_above_chance(run.labels, finding.claim.metric, sides),
    )


def not_above_chance(
    labels: NDArray[np.int64], metric: Metric, sides: Mapping[str, NDArray[np.bool_]]
) -> tuple[str, ...]:
    """A sentence that names the sides that did no better than chance; none if all did.

    Chance is one answer for every image. A side did if its mean error over seeds lies two standard
    errors of one seed's images below it: all seeds see the same images, more do not narrow it.
    ``labels`` (I,) are of the test images, ``sides`` (S, I) whether each seed was wrong.
    """
    chance = chance_error(labels, _NAMED[metric])
    most = clearly_below(chance, len(labels))
    named = [
        f"{name} ({100 * wrong.mean():.1f} %)"
        for name, wrong in sides.items()
        if wrong.mean() > most
    ]
    if not named:
        return ()
    classes = "class" if metric is Metric.top1 else "five classes"
    text = (
        f"not above chance: {' and '.join(named)}; naming the most frequent {classes} for every"
        f" image errs in {100 * chance:.1f} %, and a network that did not train settles nothing"
    )
    return (text,)

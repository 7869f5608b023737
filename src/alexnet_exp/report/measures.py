"""The numbers behind a finding, before any verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.report.chance import not_above_chance
from alexnet_exp.report.commands import command
from alexnet_exp.report.findings import Claim, Finding, Metric, Verdict
from alexnet_exp.report.pairing import Cell, Pair
from alexnet_exp.report.results import Run
from alexnet_exp.report.statistics import Components, paired_difference

FEW_CLASSES = 5
"""With so many classes or fewer the five best hold every class."""

# Networks and classes that the paper's error rates are about.
_PUBLISHED_MODELS = ("paper", "original")
_PUBLISHED_CLASSES = 1000


@dataclass(frozen=True)
class Measured:
    """A finding that waits for its verdict.

    Attributes:
        finding: All but verdict, note and corrected p-value.
        components: Variances from which follows what would resolve a claim about errors.
        log_deviation: The same for a ratio: standard deviation of its logarithm over seeds.
        remarks: What a reader has to know besides the verdict.
        unfit: Why the numbers allow no verdict, whatever they are.
    """

    finding: Finding
    components: Components | None = None
    log_deviation: float | None = None
    remarks: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()


def measure_experiment(claim: Claim, pair: Pair, context: str) -> Measured:
    """Difference of error between two trainings, paired by seed and test image."""
    one, two = ([cell.runs[seed] for seed in pair.seeds] for cell in (pair.baseline, pair.changed))
    finding = heading(claim, one, context, command([*one, *two]))
    sides = {
        name: np.stack([run.wrong[claim.metric] for run in runs])
        for name, runs in ((claim.baseline, one), (claim.changed, two))
    }
    measured = _compare(finding, one[0], sides)
    lost = (
        (f"{pair.diverged}, and the others by themselves would mislead",) if pair.diverged else ()
    )
    remarks = (pair.one_sided,) if pair.one_sided else ()
    return replace(measured, remarks=remarks, unfit=lost + measured.unfit)


def measure_views(claim: Claim, cell: Cell, context: str) -> Measured | str:
    """Error of the center view less that of ten views; or why it can't be told."""
    runs = [run for run in cell.runs.values() if run.center_wrong is not None]
    if cell.first.result["views"] != "ten":
        return f"{cell.first.path} was evaluated with one view: evaluation.views=ten has both"
    if not runs:
        return (
            f"{cell.first.path} was evaluated by an earlier version, which did not record the"
            " center view by itself"
        )
    finding = heading(claim, runs, context, command(runs))
    center = [run.center_wrong[claim.metric] for run in runs if run.center_wrong is not None]
    ten = np.stack([run.wrong[claim.metric] for run in runs])
    return _compare(finding, runs[0], {"ten views": ten, "the center view": np.stack(center)})


def measure_level(claim: Claim, cell: Cell, context: str) -> Measured | str:
    """Error of one network over seeds and images; or why the figure is about another one."""
    runs = list(cell.runs.values())
    first = cell.first
    center = claim.views == "one" and first.result["views"] == "ten"
    reasons = {
        f"it was measured on {claim.data}": cell.data != claim.data_name,
        f"it is about {_PUBLISHED_CLASSES} classes": first.classes != _PUBLISHED_CLASSES,
        "it is about the paper's network at its width": (
            first.fields.get("model.name") not in _PUBLISHED_MODELS
            or first.fields.get("model.width") != 1
        ),
        f"it is about evaluation.views={claim.views}": (
            any(run.center_wrong is None for run in runs)
            if center
            else first.result["views"] != claim.views
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    wrong = np.stack([_level_wrong(run, claim.metric, center) for run in runs])
    found = paired_difference(np.zeros_like(wrong), wrong)
    finding = heading(claim, runs, context, command(runs))
    return Measured(
        replace(
            finding,
            baseline=found.estimate,
            changed=found.estimate,
            difference=found.estimate,
            low=found.low,
            high=found.high,
        ),
        found.components,
        unfit=_untrained(finding, first, {claim.baseline: wrong}),
    )


def _level_wrong(run: Run, metric: Metric, center: bool) -> NDArray[np.bool_]:
    if center:
        assert run.center_wrong is not None
        return run.center_wrong[metric]
    return run.wrong[metric]


def heading(claim: Claim, runs: Sequence[Run], context: str, again: str) -> Finding:
    """A finding about these runs, without numbers."""
    first = runs[0]
    return Finding(
        claim=claim,
        verdict=Verdict.not_resolved,
        note="",
        data=first.data,
        context=context,
        synthetic=bool(first.result["synthetic"]),
        seeds=tuple(run.seed for run in runs),
        images=0 if claim.kind.is_ratio else len(first.index),
        not_applicable=claim.metric is Metric.top5 and first.classes <= FEW_CLASSES,
        command=again,
    )


def _compare(finding: Finding, run: Run, sides: dict[str, NDArray[np.bool_]]) -> Measured:
    """Of two sides (S, I), the unchanged one first, on the test images of a run."""
    if finding.not_applicable:
        return Measured(finding)
    baseline, changed = sides.values()
    found = paired_difference(baseline, changed)
    return Measured(
        replace(
            finding,
            baseline=float(baseline.mean()),
            changed=float(changed.mean()),
            difference=found.estimate,
            low=found.low,
            high=found.high,
            p_value=found.p_value,
        ),
        found.components,
        unfit=_untrained(finding, run, sides),
    )


def _untrained(finding: Finding, run: Run, sides: dict[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    text = not_above_chance(run.labels, finding.claim.metric, sides)
    return (text,) if text else ()

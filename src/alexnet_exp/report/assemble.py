"""From a folder of runs to a report: pair, measure, judge."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from alexnet_exp.report.averages import measure_average
from alexnet_exp.report.claims import Claim, Kind
from alexnet_exp.report.commands import missing_command
from alexnet_exp.report.factorial import factorials
from alexnet_exp.report.findings import Finding, Report
from alexnet_exp.report.measures import (
    Comparisons,
    measure_experiment,
    measure_level,
    measure_views,
)
from alexnet_exp.report.pairing import Cell, cells, match
from alexnet_exp.report.ratios import measure_speeds, measure_time
from alexnet_exp.report.specialization import measure_towers
from alexnet_exp.report.verdicts import judge
from alexnet_exp.runs.results import Found, Identity, Run

_PAIRED = (Kind.experiment, Kind.speed)


def assemble(folder: Path, found: Found, claims: Iterable[Claim]) -> Report:
    """Everything that the runs ``found`` in a folder say of what was published."""
    all_cells = cells(found.runs, found.diverged)
    comparisons = Comparisons(all_cells)
    findings: list[Finding] = []
    refused: list[str] = []
    for claim in claims:
        answers, refusals = _examine(claim, all_cells, found.diverged, comparisons)
        findings += answers
        refused += refusals
    return Report(
        runs=str(folder),
        until=max(run.finished_at for run in found.runs),
        findings=tuple(judge(findings)),
        cells=tuple(all_cells),
        factorials=tuple(factorials(all_cells)),
        refused=tuple(dict.fromkeys(refused)),
        skipped=found.skipped,
        environment=tuple(_environment(found.runs)),
    )


def _examine(
    claim: Claim, all_cells: Sequence[Cell], diverged: Sequence[Identity], comparisons: Comparisons
) -> tuple[list[Finding], list[str]]:
    """Every finding about one claim, at least one; and the pairings that were refused."""
    if claim.not_measured:
        return [Finding(claim, note=claim.not_measured)], []
    about = [cell for cell in all_cells if claim.is_about(cell.model)]
    bases = [cell for cell in about if cell.experiment == claim.baseline]
    others = [cell for cell in about if cell.experiment == claim.changed]
    refused: list[str] = []
    if not others or not bases:
        reason = _absent(claim, claim.baseline if others else claim.changed, diverged)
    else:
        measured, reasons = _measure(claim, bases, others, comparisons)
        refused = reasons if claim.kind in _PAIRED else []
        if measured:
            return measured, refused
        reason = reasons[0]
        if claim.kind in _PAIRED:
            reason = (
                f"no run of {claim.changed} differs from one of {claim.baseline} in it alone"
                " (refused pairings)"
            )
    return [Finding(claim, note=reason, command=missing_command(claim, all_cells))], refused


def _absent(claim: Claim, name: str, diverged: Sequence[Identity]) -> str:
    """Why there are no finished runs of an experiment."""
    network = " or ".join(f"model={model}" for model in claim.four_layers)
    lost = sum(
        run.experiment == name and claim.is_about(str(run.fields.get("model.name")))
        for run in diverged
    )
    what = f"no {'finished ' if lost else ''}run of {name}{network and f' with {network}'}"
    return f"{what}: {lost} diverged" if lost else what


def _measure(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], comparisons: Comparisons
) -> tuple[list[Finding], list[str]]:
    """What was measured, and why the rest was not."""
    if claim.kind is Kind.speed:
        return measure_speeds(claim, bases, others)
    pairs, refused = match(bases, others) if bases != others else ([], [])
    outcomes: list[Finding | str]
    if claim.kind is Kind.views:
        outcomes = [measure_views(claim, cell) for cell in bases]
    elif claim.kind is Kind.average:
        outcomes = [measure_average(claim, cell) for cell in bases]
    elif claim.kind is Kind.level:
        outcomes = [measure_level(claim, cell) for cell in bases]
    elif claim.kind is Kind.towers:
        outcomes = [measure_towers(claim, cell) for cell in bases]
    elif claim.kind is Kind.time:
        outcomes = [measure_time(claim, pair) for pair in pairs]
    else:
        outcomes = [measure_experiment(claim, pair, comparisons) for pair in pairs]
    reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return [outcome for outcome in outcomes if isinstance(outcome, Finding)], reasons + refused


def _environment(runs: Sequence[Run]) -> Iterator[str]:
    """Each version, machine and revision with the number of runs that had it."""
    counted: Counter[str] = Counter()
    for run in runs:
        known = run.environment
        versions = known.get("versions", {})
        counted[f"hardware: {run.hardware}"] += 1
        named = ", ".join(f"{name} {number}" for name, number in versions.items())
        counted[f"versions: Python {known.get('python', 'unknown')}, {named}"] += 1
        revision = known.get("git_revision") or "not recorded"
        changed = " with uncommitted changes" if known.get("git_changed") else ""
        counted[f"git revision: {revision}{changed}"] += 1
    for line, number in sorted(counted.items()):
        yield f"{line} ({number} of {len(runs)} runs)"

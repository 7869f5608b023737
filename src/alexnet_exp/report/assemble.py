"""From a folder of runs to a report: read, pair, measure, judge."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from alexnet_exp.report.claims import CLAIMS
from alexnet_exp.report.contexts import contexts
from alexnet_exp.report.devices import strategy_rows
from alexnet_exp.report.figure1 import RATE, measure_speed, tuning_families
from alexnet_exp.report.findings import Claim, Finding, Kind, Report
from alexnet_exp.report.groups import group, hardware
from alexnet_exp.report.measures import (
    Measured,
    measure_experiment,
    measure_level,
    measure_views,
)
from alexnet_exp.report.methods import METHODS
from alexnet_exp.report.missing import cells_about, is_about, missing_command
from alexnet_exp.report.pairing import Cell, cells, match
from alexnet_exp.report.results import Diverged, Found, Run
from alexnet_exp.report.times import measure_time
from alexnet_exp.report.verdicts import judge, not_run

Contexts = dict[Cell, tuple[str, ...]]


def assemble(
    folder: Path, found: Found, advance: Callable[[], None], claims: Sequence[Claim] = CLAIMS
) -> Report:
    """Everything that the runs say.

    Args:
        folder: Where they lie.
        found: The runs.
        advance: Called after each claim.
        claims: What was published.
    """
    all_cells = cells(found.runs, found.diverged)
    words = contexts(all_cells)
    outcomes: list[Measured | Finding] = []
    refused: dict[str, None] = {}  # a set in order
    for claim in claims:
        results, refusals = _examine(claim, all_cells, words, found.diverged)
        outcomes += results
        refused |= dict.fromkeys(refusals)
        advance()
    judged = iter(judge([item for item in outcomes if isinstance(item, Measured)]))
    return Report(
        runs=str(folder),
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        findings=tuple(next(judged) if isinstance(item, Measured) else item for item in outcomes),
        groups=tuple(group(cell, words[cell]) for cell in all_cells),
        strategies=tuple(strategy_rows(all_cells, words)),
        refused=tuple(refused),
        skipped=found.skipped,
        environment=tuple(_environment(found.runs)),
        methods=METHODS,
    )


def _examine(
    claim: Claim, all_cells: Sequence[Cell], words: Contexts, diverged: Sequence[Diverged]
) -> tuple[list[Measured | Finding], list[str]]:
    """Every finding about one claim, at least one; and the pairings that were refused."""
    if claim.not_measured:
        return [not_run(claim, claim.not_measured)], []
    again = missing_command(claim, all_cells)
    about = cells_about(claim, all_cells)
    bases = [cell for cell in about if cell.experiment == claim.baseline]
    others = [cell for cell in about if cell.experiment == claim.changed]
    for name, side in ((claim.changed, others), (claim.baseline, bases)):
        if not side:
            return [not_run(claim, _absent(claim, name, diverged), again)], []
    measured, reasons = _MEASURES[claim.kind](claim, bases, others, words)
    if measured:
        return list(measured), reasons if claim.kind in _PAIRED else []
    if claim.kind in _PAIRED:
        reason = f"no run of {claim.changed} differs from one of {claim.baseline} in it alone"
        return [not_run(claim, f"{reason} (refused pairings)", again)], reasons
    return [not_run(claim, reasons[0], again)], []


def _absent(claim: Claim, name: str, diverged: Sequence[Diverged]) -> str:
    """Why there are no finished runs of an experiment."""
    network = " or ".join(f"model={model}" for model in claim.four_layers)
    lost = sum(run.experiment == name and is_about(claim, run.model) for run in diverged)
    what = f"no {'finished ' if lost else ''}run of {name}{network and f' with {network}'}"
    return f"{what}: {lost} diverged" if lost else what


_PAIRED = (Kind.experiment, Kind.speed)
_Outcome = tuple[list[Measured], list[str]]


def _experiments(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], words: Contexts
) -> _Outcome:
    pairs, refused = match(bases, others)
    return [
        measure_experiment(claim, pair, ", ".join(words[pair.baseline])) for pair in pairs
    ], refused


def _speeds(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], words: Contexts
) -> _Outcome:
    families, refused = tuning_families(bases, others)
    return [
        measure_speed(claim, one, two, ", ".join(_without_rate(words[one[0]])))
        for one, two in families
    ], refused


def _views(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], words: Contexts
) -> _Outcome:
    return _sorted_out(measure_views(claim, cell, ", ".join(words[cell])) for cell in bases)


def _levels(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], words: Contexts
) -> _Outcome:
    return _sorted_out(measure_level(claim, cell, ", ".join(words[cell])) for cell in bases)


def _times(
    claim: Claim, bases: Sequence[Cell], others: Sequence[Cell], words: Contexts
) -> _Outcome:
    pairs, refused = match(bases, others)
    measured, reasons = _sorted_out(
        measure_time(claim, pair, ", ".join(words[pair.baseline])) for pair in pairs
    )
    return measured, reasons + refused


_MEASURES = {
    Kind.experiment: _experiments,
    Kind.speed: _speeds,
    Kind.time: _times,
    Kind.views: _views,
    Kind.level: _levels,
}


def _sorted_out(outcomes: Iterable[Measured | str]) -> _Outcome:
    """What was measured, and why the rest was not."""
    kept = list(outcomes)
    return [item for item in kept if isinstance(item, Measured)], [
        item for item in kept if isinstance(item, str)
    ]


def _without_rate(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if not word.startswith(f"{RATE}="))


def _environment(runs: Sequence[Run]) -> Iterator[str]:
    """Each version, machine and revision with the number of runs that had it."""
    counted: Counter[str] = Counter()
    for run in runs:
        known = run.environment
        versions = known.get("versions", {})
        counted[f"hardware: {hardware(run)}"] += 1
        named = ", ".join(f"{name} {number}" for name, number in versions.items())
        counted[f"versions: Python {known.get('python', 'unknown')}, {named}"] += 1
        revision = known.get("git_revision") or "not recorded"
        changed = " with uncommitted changes" if known.get("git_changed") else ""
        counted[f"git revision: {revision}{changed}"] += 1
    for line, number in sorted(counted.items()):
        yield f"{line} ({number} of {len(runs)} runs)"

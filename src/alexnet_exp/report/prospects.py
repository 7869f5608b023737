"""What it would take to settle each claim, from what has run: seeds, folds, hours, commands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from alexnet_exp.report.claims import Kind
from alexnet_exp.report.commands import command
from alexnet_exp.report.factors import grouped
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.power import POWER, seeds_and_images, seeds_needed
from alexnet_exp.report.verdicts import needed_seeds, power_now
from alexnet_exp.report.wording import claim_name, place

FOLDS = 5
_DIVISIBLE = ("flowers", "imagefolder")  # sources that may have no test set of their own


@dataclass(frozen=True)
class Step:
    """What would settle one claim on one data set with one base configuration.

    Attributes:
        now: Seeds and folds that ran, and with which probability they find what is looked for.
        wanted: What is looked for: the published size, the margin, or what was seen.
        needed: Seeds and folds with a power of 80 %.
        hours: Training of the runs that are lacking, one at a time, on the machine of those that
            ran; None where no number of them would do.
        command: Trains them, and skips those that ran.
    """

    claim: str
    place: str
    now: str
    wanted: str
    needed: str
    hours: float | None
    command: str = ""


def plan(report: Report) -> list[Step]:
    """For each claim that was run and has no answer."""
    open_ones = (f for f in report.findings if f.verdict is Verdict.not_resolved and f.replicates)
    return [
        _step(finding, report.cells)
        for finding in open_ones
        # A top-5 error has no share of the level before its top-1 error is resolved.
        if finding.share and not (finding.not_applicable or finding.unfit)
        if finding.claim.kind is not Kind.level
    ]


def _step(finding: Finding, cells: Iterable[Cell]) -> Step:
    claim, folds = finding.claim, max(1, finding.folds)
    sides = [
        cell
        for cell in cells
        if (cell.data, cell.context) == (finding.data, finding.context)
        and cell.experiment in (claim.baseline, claim.changed)
    ]
    seeds, what = needed_seeds(finding)
    if seeds is None and finding.replicates and folds == 1:
        seeds = _with_folds(finding, sides)
        folds = FOLDS if seeds else 1
    power = power_now(finding)
    known = "" if power is None else f", {100 * power:.0f} %"
    name, here, now = claim_name(claim), place(finding), f"{_size(finding)}{known}"
    if seeds is None or not sides:
        return Step(name, here, now, what or "nothing was seen", _images_too(finding), None)
    anew = folds != max(1, finding.folds)
    runs = [run for cell in sides for run in cell.runs.values()]
    wanted = [_seeds(cell, seeds, folds, anew) for cell in sides]
    missing = [
        len(set(chosen) - (set() if anew else {one.seed for one in cell.runs}))
        for cell, chosen in zip(sides, wanted, strict=True)
    ]
    seconds = sum(
        count * fmean(cell.each("train_seconds"))
        for cell, count in zip(sides, missing, strict=True)
    )
    every = sorted(set().union(*wanted))
    more = (f"data.folds={folds}", f"sweep.name=folds_{folds}") if anew else ()
    needed = f"{seeds} seeds" if folds == 1 else f"{seeds} x {folds} folds"
    return Step(name, here, now, what, needed, seconds / 3600, command(runs, every, more))


def _images_too(finding: Finding) -> str:
    """What would do where no number of seeds does."""
    parts, effect = finding.components, finding.sought
    if parts is None or not effect or finding.claim.kind.is_ratio:
        return "no number of seeds"
    folds = max(1, finding.folds)
    seeds, images = seeds_and_images(parts, effect, finding.images, folds, finding.share)
    return f"{seeds:,} seeds on {images:,} images"


def _with_folds(finding: Finding, sides: Sequence[Cell]) -> int | None:
    """Seeds in each of five folds, where the data can be divided: five times the test images."""
    sources = {cell.fields.get("data.source") for cell in sides}
    parts, effect = finding.components, finding.sought
    if finding.claim.kind.is_ratio or parts is None or not effect or not sources <= {*_DIVISIBLE}:
        return None
    return seeds_needed(parts, effect, FOLDS, finding.networks, finding.share)


def _seeds(cell: Cell, wanted: int, folds: int, anew: bool) -> list[int]:
    """Numbers of seeds, those that ran among them; a fold owns every ``folds``-th."""
    found: list[int] = []
    for fold in range(folds):
        ran = [] if anew else [one.seed for one in cell.runs if one.fold == fold or folds == 1]
        free = (seed for seed in range(fold, 1_000_000, folds) if seed not in ran)
        found += [*ran, *(next(free) for _ in range(wanted - len(ran)))]
    return found


def _size(finding: Finding) -> str:
    runs = len(finding.replicates)
    return f"{runs} seeds" if finding.folds < 2 else f"{runs / finding.folds:g} x {finding.folds}"


HEADINGS = ("claim", "now, power", "to be found", f"needed ({POWER:.0%})", "hours")


def sections(steps: Iterable[Step]) -> dict[str, list[tuple[str, ...]]]:
    """Rows under :data:`HEADINGS` by data set and base configuration."""
    return {
        place: [
            (s.claim, s.now, s.wanted.removeprefix("the "), s.needed, _hours(s.hours)) for s in own
        ]
        for place, own in grouped(steps, lambda step: step.place).items()
    }


def _hours(hours: float | None) -> str:
    return "" if hours is None else f"{hours:.1f}" if hours < 100 else f"{hours:,.0f}"


def commands(steps: Iterable[Step]) -> dict[str, list[str]]:
    """Each command with the claims that it settles."""
    known = grouped((step for step in steps if step.command), lambda step: step.command)
    return {command: [step.claim for step in own] for command, own in known.items()}

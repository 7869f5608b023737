"""What would settle what has no answer, from what has run: seeds, folds, hours of training."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from alexnet_exp.report.commands import ENOUGH_SEEDS, command, own_seeds, sweep_seeds, whole_groups
from alexnet_exp.report.factors import grouped
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.power import POWER, seeds_and_images
from alexnet_exp.report.verdicts import need
from alexnet_exp.report.wording import claim_name, combined, count, lean, minus, place
from alexnet_exp.runs.results import Replicate

FOLDS = 5
_DIVISIBLE = ("flowers", "imagefolder")  # sources that may have no test set of their own


@dataclass(frozen=True)
class Step:
    """What would settle one claim, or one main effect, on one data set and base configuration.

    Attributes:
        idea: Its name.
        place: Data set and base configuration, and of a main effect its design.
        now: Seeds and folds that ran.
        wanted: What is looked for: the published size, what was seen, the margin.
        needed: Seeds and folds with a power of 80 %.
        power: With which probability those that ran find a size that was set before: the published
            one, or the margin; empty for what was seen.
        hours: Training of the runs that are lacking, one at a time, on the machine of those that
            ran; None where no number of them would do.
        command: Trains them, and skips those that ran; of a design for its largest need.
    """

    idea: str
    place: str
    now: str
    wanted: str
    needed: str
    power: str = ""
    hours: float | None = None
    command: str = ""


def plan(report: Report) -> list[Step]:
    """For each claim that was run, and for each main effect of a design, that has no answer."""
    steps = []
    for finding in filter(_is_open, report.findings):
        sides = [
            cell
            for cell in report.cells
            if (cell.data, cell.context) == (finding.data, finding.context)
            and cell.experiment in (finding.claim.baseline, finding.claim.changed)
        ]
        steps.append(_step(finding, place(finding), sides))
    for design in report.factorials:
        found = filter(_is_open, design.effects)
        own = [_step(finding, combined(design), design.cells) for finding in found]
        most = max(own, key=lambda step: step.hours or 0.0, default=None)
        for step in own:
            steps.append(replace(step, command=most.command) if most and step.command else step)
    return steps


def _is_open(finding: Finding) -> bool:
    """Whether runs may settle it; a top-5 error has no share before its top-1 error is resolved."""
    is_fit = finding.replicates and finding.share and not finding.unfit
    is_alone = finding.claim.kind.is_alone
    return bool(is_fit) and finding.verdict is Verdict.not_resolved and not is_alone


def _step(finding: Finding, where: str, sides: Sequence[Cell]) -> Step:
    folds, runs = finding.folds, len(finding.replicates)
    now = count(runs, "seed") if folds < 2 else f"{runs / folds:g} x {folds}"
    made = Step(claim_name(finding.claim), where, now, "any difference", "no number of seeds")
    found = need(finding, folds)
    if found is None:
        if runs > 1 or not sides:
            return made
        # One run tells nothing of how much others would differ.
        seeds, made = ENOUGH_SEEDS, replace(made, wanted="an interval")
    else:
        sources = {cell.fields.get("data.source") for cell in sides}
        if found.seeds is None and folds == 1 and finding.images and sources <= {*_DIVISIBLE}:
            # Five times the test images.
            found, folds = need(finding, FOLDS) or found, FOLDS
        chance = "" if found.power is None else f"{100 * found.power:.0f} %"
        made = replace(made, power=chance, wanted=found.what)
        if found.seeds is None or not sides:
            return replace(made, needed=_images_too(finding, found.gap))
        # Whatever their power, those that ran were too few.
        seeds = max(found.seeds, runs // folds + 1) if folds == finding.folds else found.seeds
    seeds = whole_groups(finding.claim, seeds)
    anew = folds != finding.folds
    every = [run for cell in sides for run in cell.runs.values()]
    own = own_seeds(every)
    ran = Counter(one for cell in sides for one in cell.runs if not anew)
    if own and not anew:  # as its sweep was given them
        ran = Counter(Replicate(s % folds, s) for s in sweep_seeds(every, len(sides)))
    chosen = _seeds(ran, seeds, folds)
    times = 1 if own or found is None else max(1, round(finding.baseline_runs / runs))
    more_of_baseline = range(chosen[-1] + 1, chosen[-1] + 1 + (times - 1) * len(chosen))
    hours = 0.0
    for cell in sides:
        there = {one.seed for one in (ran if own else cell.runs) if not anew}
        wanted = {*chosen, *(more_of_baseline if cell.experiment == finding.claim.baseline else ())}
        hours += len(wanted - there) * fmean(cell.each("train_seconds")) / 3600
    more = (f"data.folds={folds}", f"sweep.name=folds_{folds}") if anew else ()
    more = (*more, f"sweep.baseline_seeds={times}") if times > 1 else more
    needed = f"{seeds} seeds" if folds == 1 else f"{seeds} x {folds} folds"
    return replace(made, needed=needed, hours=hours, command=command(every, chosen, more))


def _images_too(finding: Finding, gap: float) -> str:
    """What would do where no number of seeds does."""
    if finding.components is None or finding.claim.kind.is_ratio:
        return "no number of seeds"
    known = finding.images, finding.folds, finding.share
    seeds, images = seeds_and_images(finding.components, gap, *known)
    return f"{seeds:,} seeds on {images:,} images"


def _seeds(ran: Counter[Replicate], wanted: int, folds: int) -> list[int]:
    """Numbers of seeds, first those that ran on most sides; a fold owns every ``folds``-th."""
    known = sorted(ran, key=lambda one: (-ran[one], one))
    found: list[int] = []
    for fold in range(folds):
        own = [one.seed for one in known if one.fold == fold or folds == 1][:wanted]
        free = (s for s in range(fold, 1_000_000, folds) if s not in own)
        found += [*own, *islice(free, wanted - len(own))]
    return sorted(found)


HEADINGS = (
    "idea", "now", "power", "to be found", f"needed ({100 * POWER:.0f} %)", "hours of training",
)  # fmt: skip


def sections(steps: Iterable[Step]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Headings of :data:`HEADINGS` and rows by data set and base configuration, and by design."""
    return {place: lean(HEADINGS, [*map(_row, own)])
            for place, own in grouped(steps, lambda step: step.place).items()}  # fmt: skip


def _row(step: Step) -> tuple[str, ...]:
    wanted = minus(step.wanted.removeprefix("the "))
    return step.idea, step.now, step.power, wanted, step.needed, _hours(step.hours)


def _hours(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{max(0.1, hours):.1f}" if hours < 100 else f"{hours:,.0f}"


def commands(steps: Iterable[Step]) -> dict[str, list[str]]:
    """Each command with what it settles, and from how many seeds on."""
    known = grouped((step for step in steps if step.command), lambda step: step.command)
    return {
        command: [f"{step.idea} ({step.needed})" for step in own] for command, own in known.items()
    }

"""How findings and runs read in words: the same on the screen, in Markdown, on the page."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

from alexnet_exp.console import percent
from alexnet_exp.report.findings import Claim, Finding, Group, Kind, Metric, Report, StrategyRow

NOT_APPLICABLE = "not applicable"
ONE_SEED = "one seed"
MANY_IMAGES = 10_000
"""From here on one test image is at most 0.01 points, so a second decimal means something."""

FEW_SEEDS = 10
"""Up to here each seed's error is named."""

RUN_HEADINGS = (
    "experiment",
    "seeds",
    "top-1 error",
    "sd",
    "95 % interval",
    "top-5 error",
    "epochs",
    "images/s",
    "training",
    "peak GiB",
)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is short to read."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """``1 seed``, ``1,024 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def claim_name(claim: Claim) -> str:
    """The change, and the metric where it is not top-1 error."""
    suffix = {Metric.top5: ", top-5", Metric.epochs: ", epochs", Metric.time: ", time"}.get(
        claim.metric, ""
    )
    return (claim.change or claim.changed) + suffix


def published(claim: Claim) -> str:
    """The published figure with its unit; prose as it is."""
    text = claim.figure_text
    if not text[-1:].isdigit():
        return text
    if claim.kind.is_ratio:
        return f"{text} times"
    return text + (" %" if claim.kind is Kind.level else " points")


def measured(finding: Finding) -> str:
    """The difference in points, the ratio of epochs or times, or the error of a network alone."""
    if finding.not_applicable:
        return "n/a"
    if finding.claim.kind is Kind.level:
        return "" if finding.baseline is None else percent(finding.baseline)
    if finding.difference is None:
        return ""
    unit = " times" if finding.claim.kind.is_ratio else " points"
    return _in_unit(finding, finding.difference) + unit


def interval(finding: Finding) -> str:
    """The 95 % interval in the unit of :func:`measured`; ``one seed`` where there is none."""
    if finding.not_applicable or not finding.seeds:
        return ""
    if finding.low is None or finding.high is None:
        return ONE_SEED if len(finding.seeds) == 1 else ""
    return f"[{_in_unit(finding, finding.low)}, {_in_unit(finding, finding.high)}]"


def _in_unit(finding: Finding, value: float) -> str:
    if finding.claim.kind.is_ratio:
        return f"{value:.1f}" if finding.claim.kind is Kind.speed else f"{value:.2f}"
    if finding.claim.kind is Kind.level:
        return f"{100 * value:.1f}"
    return f"{100 * value:+.{2 if finding.images >= MANY_IMAGES else 1}f}"


def value(finding: Finding) -> str:
    """Measured figure and interval in one, without the unit where it is points."""
    parts = (measured(finding).removesuffix(" points"), interval(finding))
    between = ", " if parts[1] == ONE_SEED else " "
    return between.join(part for part in parts if part)


def sides(finding: Finding) -> str:
    """The metric without and with the change: ``from 13.4 % to 14.8 %``; empty for one network."""
    if finding.claim.kind is Kind.level or finding.baseline is None or finding.changed is None:
        return ""
    if finding.claim.metric is Metric.epochs:
        return f"from {finding.baseline:.1f} to {finding.changed:.1f} epochs"
    if finding.claim.metric is Metric.time:
        return f"from {finding.baseline:.3g} to {finding.changed:.3g} s per epoch"
    return f"from {percent(finding.baseline)} to {percent(finding.changed)}"


def sample(finding: Finding) -> str:
    """What was compared: ``5 seeds, 734 images``."""
    parts = [count(len(finding.seeds), "seed")]
    if finding.images:
        parts.append(count(finding.images, "image"))
    return ", ".join(parts)


def p_value(finding: Finding) -> str:
    """The p-value after Holm's correction, to two digits."""
    if finding.p_holm is None:
        return ""
    return "< 0.001" if finding.p_holm < 0.001 else f"{finding.p_holm:.2g}"


def verdict(finding: Finding) -> str:
    """``reproduced``, ``reproduced, smaller than published``, ``not applicable``."""
    if finding.not_applicable:
        return NOT_APPLICABLE
    return ", ".join(part.value for part in (finding.verdict, finding.size) if part)


def place(row: Finding | Group | StrategyRow) -> str:
    """Data set and base configuration that a row belongs to; ``drawn images`` where they were."""
    named = (row.data, "drawn images" if row.synthetic else "", row.context)
    return ", ".join(part for part in named if part)


def was_run(report: Report) -> list[Finding]:
    """Findings with a figure, those of one data set and base configuration together."""
    return by_place(f for f in report.findings if not f.not_applicable and f.seeds)


def not_applicable(report: Report) -> list[Finding]:
    """Top-5 error on five classes or fewer."""
    return by_place(f for f in report.findings if f.not_applicable)


def was_not_run(report: Report) -> list[Finding]:
    """Findings without runs, in the order of the report."""
    return [f for f in report.findings if not f.not_applicable and not f.seeds]


def by_place(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted so that each data set and base configuration is in one piece, in order of arrival."""
    kept = list(findings)
    places = list(dict.fromkeys(place(f) for f in kept))
    return sorted(kept, key=lambda f: places.index(place(f)))


def reasons(findings: Iterable[Finding]) -> list[str]:
    """Names of claims without a figure, those with the same reason in one line."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        claim = finding.claim
        where = f" on {claim.data}" if claim.kind is Kind.level else ""  # its name may not tell
        found.setdefault(finding.note, []).append(claim_name(claim) + where)
    lines = {note: "; ".join(dict.fromkeys(names)) for note, names in found.items()}
    return [f"{names} ({note})" if note else names for note, names in lines.items()]


def ordered_groups(report: Report) -> list[Group]:
    """By data set and base configuration, the baseline first in each."""
    bases = {f.claim.baseline for f in report.findings} | {"baseline"}
    keys = list(dict.fromkeys((g.data, g.context) for g in report.groups))
    return sorted(
        report.groups,
        key=lambda g: (
            keys.index((g.data, g.context)),
            g.experiment != "baseline",
            g.experiment not in bases,
        ),
    )


def sections(report: Report) -> list[list[Group]]:
    """Ordered groups in tables: one for each data set and base configuration.

    Base configurations with one experiment each, such as the learning rates of a sweep, share
    one table of their data set.
    """
    sizes = Counter((group.data, group.context) for group in report.groups)
    found: dict[tuple[str, str | None], list[Group]] = {}
    for group in ordered_groups(report):
        key = (group.data, group.context)
        found.setdefault(key if sizes[key] > 1 else (group.data, None), []).append(group)
    return list(found.values())


def section_name(groups: list[Group]) -> str:
    """Data set and base configuration that the groups of a section share."""
    places = list(dict.fromkeys(place(group) for group in groups))
    return places[0] if len(places) == 1 else place(replace(groups[0], context=""))


def section_rows(groups: list[Group]) -> list[tuple[str, ...]]:
    """The cells of a section under :data:`RUN_HEADINGS`."""
    told_apart = len({group.context for group in groups}) > 1
    rows = []
    for group in groups:
        name, *cells = run_cells(group)
        label = f"{name} {group.context}" if told_apart and group.context else name
        rows.append((label, *cells))
    return rows


def run_cells(group: Group) -> tuple[str, ...]:
    """The row of one experiment under :data:`RUN_HEADINGS`; costs are means over seeds."""
    spread, ends = "", ONE_SEED
    if len(group.seeds) > 1:
        spread = "" if group.deviation is None else f"{100 * group.deviation:.1f}"
        ends = ""
        if group.low is not None and group.high is not None:
            # Student's interval knows of no least and largest error.
            ends = f"[{100 * max(0.0, group.low):.1f}, {100 * min(1.0, group.high):.1f}]"
    mean = fmean(group.top1) if group.mean is None else group.mean
    return (
        group.experiment,
        str(len(group.seeds)),
        percent(mean),
        spread,
        ends,
        "n/a" if group.classes <= 5 else percent(fmean(group.top5)),
        f"{fmean(group.epochs):.0f}",
        f"{fmean(group.images_per_second):,.0f}",
        duration(fmean(group.train_seconds)),
        gibibytes(max(group.peak_memory_bytes)),
    )


def gibibytes(size: int) -> str:
    """GiB with one decimal, two below one."""
    value = size / 2**30
    return f"{value:.2f}" if value < 1 else f"{value:.1f}"


def spread(group: Group) -> str:
    """How much the seeds of one experiment differ, in a sentence."""
    deviation = ""
    if group.deviation is not None:
        deviation = f"; standard deviation {100 * group.deviation:.1f} points"
    each = f"{100 * min(group.top1):.1f} to {100 * max(group.top1):.1f} %"
    if len(group.seeds) <= FEW_SEEDS:
        named = ", ".join(map(str, group.seeds))
        each = f"seeds {named}: {', '.join(f'{100 * error:.1f}' for error in group.top1)} %"
    return (
        f"{group.experiment} on {place(group)}: {percent(fmean(group.top1))} over"
        f" {count(len(group.seeds), 'seed')}{deviation}; {each}."
    )


def spreads(report: Report) -> list[str]:
    """The sentences of the groups that changes were compared with, or that are named baseline."""
    bases = {f.claim.baseline for f in was_run(report)} | {"baseline"}
    known = [g for g in ordered_groups(report) if g.experiment in bases and len(g.seeds) > 1]
    if report.groups and not known:
        ran = any(group.experiment in bases for group in report.groups)
        reason = "The baseline ran with one seed" if ran else "No baseline ran"
        return [f"{reason}, so its spread over seeds is not known."]
    return [spread(group) for group in known]


def total_cost(report: Report) -> str:
    """Number of runs and their training time together."""
    rows = report.strategies or report.groups
    runs = sum(len(row.seeds) for row in rows)
    seconds = sum(sum(row.train_seconds) for row in rows)
    return f"{count(runs, 'run')}, {duration(seconds)} of training in all"


def commands(report: Report) -> dict[str, list[str]]:
    """Each distinct command with its rows: claims, experiments, claims that were not run."""
    rows: dict[str, list[str]] = {}
    for finding in was_run(report):
        name = f"{claim_name(finding.claim)} on {place(finding)}"
        rows.setdefault(finding.command, []).append(name)
    for group in ordered_groups(report):
        rows.setdefault(group.command, []).append(f"{group.experiment} on {place(group)}")
    for finding in was_not_run(report):
        rows.setdefault(finding.command, []).append(f"not yet run: {claim_name(finding.claim)}")
    return {command: list(dict.fromkeys(names)) for command, names in rows.items() if command}

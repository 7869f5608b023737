"""How claims and findings read in words: the same on the screen, in Markdown, on the page."""

from collections.abc import Iterable

from alexnet_exp.console import percent
from alexnet_exp.report.claims import Claim, Kind, Metric
from alexnet_exp.report.findings import Factorial, Finding, Report, Verdict
from alexnet_exp.report.pairing import Cell

NOT_APPLICABLE = "not applicable"
ONE_SEED = "one seed"
MANY_IMAGES = 10_000
"""From here on one test image is at most 0.01 points, so a second decimal means something."""

_SUFFIXES = {Metric.top5: ", top-5", Metric.epochs: ", epochs", Metric.time: ", time"}


def count(number: int, noun: str) -> str:
    """``1 seed``, ``1,024 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def minus(text: str) -> str:
    """A figure with a true minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def claim_name(claim: Claim) -> str:
    """The change, and the metric where it is not top-1 error."""
    return (claim.change or claim.changed) + _SUFFIXES.get(claim.metric, "")


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
    if finding.not_applicable or not finding.replicates:
        return ""
    if finding.low is None or finding.high is None:
        return ONE_SEED if len(finding.replicates) == 1 else ""
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
    seeds = count(len(finding.replicates), "seed")
    return f"{seeds}, {count(finding.images, 'image')}" if finding.images else seeds


def p_value(finding: Finding) -> str:
    """The p-value after Holm's correction, to two digits."""
    if finding.p_adjusted is None:
        return ""
    return "< 0.001" if finding.p_adjusted < 0.001 else f"{finding.p_adjusted:.2g}"


def verdict(finding: Finding) -> str:
    """``reproduced``, ``reproduced, smaller than published``."""
    return ", ".join(part.value for part in (finding.verdict, *finding.comparison))


def place(row: Finding | Cell | Factorial) -> str:
    """Data set and base configuration that a row belongs to; ``drawn images`` where they were."""
    named = (row.data, "drawn images" if row.synthetic else "", row.context)
    return ", ".join(part for part in named if part)


def was_run(report: Report) -> dict[str, list[Finding]]:
    """Findings with a figure by data set and base configuration, in order of arrival."""
    found: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if finding.replicates and not finding.not_applicable:
            found.setdefault(place(finding), []).append(finding)
    return found


def was_not_run(report: Report) -> list[Finding]:
    """Findings without runs, in the order of the report."""
    return [f for f in report.findings if not f.not_applicable and not f.replicates]


def not_applicable(report: Report) -> str:
    """Claims about top-5 error that met five classes or fewer."""
    absent = (claim_name(f.claim) for f in report.findings if f.not_applicable)
    return "; ".join(dict.fromkeys(absent))


def reasons(findings: Iterable[Finding]) -> list[str]:
    """Names of claims without a figure, those with the same reason in one line."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        claim = finding.claim
        where = f" on {claim.data}" if claim.kind is Kind.level else ""  # its name may not tell
        found.setdefault(finding.note, []).append(claim_name(claim) + where)
    lines = {note: "; ".join(dict.fromkeys(names)) for note, names in found.items()}
    return [f"{names} ({note})" if note else names for note, names in lines.items()]


def tallies(report: Report) -> dict[str, str]:
    """How many findings have each verdict: ``2 (1 of them smaller than published)``."""
    judged = [finding for finding in report.findings if not finding.not_applicable]
    found = {
        name.value: str(sum(finding.verdict is name for finding in judged)) for name in Verdict
    }
    left = len(report.findings) - len(judged)
    return found | ({NOT_APPLICABLE: str(left)} if left else {})


def summary(report: Report) -> str:
    """The answer in two sentences: what was compared, and how it came out."""
    ran = [finding for findings in was_run(report).values() for finding in findings]
    if not ran:
        claims = count(len({f.claim.name for f in report.findings}), "claim")
        found = f"{count(len(report.cells), 'experiment')} found, none with a partner to compare"
        return f"None of {claims} was run: {found if report.cells else 'no finished runs found'}."
    names = {f.claim.name for f in ran}
    data = ", ".join(dict.fromkeys(f.data for f in ran))
    seeds = sorted({len(f.replicates) for f in ran})
    most = f"{seeds[0]} to " if len(seeds) > 1 else ""
    most += count(seeds[-1], "seed")
    outcome = ", ".join(
        f"{number} {name}{sizes and f' {sizes}'}"
        for name, counted in tallies(report).items()
        for number, _, sizes in [counted.partition(" ")]
    )
    rows = f", in {len(ran)} comparisons" if len(ran) != len(names) else ""
    claims = count(len(names), "claim")
    return f"{claims} set beside runs on {data}, {most} each{rows}: {outcome}."


def banner(report: Report) -> str:
    """What to say first where runs saw drawn images; empty where none did."""
    drawn = dict.fromkeys(cell.data for cell in report.cells if cell.synthetic)
    if not drawn:
        return ""
    every = all(cell.synthetic for cell in report.cells)
    subject = "These runs" if every else f"The runs on {', '.join(drawn)}"
    return f"{subject} saw images drawn by the program, not photos: they say nothing about photos."

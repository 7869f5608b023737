"""How claims and findings read in words: the same on the screen, in Markdown, on the page."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from alexnet_exp.config.changes import show
from alexnet_exp.console import percent
from alexnet_exp.report.claims import CLAIMS, Claim, Kind, Metric
from alexnet_exp.report.factors import grouped
from alexnet_exp.report.findings import Factorial, Finding, Report, Verdict
from alexnet_exp.report.pairing import Cell, test_images
from alexnet_exp.report.verdicts import size_text

_FILE = Path(__file__).with_name("templates") / "sentences.yaml"
SENTENCES: dict[str, str] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))

ONE_SEED, NOTHING = "one seed", "n/a"
MANY_IMAGES = 10_000
"""From here on one test image is at most 0.01 points, so a second decimal means something."""

_IMAGENET = {c.data_name for c in CLAIMS if not c.four_layers and c.baseline == "baseline"}
HEADINGS = ("idea", "published", "measured", "95 % interval", "verdict")
_SUFFIXES = {
    Metric.top5: " (top-5)", Metric.epochs: " (epochs)", Metric.time: " (time)",
    Metric.color: " (% color)",
}  # fmt: skip
_ANSWERS = {
    Verdict.helps: "{} help{}",
    Verdict.hurts: "{} hurt{}",
    Verdict.no_effect: "no effect as large as published: {}",
    Verdict.below_margin: "no effect as large as the margin of {2}: {0}",
}


def count(number: int, noun: str) -> str:
    """``1 seed``, ``1,024 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lean(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """The same without columns that say nothing."""
    kept = [i for i in range(len(headings)) if {row[i] for row in rows} - {"", NOTHING}]
    return [headings[i] for i in kept], [[row[i] for i in kept] for row in rows]


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def minus(text: str) -> str:
    """With true minus signs before figures; those of names, paths and overrides stay."""
    return re.sub(r"(?<![\w.=/-])-(?=\.?\d)", "\N{MINUS SIGN}", text)


def claim_name(claim: Claim) -> str:
    """The idea, of a network alone its name; and the metric where it is not top-1 error."""
    return (claim.idea or claim.change) + _SUFFIXES.get(claim.metric, "")


def published(claim: Claim) -> str:
    """The published figure with its unit, which is none for points; prose as it is."""
    text = minus(claim.figure_text)
    if not text[-1:].isdigit():
        return text
    if claim.kind.is_ratio:
        return f"{text} times"
    return text + (" %" if claim.kind is Kind.level else "")


def measured(finding: Finding) -> str:
    """The difference in points, the ratio of epochs or times, or the error of a network alone."""
    if finding.claim.kind is Kind.level:
        return "" if finding.baseline is None else percent(finding.baseline)
    if finding.difference is None:
        return ""
    return _in_unit(finding, finding.difference) + " times" * finding.claim.kind.is_ratio


def interval(finding: Finding) -> str:
    """The 95 % interval in the unit of :func:`measured`; ``one seed`` where there is none."""
    if finding.low is None or finding.high is None:
        return ONE_SEED if len(finding.replicates) == 1 else ""
    return f"[{_in_unit(finding, finding.low)}, {_in_unit(finding, finding.high)}]"


def _in_unit(finding: Finding, value: float) -> str:
    if finding.claim.kind.is_ratio:
        return f"{value:.1f}" if finding.claim.kind is Kind.speed else f"{value:.2f}"
    if finding.claim.kind is Kind.level:
        return f"{100 * value:.1f}"
    return points(value, 2 if finding.images >= MANY_IMAGES else 1)


def points(value: float, decimals: int = 1) -> str:
    """A difference of error in points, with its sign; zero has none."""
    text = f"{100 * value:+.{decimals}f}"
    return minus(text) if float(text) else text[1:]


def outcome(finding: Finding) -> str:
    """``helps``, ``not resolved (smaller than published)``."""
    beside = ", ".join(remarks(finding))
    return f"{finding.verdict.value}{beside and f' ({beside})'}"


def remarks(finding: Finding) -> list[str]:
    """What stands beside a verdict: why there is none to be had, how it compares with the paper."""
    unfit = [re.split("[:,]", reason)[0] for reason in finding.unfit[:1]]
    return [*unfit, *(part.value for part in finding.comparison)]


def details(finding: Finding) -> list[tuple[str, str]]:
    """What stands behind a row: label and text of each part."""
    claim = finding.claim
    change = claim.change
    if claim.kind is not Kind.level and claim.changed != claim.baseline:
        change += f" (experiment {claim.changed})"
    later = f"; later: {claim.others}" if claim.others else ""
    figures = [_sides(finding)]
    if finding.baseline_runs:  # a design says it once
        images = count(finding.images, "test image") if finding.images else ""
        figures += [seeds([finding]), images]
    if finding.p_adjusted is not None:
        figures.append(f"p {p_text(finding.p_adjusted)} corrected")
    if finding.resampled is not None:
        low, high = (_in_unit(finding, end) for end in finding.resampled)
        figures.append(f"over folds by Nadeau and Bengio [{low}, {high}]")
    known = f"{claim.figure_text} on {claim.data}; {claim.source}{later}"
    parts = {
        "without it": change,
        "published": known if claim.source else "",
        "measured": "; ".join(filter(None, figures)),
        "why": finding.note,
    }
    return [(label, minus(text)) for label, text in parts.items() if text]


def _sides(finding: Finding) -> str:
    """The metric without and with the change: ``from 13.4 % to 14.8 %``; empty for one network."""
    if finding.claim.kind is Kind.level or finding.baseline is None or finding.changed is None:
        return ""
    if finding.claim.metric is Metric.epochs:
        return f"from {finding.baseline:.1f} to {finding.changed:.1f} epochs"
    if finding.claim.metric is Metric.time:
        return f"from {finding.baseline:.3g} to {finding.changed:.3g} s per epoch"
    sides = f"from {percent(finding.baseline)} to {percent(finding.changed)}"
    return f"{sides} of conv1's energy is color" * (finding.claim.kind is Kind.towers) or sides


def p_text(value: float) -> str:
    """To two digits."""
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def seeds(findings: Sequence[Finding]) -> str:
    """``3 to 5 seeds``, ``5 folds of 2 seeds``; of a design ``3 runs of each`` network."""
    folds = max(finding.folds for finding in findings)
    numbers = sorted({len(finding.replicates) // finding.folds for finding in findings})
    least = f"{numbers[0]} to " if len(numbers) > 1 else ""
    is_design = not findings[0].baseline_runs
    each = least + count(numbers[-1], "run" if is_design else "seed") + " of each" * is_design
    return f"{count(folds, 'fold')} of {each}" if folds > 1 else each


def place(row: Finding | Cell | Factorial) -> str:
    """Data set and base configuration that a row belongs to; ``drawn images`` where they were."""
    named = (row.data, "drawn images" if row.synthetic else "", row.context)
    return ", ".join(part for part in named if part)


def combined(design: Factorial) -> str:
    """What a design is called."""
    return f"{place(design)}: {len(design.factors)} ideas combined"


def was_run(report: Report) -> dict[str, list[Finding]]:
    """Findings with a figure by data set and base configuration.

    Within each top-1 error comes first, then top-5 error, ratios, networks alone; largest first.
    """
    ran = [one for one in report.findings if one.replicates and not one.not_applicable]
    return {name: sorted(own, key=_order) for name, own in grouped(ran, place).items()}


def _order(finding: Finding) -> tuple[bool, bool, bool, float]:
    claim, difference = finding.claim, finding.difference
    largest = float("-inf") if difference is None else difference
    return claim.kind.is_alone, claim.kind.is_ratio, claim.metric is Metric.top5, -largest


def was_not_run(report: Report) -> list[Finding]:
    """Findings without runs, in the order of the report."""
    return [f for f in report.findings if not f.not_applicable and not f.replicates]


def not_applicable(report: Report) -> str:
    """Claims about top-5 error that met five classes or fewer."""
    absent = (claim_name(f.claim) for f in report.findings if f.not_applicable)
    return "; ".join(dict.fromkeys(absent))


def reasons(findings: Iterable[Finding]) -> list[str]:
    """Names of claims without a figure, those with the same reason in one line."""
    lines = []
    for note, members in grouped(findings, lambda finding: finding.note).items():
        names = (
            # The name of a network alone may not tell its data.
            claim_name(one.claim) + f" on {one.claim.data}" * (one.claim.kind is Kind.level)
            for one in members
        )
        lines.append("; ".join(dict.fromkeys(names)) + (note and f": {note}"))
    return lines


def answers(report: Report) -> list[str]:
    """What the report found on each data set and configuration; those without an answer last."""
    found = [
        _answer(design.effects, f" combined in {len(design.cells)} networks")
        for design in report.factorials
        if design.effects
    ]
    alone = " left out by {} (compared with the paper)" if found else ""
    found = [_answer(findings, alone) for findings in was_run(report).values()] + found
    if found:
        return sorted(found, key=lambda answer: answer.startswith("No answer"))
    claims = count(len({f.claim.name for f in report.findings}), "claim")
    there = f"{count(len(report.cells), 'experiment')} found, none with a partner to compare"
    return [f"None of {claims} was run: {there if report.cells else 'no finished runs found'}."]


def _answer(findings: Sequence[Finding], how: str) -> str:
    """Of one data set and configuration; top-5 error is left to the table."""
    ideas = [f for f in findings if not f.claim.kind.is_alone]
    ideas = [f for f in ideas if f.claim.metric is not Metric.top5] or ideas
    said = [f"{claim_name(f.claim)}: {f.verdict}" for f in findings if f.claim.kind.is_alone]
    if ideas:
        one = ideas[0]
        kind = "drawn images" if one.synthetic else "photos"
        known = filter(None, (kind, one.context, seeds(ideas)))
        where = f"on {one.data} ({', '.join(known)})"
        named = {v: [claim_name(f.claim) for f in ideas if f.verdict is v] for v in Verdict}
        left = named.pop(Verdict.not_resolved)
        parts = [
            text.format(listed(names), "s" * (len(names) == 1), margin(ideas))
            for verdict, text in _ANSWERS.items()
            if (names := named[verdict])
        ]
        number, every = len(ideas) - len(left), count(len(ideas), "idea")
        how = how.format("itself" if len(ideas) == 1 else "themselves")
        has = f"{number} {'has' if number == 1 else 'have'} an answer {where}: {'; '.join(parts)}"
        whom = f"any of {every}" if left[1:] else listed(left)
        answer = f"Of {every}{how} {has}" if parts else f"No answer yet {where} for {whom}{how}"
        more = [f"Not resolved: {listed(left)}"] if parts and left else []
        said = [answer, *more, *said]
    return ". ".join(said) + "."


def margin(findings: Iterable[Finding]) -> str:
    """``3 points``, as far as a verdict rests on them."""
    below = (one for one in findings if one.verdict is Verdict.below_margin)
    return listed(list(dict.fromkeys(map(size_text, below))))


def convention(report: Report) -> str:
    """Said once of all data but ImageNet, where AlexNet's differences are of other points."""
    points = [f for f in report.findings if f.claim.kind.in_points]
    other = [f.data for f in points if not f.claim.four_layers and f.data not in _IMAGENET]
    data = listed([*dict.fromkeys(other)])
    return SENTENCES["convention"].format(data=data) if data else ""


def banner(report: Report) -> str:
    """What to say of drawn images; empty where no run saw any."""
    drawn = dict.fromkeys(cell.data for cell in report.cells if cell.synthetic)
    if not drawn:
        return ""
    every = all(cell.synthetic for cell in report.cells)
    subject = "These runs" if every else f"The runs on {', '.join(drawn)}"
    return SENTENCES["drawn"].format(runs=subject)


def provenance(report: Report) -> list[str]:
    """Images, folds, seeds, network and recipe of each data set and configuration."""
    cells = sorted(report.cells, key=lambda cell: cell.experiment != "baseline")
    return ["; ".join(_provenance(members)) + "." for members in grouped(cells, place).values()]


def _provenance(cells: Sequence[Cell]) -> Iterator[str]:
    first, fields = cells[0].first, cells[0].fields
    images, folds = first.result.get("images", {}), fields.get("data.folds")
    name = ", ".join(filter(None, (cells[0].data, cells[0].context)))
    kind = "drawn images" if cells[0].synthetic else "photos"
    yield f"{name}: {kind} of {first.result['classes']} classes"
    tested = test_images(cells[0].runs.values())
    if folds:
        yield f"{tested:,} tested, each once, in {folds} folds"
    if "train" in images and "val" in images:
        each = " in each" if folds else f", {tested:,} to test"
        yield f"{images['train']:,} to train on, {images['val']:,} to choose the epoch{each}"
    numbers = sorted({one.seed for cell in cells for one in cell.runs})
    ends = ([n for n in numbers if n + step not in numbers] for step in (-1, 1))
    rows = (f"{a} to {b}" if a < b else str(a) for a, b in zip(*ends, strict=True))
    yield f"seed{'s' * (len(numbers) > 1)} {', '.join(rows)}"
    yield f"network {cells[0].model} of width {show(fields.get('model.width', 1))}"
    yield f"recipe {show(fields.get('recipe', 'unknown'))}"
    yield f"{first.result['views']} view{'s' * (first.result['views'] == 'ten')}"

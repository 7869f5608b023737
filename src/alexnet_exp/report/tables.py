"""A report as tables: on the screen, as report.md for people, as results.csv for programs."""

import csv
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console
from alexnet_exp.report.devices import EXPLAINED, STRATEGY_HEADINGS, strategy_sections
from alexnet_exp.report.findings import Finding, Group, Kind, Report, Verdict
from alexnet_exp.report.summary import banner, summary, tallies
from alexnet_exp.report.wording import (
    RUN_HEADINGS,
    claim_name,
    commands,
    interval,
    measured,
    not_applicable,
    p_value,
    place,
    published,
    reasons,
    sample,
    section_name,
    section_rows,
    sections,
    sides,
    spreads,
    total_cost,
    value,
    verdict,
    was_not_run,
    was_run,
)

COLUMNS = (
    "claim",
    "factor",
    "change",
    "baseline_experiment",
    "changed_experiment",
    "data",
    "context",
    "metric",
    "kind",
    "n_seeds",
    "seeds",
    "images",
    "baseline",
    "changed",
    "difference",
    "low",
    "high",
    "p_value",
    "p_holm",
    "published",
    "published_text",
    "published_on",
    "source",
    "verdict",
    "size",
    "note",
    "not_applicable",
    "synthetic",
    "command",
)

STYLES = {Verdict.reproduced: "green", Verdict.contradicted: "red", Verdict.not_resolved: "yellow"}
WIDE = 130
"""Columns of a screen from which on the notes stand in the table."""

SHOWN = 5
"""Refused pairings and left-out folders on the screen; report.md has all."""


def show(report: Report) -> None:
    """Print claims and runs."""
    console.print(Text(f"\nReport of {report.runs}", style="bold"), soft_wrap=True)
    if banner(report):
        console.print(Text(banner(report), style="bold yellow"))
    console.print(Text(summary(report)))
    for name, members in groupby(was_run(report), key=place):
        _show_findings(name, list(members))
    absent = "; ".join(dict.fromkeys(claim_name(f.claim) for f in not_applicable(report)))
    if absent:
        console.print(Text(f"n/a (top-5 error on five classes or fewer): {absent}"))
    left = len(was_not_run(report))
    if left:
        console.print(Text(f"not run: {left} published claims, which report.md lists"))
    for groups in sections(report):
        _show_runs(groups)
    for name, rows in strategy_sections(report).items():
        _show_rows(f"strategies on {name}", STRATEGY_HEADINGS, rows)
    if report.groups:
        console.print(Text(f"{total_cost(report)}; images/s, training and peak memory are per run"))
    _show_list("pairings refused", report.refused[:SHOWN], len(report.refused))
    _show_list("folders left out", report.skipped[:SHOWN], len(report.skipped))


def _show_findings(name: str, findings: list[Finding]) -> None:
    wide = console.width >= WIDE
    table = _table(f"{name}: points of error, with a 95 % interval")
    table.add_column("claim", min_width=20)
    table.add_column("published", justify="right")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right")
    table.add_column("verdict", min_width=len(Verdict.not_resolved))
    if wide:
        table.add_column("why")
    for finding in findings:
        claim = finding.claim
        inside = claim.kind in (Kind.experiment, Kind.views)  # their unit stands in the title
        cells = (
            claim_name(claim),
            claim.figure_text if inside else published(claim),
            value(finding),
            str(len(finding.seeds)),
        )
        style = STYLES.get(finding.verdict, "")
        why = [Text(finding.note)] if wide else []
        table.add_row(*map(Text, cells), Text(verdict(finding), style=style), *why)
    console.print(table)
    if not wide:
        open_ones = [f for f in findings if f.size or f.verdict is not Verdict.reproduced]
        _show_list("why", [f"{claim_name(f.claim)}: {f.note}" for f in open_ones])


def _show_runs(groups: list[Group]) -> None:
    kept = [
        heading
        for heading in RUN_HEADINGS
        if console.width >= WIDE or heading not in ("top-5 error", "epochs")
    ]
    places = [RUN_HEADINGS.index(heading) for heading in kept]
    rows = [[row[i] for i in places] for row in section_rows(groups)]
    _show_rows(f"runs on {section_name(groups)}", kept, rows)


def _show_rows(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = _table(title)
    for heading in headings:
        side: JustifyMethod = "left" if heading in ("experiment", "strategy") else "right"
        table.add_column("\n".join(heading.rsplit(" ", 1)), justify=side, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _table(title: str) -> Table:
    gap = 2 if console.width >= WIDE else 1
    console.print(Text(f"\n{title}", style="bold"))
    return Table(box=None, padding=(0, gap, 0, 0), header_style="dim")


def _show_list(title: str, items: Sequence[str], total: int = 0) -> None:
    if not items:
        return
    console.print(Text(f"{title}:", style="bold"))
    for item in items:
        console.print(Text(f"  {item}"))
    if total > len(items):
        console.print(Text(f"  and {total - len(items)} more, all in report.md"))


def write_csv(report: Report, path: Path) -> None:
    """One row per finding, all digits.

    Errors, their differences and intervals are fractions; for ``metric`` epochs or time,
    ``baseline`` and ``changed`` are epochs or seconds per epoch and ``difference`` is their ratio.
    What is unknown is empty.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for finding in report.findings:
            values = _record(finding)
            writer.writerow(values[column] for column in COLUMNS)


def _record(finding: Finding) -> dict[str, object]:
    claim = finding.claim
    same = ("data", "context", "images", "baseline", "changed", "difference", "low", "high")
    return {
        **{name: getattr(finding, name) for name in (*same, "p_value", "p_holm")},
        "claim": claim.name,
        "factor": claim.factor,
        "change": claim.change,
        "baseline_experiment": claim.baseline,
        "changed_experiment": claim.changed,
        "metric": claim.metric.value,
        "kind": claim.kind.value,
        "n_seeds": len(finding.seeds),
        "seeds": " ".join(map(str, finding.seeds)),
        "published": claim.figure,
        "published_text": claim.figure_text,
        "published_on": claim.data,
        "source": claim.source,
        "verdict": finding.verdict.value,
        "size": finding.size,
        "note": finding.note,
        "not_applicable": str(finding.not_applicable).lower(),
        "synthetic": str(finding.synthetic).lower(),
        "command": finding.command,
    }


def write_markdown(report: Report, path: Path) -> None:
    """The whole report as Markdown."""
    parts = [
        "# What each idea in AlexNet buys: published and measured",
        f"> **{_cell(banner(report))}**" if report.synthetic else "",
        summary(report),
        f"Made {report.made} from `{report.runs}`. Figures with curves are in report.html. In"
        " results.csv errors, differences, intervals and published figures are fractions"
        " (0.0137 is 1.37 points); ratios and epochs are as they are.",
        _markdown_table(
            ("verdict", "claims"),
            [
                (name, f"{number}{sizes and f' ({sizes})'}")
                for name, number, sizes in tallies(report)
            ],
        ),
        "## Claims",
        "A positive difference: the change makes the network worse. Intervals hold 95 %.",
        *_claims(report),
        *_runs(report),
        *_listed("Pairings refused", report.refused),
        *_listed("Folders left out", report.skipped),
        "## Commands",
        "Each reproduces the rows named above it.",
        _code(commands(report)),
        "## Methods",
        *report.methods,
        *_listed("Environment", report.environment),
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _claims(report: Report) -> list[str]:
    headings = ("claim", "published", "measured", "95 % interval", "metric")
    parts = []
    for name, members in groupby(was_run(report), key=place):
        rows = [
            (
                f"{claim_name(f.claim)} ({f.claim.factor})",
                f"{published(f.claim)} ({f.claim.source}; {f.claim.data})"
                + (f"; later: {f.claim.others}" if f.claim.others else ""),
                measured(f),
                interval(f),
                sides(f),
                sample(f),
                p_value(f),
                f"**{verdict(f)}**",
                f.note,
            )
            for f in members
        ]
        table = _markdown_table((*headings, "n", "Holm p", "verdict", "why"), rows)
        parts += [f"### {_cell(name)}", table]
    absent = "; ".join(dict.fromkeys(claim_name(f.claim) for f in not_applicable(report)))
    if absent:
        parts.append(f"n/a (top-5 error on five classes or fewer): {_cell(absent)}.")
    missing = reasons(was_not_run(report))
    if missing:
        parts += ["### Not run", "\n".join(f"- {_cell(line)}" for line in missing)]
    return parts


def _runs(report: Report) -> list[str]:
    if not report.groups:
        return []
    parts = ["## Runs and cost", *map(_cell, spreads(report))]
    for groups in sections(report):
        hardware = "; ".join(dict.fromkeys(group.hardware for group in groups))
        parts.append(f"### {_cell(section_name(groups))}; {_cell(hardware)}")
        parts.append(_markdown_table(RUN_HEADINGS, section_rows(groups)))
    for name, rows in strategy_sections(report).items():
        parts += [f"### Strategies: {_cell(name)}", _markdown_table(STRATEGY_HEADINGS, rows)]
    parts += [EXPLAINED] if report.strategies else []
    parts.append(
        f"{total_cost(report)}. Test errors are means over seeds with Student's interval; sd in"
        " points; images/s and training time are means over seeds, peak memory is the largest."
    )
    return parts


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {_cell(item)}" for item in items)] if items else []


def _code(rows: dict[str, list[str]]) -> str:
    if not rows:
        return "None: nothing was run."
    blocks = [f"# {'; '.join(names)}\n{command}" for command, names in rows.items()]
    return "```sh\n" + "\n\n".join(blocks) + "\n```"


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(str(cell)) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text that Markdown neither takes for HTML nor for the end of a cell."""
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        text = text.replace(sign, escaped)
    return " ".join(text.split())

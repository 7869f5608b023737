"""A report on the screen."""

from collections.abc import Iterable, Sequence

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, visible
from alexnet_exp.report import costs, plan, wording
from alexnet_exp.report.claims import Kind
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.wording import claim_name

STYLES = {Verdict.helps: "green", Verdict.hurts: "red", Verdict.not_resolved: "yellow"}
WIDE = 130
"""Columns of a screen from which on the notes stand in the table."""

SHOWN = 5
"""Refused pairings and left-out folders on the screen; report.md has all."""


def show(report: Report) -> None:
    console.print()
    console.print(_text(f"Report of {report.runs}", style="bold"), soft_wrap=True)
    if banner := wording.banner(report):
        console.print(_text(banner, style="bold yellow"))
    console.print(_text(wording.summary(report)))
    for name, findings in wording.was_run(report).items():
        _show_findings(name, findings)
    if wording.not_applicable(report):
        console.print(
            _text(f"n/a (top-5 error on five classes or fewer): {wording.not_applicable(report)}")
        )
    left = len(wording.was_not_run(report))
    if left:
        console.print(_text(f"not run: {left} claims, which report.md lists"))
    kept = [
        i
        for i, heading in enumerate(costs.RUN_HEADINGS)
        if console.width >= WIDE or heading not in ("top-5 error", "epochs")
    ]
    for name, _, rows in costs.sections(report):
        fewer = [[row[i] for i in kept] for row in rows]
        _show_rows(f"runs on {name}", [costs.RUN_HEADINGS[i] for i in kept], fewer)
    for name, rows in costs.strategies(report).items():
        _show_rows(f"strategies on {name}", costs.STRATEGY_HEADINGS, rows)
    if report.cells:
        console.print(
            _text(f"{costs.total_cost(report)}; images/s, training and peak memory are per run")
        )
    _show_list("pairings refused", report.refused[:SHOWN], len(report.refused))
    _show_list("folders left out", report.skipped[:SHOWN], len(report.skipped))


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


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
            claim.figure_text if inside else wording.published(claim),
            wording.value(finding),
            str(len(finding.replicates)),
        )
        style = STYLES.get(finding.verdict, "")
        why = [_text(finding.note)] if wide else []
        table.add_row(*map(_text, cells), _text(wording.verdict(finding), style=style), *why)
    console.print(table)
    if not wide:
        open_ones = [f for f in findings if f.verdict is not Verdict.helps]
        _show_list("why", [f"{claim_name(f.claim)}: {f.note}" for f in open_ones])


def _show_rows(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = _table(title)
    for heading in headings:
        side: JustifyMethod = "left" if heading in ("experiment", "strategy") else "right"
        table.add_column("\n".join(heading.rsplit(" ", 1)), justify=side, no_wrap=True)
    for row in rows:
        table.add_row(*map(_text, row))
    console.print(table)


def _table(title: str) -> Table:
    gap = 2 if console.width >= WIDE else 1
    console.print()
    console.print(_text(title, style="bold"))
    return Table(box=None, padding=(0, gap, 0, 0), header_style="dim")


def _show_list(title: str, items: Sequence[str], total: int = 0) -> None:
    if not items:
        return
    console.print(_text(f"{title}:", style="bold"))
    for item in items:
        console.print(_text(f"  {item}"))
    if total > len(items):
        console.print(_text(f"  and {total - len(items)} more, all in report.md"))


def show_plan(report: Report) -> None:
    """What would settle each claim that has no answer."""
    steps = plan.plan(report)
    if not steps:
        console.print(Text("every claim that was run has an answer, or none can be had"))
        return
    for name, rows in plan.sections(steps).items():
        table = _table(f"what would settle the claims without an answer on {name}")
        for heading in plan.HEADINGS:
            table.add_column(heading, justify="right" if heading == "hours" else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    console.print(
        Text("hours: training of the runs that are lacking, one at a time, as long as those took")
    )
    for command, claims in plan.commands(steps).items():
        console.print(Text(f"\n# {'; '.join(claims)}"), soft_wrap=True)
        console.print(Text(command), soft_wrap=True)

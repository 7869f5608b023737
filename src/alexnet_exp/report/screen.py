"""A report on the screen."""

from collections.abc import Iterable, Sequence

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, visible
from alexnet_exp.report import costs, effects, prospects, wording
from alexnet_exp.report.factors import first_few
from alexnet_exp.report.findings import Report, Verdict

STYLES = {
    Verdict.helps: "green", Verdict.hurts: "red",
    Verdict.no_effect: "cyan", Verdict.below_margin: "cyan",
}  # fmt: skip
WIDE = 130
"""Columns of a screen from which on none of ``_FEWER`` is left out."""

_FEWER = ("top-5 error", "epochs", "by itself")

SHOWN = 5
"""Refused pairings and left-out folders on the screen; report.md has all."""

_LEFT = (
    "idea", "verdict", "experiment", "strategy", "interaction",
    *prospects.HEADINGS[:-1],
)  # fmt: skip
_WRAPPED = (*_LEFT, "published", effects.PUBLISHED, prospects.HEADINGS[-1])


def show(report: Report) -> None:
    _say(f"\nReport of {report.runs}", "bold", soft_wrap=True)
    for answer in wording.answers(report):
        _say(answer)
    if banner := wording.banner(report):
        _say(banner, "bold yellow")
    for line in wording.provenance(report):
        _say(line)
    for name, findings in wording.was_run(report).items():
        rows = [
            (
                wording.claim_name(finding.claim),
                wording.published(finding.claim),
                wording.measured(finding),
                wording.interval(finding),
                _text(wording.outcome(finding), STYLES.get(finding.verdict, "")),
            )
            for finding in findings
        ]
        _show_rows(f"ideas on {name}", wording.HEADINGS, rows)
    if wording.was_run(report):
        _say(f"{wording.SENTENCES['units']} {wording.convention(report)}")
    for design in report.factorials:
        _say(f"\n{wording.combined(design)}", "bold")
        for sentence in design.sentences:
            _say(sentence)
        if design.effects:
            for title, headings, made in effects.tables(report, design):
                _show_rows(title, headings, made)
            _say(wording.SENTENCES["effects"])
    if absent := wording.not_applicable(report):
        _say(f"top-5 error says nothing on five classes or fewer: {absent}")
    if left := len(wording.was_not_run(report)):
        _say(f"not run: {left} claims, which report.md lists, as it does reasons and sources")
    tables = [("runs", table) for table in costs.sections(report)]
    tables += [("strategies", table) for table in costs.strategies(report)]
    for what, table in tables:
        _show_rows(f"{what} on {table.name}", table.headings, table.rows)
    for remark in dict.fromkeys(table.remark for _, table in tables):
        _say(f"{costs.total_cost(report)}. {remark}")
    _show_list("pairings refused", report.refused)
    _show_list("folders left out", report.skipped)


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


def _say(text: str, style: str = "", soft_wrap: bool = False) -> None:
    if text.startswith("\n"):
        console.print()
    console.print(_text(text.lstrip("\n"), style), soft_wrap=soft_wrap)


def _show_rows(title: str, headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    _say(f"\n{title}", "bold")
    gap = 2 if console.width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0), header_style="dim")
    fewer = () if console.width >= WIDE else _FEWER
    kept = [i for i, heading in enumerate(headings) if heading not in fewer]
    for heading in (headings[i] for i in kept):
        side: JustifyMethod = "left" if heading in _LEFT else "right"
        broken = "\n".join(heading.rsplit(" ", 1)) if heading not in _WRAPPED else heading
        table.add_column(broken, justify=side, no_wrap=heading not in _WRAPPED)
    for row in rows:
        cells = (row[i] for i in kept)
        table.add_row(*(cell if isinstance(cell, Text) else _text(cell) for cell in cells))
    console.print(table)


def _show_list(title: str, items: Sequence[str]) -> None:
    if items:
        _say(f"{title}:", "bold")
    for item in first_few(items, SHOWN, "more, all in report.md"):
        _say(f"  {item}")


def show_plan(report: Report) -> None:
    """What would settle each claim, and each main effect, that has no answer."""
    steps = prospects.plan(report)
    if not steps:
        _say("nothing to add: of each idea the report has an answer, or says what is amiss")
        return
    for name, (headings, rows) in prospects.sections(steps).items():
        _show_rows(f"what would settle the ideas without an answer on {name}", headings, rows)
    _say(wording.SENTENCES["hours"])
    for command, ideas in prospects.commands(steps).items():
        _say(f"\n# {'; '.join(ideas)}", soft_wrap=True)
        _say(command, soft_wrap=True)
    _say(f"\n{wording.SENTENCES['settled']}")

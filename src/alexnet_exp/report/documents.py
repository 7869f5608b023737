"""A report as files: report.md for people, results.csv for programs, report.html with figures."""

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alexnet_exp.console import visible
from alexnet_exp.report import costs, effects, wording
from alexnet_exp.report.findings import Finding, Report

_TEMPLATES = Path(__file__).with_name("templates")

_OF_CLAIM = {
    "claim": "name", "idea": "idea", "factor": "factor", "change": "change", "metric": "metric",
    "baseline_experiment": "baseline", "changed_experiment": "changed", "kind": "kind",
    "published": "figure", "published_text": "figure_text", "published_on": "data",
    "source": "source", "seen": "seen",
}  # fmt: skip
COLUMNS = (
    "claim", "idea", "factor", "change", "baseline_experiment", "changed_experiment", "data",
    "context", "metric", "kind", "n_seeds", "seeds", "images", "baseline", "changed", "difference",
    "low", "high", "p_value", "p_adjusted", "published", "published_text", "published_on", "source",
    "seen", "verdict", "comparison", "note", "not_applicable", "synthetic", "command",
)  # fmt: skip
_FORMULA = re.compile(r"[=+\-@](?![\d.]+$)")
# What Markdown takes for more than itself: a "]" only where a link goes on.
_MARKUP = re.compile(r"[\\`*~$#|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^[-+](?=\s)")


def write_csv(report: Report, path: Path) -> None:
    """One row per finding, and per effect of a two-level design, all digits.

    Errors, their differences and intervals are fractions; for ``metric`` epochs or time,
    ``baseline`` and ``changed`` are epochs or seconds per epoch and ``difference`` is their ratio.
    The seeds of an effect are those of all networks. What is unknown is empty. Text that a
    spreadsheet would take for a formula has an apostrophe before it.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for finding in report.findings:
            writer.writerow(_field(finding, column) for column in COLUMNS)
        for design in report.factorials:
            for kind, own in (("effect", design.effects), ("interaction", design.interactions)):
                for finding in own:
                    row = {column: _field(finding, column) for column in COLUMNS} | {"kind": kind}
                    seeds = [one.seed for one in design.replicates]
                    row |= {"n_seeds": len(seeds), "seeds": " ".join(map(str, seeds))}
                    writer.writerow(row.values())


def _field(finding: Finding, column: str) -> object:
    if column == "n_seeds":
        return len(finding.replicates)
    if column == "seeds":
        return " ".join(map(str, finding.seeds))
    if column == "comparison":
        return ", ".join(finding.comparison)
    claim = column in _OF_CLAIM
    value = getattr(finding.claim, _OF_CLAIM[column]) if claim else getattr(finding, column)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{visible(value)}" if _FORMULA.match(value) else visible(value)
    return value


def write_markdown(report: Report, path: Path) -> None:
    _write(report, path, "report.md.jinja")


def write_page(report: Report, path: Path) -> None:
    """The report as one HTML page that needs nothing else: no script, no request, no other file.

    Tables become cards on a screen of 640 px or less and figures have a second layout there;
    on paper (A4) rows, figures and commands are not cut.
    """
    from alexnet_exp.report.curves import figures  # matplotlib takes a second

    _write(report, path, "page.html.jinja", figures=figures(report))


def methods() -> list[str]:
    """How the figures of a report were made, and where they may mislead: paragraphs."""
    text = (_TEMPLATES / "methods.txt").read_text(encoding="utf-8")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _write(report: Report, path: Path, template: str, **more: Any) -> None:
    made = _environment(template.endswith(".md.jinja")).get_template(template)
    more |= {"words": wording, "costs": costs, "effects": effects, "methods": methods()}
    text = made.render(report=report, **more)
    path.write_text(text, encoding="utf-8")


@cache
def _environment(markdown: bool) -> Environment:
    """Templates whose every value is escaped; ``| safe`` is for what is not to be."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=not markdown,
        finalize=_in_markdown if markdown else _shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["minus"] = wording.minus
    return made


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else visible(str(value))


def _in_markdown(value: object) -> object:
    """Text that Markdown takes for nothing else: no HTML, no style, no link, no end of a cell."""
    if isinstance(value, Markup):
        return value
    text = _MARKUP.sub(r"\\\g<0>", visible(str(value)))
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escaped)
    return text

"""A report as one HTML page that needs nothing else: no script, no request, no other file."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from alexnet_exp.report.devices import EXPLAINED, STRATEGY_HEADINGS, strategy_sections
from alexnet_exp.report.figures import figures
from alexnet_exp.report.findings import Finding, Report
from alexnet_exp.report.summary import banner, summary
from alexnet_exp.report.svg import Figure
from alexnet_exp.report.wording import (
    NOT_APPLICABLE,
    ONE_SEED,
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
    was_not_run,
    was_run,
)

TITLE = "What each idea in AlexNet buys"
SIGNS = {"reproduced": "●", "contradicted": "■", "not resolved": "○"}
"""The marks of the forest plot."""


def write_page(report: Report, path: Path) -> None:
    """Write the report as one self-contained HTML file.

    Tables become cards on a screen of 640 px or less and figures have a second layout there;
    on paper (A4) rows, figures and commands are not cut.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    body = [*_top(report), *_claims(report), *_figures(figures(report)), *_runs(report)]
    body += [*_commands(report), *_not_run(report), *_end(report)]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}: {escape(report.runs)}</title>\n<style>\n{style}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _top(report: Report) -> list[str]:
    """Title, banner and the answer at a glance."""
    warning = f'<p class="banner" role="note">{escape(banner(report))}</p>'
    return [
        f"<h1>{TITLE}: published and measured</h1>",
        warning if report.synthetic else "",
        f'<p class="lead">{escape(summary(report))}</p>',
        f'<p class="soft">Made {escape(report.made)} from <code>{escape(report.runs)}</code>.</p>',
    ]


def _claims(report: Report) -> list[str]:
    parts = ['<h2 id="claims">Claims</h2>']
    if was_run(report):
        parts.append(
            "<p>A positive difference means that the change makes the network worse. Brackets"
            " hold 95&nbsp;% intervals.</p>"
        )
    for name, members in groupby(was_run(report), key=place):
        parts += [f"<h3>{escape(name)}</h3>", _claim_table(name, list(members))]
    absent = "; ".join(dict.fromkeys(claim_name(f.claim) for f in not_applicable(report)))
    if absent:
        parts.append(f"<p><b>n/a</b>, top-5 error on five classes or fewer: {escape(absent)}.</p>")
    left = len(was_not_run(report))
    if left:
        parts.append(f'<p>{left} published claims were <a href="#not-run">not run</a>.</p>')
    return parts


def _not_run(report: Report) -> list[str]:
    missing = reasons(was_not_run(report))
    points = "".join(f"<li>{escape(reason)}</li>" for reason in missing)
    return ['<h2 id="not-run">Not run</h2>', f"<ul>{points}</ul>"] if missing else []


def _claim_table(name: str, findings: list[Finding]) -> str:
    # Roles are repeated because a table shown as cards loses them in some browsers.
    headings = ("Claim", "Published", "Measured", "Verdict")
    head = "".join(f'<th role="columnheader" scope="col">{text}</th>' for text in headings)
    rows = "\n".join(_claim_row(finding) for finding in findings)
    return (
        f'<table class="claims" role="table" aria-label="Claims on {escape(name)}">\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody>\n</table>'
    )


def _claim_row(finding: Finding) -> str:
    claim = finding.claim
    kind = NOT_APPLICABLE if finding.not_applicable else finding.verdict.value
    size = f", <b>{finding.size}</b>" if finding.size else ""
    held = p_value(finding)
    bounds = interval(finding)
    bounds = f", {ONE_SEED}" if bounds == ONE_SEED else f" {_number(bounds)}"
    details = ", ".join(part for part in (sides(finding), sample(finding)) if part)
    cells = {
        "Published": _cell(
            f'<span class="figure">{escape(published(claim))}</span>',
            f"{claim.source}; {claim.data}",
            f"Later: {claim.others}" if claim.others else "",
        ),
        "Measured": _cell(
            f'<span class="figure">{_number(measured(finding))}</span>{bounds}',
            details + (f"; p {held if held[0] == '<' else '= ' + held} (Holm)" if held else ""),
        ),
        "Verdict": _cell(
            f'<span class="verdict {kind.replace(" ", "-")}">'
            f'<span aria-hidden="true">{SIGNS.get(kind, "")}</span> {kind}</span>{size}',
            finding.note,
        ),
    }
    data = "".join(
        f'<td role="cell" data-label="{label}">{cell}</td>' for label, cell in cells.items()
    )
    factor = f"<small>{escape(claim.factor)}</small>"
    head = f'<th role="rowheader" scope="row">{escape(claim_name(claim))}{factor}</th>'
    return f'<tr role="row">{head}{data}</tr>'


def _cell(shown: str, *notes: str) -> str:
    small = "".join(f"<small>{escape(note)}</small>" for note in notes if note)
    return f"<div>{shown}{small}</div>"


def _number(text: str) -> str:
    """A measured figure, escaped, with a true minus sign."""
    return escape(text).replace("-", "\N{MINUS SIGN}")


def _figures(drawn: Sequence[Figure]) -> list[str]:
    parts = ['<h2 id="figures">Figures</h2>'] if drawn else []
    for figure in drawn:
        parts.append(
            f"<figure>\n<h3>{escape(figure.title)}</h3>\n"
            f'<div class="wide">{figure.svg}</div>\n<div class="narrow">{figure.narrow_svg}</div>\n'
            f"<figcaption>{escape(figure.caption)}</figcaption>\n</figure>"
        )
    return parts


def _runs(report: Report) -> list[str]:
    parts = ['<h2 id="runs">Runs and cost</h2>']
    parts += [f"<p>{escape(sentence)}</p>" for sentence in spreads(report)]
    for groups in sections(report):
        hardware = "; ".join(dict.fromkeys(group.hardware for group in groups))
        parts.append(f"<h3>{escape(section_name(groups))}; {escape(hardware)}</h3>")
        name = f"Runs on {section_name(groups)}"
        parts.append(_run_table(name, RUN_HEADINGS, section_rows(groups)))
    for name, rows in strategy_sections(report).items():
        parts.append(f"<h3>Strategies: {escape(name)}</h3>")
        parts.append(_run_table(f"Strategies on {name}", STRATEGY_HEADINGS, rows))
    parts += [f'<p class="soft">{escape(EXPLAINED)}</p>'] if report.strategies else []
    if report.groups:
        parts.append(
            f'<p class="soft">{escape(total_cost(report))}. Test errors are means over seeds with'
            " Student&rsquo;s interval; sd in points; images/s and training time are means over"
            " seeds, peak memory is the largest.</p>"
        )
    else:
        parts.append("<p>No finished runs were found.</p>")
    parts += _listed("Pairings refused", report.refused)
    return parts + _listed("Folders left out", report.skipped)


def _run_table(name: str, headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    rows = []
    for first, *others in cells:
        data = "".join(f"<td>{_number(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{escape(first)}</th>{data}</tr>')
    label = escape(name)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n'
        f'<table class="runs">\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody>\n</table>\n</div>"
    )


def _commands(report: Report) -> list[str]:
    rows = commands(report)
    if not rows:
        return []
    parts = ['<h2 id="commands">Commands</h2>', "<p>Each reproduces the rows named above it.</p>"]
    for command, names in rows.items():
        parts.append(f'<p class="rows">{escape("; ".join(names))}</p>')
        parts.append(f"<pre><code>{escape(command)}</code></pre>")
    return parts


def _end(report: Report) -> list[str]:
    parts = ['<h2 id="methods">Methods</h2>'] if report.methods else []
    parts += [f"<p>{escape(paragraph)}</p>" for paragraph in report.methods]
    return parts + _listed("Environment", report.environment)


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    points = "".join(f"<li>{escape(item)}</li>" for item in items)
    return [f"<h3>{title}</h3>", f"<ul>{points}</ul>"]

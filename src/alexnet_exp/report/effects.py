"""A factorial design in tables: effects of single changes, and of what two do together."""

from alexnet_exp.report import wording
from alexnet_exp.report.claims import Kind, Metric
from alexnet_exp.report.findings import Factorial, Finding, Report
from alexnet_exp.report.wording import interval, lean, measured

PUBLISHED = "published for it alone, on ImageNet"
"""Heading of what is no verdict on a main effect, which is of other networks and data."""


def tables(report: Report, design: Factorial) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows: of each idea, and of each contrast that two ideas make."""
    alone = by_itself(report, design)
    main, pairs = design.effects, design.interactions
    one = [alone.get(finding.claim.changed) for finding in main]
    beside = [f"{measured(f)} {interval(f)}" if f else "" for f in one]
    figures = ("measured", "95 % interval", "p", "verdict")
    headings = ("idea", PUBLISHED, "by itself", *figures)
    effects = [
        (f.claim.idea, wording.published(f.claim), text, *_figures(f))
        for f, text in zip(main, beside, strict=True)
    ]
    both = [(f.claim.idea, *_figures(f)) for f in pairs]
    return [
        ("main effects", *lean(headings, effects)),
        ("interactions", *lean(("interaction", *figures), both)),
    ]


def _figures(finding: Finding) -> tuple[str, ...]:
    p_value = "" if finding.low is None else wording.p_text(finding.p_adjusted or 0.0)
    return measured(finding), interval(finding), p_value.removeprefix("= "), finding.verdict


def by_itself(report: Report, design: Factorial) -> dict[str, Finding]:
    """By experiment what leaving out that idea alone does, as far as it was run."""
    return {
        finding.claim.changed: finding
        for finding in report.findings
        if finding.claim.kind is Kind.experiment
        and finding.claim.metric is Metric.top1
        and finding.difference is not None
        and wording.place(finding) == wording.place(design)
    }

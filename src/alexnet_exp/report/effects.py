"""A factorial design in tables: effects of single changes, and of what two do together."""

from alexnet_exp.report.claims import Kind, Metric
from alexnet_exp.report.findings import Factorial, Finding, Report, Verdict
from alexnet_exp.report.wording import claim_name, interval, lean, measured, p_text, place

_RESOLVED = {Verdict.not_resolved: "no", Verdict.below_margin: "less than the margin"}


def tables(report: Report, design: Factorial) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows: of each idea, and of each contrast that two ideas make."""
    alone = by_itself(report, design)
    main, pairs = design.effects, design.interactions
    one = [alone.get(finding.claim.changed) for finding in main]
    beside = [f"{measured(f)} {interval(f)}" if f else "" for f in one]
    effects = [(*_row(f), text, f.verdict) for f, text in zip(main, beside, strict=True)]
    both = [(*_row(f), _RESOLVED.get(f.verdict, "yes")) for f in pairs]
    figures = ("measured", "95 % interval", "p")
    return [
        ("main effects", *lean(("idea", *figures, "by itself", "verdict"), effects)),
        ("interactions", *lean(("interaction", *figures, "resolved"), both)),
    ]


def _row(finding: Finding) -> tuple[str, ...]:
    known = "" if finding.low is None else p_text(finding.p_adjusted or 0.0).removeprefix("= ")
    return claim_name(finding.claim), measured(finding), interval(finding), known


def by_itself(report: Report, design: Factorial) -> dict[str, Finding]:
    """By experiment what leaving out that idea alone does, as far as it was run."""
    return {
        finding.claim.changed: finding
        for finding in report.findings
        if finding.claim.kind is Kind.experiment
        and finding.claim.metric is Metric.top1
        and finding.difference is not None
        and place(finding) == place(design)
    }

"""A factorial design in tables: effects of single changes, and of what two do together."""

from alexnet_exp.designs import contrast_name
from alexnet_exp.report.claims import Kind, Metric, claim_about
from alexnet_exp.report.findings import Direction, Effect, Factorial, Report
from alexnet_exp.report.wording import as_findings, interval, lean, measured, p_text, place, points

_RESOLVED = {Direction.not_resolved: "no", Direction.no_effect: "less than the margin"}


def tables(report: Report, design: Factorial) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows: of each idea, and of each contrast that two ideas make."""
    alone = {
        finding.claim.changed: f"{measured(finding)} {interval(finding)}"
        for finding in report.findings
        if finding.claim.kind is Kind.experiment
        and finding.claim.metric is Metric.top1
        and finding.difference is not None
        and place(finding) == place(design)
    }
    main = [
        (name(effect), *_figures(effect), alone.get(one.claim.changed, ""), one.verdict.value)
        for effect, one in zip(design.effects, as_findings(design), strict=True)
    ]
    pairs = [
        (name(effect), *_figures(effect), _RESOLVED.get(effect.direction, "yes"))
        for effect in design.interactions
    ]
    figures = ("effect", "95 % interval", "p")
    return [
        ("main effects", *lean(("idea", *figures, "by itself", "verdict"), main)),
        ("interactions", *lean(("interaction", *figures, "resolved"), pairs)),
    ]


def name(effect: Effect) -> str:
    """``LRN``; of interactions ``crops by LRN + dropout by flips``."""
    return contrast_name([[claim_about(one).idea for one in term] for term in effect.terms])


def _figures(effect: Effect) -> tuple[str, ...]:
    """Size, interval and p-value."""
    size, ends = points(effect.difference.estimate), effect.difference.ends
    if ends is None:
        return size, "", ""
    shown = f"[{points(ends[0])}, {points(ends[1])}]"
    return size, shown, p_text(effect.p_adjusted).removeprefix("= ")

"""The forest plot: every difference with its interval, and the published figure beside it."""

from collections.abc import Mapping, Sequence
from statistics import median
from textwrap import fill, shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alexnet_exp.report.claims import Kind, Metric
from alexnet_exp.report.drawing import (
    BLUE,
    GRAY,
    INK,
    ORANGE,
    WIDE,
    Figure,
    beside,
    draw_both,
    inches,
)
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.wording import (
    SENTENCES,
    as_findings,
    claim_name,
    count,
    interval,
    measured,
    minus,
    place,
    published,
    was_run,
)

MARKS = {
    Verdict.helps: {"marker": "o", "color": BLUE, "markerfacecolor": BLUE},
    Verdict.hurts: {"marker": "s", "color": ORANGE, "markerfacecolor": ORANGE},
    Verdict.no_effect: {"marker": "x", "color": INK},
    Verdict.not_resolved: {"marker": "o", "color": GRAY, "markerfacecolor": "none"},
}
PUBLISHED = {"marker": "D", "color": INK, "markerfacecolor": "none", "linestyle": "none"}
_TEXT, _BETWEEN = 2.05, 1.55
"""Inches from the axes to the names on its left, and from the measured to the published figures."""


def differences(report: Report, metric: Metric) -> Figure | None:
    """One line for each idea, the largest difference first."""
    sections: dict[str, list[Finding]] = {}
    for name, findings in was_run(report).items():
        for finding in findings:
            plotted = finding.claim.kind in (Kind.experiment, Kind.views)
            if finding.claim.metric is metric and plotted and finding.difference is not None:
                sections.setdefault(name, []).append(finding)
    for design in report.factorials if metric is Metric.top1 else ():
        if design.effects:
            name = f"{len(design.factors)} ideas combined, {place(design)}"
            sections[name] = as_findings(design)
    rows = [finding for members in sections.values() for finding in members]
    if not rows:
        return None
    caption = SENTENCES["differences"].format(metric=metric.value)
    if any(design.effects for design in report.factorials):
        caption += f" {SENTENCES['together']}"
    if any(finding.low is None for finding in rows):
        caption += " A point without a bar comes from one seed."
    return draw_both(
        f"differences-{metric.name}",
        f"What leaving each idea out adds to {metric.value}",
        caption,
        SENTENCES["differences_alt"].format(
            number=count(len(rows), "difference"), metric=metric.value
        ),
        lambda width: _forest(sections, metric, width),
    )


def _forest(sections: dict[str, list[Finding]], metric: Metric, width: float) -> Canvas:
    wide = width == WIDE
    findings = [finding for members in sections.values() for finding in members]
    titled = len(sections) > 1
    lines = len(findings) + len(sections) * titled
    pitch, top, bottom = (0.27, 0.55, 0.5) if wide else (0.3, 0.5, 0.5)
    left, right = (_TEXT + 0.05, 2.35) if wide else (1.42, 0.1)
    height = top + bottom + pitch * lines
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, pitch * lines / height)
    )
    axes.set_xlim(*_ends(findings))
    axes.set_ylim(lines, 0)
    axes.set_yticks([])
    axes.set_xlabel(f"points of {metric.value} without it" if wide else "points without it")
    axes.xaxis.set_major_locator(MaxNLocator(7 if wide else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: minus(f"{x:+g}") if x else "0"))
    start = 0.05 - left
    y = 0
    for name, members in sections.items():
        if titled:
            heading = shorten(name, 90 if wide else 52, placeholder="…")
            beside(axes, start, y + 0.75, heading, weight="bold", va="bottom")
            ends = np.array((start, start + width - 0.1)) / inches(axes)
            axes.axhline(y + 0.9, *ends, color=GRAY, linewidth=0.5, clip_on=False)
            y += 1
        ticks = [x for x in axes.get_xticks() if x and axes.get_xlim()[0] < x < axes.get_xlim()[1]]
        axes.vlines(ticks, y, y + len(members), color=GRAY, alpha=0.3, linewidth=0.6, zorder=0)
        axes.vlines(0, y, y + len(members), color=INK, linewidth=0.8, zorder=1)
        for finding in members:
            _line(axes, y + 0.5, finding, start, wide)
            y += 1
    if wide:
        edge = inches(axes) + 0.15
        beside(axes, edge, -0.15, "measured", va="bottom", color=GRAY)
        beside(axes, edge + _BETWEEN, -0.15, "published", va="bottom", color=GRAY)
    shown = {finding.verdict for finding in findings}
    keys = [
        Line2D([], [], linewidth=1.4, markersize=5.5, label=verdict.value, **mark)  # type: ignore[arg-type]
        for verdict, mark in MARKS.items()
        if verdict in shown
    ]
    keys.append(Line2D([], [], markersize=4.5, label="published", **PUBLISHED))  # type: ignore[arg-type]
    canvas.legend(
        handles=keys,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=5 if wide else 2,
        borderaxespad=0.1,
        columnspacing=1.2,
        handletextpad=0.5,
    )
    return canvas


def _in_points(*values: float | None) -> list[float]:
    return [100 * value for value in values if value is not None]


def _ends(rows: Sequence[Finding]) -> tuple[float, float]:
    """Of the axis; a few far rows do not squeeze all others."""
    shown = [_in_points(row.difference, row.low, row.high, row.claim.named) for row in rows]
    usual = 4 * median(max(map(abs, values)) for values in shown)
    near = [value for values in shown for value in values if abs(value) <= usual]
    low, high = min([0.0, *near]), max([0.0, *near])
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _line(axes: Axes, y: float, finding: Finding, start: float, wide: bool) -> None:
    """The name of an idea, its interval and marks, and on a wide figure its numbers."""
    name = fill(claim_name(finding.claim), 36 if wide else 22)
    beside(axes, start, y, name, va="center", fontsize=9 if wide else 8, linespacing=0.9)
    if wide:
        edge = inches(axes) + 0.15
        beside(axes, edge, y, f"{measured(finding)} {interval(finding)}".strip(), va="center")
        text = published(finding.claim)
        named = any(sign.isdigit() for sign in text)
        beside(axes, edge + _BETWEEN, y, text if named else "no figure", va="center")
    mark = MARKS[finding.verdict]
    low, high = axes.get_xlim()
    (point,), ends = _in_points(finding.difference), _in_points(finding.low, finding.high)
    if ends:
        style = {"color": mark["color"], "solid_capstyle": "butt"}
        axes.plot(np.clip(ends, low, high), (y, y), linewidth=1.6, **style)  # type: ignore[arg-type]
    shown = [(point, mark, 5.8)]
    shown += [(value, PUBLISHED, 4.2) for value in _in_points(finding.claim.named)]
    for value, style, size in shown:
        if low <= value <= high:
            axes.plot(value, y, markersize=size, clip_on=False, zorder=3, **style)  # type: ignore[arg-type]
    shown += [(end, mark, 0.0) for end in ends if low <= point <= high]
    _beyond(axes, y, [(value, style) for value, style, _ in shown if not low <= value <= high])


def _beyond(axes: Axes, y: float, values: Sequence[tuple[float, Mapping[str, str]]]) -> None:
    """An arrow at either end of the axis for what lies beyond it, with its values above."""
    for at, arrow in zip(axes.get_xlim(), "<>", strict=True):
        out = [(value, style) for value, style in values if (value > 0) == (arrow == ">")]
        if not out:
            continue
        style = {**out[0][1], "marker": arrow}
        axes.plot(at, y, markersize=5, clip_on=False, **style)  # type: ignore[arg-type]
        text = ", ".join(
            ("\N{WHITE DIAMOND} " if style is PUBLISHED else "") + minus(f"{value:+.1f}")
            for value, style in out
        )
        side, inward = ("right", -5) if arrow == ">" else ("left", 5)
        style = {"textcoords": "offset points", "ha": side, "va": "bottom"}
        axes.annotate(text, (at, y), (inward, 1.5), fontsize=7, **style)  # type: ignore[arg-type]

"""The forest plot: every difference with its interval, and the published figure beside it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from textwrap import fill, shorten
from typing import NamedTuple

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
from alexnet_exp.report.effects import by_itself
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.wording import (
    SENTENCES,
    claim_name,
    combined,
    count,
    interval,
    measured,
    minus,
    published,
    was_run,
)

MARKS = {
    Verdict.helps: {"marker": "o", "color": BLUE, "markerfacecolor": BLUE},
    Verdict.hurts: {"marker": "s", "color": ORANGE, "markerfacecolor": ORANGE},
    Verdict.no_effect: {"marker": "x", "color": INK},
    Verdict.below_margin: {"marker": "x", "color": BLUE},
    Verdict.not_resolved: {"marker": "o", "color": GRAY, "markerfacecolor": "none"},
}
_HOLLOW = {"color": INK, "markerfacecolor": "none", "linestyle": "none"}
BESIDE = {"published": {"marker": "D", **_HOLLOW}, "by itself": {"marker": "^", **_HOLLOW}}
_SIGNS = {"D": "\N{WHITE DIAMOND} ", "^": "\N{WHITE UP-POINTING TRIANGLE} "}
_TEXT, _BETWEEN = 2.05, 1.55
"""Inches from the axes to the names on its left, and from the measured to the published figures."""


class _Line(NamedTuple):
    """One idea and what is set ``beside`` its difference, of a kind in :data:`BESIDE`: fraction."""

    finding: Finding
    kind: str = "published"
    beside: float | None = None
    text: str = ""


def differences(report: Report, metric: Metric) -> Figure | None:
    """One line for each idea, the largest difference first."""
    sections: dict[str, list[_Line]] = defaultdict(list)
    for name, findings in was_run(report).items():
        for finding in findings:
            plotted = finding.claim.kind in (Kind.experiment, Kind.views)
            if finding.claim.metric is metric and plotted and finding.difference is not None:
                named, text = finding.claim.named, published(finding.claim)
                text = text if any(sign.isdigit() for sign in text) else "no figure"
                sections[name].append(_Line(finding, "published", named, text))
    for design in report.factorials if metric is Metric.top1 else ():
        if design.effects:
            alone = by_itself(report, design)
            for finding in design.effects:
                one = alone.get(finding.claim.changed)
                more = ("by itself", one.difference, _SIGNS["^"] + measured(one)) if one else ()
                sections[combined(design)].append(_Line(finding, *more))
    rows = [line for members in sections.values() for line in members]
    if not rows:
        return None
    caption = SENTENCES["differences"].format(metric=metric.value)
    caption += "".join(f" {SENTENCES[kind]}" for kind in _kinds(rows))
    if any(line.finding.low is None for line in rows):
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


def _forest(sections: dict[str, list[_Line]], metric: Metric, width: float) -> Canvas:
    wide = width == WIDE
    rows = [line for members in sections.values() for line in members]
    titled = len(sections) > 1
    lines = len(rows) + len(sections) * titled
    pitch, top, bottom = (0.27, 0.55, 0.5) if wide else (0.3, 0.5, 0.5)
    left, right = (_TEXT + 0.05, 2.35) if wide else (1.42, 0.1)
    height = top + bottom + pitch * lines
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, pitch * lines / height)
    )
    axes.set_xlim(*_ends(rows))
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
        for line in members:
            _draw(axes, y + 0.5, line, start, wide)
            y += 1
    if wide:
        edge = inches(axes) + 0.15
        beside(axes, edge, -0.15, "measured", va="bottom", color=GRAY)
        beside(axes, edge + _BETWEEN, -0.15, "".join(_kinds(rows)[:1]), va="bottom", color=GRAY)
    shown = {line.finding.verdict for line in rows}
    keys = [
        Line2D([], [], linewidth=1.4, markersize=5.5, label=verdict.value, **mark)  # type: ignore[arg-type]
        for verdict, mark in MARKS.items()
        if verdict in shown
    ]
    keys += [Line2D([], [], markersize=4.5, label=kind, **BESIDE[kind]) for kind in _kinds(rows)]  # type: ignore[arg-type]
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


def _kinds(lines: Sequence[_Line]) -> list[str]:
    """What is set beside any of them."""
    return [kind for kind in BESIDE if any(one.kind == kind and one.beside for one in lines)]


def _in_points(*values: float | None) -> list[float]:
    return [100 * value for value in values if value is not None]


def _ends(lines: Sequence[_Line]) -> tuple[float, float]:
    """Of the axis; a few far rows do not squeeze all others."""
    shown = [_in_points(row.difference, row.low, row.high, beside) for row, _, beside, _ in lines]
    usual = 4 * median(max(map(abs, values)) for values in shown)
    near = [value for values in shown for value in values if abs(value) <= usual]
    low, high = min([0.0, *near]), max([0.0, *near])
    reach = (high - low) / 2  # what lies no farther off squeezes the others little
    near = [v for values in shown for v in values if low - reach <= v <= high + reach]
    low, high = min([0.0, *near]), max([0.0, *near])
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _draw(axes: Axes, y: float, line: _Line, start: float, wide: bool) -> None:
    """The name of an idea, its interval and marks, and on a wide figure its numbers."""
    finding = line.finding
    name = fill(claim_name(finding.claim), 36 if wide else 22)
    beside(axes, start, y, name, va="center", fontsize=9 if wide else 8, linespacing=0.9)
    if wide:
        edge = inches(axes) + 0.15
        beside(axes, edge, y, f"{measured(finding)} {interval(finding)}".strip(), va="center")
        beside(axes, edge + _BETWEEN, y, line.text, va="center")
    mark = MARKS[finding.verdict]
    low, high = axes.get_xlim()
    (point,), ends = _in_points(finding.difference), _in_points(finding.low, finding.high)
    if ends:
        style = {"color": mark["color"], "solid_capstyle": "butt"}
        axes.plot(np.clip(ends, low, high), (y, y), linewidth=1.6, **style)  # type: ignore[arg-type]
    shown = [(point, mark, 5.8)]
    shown += [(value, BESIDE[line.kind], 4.2) for value in _in_points(line.beside)]
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
            (_SIGNS[style["marker"]] if style in BESIDE.values() else "") + minus(f"{value:+.1f}")
            for value, style in out
        )
        side, inward = ("right", -5) if arrow == ">" else ("left", 5)
        style = {"textcoords": "offset points", "ha": side, "va": "bottom"}
        over = 3.0  # points, clear of a mark on the same row
        axes.annotate(text, (at, y), (inward, over), fontsize=7, **style)  # type: ignore[arg-type]

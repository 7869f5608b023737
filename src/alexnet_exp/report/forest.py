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

from alexnet_exp.report import wording
from alexnet_exp.report.claims import Metric
from alexnet_exp.report.drawing import BLUE, GRAY, INK, ORANGE, WIDE, Figure, beside, draw_both
from alexnet_exp.report.effects import by_itself
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.wording import SENTENCES, claim_name, interval, measured, minus

_NONE = {"marker": "x", "color": INK}
MARKS = {
    Verdict.helps: {"marker": "o", "color": BLUE, "markerfacecolor": BLUE},
    Verdict.hurts: {"marker": "s", "color": ORANGE, "markerfacecolor": ORANGE},
    Verdict.no_effect: _NONE,
    Verdict.below_margin: _NONE,
    Verdict.not_resolved: {"marker": "o", "color": GRAY, "markerfacecolor": "none"},
}
_HOLLOW = {"color": INK, "markerfacecolor": "none", "linestyle": "none"}
BESIDE = {"published": {"marker": "D", **_HOLLOW}, "by itself": {"marker": "^", **_HOLLOW}}
_SIGNS = {"D": "\N{WHITE DIAMOND} ", "^": "\N{WHITE UP-POINTING TRIANGLE} "}
_TEXT, _BETWEEN, _LABEL = 2.05, 1.55, 0.45
"""Inches from the axes to the names on its left, from the measured to the published figures, and
for the label of an arrow at an end of the axis."""


class _Line(NamedTuple):
    """One idea and what is set ``beside`` its difference, of a kind in :data:`BESIDE`: fraction."""

    finding: Finding
    kind: str = "published"
    beside: float | None = None
    text: str = ""


def differences(report: Report, metric: Metric) -> Figure | None:
    """One line for each idea, the largest difference first."""
    sections: dict[str, list[_Line]] = defaultdict(list)
    for name, findings in wording.was_run(report).items():
        for finding in findings:
            is_about = finding.claim.metric is metric and finding.claim.kind.in_points
            if is_about and finding.difference is not None:
                named, text = finding.claim.named, wording.published(finding.claim)
                text = text if any(sign.isdigit() for sign in text) else "no figure"
                sections[name].append(_Line(finding, "published", named, text))
    for design in report.factorials if metric is Metric.top1 else ():
        if design.effects:
            alone = by_itself(report, design)
            for finding in design.effects:
                one = alone.get(finding.claim.changed)
                more = ("by itself", one.difference, _SIGNS["^"] + measured(one)) if one else ()
                sections[wording.combined(design)].append(_Line(finding, *more))
    rows = [line for members in sections.values() for line in members]
    if not rows:
        return None
    said = ["differences", *_kinds(rows)] + ["beyond"] * any(_is_beyond(rows))
    said += ["one seed"] * any(line.finding.low is None for line in rows)
    return draw_both(
        f"differences-{metric.name}",
        f"What leaving each idea out adds to {metric.value}",
        " ".join(SENTENCES[key] for key in said).format(metric=metric.value),
        SENTENCES["differences_alt"].format(
            number=wording.count(len(rows), "difference"), metric=metric.value
        ),
        lambda width: _forest(sections, metric, width),
    )


def _forest(sections: dict[str, list[_Line]], metric: Metric, width: float) -> Canvas:
    wide = width == WIDE
    rows = [line for members in sections.values() for line in members]
    titled = len(sections) > 1
    lines = len(rows) + len(sections) * titled
    shown = {line.finding.verdict for line in rows}
    keys = [
        Line2D([], [], linewidth=1.4, markersize=5.5, label=verdict.value, **mark)  # type: ignore[arg-type]
        for verdict, mark in MARKS.items()
        if verdict in shown
    ]
    keys += [Line2D([], [], markersize=4.5, label=kind, **BESIDE[kind]) for kind in _kinds(rows)]  # type: ignore[arg-type]
    has_both = {Verdict.no_effect, Verdict.below_margin} <= shown  # whose names are long
    columns = (3 if has_both else 5) if wide else (1 if has_both else 2)
    pitch, bottom = 0.27 if wide else 0.34, 0.5
    top = 0.17 * -(-len(keys) // columns) + 0.2
    before, after = (_LABEL * beyond for beyond in _is_beyond(rows))
    left, right = (_TEXT + 0.05, 2.35) if wide else (1.42, 0.2)
    left, right = left + before, right + after
    span = width - left - right
    height = top + bottom + pitch * lines
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_axes((left / width, bottom / height, span / width, pitch * lines / height))
    axes.set_xlim(*_ends(rows))
    axes.set_ylim(lines, 0)
    axes.set_yticks([])
    axes.set_xlabel(f"points of {metric.value} without it" if wide else "points without it")
    axes.xaxis.set_major_locator(MaxNLocator(7 if wide else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: minus(f"{x:+g}") if x else "0"))
    start, edge = 0.05 - left, span + after + 0.15
    y = 0
    for name, members in sections.items():
        if titled:
            heading = shorten(name, 64 if wide else 52, placeholder="…")
            beside(axes, start, y + 0.75, heading, weight="bold", va="bottom")
            ends = np.array((start, start + width - 0.1)) / span
            axes.axhline(y + 0.9, *ends, color=GRAY, linewidth=0.5, clip_on=False)
            y += 1
        if wide:
            beside(axes, edge, y - 0.25, "measured", va="bottom", color=GRAY)
            for kind in _kinds(members):
                beside(axes, edge + _BETWEEN, y - 0.25, kind, va="bottom", color=GRAY)
                for row, line in enumerate(members, start=y):
                    beside(axes, edge + _BETWEEN, row + 0.5, line.text, va="center")
        ticks = [x for x in axes.get_xticks() if x and axes.get_xlim()[0] < x < axes.get_xlim()[1]]
        axes.vlines(ticks, y, y + len(members), color=GRAY, alpha=0.3, linewidth=0.6, zorder=0)
        axes.vlines(0, y, y + len(members), color=INK, linewidth=0.8, zorder=1)
        for line in members:
            _draw(axes, y + 0.5, line, start, edge if wide else None)
            y += 1
    canvas.legend(handles=keys, loc="upper left", ncols=columns)
    return canvas


def _kinds(lines: Sequence[_Line]) -> list[str]:
    """What is set beside any of them."""
    there = {line.kind for line in lines if line.beside is not None}
    return [kind for kind in BESIDE if kind in there]


def _in_points(*values: float | None) -> list[float]:
    return [100 * value for value in values if value is not None]


def _values(line: _Line) -> list[float]:
    """All that is drawn of it, points."""
    return _in_points(line.finding.difference, line.finding.low, line.finding.high, line.beside)


def _is_beyond(lines: Sequence[_Line]) -> tuple[bool, bool]:
    """Whether any reaches beyond the left, and beyond the right end of the axis."""
    (low, high), values = _ends(lines), [value for line in lines for value in _values(line)]
    return min(values) < low, max(values) > high


def _ends(lines: Sequence[_Line]) -> tuple[float, float]:
    """Of the axis; a few far rows do not squeeze all others."""
    shown = [_values(line) for line in lines]
    usual = 4 * median(max(map(abs, values)) for values in shown)
    near = [value for values in shown for value in values if abs(value) <= usual]
    low, high = min([0.0, *near]), max([0.0, *near])
    reach = (high - low) / 2  # what lies no farther off squeezes the others little
    near = [v for values in shown for v in values if low - reach <= v <= high + reach]
    low, high = min([0.0, *near]), max([0.0, *near])
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _draw(axes: Axes, y: float, line: _Line, start: float, edge: float | None) -> None:
    """The name of an idea, its interval and marks, and on a wide figure its numbers."""
    finding = line.finding
    name = fill(claim_name(finding.claim), 36 if edge else 22)
    beside(axes, start, y, name, va="center", fontsize=9 if edge else 8, linespacing=1.1)
    if edge:
        beside(axes, edge, y, f"{measured(finding)} {interval(finding)}".strip(), va="center")
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
    """An arrow at either end of the axis for what lies beyond it, its values outside."""
    for at, arrow, side in zip(axes.get_xlim(), "<>", ("right", "left"), strict=True):
        out = [(value, style) for value, style in values if (value > 0) == (arrow == ">")]
        if not out:
            continue
        style = {**out[0][1], "marker": arrow}
        axes.plot(at, y, markersize=5, clip_on=False, **style)  # type: ignore[arg-type]
        text = "\n".join(
            (_SIGNS[style["marker"]] if style in BESIDE.values() else "") + minus(f"{value:+.1f}")
            for value, style in out
        )
        style = {"textcoords": "offset points", "ha": side, "va": "center"}
        away = 5 if arrow == ">" else -5  # points
        axes.annotate(text, (at, y), (away, 0), fontsize=7, **style)  # type: ignore[arg-type]

"""The forest plot: every difference with its interval, and the published figure beside it."""

from collections.abc import Sequence
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
from alexnet_exp.report.wording import claim_name, count, minus, value, was_run

MARKS = {
    Verdict.helps: {"marker": "o", "color": BLUE, "markerfacecolor": BLUE},
    Verdict.hurts: {"marker": "s", "color": ORANGE, "markerfacecolor": ORANGE},
    Verdict.no_effect: {"marker": "|", "color": INK},
    Verdict.not_resolved: {"marker": "o", "color": GRAY, "markerfacecolor": "none"},
}
PUBLISHED = {"marker": "D", "color": INK, "markerfacecolor": "none", "linestyle": "none"}


def differences(report: Report, metric: Metric) -> Figure | None:
    """Forest plot: one row per finding."""
    sections: dict[str, list[Finding]] = {}
    for name, findings in was_run(report).items():
        for finding in findings:
            plotted = finding.claim.kind in (Kind.experiment, Kind.views)
            if finding.claim.metric is metric and plotted and finding.difference is not None:
                sections.setdefault(name, []).append(finding)
    rows = [finding for members in sections.values() for finding in members]
    if not rows:
        return None
    caption = (
        "Change of error in points, with its 95 % interval over seeds and test images; right of"
        " zero the change makes the network worse. Diamonds are the published figures."
    )
    if any(finding.low is None for finding in rows):
        caption += " A point without a bar comes from one seed."
    return draw_both(
        f"differences-{metric.name}",
        f"What each change does to {metric.value}",
        caption,
        f"Forest plot of {count(len(rows), 'difference')} in {metric.value}; the table of claims"
        " holds its values.",
        lambda width: _forest(sections, metric, width),
    )


def _forest(sections: dict[str, list[Finding]], metric: Metric, width: float) -> Canvas:
    wide = width == WIDE
    findings = [finding for members in sections.values() for finding in members]
    pitch = 0.35 if wide else 0.46
    lines = len(findings) + len(sections)
    top, bottom = (0.3, 0.5) if wide else (0.42, 0.5)
    height = top + bottom + pitch * lines
    canvas = Canvas(figsize=(width, height))
    left, right = (2.3, 2.9) if wide else (0.1, 0.1)
    axes = canvas.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, pitch * lines / height)
    )
    limit = _limit(findings)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(lines, 0)
    axes.set_yticks([])
    axes.set_xlabel(f"points of {metric.value}; right: worse with the change")
    axes.xaxis.set_major_locator(MaxNLocator(7 if wide else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: minus(f"{x:+g}") if x else "0"))
    y = 0
    for name, members in sections.items():
        heading = shorten(name, 60 if wide else 46, placeholder="…")
        beside(axes, -2.2 if wide else 0.0, y + 0.8, heading, weight="bold", va="bottom")
        ends = np.array((-2.2, 5.1) if wide else (0.0, 3.55)) / inches(axes)
        axes.axhline(y + 0.9, *ends, color=GRAY, linewidth=0.5, clip_on=False)
        if wide:
            _grid(axes, y + 1, y + 1 + len(members))
        for finding in members:
            y += 1
            (_wide_row if wide else _narrow_row)(axes, y, finding, limit)
        y += 1
    if wide:
        beside(axes, 2.35, 0.8, "measured", va="bottom")
        beside(axes, 4.1, 0.8, "published", va="bottom")
    shown = {finding.verdict for finding in findings}
    keys = [
        Line2D([], [], linewidth=1.4, markersize=5.5, label=verdict.value, **mark)  # type: ignore[arg-type]
        for verdict, mark in MARKS.items()
        if verdict in shown
    ]
    keys.append(Line2D([], [], markersize=5, label="published", **PUBLISHED))  # type: ignore[arg-type]
    canvas.legend(
        handles=keys,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4 if wide else 2,
        borderaxespad=0.3,
    )
    return canvas


def _grid(axes: Axes, start: float, end: float) -> None:
    """Lines at the ticks over the rows of one section, clear of its heading."""
    ticks = [tick for tick in axes.get_xticks() if tick and abs(tick) < axes.get_xlim()[1]]
    axes.vlines(ticks, start, end, color=GRAY, alpha=0.35, linewidth=0.6, zorder=0)
    axes.vlines(0, start, end, color=INK, linewidth=0.8, zorder=1)


def _limit(rows: Sequence[Finding]) -> float:
    """Half the width of the axis in points; a few far rows do not squeeze all others."""
    ends = ((row.difference, row.low, row.high, row.claim.figure) for row in rows)
    reach = [max(100 * abs(end) for end in of_row if end is not None) for of_row in ends]
    usual = 4 * median(reach)
    return 1.12 * max([far for far in reach if far <= usual] or reach) or 1.0


def _wide_row(axes: Axes, y: float, finding: Finding, limit: float) -> None:
    middle = y + 0.5
    _marks(axes, middle, finding, limit)
    beside(axes, -2.2, middle, _lines(claim_name(finding.claim), 31), va="center")
    size = "".join(f"\n{part}" for part in finding.comparison[1:])
    beside(axes, 2.35, middle, minus(value(finding)) + size, va="center")
    beside(axes, 4.1, middle, _lines(finding.claim.figure_text, 15), va="center")


def _narrow_row(axes: Axes, y: float, finding: Finding, limit: float) -> None:
    size = "".join(f", {part.name}" for part in finding.comparison[1:])
    label = shorten(claim_name(finding.claim), 29 - len(size), placeholder="…")
    beside(axes, 0.0, y + 0.42, label, va="bottom")
    beside(axes, 3.55, y + 0.42, minus(value(finding)) + size, va="bottom", ha="right")
    axes.plot((0, 0), (y + 0.46, y + 0.98), color=INK, linewidth=0.8)  # clear of the words
    _marks(axes, y + 0.68, finding, limit)


def _lines(text: str, width: int) -> str:
    """At most two lines."""
    return fill(shorten(text, 2 * width - 2, placeholder="…"), width)


def _marks(axes: Axes, y: float, finding: Finding, limit: float) -> None:
    """Interval and point of one finding, the published figure just below."""
    assert finding.difference is not None
    mark, points = dict(MARKS[finding.verdict]), 100 * finding.difference
    if finding.low is not None and finding.high is not None:
        ends = np.clip((100 * finding.low, 100 * finding.high), -limit, limit)
        axes.plot(ends, (y, y), color=mark["color"], linewidth=1.6, solid_capstyle="butt")
    if abs(points) > limit:
        mark["marker"] = ">" if points > 0 else "<"
    axes.plot(np.clip(points, -limit, limit), y, markersize=6, clip_on=False, **mark)  # type: ignore[arg-type]
    if finding.claim.figure is not None and abs(100 * finding.claim.figure) <= limit:
        axes.plot(100 * finding.claim.figure, y + 0.22, markersize=4.2, **PUBLISHED)  # type: ignore[arg-type]

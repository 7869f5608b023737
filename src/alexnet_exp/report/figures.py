"""The figures of a report."""

from itertools import groupby
from textwrap import shorten

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alexnet_exp.report.curves import activation_groups, activations, learning_curves
from alexnet_exp.report.findings import Group, Metric, Report
from alexnet_exp.report.forest import differences
from alexnet_exp.report.svg import BLUE, INK, MOST, WIDE, Figure, beside, draw_both, left_out
from alexnet_exp.report.wording import count, ordered_groups, place


def figures(report: Report) -> list[Figure]:
    """Every figure of the report that has something to show."""
    drawn = [differences(report, metric) for metric in (Metric.top1, Metric.top5)]
    datasets = list(dict.fromkeys(group.data for group in report.groups))
    for number, data in enumerate(datasets):
        drawn.append(learning_curves(report, data, number))
    for number, (name, groups) in enumerate(activation_groups(report).items()):
        drawn.append(activations(name, groups, number))
    drawn.append(_throughput(report))
    return [figure for figure in drawn if figure is not None]


def _throughput(report: Report) -> Figure | None:
    """Bars of images/s."""
    groups = [group for group in ordered_groups(report) if group.images_per_second]
    if not groups:
        return None
    sections = [
        (name, list(members))
        for name, members in groupby(groups[:MOST], key=lambda g: f"{place(g)}; {g.hardware}")
    ]
    return draw_both(
        "throughput",
        "Training throughput",
        "Images per second: mean over seeds; the line spans the slowest to the fastest seed."
        + left_out(len(groups)),
        f"Bars of training images per second for {count(len(groups), 'experiment')}; the table"
        " of runs holds the values.",
        lambda width: _bars(sections, width),
    )


def _bars(sections: list[tuple[str, list[Group]]], width: float) -> Canvas:
    lines = sum(len(members) + 1 for _, members in sections)
    pitch, bottom, left = 0.25, 0.5, 1.8
    height = bottom + 0.1 + pitch * lines
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_axes(
        (left / width, bottom / height, 1 - (left + 0.12) / width, pitch * lines / height)
    )
    y = 0
    for name, members in sections:
        label = shorten(name, 84 if width == WIDE else 44, placeholder="…")
        beside(axes, -left + 0.05, y + 0.75, label, weight="bold", va="bottom")
        for group in members:
            y += 1
            speeds = group.images_per_second
            axes.barh(y + 0.5, np.mean(speeds), height=0.62, color=BLUE, alpha=0.55)
            if len(speeds) > 1:
                axes.plot((min(speeds), max(speeds)), (y + 0.5, y + 0.5), color=INK, linewidth=1.2)
            beside(axes, -0.08, y + 0.5, group.experiment, va="center", ha="right")
            text = f"{np.mean(speeds):,.0f}"
            axes.annotate(
                text,
                (max(speeds), y + 0.5),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        y += 1
    fastest = max(max(group.images_per_second) for _, members in sections for group in members)
    axes.set_xlim(0, fastest * (1.14 if width == WIDE else 1.35))
    axes.set_ylim(lines, 0)
    axes.set_yticks([])
    axes.set_xlabel("images/s")
    axes.xaxis.set_major_locator(MaxNLocator(6 if width == WIDE else 3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    return canvas

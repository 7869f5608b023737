"""Learning curves: each changed network beside its baseline, and the paper's figure 1."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from alexnet_exp.report.findings import Group, Report
from alexnet_exp.report.svg import (
    BLUE,
    GRAY,
    INK,
    MOST,
    ORANGE,
    WIDE,
    Figure,
    draw_both,
    left_out,
)
from alexnet_exp.report.wording import count, ordered_groups, place

ACTIVATIONS = {
    "baseline": ("ReLU", BLUE, "-"),
    "tanh": ("tanh", ORANGE, (0, (5, 2))),
    "sigmoid": ("logistic", INK, (0, (1, 1.5))),
}
LEAST = 1e-3
"""Least error that is drawn, since a logarithmic axis has no zero."""

FAST = 0.25
"""Training error that the paper's figure 1 compares activations at."""


def learning_curves(report: Report, data: str, number: int) -> Figure | None:
    """Small multiples: each changed network beside its baseline."""
    groups = [g for g in ordered_groups(report) if g.data == data and any(g.val_curves)]
    bases = {f.claim.changed: f.claim.baseline for f in report.findings}
    pairs = [(group, _partner(group, bases, groups)) for group in groups]
    used = {id(base) for _, base in pairs if base is not None}
    pairs = [(group, base) for group, base in pairs if base is not None or id(group) not in used]
    if not pairs:
        return None
    name = place(replace(groups[0], context=""))
    panels = count(len(pairs), "experiment")
    return draw_both(
        f"curves-{number}",
        f"Validation error by epoch, {name}",
        "Top-1 error: mean over seeds, with a band from the lowest to the highest seed, as far"
        " as all seeds were trained; the axis is logarithmic. Solid: the experiment. Dashed: its"
        f" baseline.{left_out(len(pairs))}",
        f"Learning curves of {panels} on {name}, each beside its baseline.",
        lambda width: _panels(pairs[:MOST], width),
    )


def _partner(group: Group, bases: dict[str, str], groups: list[Group]) -> Group | None:
    name = bases.get(group.experiment, "baseline")
    for other in groups:
        if other.context == group.context and other.experiment == name and other is not group:
            return other
    return None


def _panels(pairs: list[tuple[Group, Group | None]], width: float) -> Canvas:
    columns = min(4 if width == WIDE else 2, len(pairs))
    rows = -(-len(pairs) // columns)
    titles = [_panel_title(group) for group, _ in pairs]
    gap = 0.3 + 0.15 * max(title.count("\n") + 1 for title in titles)
    width = min(width, 0.7 + 3.0 * columns)
    height = 0.5 + rows * (1.2 + gap)
    canvas = Canvas(figsize=(width, height))
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    canvas.subplots_adjust(
        left=0.5 / width,
        right=1 - 0.1 / width,
        bottom=0.5 / height,
        top=1 - (gap - 0.2) / height,
        hspace=gap / 1.2,
        wspace=0.12,
    )
    for axes in grid.flat[len(pairs) :]:
        axes.set_axis_off()
    for number, (group, base) in enumerate(pairs):
        axes = grid.flat[number]
        if base is not None:
            _curve(axes, base.val_curves, GRAY, (0, (3, 1.5)))
        _curve(axes, group.val_curves, BLUE, "-")
        axes.set_title(titles[number], loc="left")
        axes.grid(axis="y")
        if number + columns >= len(pairs):
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
    axes = grid.flat[0]  # the others share its scales
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_as_percent))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return canvas


def _panel_title(group: Group) -> str:
    return "\n".join(part for part in (group.experiment, fill(group.context, 26)) if part)


def _as_percent(error: float, _: int) -> str:
    return f"{100 * error:g} %"


def _curve(axes: Axes, curves: Sequence[Sequence[float]], color: str, dashes: object) -> None:
    """Mean over seeds with a band from the lowest to the highest."""
    shortest = min(len(curve) for curve in curves)
    values = np.array([curve[:shortest] for curve in curves]).clip(LEAST, None)
    epochs = np.arange(1, shortest + 1)
    if len(values) > 1:
        axes.fill_between(
            epochs, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0
        )
    mark = "o" if shortest == 1 else ""
    axes.plot(epochs, values.mean(0), color=color, linestyle=dashes, linewidth=1.5, marker=mark)


def activation_groups(report: Report) -> dict[str, list[Group]]:
    """Per data set and configuration, the fastest learning rate of each activation."""
    found: dict[str, dict[str, Group]] = {}
    for group in ordered_groups(report):
        if group.experiment not in ACTIVATIONS or not any(group.train_curves):
            continue
        rest = [word for word in group.context.split(", ") if not word.startswith("optim.lr=")]
        best = found.setdefault(place(replace(group, context=", ".join(rest))), {})
        rival = best.get(group.experiment)
        if rival is None or _slowness(group) < _slowness(rival):
            best[group.experiment] = group
    return {
        name: [best[key] for key in ACTIVATIONS if key in best]
        for name, best in found.items()
        if len(best) > 1 and "baseline" in best
    }


def _slowness(group: Group) -> tuple[float, float]:
    """Epochs to 25 % training error, then the last error that all seeds recorded."""
    shortest = min(len(curve) for curve in group.train_curves)
    mean = np.mean([curve[:shortest] for curve in group.train_curves], axis=0)
    reached = np.flatnonzero(mean <= FAST)
    known = mean[np.isfinite(mean)]  # an epoch without a row has no error
    last = float(known[-1]) if len(known) else np.inf
    return (float(reached[0]) if len(reached) else np.inf, last)


def activations(name: str, groups: list[Group], number: int) -> Figure:
    """The paper's figure 1."""
    names = " and ".join(ACTIVATIONS[group.experiment][0] for group in groups)
    return draw_both(
        f"activations-{number}",
        f"Training error by epoch for each activation, {name}",
        "Top-1 training error: mean over seeds, with a band from the lowest to the highest seed;"
        " as in figure 1 of the paper, the horizontal line marks 25 %. Where several learning"
        " rates were run, each activation has the one that reached it first.",
        f"Training error by epoch for {names} on {name}, with a line at 25 %.",
        lambda width: _training_curves(groups, width),
    )


def _training_curves(groups: list[Group], width: float) -> Canvas:
    canvas = Canvas(figsize=(width, 3.2), layout="constrained")
    axes = canvas.subplots()
    axes.axhline(FAST, color=INK, linewidth=0.8)
    keys = []
    for group in groups:
        name, color, dashes = ACTIVATIONS[group.experiment]
        _curve(axes, group.train_curves, color, dashes)
        rates = [word for word in group.context.split(", ") if word.startswith("optim.lr=")]
        label = ", ".join([name, *rates])
        keys.append(Line2D([], [], color=color, linestyle=dashes, label=label))  # type: ignore[arg-type]
    axes.set_ylim(0, None)
    axes.set_xlim(0, None)
    axes.set_yticks([0, FAST, 2 * FAST, 3 * FAST])
    axes.yaxis.set_major_formatter(FuncFormatter(_as_percent))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training error")
    axes.grid(axis="y")
    # Above the axes, where no curve runs.
    columns = len(keys) if width == WIDE else 1
    canvas.legend(handles=keys, loc="outside upper center", ncols=columns, handlelength=2.6)
    return canvas

"""The figures of a report; its curves: each network beside its baseline, the paper's figure 1."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from alexnet_exp.report.claims import Metric
from alexnet_exp.report.costs import ordered_cells
from alexnet_exp.report.drawing import BLUE, GRAY, INK, ORANGE, WIDE, Figure, draw_both
from alexnet_exp.report.findings import Report
from alexnet_exp.report.forest import differences
from alexnet_exp.report.half_normal import half_normal
from alexnet_exp.report.measures import RATE
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.ratios import TARGET, tune
from alexnet_exp.report.wording import SENTENCES, count, place

ACTIVATIONS = {
    "baseline": ("ReLU", BLUE, "-"),
    "tanh": ("tanh", ORANGE, (0, (5, 2))),
    "sigmoid": ("logistic", INK, (0, (1, 1.5))),
}
LEAST = 1e-3
"""Least error that is drawn, since a logarithmic axis has no zero."""

MOST = 40
"""Panels in one figure; more cannot be read and take long to draw."""


def figures(report: Report) -> list[Figure]:
    """Every figure of the report that has something to show."""
    drawn = [differences(report, metric) for metric in (Metric.top1, Metric.top5)]
    drawn += [half_normal(design, number) for number, design in enumerate(report.factorials)]
    for number, data in enumerate(dict.fromkeys(cell.data for cell in report.cells)):
        drawn.append(learning_curves(report, data, number))
    for number, (name, cells) in enumerate(activation_cells(report).items()):
        drawn.append(activations(name, cells, number))
    return [figure for figure in drawn if figure is not None]


def learning_curves(report: Report, data: str, number: int) -> Figure | None:
    """Small multiples: each changed network beside its baseline."""
    cells = [cell for cell in ordered_cells(report) if cell.data == data]
    bases = {f.claim.changed: f.claim.baseline for f in report.findings}
    pairs = [(cell, _partner(cell, bases, cells)) for cell in cells]
    used = {id(base) for _, base in pairs if base is not None}
    pairs = [(cell, base) for cell, base in pairs if base is not None or id(cell) not in used]
    if not pairs:
        return None
    name = place(replace(cells[0], words=()))
    left = len(pairs) - MOST
    return draw_both(
        f"curves-{number}",
        f"Validation error by epoch, {name}",
        SENTENCES["curves"] + (f" {left:,} more are not drawn." if left > 0 else ""),
        SENTENCES["curves_alt"].format(number=count(len(pairs), "experiment"), name=name),
        lambda width: _panels(pairs[:MOST], width),
    )


def _partner(cell: Cell, bases: dict[str, str], cells: Sequence[Cell]) -> Cell | None:
    name = bases.get(cell.experiment, "baseline")
    near = (one for one in cells if one.words == cell.words and one is not cell)
    return next((one for one in near if one.experiment == name), None)


def _panels(pairs: Sequence[tuple[Cell, Cell | None]], width: float) -> Canvas:
    columns = min(4 if width == WIDE else 2, len(pairs))
    rows = -(-len(pairs) // columns)
    titles = [
        "\n".join(fill(part, 24) for part in (name, *cell.words, *cell.apart))
        for cell, _ in pairs
        for name in [cell.experiment.replace("+", " + ")]
    ]
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
    for number, (cell, base) in enumerate(pairs):
        axes = grid.flat[number]
        if base is not None:
            _curve(axes, [run.val_curve for run in base.runs.values()], GRAY, (0, (3, 1.5)))
        _curve(axes, [run.val_curve for run in cell.runs.values()], BLUE, "-")
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


def _as_percent(error: float, _: int) -> str:
    return f"{100 * error:g} %"


def _curve(axes: Axes, curves: Sequence[Sequence[float]], color: str, dashes: object) -> None:
    """Mean over seeds with a band from the lowest to the highest."""
    shortest = min(map(len, curves))
    values = np.array([curve[:shortest] for curve in curves]).clip(LEAST, None)
    epochs = np.arange(1, shortest + 1)
    if len(values) > 1:
        axes.fill_between(
            epochs, values.min(0), values.max(0), color=color, alpha=0.25, linewidth=0
        )
    mark = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, values.mean(0), color=color, linestyle=dashes, linewidth=1.5, marker=mark)


def activation_cells(report: Report) -> dict[str, list[Cell]]:
    """Per data set and configuration, the fastest learning rate of each activation."""
    found: dict[str, dict[str, list[Cell]]] = {}
    for cell in ordered_cells(report):
        if cell.experiment in ACTIVATIONS:
            rest = tuple(word for word in cell.words if not word.startswith(f"{RATE}="))
            rates = found.setdefault(place(replace(cell, words=rest)), {})
            rates.setdefault(cell.experiment, []).append(cell)
    return {
        name: [tune(rates[key]).cell for key in ACTIVATIONS if key in rates]
        for name, rates in found.items()
        if len(rates) > 1 and "baseline" in rates
    }


def activations(name: str, cells: list[Cell], number: int) -> Figure:
    """The paper's figure 1."""
    names = " and ".join(ACTIVATIONS[cell.experiment][0] for cell in cells)
    return draw_both(
        f"activations-{number}",
        f"Training error by epoch for each activation, {name}",
        SENTENCES["activations"],
        SENTENCES["activations_alt"].format(names=names, name=name),
        lambda width: activation_curves(cells, width),
    )


def activation_curves(cells: list[Cell], width: float) -> Canvas:
    """Draws them; ``width`` in inches."""
    canvas = Canvas(figsize=(width, 3.2), layout="constrained")
    axes = canvas.subplots()
    axes.axhline(TARGET, color=INK, linewidth=0.8)
    keys = []
    for cell in cells:
        name, color, dashes = ACTIVATIONS[cell.experiment]
        _curve(axes, [run.train_curve for run in cell.runs.values()], color, dashes)
        rates = [word for word in cell.words if word.startswith(f"{RATE}=")]
        label = ", ".join([name, *rates])
        keys.append(Line2D([], [], color=color, linestyle=dashes, label=label))  # type: ignore[arg-type]
    axes.set_ylim(0, None)
    axes.set_xlim(0, None)
    axes.set_yticks([0, TARGET, 2 * TARGET, 3 * TARGET])
    axes.yaxis.set_major_formatter(FuncFormatter(_as_percent))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training error")
    axes.grid(axis="y")
    # Above the axes, where no curve runs.
    columns = len(keys) if width == WIDE else 1
    canvas.legend(handles=keys, loc="outside upper center", ncols=columns, handlelength=2.6)
    return canvas

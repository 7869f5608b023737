"""The half-normal plot: which contrasts of a factorial design are larger than noise would be."""

from textwrap import shorten

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from scipy import stats

from alexnet_exp.report.drawing import BLUE, GRAY, INK, ORANGE, WIDE, Figure, draw_both
from alexnet_exp.report.findings import Direction, Factorial
from alexnet_exp.report.wording import count, minus, place

_LABELED = 5

_KINDS = {
    "main effects": {"marker": "o", "color": BLUE},
    "interactions of two": {"marker": "s", "color": ORANGE, "markerfacecolor": "none"},
    "of three or more": {"marker": "x", "color": GRAY},
}


def half_normal(design: Factorial, number: int) -> Figure | None:
    """Sizes of all contrasts over the quantiles that noise would have; None without a design."""
    if not design.effects:
        return None
    name = place(design)
    size = count(design.combinations - 1, "contrast")
    return draw_both(
        f"half-normal-{number}",
        f"Size of each effect and interaction, {name}",
        f"All {size} of the design, in points: noise alone would lie along the line, whose slope is"
        f" Lenth's pseudo standard error, {100 * design.pseudo_error:.2f} points. What lies far"
        " above it is not noise. The largest are named, with their sign.",
        f"Half-normal plot of {size} on {name}; the tables of effects and interactions hold the"
        " values.",
        lambda width: _plot(design, width),
    )


def _plot(design: Factorial, width: float) -> Canvas:
    wide = width == WIDE
    canvas = Canvas(figsize=(width, 3.6), layout="constrained")
    axes = canvas.subplots()
    points = [
        (100 * effect.difference.estimate, kind, effect)
        for kind, effects in zip(_KINDS, (design.effects, design.interactions), strict=False)
        for effect in effects
    ]
    rest = [(100 * estimate, "of three or more", None) for estimate in design.others]
    ordered = sorted([*points, *rest], key=lambda point: abs(point[0]))
    ranks = (np.arange(len(ordered)) + 0.5) / len(ordered)
    quantiles = stats.norm.ppf((1 + ranks) / 2)
    for kind, mark in _KINDS.items():
        shown = [i for i, point in enumerate(ordered) if point[1] == kind]
        if shown:
            sizes = [abs(ordered[i][0]) for i in shown]
            axes.plot(quantiles[shown], sizes, linestyle="", markersize=5.5, label=kind, **mark)  # type: ignore[arg-type]
    end = 1.05 * quantiles[-1]
    axes.plot((0, end), (0, 100 * design.pseudo_error * end), color=INK, linewidth=0.8)
    for x, (value, _, effect) in list(zip(quantiles, ordered, strict=True))[-_LABELED:]:
        if effect is not None:
            label = shorten(effect.name, 44 if wide else 22, placeholder=" …")
            weight = "normal" if effect.direction is Direction.not_resolved else "bold"
            text = f"{label}, {minus(f'{value:+.1f}')}  "
            axes.text(x, abs(value), text, ha="right", va="center", weight=weight, fontsize=8.5)
    axes.set_xlim(0, end)
    axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y")
    axes.set_xlabel("half-normal quantile")
    axes.set_ylabel("size in points of top-1 error")
    canvas.legend(loc="outside upper center", ncols=3 if wide else 1)
    return canvas

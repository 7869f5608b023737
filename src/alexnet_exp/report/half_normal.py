"""The half-normal plot: which contrasts of a factorial design are larger than noise would be."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from scipy import stats

from alexnet_exp.report.drawing import BLUE, GRAY, INK, ORANGE, WIDE, Figure, draw_both
from alexnet_exp.report.findings import Factorial
from alexnet_exp.report.wording import SENTENCES, count, minus, place

_NUMBERED = 5

_KINDS = {
    "main effects": {"marker": "o", "color": BLUE},
    "interactions of two": {"marker": "s", "color": ORANGE, "markerfacecolor": "none"},
    "of three or more": {"marker": "x", "color": GRAY},
}


def half_normal(design: Factorial, number: int) -> Figure | None:
    """Sizes of all contrasts over the quantiles that noise would have; None without a design."""
    if not design.effects:
        return None
    main, pairs, more = _KINDS
    points = [
        (100 * (finding.difference or 0.0), kind, finding.claim.idea)
        for kind, of in ((main, design.effects), (pairs, design.interactions))
        for finding in of
    ]
    points += [(100 * estimate, more, more) for estimate in design.others]
    points.sort(key=lambda point: -abs(point[0]))
    named = "; ".join(
        f"{i}: {name}, {minus(f'{size:+.1f}')}"
        for i, (size, _, name) in enumerate(points[:_NUMBERED], start=1)
    )
    where, number_of = place(design), count(len(points), "contrast")
    return draw_both(
        f"half-normal-{number}",
        f"Size of each effect and interaction, {where}",
        SENTENCES["half_normal"].format(
            number=number_of, error=100 * design.pseudo_error, named=named
        ),
        SENTENCES["half_normal_alt"].format(number=number_of, name=where),
        lambda width: _plot(points, design.pseudo_error, width),
    )


def _plot(points: Sequence[tuple[float, str, str]], error: float, width: float) -> Canvas:
    """Of sizes (points), kinds and names from the largest down; ``error`` is a fraction."""
    canvas = Canvas(figsize=(width, 3.4), layout="constrained")
    axes = canvas.subplots()
    ranks = (len(points) - 0.5 - np.arange(len(points))) / len(points)
    quantiles, sizes = stats.norm.ppf((1 + ranks) / 2), np.abs([size for size, _, _ in points])
    for kind, mark in _KINDS.items():
        mine = [i for i, (_, own, _) in enumerate(points) if own == kind]
        if mine:
            axes.plot(quantiles[mine], sizes[mine], ls="", markersize=5.5, label=kind, **mark)  # type: ignore[arg-type]
    end = 1.05 * quantiles[0]
    axes.plot((0, end), (0, 100 * error * end), color=INK, linewidth=0.8)
    for i in range(min(_NUMBERED, len(points))):
        at = quantiles[i], sizes[i]
        axes.annotate(f"{i + 1}", at, (-6, 3), textcoords="offset points", ha="right")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.1 * sizes[0] or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y")
    axes.set_xlabel("half-normal quantile")
    axes.set_ylabel("size, points of top-1 error")
    canvas.legend(loc="outside upper center", ncols=3 if width == WIDE else 1)
    return canvas

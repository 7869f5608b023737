"""The kernels of the first layer, the towers apart: figure 3."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet_exp.network.first_layer import colorfulness, compare_towers, orientation
from alexnet_exp.pictures.canvas import MARGIN, NORMAL, SMALL, new_figure, place, styled, write
from alexnet_exp.report.drawing import GRAY, WIDE

_MOST_COLUMNS, _LARGEST = 16, 0.6  # kernels in a row; inches
_HEADING, _GAP, _FOOT = 0.22, 0.15, 0.2


def kernel_grid(kernels: NDArray[np.floating], towers: int = 1) -> Figure:
    """Kernels (K, C, s, s) of one channel or RGB, tower by tower, in the order of the network.

    Each is scaled by its own largest weight: 0 is the gray in the middle, positive weights are
    lighter. Above each tower stand the mean colorfulness and orientation of its kernels.
    """
    own = np.split(np.asarray(kernels, np.float32), towers)
    rows = -(-len(own[0]) // _MOST_COLUMNS)
    columns = -(-len(own[0]) // rows)
    side = min(_LARGEST, (WIDE - 2 * MARGIN) / columns)
    notes = summary(kernels, towers)
    foot = _FOOT if len(notes) > towers else 0.0
    height = _HEADING + rows * side
    with styled():
        figure = new_figure(
            max(columns * side + 2 * MARGIN, 4.2),
            2 * MARGIN + towers * (height + _GAP) - _GAP + foot,
        )
        for number, tower in enumerate(own):
            top = MARGIN + number * (height + _GAP)
            write(figure, MARGIN, top, notes[number], NORMAL)
            image = _mosaic(tower, rows, columns)
            down, across = (side * pixels / (tower.shape[-1] + 1) for pixels in image.shape[:2])
            axes = place(figure, MARGIN, top + _HEADING, across, down)
            axes.imshow(image, interpolation="nearest")
        if foot:
            below = MARGIN + towers * (height + _GAP) - _GAP + 0.06
            write(figure, MARGIN, below, notes[-1], SMALL, color=GRAY)
    return figure


def summary(kernels: NDArray[np.floating], towers: int) -> list[str]:
    """A line on the kernels of each tower, and of two in RGB one on how they differ."""
    has_color = kernels.shape[1] > 1
    lines = []
    for number, tower in enumerate(np.split(kernels, towers), start=1):
        color = f"{100 * colorfulness(tower).mean():.0f} % color, " * has_color
        which = f"Tower {number}" if towers > 1 else "All kernels"
        lines.append(f"{which}: {color}orientation {orientation(tower).mean():.2f}")
    if has_color and towers == 2:
        found = compare_towers(kernels)
        chance = 100 * found.by_chance.mean()
        lines.append(
            f"The towers differ by {100 * found.difference:.1f} points of color, by chance by"
            f" {chance:.1f} (p = {found.p_value:.2g})."
        )
    return lines


def _mosaic(kernels: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """RGB from 0 to 1: kernels in rows with white lines between them."""
    side = kernels.shape[-1]
    whole = np.ones((rows * (side + 1) - 1, columns * (side + 1) - 1, 3), np.float32)
    largest = np.abs(kernels).max((1, 2, 3), keepdims=True)
    scaled = 0.5 + kernels / np.where(largest > 0, 2 * largest, 1)
    for number, kernel in enumerate(scaled.transpose(0, 2, 3, 1)):
        top, left = ((side + 1) * step for step in divmod(number, columns))
        whole[top : top + side, left : left + side] = kernel
    return whole

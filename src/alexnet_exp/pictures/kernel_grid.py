"""The kernels of the first layer, the towers apart: figure 3."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet_exp.network.first_layer import colorfulness, compare_towers, orientation
from alexnet_exp.pictures.canvas import (
    MARGIN,
    NORMAL,
    NOTE_LINE,
    SMALL,
    broken,
    new_figure,
    place,
    styled,
    write,
    write_notes,
)
from alexnet_exp.report.drawing import WIDE

_MOST_COLUMNS, _LARGEST, _NARROWEST = 16, 0.6, 4.2  # kernels in a row; inches
_HEADING, _GAP, _ABOVE_FOOT = 0.22, 0.15, 0.06
_RANDOM = 500
"""Kernels of random weights that give the orientation to compare with."""

_SCALE = "Each kernel is scaled by its own largest weight: middle gray is 0, lighter is positive."


def kernel_grid(kernels: NDArray[np.floating], towers: int = 1, note: str = "") -> Figure:
    """Kernels (K, C, s, s) of one channel or RGB, tower by tower, in the order of the network.

    Each is scaled by its own largest weight: 0 is the gray in the middle, positive weights are
    lighter. Above each tower stand the mean colorfulness and orientation of its kernels; below all
    what random weights have, how the towers differ, and ``note``.
    """
    own = np.split(np.asarray(kernels, np.float32), towers)
    rows = -(-len(own[0]) // _MOST_COLUMNS)
    columns = -(-len(own[0]) // rows)
    side = min(_LARGEST, (WIDE - 2 * MARGIN) / columns)
    width = max(columns * side + 2 * MARGIN, _NARROWEST)
    height = _HEADING + rows * side
    lines = summary(kernels, towers)
    with styled():
        said = " ".join(filter(None, (*lines[towers:], _SCALE, note)))
        foot = broken(said, width - 2 * MARGIN, SMALL)
        below = MARGIN + towers * (height + _GAP) - _GAP + _ABOVE_FOOT
        figure = new_figure(width, below + NOTE_LINE * len(foot) + MARGIN)
        write_notes(figure, below, foot)
        for number, tower in enumerate(own):
            top = MARGIN + number * (height + _GAP)
            write(figure, MARGIN, top, lines[number], NORMAL)
            image = _mosaic(tower, rows, columns)
            down, across = (side * pixels / (tower.shape[-1] + 1) for pixels in image.shape[:2])
            axes = place(figure, MARGIN, top + _HEADING, across, down)
            axes.imshow(image, interpolation="nearest")
    return figure


def summary(kernels: NDArray[np.floating], towers: int) -> list[str]:
    """A line on the kernels of each tower, one on random weights, and of two towers in RGB one on
    how they differ.
    """
    has_color = kernels.shape[1] > 1
    lines = []
    for number, tower in enumerate(np.split(kernels, towers), start=1):
        color = f"{100 * colorfulness(tower).mean():.0f} % color, " * has_color
        which = f"Tower {number}" if towers > 1 else "All kernels"
        lines.append(f"{which}: {color}orientation {orientation(tower).mean():.2f}")
    random = np.random.default_rng(0).normal(size=(_RANDOM, *kernels.shape[1:]))
    share = f"{100 * colorfulness(random).mean():.0f} % of their squared weights in color and "
    chance = f"orientation {orientation(random).mean():.2f}"
    lines.append(f"Random weights have {share * has_color}{chance}.")
    if has_color and towers == 2:
        found = compare_towers(kernels)
        lines.append(
            f"The towers differ by {100 * found.difference:.1f} points of color, by chance by"
            f" {100 * found.by_chance.mean():.1f} (p = {found.p_value:.2g})."
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

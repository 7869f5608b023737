"""Pictures of an evaluation: the confusion matrix, and the most confident mistakes."""

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet_exp.console import percent
from alexnet_exp.errors import UserError
from alexnet_exp.pictures.canvas import NORMAL, SMALL, new_figure, place, shortened, styled, write
from alexnet_exp.pictures.sheet import Tile, sheet
from alexnet_exp.report.drawing import BLUE, GRAY
from alexnet_exp.training.evaluation import MISTAKES, Evaluation

MOST_CLASSES = 40
"""Where there are more, those most often confused are drawn: a name has to be legible."""

_NAMES, _SIGN, _CELL, _MARGIN, _HEAD, _LEAST = 1.5, 0.065, 0.36, 0.1, 0.5, 2.5  # inches
_SHARES = LinearSegmentedColormap.from_list("shares", ["white", BLUE])


def confusion_matrix(found: Evaluation) -> Figure:
    """Rows are classes, columns what was seen in their images.

    Each cell has its number of images, and the darker the larger their share of the row is; the
    right ones lie on the diagonal. Of more than ``MOST_CLASSES`` those are drawn between which
    there are most errors.
    """
    names = found.class_names
    counts = found.outcomes.confusion(len(names))
    chosen = _most_confused(counts)
    counts, shares = counts[:, chosen][chosen], counts / np.maximum(counts.sum(1, keepdims=True), 1)
    some = "" if len(chosen) == len(names) else f"; the {len(chosen)} classes most often confused"
    error = percent(found.outcomes.error("top1").estimate)
    title = f"{len(found.outcomes.labels):,} images, {error} wrong{some}"
    side = _CELL * len(chosen)
    room = min(_NAMES, _SIGN * max(len(names[i]) for i in chosen) + 0.15)
    with styled():
        figure = new_figure(
            2 * _MARGIN + max(room + side, _LEAST), _HEAD + side + room + 2 * _MARGIN
        )
        write(figure, _MARGIN, _MARGIN, title, NORMAL)
        write(figure, _MARGIN, _MARGIN + 0.2, "rows: what it is; columns: what was seen", SMALL)
        labels = shortened(figure, [names[i] for i in chosen], room - 0.15, SMALL)
        left, below = _MARGIN + room, _HEAD + side
        axes = place(figure, left, _HEAD, side, side)
        axes.imshow(shares[:, chosen][chosen], _SHARES, vmin=0, vmax=1)
        for at in range(len(chosen) + 1):
            for line in (axes.axhline, axes.axvline):
                line(at - 0.5, color=GRAY, alpha=0.4, linewidth=0.4)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                size = SMALL if count < 10_000 else SMALL - 2
                axes.text(column, row, str(count), fontsize=size, ha="center", va="center_baseline")
        for at, name in enumerate(labels):
            along = _CELL * (at + 0.5)
            write(figure, left - 0.06, _HEAD + along, name, SMALL, ha="right", va="center")
            write(figure, left + along, below + 0.06, name, SMALL, ha="center", rotation=90)
    return figure


def _most_confused(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes of the most frequent errors, ascending; all where they fit."""
    if len(counts) <= MOST_CLASSES:
        return np.arange(len(counts))
    errors = counts * ~np.eye(len(counts), dtype=bool)
    # So many pairs have as many classes and more.
    order = np.argsort(-errors, axis=None, kind="stable")[: MOST_CLASSES**2]
    pairs = np.stack(np.unravel_index(order, counts.shape), axis=1)
    return np.sort(list(dict.fromkeys(pairs.ravel().tolist()))[:MOST_CLASSES])


def mistakes(found: Evaluation) -> Figure:
    """A sheet of the wrong images that the network is surest of, with the names of their files.

    Raises:
        UserError: No image is wrong.
    """
    outcomes, names = found.outcomes, found.class_names
    places = outcomes.mistakes(MISTAKES)
    if not len(places):
        raise UserError(f"none of {len(outcomes.labels):,} images is wrong: there are no mistakes")
    tiles = []
    for at in places:
        own = names[outcomes.labels[at]]
        best = zip(outcomes.top5[at], outcomes.top5_probability[at], strict=True)
        bars = [(names[label], float(probability)) for label, probability in best]
        tiles.append(Tile(found.pixels(at), own, bars, own, Path(outcomes.names[at]).name))
    return sheet(tiles, title="the most confident mistakes")

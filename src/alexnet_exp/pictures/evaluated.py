"""Pictures of an evaluation: the confusion matrix, and the most confident mistakes."""

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet_exp.console import percent
from alexnet_exp.errors import UserError
from alexnet_exp.pictures.canvas import (
    CHECK,
    MARGIN,
    SMALL,
    TINY,
    Head,
    new_figure,
    place,
    shortened,
    styled,
    trained_on,
    width_of,
    write,
)
from alexnet_exp.pictures.looking import photos_tested
from alexnet_exp.pictures.sheet import Tile, sheet
from alexnet_exp.report.drawing import BLUE, GRAY, WIDE
from alexnet_exp.training.evaluation import MISTAKES, Evaluation

MOST_CLASSES = 40
"""Where there are more, those most often confused are drawn: a name has to be legible."""

_NAMES, _BESIDE, _CELL, _AROUND, _LEAST = 1.35, 0.06, 0.36, 0.04, 3.2  # inches
_VIEWS = {"one": "one view", "ten": "ten views"}
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
    with styled():
        labels = shortened([names[i] for i in chosen], _NAMES, SMALL)
        left = MARGIN + width_of(labels, SMALL) + _BESIDE
        cell, size = _cells(counts, left)
        side = cell * len(chosen)
        head = Head(
            left + side + MARGIN, f"{_tested(found)}{some}",
            "Rows: what it is; columns: what was seen.", *_notes(found),
        )  # fmt: skip
        top = MARGIN + head.height
        below = top + side
        figure = new_figure(left + side + MARGIN, below + left)
        head.write(figure)
        axes = place(figure, left, top, side, side)
        axes.imshow(shares[:, chosen][chosen], _SHARES, vmin=0, vmax=1)
        for at in range(len(chosen) + 1):
            for line in (axes.axhline, axes.axvline):
                line(at - 0.5, color=GRAY, alpha=0.4, linewidth=0.4)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, str(count), fontsize=size, ha="center", va="center_baseline")
        for at, name in enumerate(labels):
            along = cell * (at + 0.5)
            write(figure, left - _BESIDE, top + along, name, SMALL, ha="right", va="center")
            write(figure, left + along, below + _BESIDE, name, SMALL, ha="center", rotation=90)
    return figure


def _cells(counts: NDArray[np.int64], left: float) -> tuple[float, float]:
    """Side of a cell in inches and the size of its number: as large as a page has room for, but
    each number fits.
    """
    numbers = [str(count) for count in np.unique(counts)]
    around = left + MARGIN
    wanted = min(_CELL, (WIDE - around) / len(counts))
    cell = max(wanted, (_LEAST - around) / len(counts), width_of(numbers, TINY) + _AROUND)
    return cell, SMALL if width_of(numbers, SMALL) + _AROUND <= cell else TINY


def _tested(found: Evaluation) -> str:
    """Which images, and how many of them are wrong."""
    which = "photos" if "photos" in found.images else photos_tested(found.data)
    error = percent(found.outcomes.error("top1").estimate)
    return f"{len(found.outcomes.labels):,} {which}, {error} wrong"


def _notes(found: Evaluation) -> tuple[str, ...]:
    """What was tested and how, and what it has seen before."""
    many = len(found.networks)
    network = f"Average of {many} networks" if many > 1 else f"Network: {found.networks[0]}"
    known = (
        f"At least {found.learned:,} of the photos are of its training." if found.learned else ""
    )
    return f"{network}, {_VIEWS[found.views]}.", known, trained_on(found.data.source)


def _most_confused(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes of the most frequent errors, ascending; all where they fit, or none is confused."""
    errors = counts * ~np.eye(len(counts), dtype=bool)
    if len(counts) <= MOST_CLASSES or not errors.any():
        return np.arange(min(len(counts), MOST_CLASSES))
    # So many pairs have as many classes and more.
    order = np.argsort(-errors, axis=None, kind="stable")[: MOST_CLASSES**2]
    pairs = np.stack(np.unravel_index(order[errors.ravel()[order] > 0], counts.shape), axis=1)
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
    title = f"The most confident mistakes among {_tested(found)}"
    marked = any(tile.right in dict(tile.bars) for tile in tiles)
    return sheet(tiles, title, [f"{CHECK}The true class." * marked, *_notes(found)])

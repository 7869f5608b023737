"""A contact sheet of photos with what a network takes them for: figure 4 left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alexnet_exp.data.decode import Pixels
from alexnet_exp.errors import UserError
from alexnet_exp.pictures.canvas import (
    CHECK,
    MARGIN,
    NORMAL,
    SMALL,
    Head,
    cut_name,
    new_figure,
    place,
    shortened,
    show_image,
    styled,
    write,
)
from alexnet_exp.report.drawing import BLUE, GRAY, ORANGE

MOST_ROWS = 50
"""Of a sheet; a picture of twice as many could not be drawn."""

_COLUMNS = 4
_SIDE, _GAP = 1.7, 0.17  # inches
_HEADING, _CAPTION, _BAR = 0.2, 0.16, 0.06
ROW = 0.205
"""Height of the bar of one class with its name, inches."""


@dataclass(frozen=True)
class Tile:
    """One photo of a sheet.

    Attributes:
        pixels: (H, W, C) uint8, gray or RGB.
        title: Stands above it: its true class if that is known, else the file's name.
        bars: Names and probabilities of the most probable classes, from best to worst.
        right: Name of the true class, which is marked among the bars; None: nobody knows.
        caption: Stands small below the title: the file's name.
    """

    pixels: Pixels
    title: str
    bars: Sequence[tuple[str, float]]
    right: str | None
    caption: str = ""


def check_count(photos: int, columns: int = _COLUMNS) -> None:
    """See that so many fit on a sheet; UserError if not."""
    if photos > (most := columns * MOST_ROWS):
        raise UserError(f"{photos} photos don't fit on a sheet of at most {most}: name fewer")


def sheet(
    tiles: Sequence[Tile],
    title: str = "",
    notes: Sequence[str] = (),
    columns: int = _COLUMNS,
) -> Figure:
    """Photos with bars of their most probable classes below.

    The true class has another color, hatches and a check mark. Long names are shortened. Notes are
    sentences that stand below the title; empty ones are left out.

    Raises:
        UserError: They make up more than ``MOST_ROWS`` rows.
    """
    check_count(len(tiles), columns)
    columns = min(columns, len(tiles))
    captions = any(tile.caption for tile in tiles)
    head = _HEADING + _CAPTION * captions
    height = head + _SIDE + 0.06 + ROW * max(len(tile.bars) for tile in tiles)
    width = 2 * MARGIN + columns * (_SIDE + _GAP) - _GAP
    rows = -(-len(tiles) // columns)
    with styled():
        above_all = Head(width, title, *notes)
        top = MARGIN + above_all.height
        figure = new_figure(width, top + rows * (height + _GAP) - _GAP + MARGIN)
        above_all.write(figure)
        for number, tile in enumerate(tiles):
            row, column = divmod(number, columns)
            left, above = MARGIN + column * (_SIDE + _GAP), top + row * (height + _GAP)
            _draw(figure, tile, left, above, head)
    return figure


def _draw(figure: Figure, tile: Tile, left: float, top: float, head: float) -> None:
    """One tile: the photo ``head`` inches below its upper border."""
    if tile.right is None:
        heading = cut_name(tile.title, _SIDE, NORMAL, "bold")
    else:
        [heading] = shortened([tile.title], _SIDE, NORMAL, "bold")
    write(figure, left, top, heading, NORMAL, weight="bold")
    caption = cut_name(tile.caption, _SIDE, SMALL)
    write(figure, left, top + _HEADING - 0.02, caption, SMALL, color=GRAY)
    show_image(place(figure, left, top + head, _SIDE, _SIDE), tile.pixels)
    draw_bars(figure, left, top + head + _SIDE + 0.06, _SIDE, tile.bars, tile.right)


def draw_bars(
    figure: Figure,
    left: float,
    top: float,
    width: float,
    bars: Sequence[tuple[str, float]],
    right: str | None = None,
) -> None:
    """A row for each class, 0.205 inches high: name and percent, and the bar below them."""
    if not bars:
        return
    axes = place(figure, left, top, width, ROW * len(bars))
    axes.set(xlim=(0, width), ylim=(ROW * len(bars), 0))
    room = width - 0.42  # for "100 %"
    names = [name for name, _ in bars]
    plain = shortened(names, room, SMALL)
    marked = [CHECK + name for name in shortened(names, room - 0.14, SMALL, "bold")]
    for row, (name, probability) in enumerate(bars):
        is_right = name == right
        weight = "bold" if is_right else "normal"
        base = ROW * (row + 1) - _BAR - 0.025
        style: dict[str, Any] = {"fontsize": SMALL, "weight": weight, "va": "baseline"}
        axes.text(0, base, (marked if is_right else plain)[row], **style)
        axes.text(width, base, _percent(probability), ha="right", **style)
        color, hatch = (ORANGE, "//////") if is_right else (BLUE, None)
        bar = (0, ROW * (row + 1) - _BAR), width * probability, _BAR
        axes.add_patch(Rectangle(*bar, facecolor=color, hatch=hatch, edgecolor="white", lw=0))


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability >= 0.01 else "<1 %"

"""A figure in the style of the report's, laid out in inches from its upper left corner."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from alexnet_exp.config.data import Layout
from alexnet_exp.console import visible
from alexnet_exp.report.drawing import GRAY, STYLE

DPI = 200
"""Of what is written as pixels."""

TINY, SMALL, NORMAL = 6.0, 7.5, 9.0
"""Sizes of type in points."""

MARGIN = 0.1
"""Around everything, inches."""

NOTE_LINE = 0.145
"""Height of a small line, inches."""

CHECK = "\N{CHECK MARK} "

_TITLE, _TITLE_LINE, _BELOW_HEAD = 10.5, 0.21, 0.12  # points; inches

_DOTS = "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def styled() -> Iterator[None]:
    """Draws and writes in the report's style; the ids of an SVG are the same each time."""
    with matplotlib.rc_context({"svg.hashsalt": "alexnet_exp"}, STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of an SVG the reader's font draws it
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    figure = Figure((width, height), dpi=DPI)  # text is as wide as where it was measured
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without lines or ticks, inches from the figure's left and upper border."""
    across, down = figure.get_size_inches()
    box = (left / across, 1 - (top + height) / down, width / across, height / down)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def show_image(axes: Axes, pixels: NDArray[Any]) -> None:
    """Show (H, W, C) uint8 of one channel (gray) or three, whole and undistorted."""
    shown = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255)


def write(
    figure: Figure, left: float, top: float, text: str, size: float = NORMAL, **style: Any
) -> None:
    """Text whose upper left corner (``ha``, ``va`` change that) is so many inches from theirs."""
    across, down = figure.get_size_inches()
    place = {"ha": "left", "va": "top"}
    figure.text(left / across, 1 - top / down, text, fontsize=size, **place | style)


def trained_on(source: str) -> str:
    """A sentence for each picture of a network whose ``data.source`` is the program, or none."""
    return "Trained on drawn images, not on photos." if source == Layout.synthetic else ""


class Head:
    """A title over the whole width, and small below it how to read the picture; both may break.

    Attributes:
        height: Inches, with the space below; 0 where nothing is said.
    """

    def __init__(self, width: float, title: str, *notes: str) -> None:
        """``width`` is the figure's in inches; notes are sentences, empty ones left out."""
        room = width - 2 * MARGIN
        self._title = broken(title, room, _TITLE)
        self._notes = broken(" ".join(filter(None, notes)), room, SMALL)
        self.height = _TITLE_LINE * len(self._title) + NOTE_LINE * len(self._notes)
        self.height += _BELOW_HEAD * (self.height > 0)

    def write(self, figure: Figure) -> None:
        """Along the upper border."""
        for number, line in enumerate(self._title):
            write(figure, MARGIN, MARGIN + _TITLE_LINE * number, line, _TITLE)
        write_notes(figure, MARGIN + _TITLE_LINE * len(self._title) + 0.02, self._notes)


def write_notes(figure: Figure, top: float, lines: Sequence[str]) -> None:
    """Small gray lines, each ``NOTE_LINE`` inches high."""
    for number, line in enumerate(lines):
        write(figure, MARGIN, top + NOTE_LINE * number, line, SMALL, color=GRAY)


def broken(text: str, width: float, size: float) -> list[str]:
    """Lines of whole words that take at most ``width`` inches; of a longer word the ends.

    ``5 %`` and ``64 x 64`` count as words.
    """
    lines: list[str] = []
    for word in re.split(r"(?<! x) (?!%|x )", visible(text)) if text else ():
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and _width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(cut_name(word, width, size))
    return lines


def shortened(names: Sequence[str], width: float, size: float, weight: str = "normal") -> list[str]:
    """Names of classes that take at most ``width`` inches each, as whole as they can be.

    Of synonyms (``"tench, Tinca tinca"``) the first ones stay, where that leaves two names
    different; else the end is cut off, or the middle where two names would be alike.
    """
    whole = [visible(name) for name in names]
    firsts = [name.split(", ") for name in whole]
    found = []
    for name, synonyms in zip(whole, firsts, strict=True):
        tries = [", ".join(synonyms[:count]) for count in range(len(synonyms), 0, -1)]
        others = {other.split(", ")[0] for other in whole if other != name}
        alone = [text for text in tries if text not in others]
        fitting = [text for text in alone if _width(text, size, weight) <= width]
        found.append(fitting[0] if fitting else _cut((alone or [name])[-1], width, size, weight))
    return [
        cut_name(name, width, size, weight) if found.count(text) > whole.count(name) else text
        for name, text in zip(whole, found, strict=True)
    ]


def cut_name(name: str, width: float, size: float, weight: str = "normal") -> str:
    """A file's name that takes at most ``width`` inches: of a long one more of the end stays."""
    return _cut(visible(name), width, size, weight, before=0.3)


def width_of(texts: Iterable[str], size: float) -> float:
    """Inches of the longest line."""
    return max(_width(text, size) for text in texts)


def _cut(text: str, width: float, size: float, weight: str, before: float = 1) -> str:
    """The share ``before`` of what is left stands before the dots."""
    if _width(text, size, weight) <= width:
        return text
    for count in range(len(text) - 1, 0, -1):
        first = round(before * count)
        tried = text[:first].rstrip(" ,") + _DOTS + text[len(text) - count + first :]
        if _width(tried, size, weight) <= width:
            return tried
    return _DOTS


def _width(text: str, size: float, weight: str = "normal") -> float:
    """Inches of a line of text."""
    font = FontProperties(family=matplotlib.rcParams["font.family"], size=size, weight=weight)
    pixels, _, _ = _measure().get_text_width_height_descent(text, font, ismath=False)
    return float(pixels) / DPI


@cache
def _measure() -> RendererAgg:
    return FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()

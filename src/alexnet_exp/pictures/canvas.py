"""A figure in the style of the report's, laid out in inches from its upper left corner."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from alexnet_exp.console import visible
from alexnet_exp.report.drawing import GRAY, STYLE

DPI = 200
"""Of what is written as pixels."""

SMALL, NORMAL = 7.5, 9.0
"""Sizes of type in points."""

MARGIN = 0.1
"""Around everything, inches."""

HEAD = 0.52
"""Height of a title with a note below it, inches."""

CHECK = "\N{CHECK MARK} "

_DOTS = "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def styled() -> Iterator[None]:
    """Draws and writes in the report's style; the ids of an SVG are the same each time."""
    with matplotlib.rc_context({"svg.hashsalt": "alexnet_exp"}, STYLE):
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


def write_head(figure: Figure, title: str, note: str = "") -> None:
    """A title over the whole width, and small below it how to read the picture."""
    width = float(figure.get_figwidth()) - 2 * MARGIN
    [title] = shortened(figure, [title], width, NORMAL + 1.5)
    write(figure, MARGIN, MARGIN, title, NORMAL + 1.5)
    write(figure, MARGIN, MARGIN + 0.25, note, SMALL, color=GRAY)


def shortened(
    figure: Figure, names: Sequence[str], width: float, size: float, weight: str = "normal"
) -> list[str]:
    """Names that take at most ``width`` inches each, as whole as they can be.

    Of synonyms (``"tench, Tinca tinca"``) the first ones stay, where that leaves two names
    different; else the end is cut off.
    """
    whole = [visible(name) for name in names]
    firsts = [name.split(", ") for name in whole]
    found = []
    for name, synonyms in zip(whole, firsts, strict=True):
        tries = [", ".join(synonyms[:count]) for count in range(len(synonyms), 0, -1)]
        others = {other.split(", ")[0] for other in whole if other != name}
        alone = [text for text in tries if text not in others]
        fitting = [text for text in alone if _width(figure, text, size, weight) <= width]
        found.append(
            fitting[0] if fitting else _cut(figure, (alone or [name])[-1], width, size, weight)
        )
    return found


def _cut(figure: Figure, name: str, width: float, size: float, weight: str) -> str:
    for count in range(len(name), 0, -1):
        text = name[:count].rstrip(" ,") + _DOTS if count < len(name) else name
        if _width(figure, text, size, weight) <= width:
            return text
    return _DOTS


def _width(figure: Figure, text: str, size: float, weight: str) -> float:
    """Inches of a line of text."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    font = FontProperties(family=matplotlib.rcParams["font.family"], size=size, weight=weight)
    pixels, _, _ = canvas.get_renderer().get_text_width_height_descent(text, font, ismath=False)
    return float(pixels) / figure.dpi

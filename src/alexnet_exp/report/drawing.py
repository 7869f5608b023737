"""A matplotlib figure as SVG that can stand in a page among others.

Each is drawn twice, for a page or paper and for a phone. Text stays text. Ink is
``currentColor`` and the colors have the same contrast with white and with black, so that a
figure suits a light and a dark page; shapes and dashes tell apart what colors do, for print
without color.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK = "#1f2328"
"""Text and axes; becomes the color of the text around the figure."""

# Blue and vermilion of Okabe and Ito, the blue lighter, and a gray: all have a contrast of
# 3.9 or more with white and with a dark page.
BLUE, ORANGE, GRAY = "#2f7fd0", "#d55e00", "#808080"

# None is wider than the DejaVu Sans that matplotlib measures with, so nothing overlaps.
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

WIDE, NARROW = 7.4, 3.75
"""Inches: the column of the page, and a phone of 390 px less its margins."""

STYLE = Path(__file__).with_name("templates") / "figure.mplstyle"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: Unique in the report.
        title: A few words.
        caption: How to read it.
        svg: For a width of about 700 px.
        narrow_svg: For a width of about 360 px.
    """

    name: str
    title: str
    caption: str
    svg: str
    narrow_svg: str


def draw_both(
    name: str, title: str, caption: str, alt: str, draw: Callable[[float], Canvas]
) -> Figure:
    """Draw at both widths, from the width in inches; ``alt`` is for those who cannot see it."""
    svgs = []
    for width in (WIDE, NARROW):
        # The salt makes matplotlib's ids unique on the page, and the same each time.
        salt: Any = {"svg.hashsalt": f"{name} {width}"}
        with matplotlib.rc_context(salt, STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the reader's font draws it
            svgs.append(_to_svg(draw(width), title, alt))
    return Figure(name, title, caption, *svgs)


def beside(axes: Axes, at: float, y: float, text: str, **style: Any) -> None:
    """Text ``at`` inches from the left end of the axes, on row ``y``."""
    inches = axes.get_window_extent().width / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    axes.text(at / inches, y, text, transform=axes.get_yaxis_transform(), **style)


def _to_svg(canvas: Canvas, title: str, description: str) -> str:
    """The figure as one ``<svg>`` element with the ink and font of the page around it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue().partition("<svg")[2].partition(">")[2]
    drawing = re.sub("<style.*?</style>", "", drawing)  # it would reach beyond the figure
    drawing = re.sub(r"<[^!>][^>]*>", _lean, drawing)
    drawing = re.sub(r">\n *<", ">\n<", drawing)
    width, height = 72 * canvas.get_size_inches()
    # Not larger than drawn, up to the width of the column: type has one size on the whole page.
    style = (
        f"max-width: {1.4 * width:.0f}px; font-family: {_FONTS}; stroke-linejoin: round;"
        " stroke-linecap: butt"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{escape(title)}" style="{style}"><desc>{escape(description)}</desc>{drawing}'
    )


def _lean(element: re.Match[str]) -> str:
    """A tag of the drawing without what only takes room; text between tags is not touched."""
    tag = element[0]
    for pattern, replacement in (
        (r' id="[\w.]+_\d+"', ""),  # nothing refers to these, and they are in every figure
        (r"xlink:href", "href"),
        (INK, "currentColor"),
        (r"font-family: [^;\"]*; ", ""),
        (r"(?<=[\d-])\.(\d\d)\d+(?=[ \"),])", r".\1"),  # hundredths of a point
        (r"\n *", " "),
    ):
        tag = re.sub(pattern, replacement, tag)
    return tag

"""A matplotlib figure as SVG that can stand in a page among others.

Each is drawn twice, for a page or paper and for a phone. Text stays text. Ink is
``currentColor`` and the colors have the same contrast with white and with black, so that a
figure suits a light and a dark page; shapes and dashes tell apart what colors do, for print
without color.
"""

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK = "#1f2328"
"""Text and axes; becomes the color of the text around the figure."""

# Blue and vermilion of Okabe and Ito, the blue lighter, and a gray: all have a contrast of
# 3.9 or more with white and with a dark page.
BLUE, ORANGE, GRAY = "#2f7fd0", "#d55e00", "#808080"

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
"""None is wider than the DejaVu Sans that matplotlib measures with, so nothing overlaps."""

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"


WIDE, NARROW = 7.4, 3.75
"""Inches: the column of the page, and a phone of 390 px less its margins."""


MOST = 40
"""Panels or bars in one figure; more cannot be read and take long to draw."""


def left_out(number: int) -> str:
    """What a caption says of those beyond :data:`MOST`."""
    return f" {number - MOST:,} more are not drawn." if number > MOST else ""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: Unique in the report; every id in the SVGs starts with it.
        title: A few words.
        caption: How to read it.
        alt: The same for those who cannot see it.
        svg: For a width of about 700 px.
        narrow_svg: For a width of about 360 px.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    narrow_svg: str


def draw_both(
    name: str, title: str, caption: str, alt: str, draw: Callable[[float], Canvas]
) -> Figure:
    """Draw at both widths; ``draw`` takes the width in inches."""
    with drawing_style():
        wide = to_svg(draw(WIDE), name, title, alt)
        narrow = to_svg(draw(NARROW), f"{name}-narrow", title, alt)
    return Figure(name, title, caption, alt, wide, narrow)


def inches(axes: Axes) -> float:
    """Width of the axes."""
    return axes.get_window_extent().width / axes.get_figure(root=True).dpi  # type: ignore[union-attr]


def beside(axes: Axes, at: float, y: float, text: str, **style: str) -> None:
    """Text ``at`` inches from the left end of the axes, on row ``y``."""
    x = at / inches(axes)
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), **style)  # type: ignore[arg-type]


def drawing_style() -> AbstractContextManager[None]:
    """Small type, thin axes left and below, text as text, ids that do not change."""
    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "alexnet_exp",
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 8.5,
            "axes.labelsize": 9,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
            "axes.linewidth": 0.8,
            "ytick.major.size": 0,
            "ytick.minor.size": 0,
            "xtick.major.size": 3,
            "axes.grid": False,
            "axes.axisbelow": True,
            "grid.color": GRAY,
            "grid.alpha": 0.35,
            "grid.linewidth": 0.6,
        }
    )


def to_svg(canvas: Canvas, prefix: str, title: str, description: str) -> str:
    """The figure as one ``<svg>`` element.

    Args:
        canvas: Figure drawn under :func:`drawing_style`.
        prefix: Starts every id, so that figures of one page do not clash.
        title: Becomes the ``aria-label``.
        description: Becomes ``<desc>``.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(buffer.getvalue())
    _remove_page_wide(root)
    for element in root.iter():
        if LINK in element.attrib:
            element.set("href", element.attrib.pop(LINK))
    _keep_needed_ids(root, prefix)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    # Not larger than drawn, up to the width of the column: type has one size on the whole page.
    most = float(root.attrib["viewBox"].split()[2]) * 4 / 3 * 1.05
    strokes = "stroke-linejoin: round; stroke-linecap: butt"
    root.set("style", f"max-width: {most:.0f}px; font-family: {FONTS}; {strokes}")
    root.set("role", "img")
    root.set("aria-label", title)
    note = ElementTree.Element(f"{{{SVG}}}desc")
    note.text = description
    root.insert(0, note)
    return _compact(ElementTree.tostring(root, encoding="unicode"))


def _keep_needed_ids(root: ElementTree.Element, prefix: str) -> None:
    """Prefix the ids that something refers to, and drop the others."""
    needed: set[str] = set()
    for element in root.iter():
        for value in element.attrib.values():
            needed.update(re.findall(r"url\(#([^)]+)\)", value))
        needed.add(element.get("href", "").removeprefix("#"))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in needed:
                    element.set(key, f"{prefix}-{value}")
                else:
                    del element.attrib[key]
            elif key == "href":
                element.set(key, f"#{prefix}-{value.removeprefix('#')}")
            else:
                element.set(key, re.sub(r"url\(#", f"url(#{prefix}-", value))


def _remove_page_wide(root: ElementTree.Element) -> None:
    """Take out metadata, and the style sheet, which would reach beyond the figure."""
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for definitions in root.iter(f"{{{SVG}}}defs"):
        for style in definitions.findall(f"{{{SVG}}}style"):
            definitions.remove(style)


def _compact(text: str) -> str:
    """Ink and font of the page around; coordinates to a hundredth of a point."""
    text = text.replace(INK, "currentColor")
    text = re.sub(r"font-family: [^;\"]*'DejaVu Sans'[^;\"]*; (?!stroke)", "", text)
    text = re.sub(r"(?<=[\d-])\.(\d\d)\d+(?=[ \"),])", r".\1", text)
    return re.sub(r"\n *", "\n", text)

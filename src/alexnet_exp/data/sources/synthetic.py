"""Flowers drawn by the program: five kinds, from a seed, with no network and no files.

Kinds share one palette of petal colors and overlap in outline too (blunt or pointed petals, small
or large discs, blooms seen from above or aslant), so that neither a color histogram nor a coarse
gray thumbnail is enough to name the kind.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from alexnet_exp.data.sources import blooms
from alexnet_exp.data.sources.blooms import Color, Pen, Points, shade

CLASSES = tuple(blooms.PAINTERS)
_BACKDROP_SIDE = 96  # backdrops are soft: a small fixed grid is cheap and the same at every size

_PETALS: tuple[Color, ...] = (
    (244, 242, 236),  # white
    (250, 234, 178),  # cream
    (250, 212, 40),  # yellow
    (244, 170, 24),  # gold
    (238, 116, 34),  # orange
    (240, 136, 160),  # pink
    (204, 48, 118),  # magenta
    (204, 28, 38),  # red
    (138, 78, 172),  # purple
)
_PETAL_SHARES: dict[str, tuple[float, ...]] = {
    "daisy": (0.50, 0.12, 0.14, 0.02, 0, 0.13, 0, 0, 0.09),
    "dandelion": (0.12, 0.12, 0.55, 0.18, 0.03, 0, 0, 0, 0),
    "rose": (0.12, 0, 0.06, 0, 0.05, 0.30, 0.20, 0.27, 0),
    "sunflower": (0, 0.06, 0.38, 0.35, 0.18, 0, 0, 0.03, 0),
    "tulip": (0.09, 0, 0.24, 0, 0.24, 0.10, 0, 0.17, 0.16),
}
_BACKDROPS: tuple[tuple[Color, Color], ...] = (
    ((150, 190, 232), (214, 228, 240)),  # sky
    ((84, 122, 66), (46, 82, 38)),  # meadow
    ((128, 98, 72), (84, 62, 46)),  # soil
    ((64, 74, 70), (34, 40, 38)),  # shade
    ((206, 190, 160), (176, 152, 120)),  # wall
    ((196, 176, 196), (120, 128, 120)),  # dusk
)


def _backdrop(rng: np.random.Generator) -> Image.Image:
    """Gradient, cloudy texture and out-of-focus blobs in flower and leaf colors."""
    side = _BACKDROP_SIDE
    top, bottom = np.array(_BACKDROPS[rng.integers(len(_BACKDROPS))]) + rng.normal(0, 16, (2, 3))
    ramp = np.linspace(0, 1, side)[:, None, None]
    cloud = rng.normal(0, rng.uniform(0, 16), (side, side, 1))
    field = np.rint(top * (1 - ramp) + bottom * ramp + cloud).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(field)
    pen = ImageDraw.Draw(image)
    palette = (*_PETALS, *blooms.GREENS, *blooms.GREENS)
    for x, y, r in rng.uniform((0, 0, 2), (side, side, side / 8), (rng.integers(14), 3)).tolist():
        under = field[int(y), int(x)].tolist()
        color = blooms.mix(palette[rng.integers(len(palette))], under, rng.uniform(0.3, 0.85))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=color)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 3.0)))


def _blades(pen: Pen, count: int, width: float) -> None:
    """Grass and long leaves that grow from the bottom edge, in frame units."""
    rng, t = pen.rng, np.linspace(0, 1, 7)
    pen.view = blooms.FRAME
    for _ in range(count):
        x = rng.uniform(-0.1, 1.1) + rng.normal(0, 0.28) * t**2
        y = 1.05 - rng.uniform(0.2, 0.9) * t
        taper = width * rng.uniform(0.5, 1.4) * (1 - t**2)
        edges = np.stack([x - taper, y], 1), np.stack([x + taper, y], 1)[::-1]
        pen.fill(np.concatenate(edges)[None], shade(pen.green(), rng.uniform(0.6, 1.05)))


def _stem(pen: Pen, top: Points, radius: float) -> None:
    """A bowed stem from ``top`` out of the frame, often with one leaf, in frame units."""
    rng, color = pen.rng, pen.green()
    pen.view = blooms.FRAME
    foot = top + np.array([rng.normal(0, 0.12), 1.2])
    t = np.linspace(0, 1, 8)[:, None]
    curve = top * (1 - t) + foot * t + (rng.normal(0, 0.1), 0) * t * (1 - t)
    width = radius * rng.uniform(0.09, 0.16)
    pen.stroke(curve[None], width, shade(color, 0.7))
    pen.stroke((curve - (width * 0.15, 0))[None], width * 0.5, color)
    if rng.random() < 0.6:
        angle = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 1.0) - math.pi / 2])
        length, slim = radius * rng.uniform(0.9, 1.9), rng.uniform(0.1, 0.24)
        for half, tone in ((slim, 0.86), (slim * 0.14, 0.64)):
            leaf = blooms.rotate(blooms.petal_outline(0, length, length * half, 0.7, 0.9), angle)
            pen.fill(leaf + curve[3] + (0, radius * 0.6), shade(color, tone))


def _view(rng: np.random.Generator, x: float, y: float, radius: float, kind: str) -> Points:
    """Turns, tilts (foreshortens) and places a flower: (2, 3)."""
    upright = kind == "tulip"
    squash = rng.uniform({"tulip": 0.85, "rose": 0.65}.get(kind, 0.5), 1)
    turn, lean = (0 if upright else rng.uniform(0, 2 * math.pi)), rng.normal(0, 0.22)
    (spin,), (sway,) = (
        blooms.rotate(np.eye(2), np.array([a])).swapaxes(1, 2) for a in (turn, lean)
    )
    return np.column_stack([radius * sway @ np.diag([1, squash]) @ spin, (x, y)])


def _flowers(pen: Pen, kind: str) -> None:
    """One to four flowers of one kind, the smallest first and so behind."""
    rng = pen.rng
    count = int(rng.choice([1, 2, 3, 4], p=[0.7, 0.17, 0.09, 0.04]))
    biggest = rng.uniform(0.3, 0.54) if count == 1 else rng.uniform(0.22, 0.32)
    radii = np.sort(biggest * np.r_[1.0, rng.uniform(0.7, 1.0, count - 1)])
    color = pen.vary(_PETALS[rng.choice(len(_PETALS), p=_PETAL_SHARES[kind])])
    # Cells of a 2 x 2 grid keep several flowers from hiding one another wholly.
    cells = rng.permutation(4)
    places = 0.27 + 0.46 * np.stack([cells % 2, cells // 2], 1) + rng.normal(0, 0.05, (4, 2))
    if count == 1:
        places = rng.uniform(0.36, 0.64, (1, 2))
    for radius, place in zip(radii.tolist(), places[:count], strict=True):
        _stem(pen, place, radius)
        pen.view = _view(rng, place[0], place[1], radius, kind)
        blooms.PAINTERS[kind](pen, pen.vary(color, 6))


def _photograph(image: Image.Image, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lens blur, exposure, gamma, color cast, uneven light and sensor noise."""
    blur = rng.uniform(-0.6, 1.3) * size / 256
    if blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    gains = rng.uniform(0.75, 1.2) * rng.normal(1, 0.03, 3)
    curve = np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.3) * 255
    image = image.point(np.rint(np.outer(gains, curve)).clip(0, 255).astype(int).ravel().tolist())
    across, down = rng.normal(0, 0.12, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + across * ramp[None, :] + down * ramp[:, None]
    sigma = np.float32(rng.uniform(1, 8))
    # Last of all draws: the only one whose count depends on the size.
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * sigma
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels * light[..., None] + grain
    return np.rint(pixels, out=pixels).clip(0, 255, out=pixels).astype(np.uint8)


def draw(index: int, seed: int, size: int = 256) -> NDArray[np.uint8]:
    """Draws image ``index`` of the set ``seed``; its label is ``index % len(CLASSES)``.

    (size, size, 3) uint8 RGB, a pure function of the arguments. Every size shows the same scene;
    only the sensor noise differs.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    pen = Pen(_backdrop(rng), size, rng)
    _blades(pen, int(rng.integers(0, 14)), 0.014)
    _flowers(pen, CLASSES[index % len(CLASSES)])
    _blades(pen, int(rng.choice([0, 1, 2, 4])), 0.018)
    return _photograph(pen.image.reduce(pen.supersample), size, rng)

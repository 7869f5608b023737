"""The five kinds of flower that the program draws, petal by petal.

A flower is laid out in its own units (radius 1, +y down) and carried to the frame by a (2, 3)
affine view. Frame units run from (0, 0), the top left corner, to (1, 1).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Points = NDArray[np.floating]

FRAME = np.eye(2, 3)
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_HAIRLINE = 1 / 256  # frame units: thinner strokes would vanish against the backdrop
_DISCS: tuple[Color, ...] = ((236, 182, 36), (150, 140, 44), (128, 78, 32), (70, 44, 28))
GREENS: tuple[Color, ...] = ((58, 112, 48), (92, 138, 56), (40, 84, 46), (126, 152, 74))


class Pen:
    """Draws on a supersampled picture through the current view; carries the random numbers."""

    def __init__(self, backdrop: Image.Image, size: int, rng: np.random.Generator) -> None:
        # Small pictures are drawn at 256 pixels too, or fine lines would grow too thick in them.
        self.supersample = max(2, math.ceil(256 / size))
        self.side = size * self.supersample
        self.image = backdrop.resize((self.side, self.side), Image.Resampling.BILINEAR)
        self.rng = rng
        self.view: Points = FRAME
        self._draw = ImageDraw.Draw(self.image)

    def fill(self, outlines: Points, *colors: Color) -> None:
        """Fills (n, points, 2) outlines in order, outline i with color i modulo their number."""
        for i, outline in enumerate(self._pixels(outlines)):
            self._draw.polygon(outline, fill=colors[i % len(colors)])

    def stroke(self, lines: Points, width: float, *colors: Color) -> None:
        """Draws (n, points, 2) polylines, ``width`` wide in the units of the view."""
        thickness = max(width * float(np.hypot(*self.view[:, 0])), _HAIRLINE)
        pixels = max(1, round(thickness * self.side))
        for i, line in enumerate(self._pixels(lines)):
            self._draw.line(line, fill=colors[i % len(colors)], width=pixels, joint="curve")

    def _pixels(self, points: Points) -> list[list[int]]:
        # Whole pixels: a cosine that differs in its last bit must not move an edge.
        seen = (points @ self.view[:, :2].T + self.view[:, 2]) * self.side
        pixels: list[list[int]] = np.rint(seen).astype(int).reshape(len(points), -1).tolist()
        return pixels

    def vary(self, color: Color, spread: float = 12) -> Color:
        """The color with Gaussian jitter of ``spread`` levels per channel."""
        r, g, b = (np.array(color) + self.rng.normal(0, spread, 3)).clip(0, 255).astype(int)
        return int(r), int(g), int(b)

    def green(self) -> Color:
        return self.vary(GREENS[self.rng.integers(len(GREENS))])


def mix(a: Color, b: Color, share: float) -> Color:
    r, g, b_ = (int(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return r, g, b_


def shade(color: Color, tone: float) -> Color:
    """Toward black below 1, toward white above."""
    return mix((0, 0, 0), color, tone) if tone <= 1 else mix(color, (255, 255, 255), tone - 1)


def petal_outline(start: float, end: float, half_width: float, root: float, tip: float) -> Points:
    """A petal along +x, (18, 2), with profile t^root (1-t)^tip: small tip blunt, large pointed."""
    t = (1 - np.cos(np.linspace(0, math.pi, 10))) / 2
    peak = root / (root + tip)
    profile = t**root * (1 - t) ** tip * half_width / (peak**root * (1 - peak) ** tip)
    x = start + (end - start) * t
    return np.concatenate([np.stack([x, profile], 1), np.stack([x, -profile], 1)[-2:0:-1]])


def _circle(radius: float, count: int = 28) -> Points:
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)[None]


def rotate(outline: Points, angles: Points, scales: Points | float = 1.0) -> Points:
    """Copies of a (p, 2) outline turned by (n,) angles and scaled by (n,) factors: (n, p, 2)."""
    c, s = (np.cos(angles) * scales)[:, None], (np.sin(angles) * scales)[:, None]
    x, y = outline[:, 0], outline[:, 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def _fill_layers(pen: Pen, layers: Sequence[Points], colors: Sequence[Color]) -> None:
    """Fills (n, p, 2) layers petal by petal, so that a petal hides all layers of the one below."""
    pen.fill(np.stack(layers, axis=1).reshape(-1, *layers[0].shape[1:]), *colors)


def _petal_ring(
    pen: Pen, color: Color, count: int, petal: tuple[float, ...], phase: float = 0
) -> None:
    """A ring of shaded petals; ``petal`` holds the arguments of `petal_outline`."""
    start, end, half_width, root, tip = petal
    angles = phase + 2 * math.pi * (np.arange(count) + pen.rng.normal(0, 0.12, count)) / count
    scales = pen.rng.normal(1, 0.05, count).clip(0.82, 1.12)
    # Every other petal first, so that neighbors overlap as on a real flower head.
    order = np.r_[0:count:2, 1:count:2]
    angles, scales = angles[order], scales[order]
    tones = 0.9 + 0.12 * np.cos(angles - pen.rng.uniform(0, 2 * math.pi))
    layers = [
        rotate(petal_outline(start, end * reach, half_width * width, root, tip), angles, scales)
        for reach, width in ((1, 1), (0.96, 0.78), (0.72, 0.2))  # edge, face, vein
    ]
    _fill_layers(pen, layers, [shade(color, t * f) for t in tones for f in (0.7, 1, 0.84)])


def _disc(pen: Pen, radius: float, shares: tuple[float, ...]) -> None:
    """The domed center, with florets on a golden-angle spiral and at times a darker middle."""
    color = pen.vary(_DISCS[pen.rng.choice(len(_DISCS), p=shares)])
    pen.fill(_circle(radius), shade(color, 0.62))
    pen.fill(_circle(radius * 0.9), color)
    k = np.arange(int(40 + 110 * radius))
    spots = rotate(np.array([[1.0, 0.0]]), k * _GOLDEN_ANGLE, np.sqrt((k + 0.5) / len(k)))
    tones = pen.rng.uniform(0.6, 1.3, 9)
    florets = radius * 0.92 * spots + _circle(radius * 0.065, 5)
    pen.fill(florets, *(shade(color, t) for t in tones))
    if radius * pen.rng.random() > 0.16:
        pen.fill(_circle(radius * pen.rng.uniform(0.3, 0.55)), shade(color, 0.6))


def _daisy(pen: Pen, color: Color) -> None:
    rng = pen.rng
    count, radius = int(rng.integers(9, 24)), rng.uniform(0.2, 0.38)
    width = min(rng.uniform(0.8, 1.15) * 2.1 / count, 0.22)
    petal = (radius * 0.6, 1.0, width, rng.uniform(0.5, 0.9), rng.uniform(0.15, 0.4))
    _petal_ring(pen, color, count, petal)
    _disc(pen, radius, (0.6, 0.2, 0.14, 0.06))


def _sunflower(pen: Pen, color: Color) -> None:
    rng = pen.rng
    count, radius = int(rng.integers(13, 24)), rng.uniform(0.34, 0.56)
    width = rng.uniform(0.8, 1.15) * 2.4 / count
    petal = (radius * 0.7, 1.0, width, rng.uniform(0.5, 0.9), rng.uniform(0.6, 1.1))
    _petal_ring(pen, shade(color, 0.86), count, petal)
    _petal_ring(pen, color, count, (petal[0], rng.uniform(0.8, 0.95), *petal[2:]), math.pi / count)
    _disc(pen, radius, (0.08, 0.12, 0.4, 0.4))


def _dandelion(pen: Pen, color: Color) -> None:
    rng = pen.rng
    if rng.random() < 0.25:
        _seed_head(pen)
        return
    tip = rng.uniform(0.06, 0.25)
    for reach in (1.0, 0.86, 0.7, 0.54, 0.38, 0.22):
        count = int(rng.integers(26, 36) * (0.45 + 0.55 * reach))
        angles = 2 * math.pi * (np.arange(count) + rng.uniform(-0.4, 0.4, count)) / count
        floret = petal_outline(0, reach, 0.07 * (0.4 + 0.6 * reach), 0.7, tip)
        tones = rng.uniform(0.72, 1.0, 7) * (0.9 + 0.14 * reach)
        turned = rotate(floret, angles, rng.uniform(0.86, 1.08, count))
        pen.fill(turned, *(shade(color, t) for t in tones))


def _seed_head(pen: Pen) -> None:
    """The dandelion clock: a ball of stalks that end in tufts."""
    k = np.arange(int(pen.rng.integers(50, 80)))
    reach = 0.3 + 0.68 * np.sqrt((k + 0.5) / len(k))
    pale = pen.vary((232, 230, 220), 8)
    stalk = np.array([[0.0, 0.0], [0.8, 0.0]])
    tuft = np.array([[1.02, -0.13], [0.8, 0.0], [1.08, 0.0], [0.8, 0.0], [1.02, 0.13]])
    pen.stroke(rotate(stalk, k * _GOLDEN_ANGLE, reach), 0.014, shade(pale, 0.72))
    pen.stroke(rotate(tuft, k * _GOLDEN_ANGLE, reach), 0.014, pale, shade(pale, 0.9))
    pen.fill(_circle(0.13, 14), pen.vary((122, 98, 66)))


def _rose(pen: Pen, color: Color) -> None:
    rng = pen.rng
    around = np.linspace(0, 2 * math.pi, 22, endpoint=False)
    drift, shrink = rng.normal(0, 0.035, 2), rng.uniform(0.74, 0.82)
    turn, reach, shift = rng.uniform(0, 2 * math.pi), 1.0, np.zeros(2)
    while reach > 0.16:
        count = 5 if reach > 0.4 else 3
        angles = turn + 2 * math.pi * np.arange(count) / count + rng.normal(0, 0.12, count)
        wave = 1 + 0.05 * np.cos(3 * around + rng.uniform(0, 2 * math.pi))
        lobe = np.stack([0.46 * np.cos(around) * wave, 0.56 * np.sin(around) * wave], 1)
        layers = [
            rotate((lobe * grow + (out, 0)) * reach, angles) + shift
            for grow, out in ((1.06, 0.5), (1, 0.49), (0.9, 0.44))  # shadow, lip, face
        ]
        tones = (0.62 + 0.38 * reach + rng.normal(0, 0.04, count)).clip(0.5, 1)
        _fill_layers(pen, layers, [shade(color, t * f) for t in tones for f in (0.58, 1.14, 0.9)])
        turn, reach, shift = turn + _GOLDEN_ANGLE, reach * shrink, shift + drift
    curl = rotate(np.array([[1.0, 0.0]]), np.linspace(0, 10, 26), np.linspace(0.02, 0.17, 26))
    pen.stroke(curl[None, :, 0] + shift, 0.03, shade(color, 0.4))


def _tulip(pen: Pen, color: Color) -> None:
    rng = pen.rng
    tip = rng.uniform(0.4, 0.75)
    if rng.random() < 0.12:  # wide open, from above: six broad petals around a dark throat
        for phase, reach in ((0.0, 1.0), (math.pi / 3, 0.92)):
            petal = (0, reach, rng.uniform(0.34, 0.46), 0.8, tip)
            _petal_ring(pen, color, 3, petal, phase)
        pen.fill(_circle(0.2, 16), shade(color, 0.35))
        pen.fill(_circle(0.08, 10), (214, 196, 84))
        return
    base, spread, width = np.array([0, 0.85]), rng.uniform(0.12, 0.5), rng.uniform(0.4, 0.56)
    angles = np.array([-0.55, 0.55, -1.0, 1.0, 0.0]) * spread - math.pi / 2
    scales = np.array([1.75, 1.75, 1.7, 1.7, 1.6]) * rng.normal(1, 0.03, 5)
    tones = np.array([0.7, 0.74, 0.9, 0.84, 1.0]) + rng.normal(0, 0.03, 5)
    layers = [
        rotate(petal_outline(0, reach, width * slim / 1.7, 0.55, tip), angles, scales) + base
        for reach, slim in ((1, 1), (0.97, 0.9), (0.8, 0.12))  # edge, face, vein
    ]
    _fill_layers(pen, layers, [shade(color, t * f) for t in tones for f in (0.66, 1, 0.86)])


PAINTERS = {
    "daisy": _daisy, "dandelion": _dandelion, "rose": _rose, "sunflower": _sunflower,
    "tulip": _tulip,
}  # fmt: skip

"""Flowers drawn by the program: five kinds, from a seed, with no network and no files.

Kinds share one palette of petal colors and overlap in outline too (blunt or pointed petals, small
or large discs, blooms seen from above or aslant), so that neither a color histogram nor a coarse
gray thumbnail is enough to name the kind.

Frame units run from (0, 0), the top left corner, to (1, 1). A flower is laid out in its own units
(radius 1, +y down) and carried to the frame by a (2, 3) affine view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES: tuple[str, ...] = ("daisy", "dandelion", "rose", "sunflower", "tulip")

Color = tuple[int, int, int]
Points = NDArray[np.floating]

_BACKDROP_SIDE = 96  # backdrops are soft: a small fixed grid is cheap and the same at every size
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_HAIRLINE = 1 / 256  # frame units: thinner strokes would vanish against the backdrop
_FRAME = np.eye(2, 3)

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
_DISCS: tuple[Color, ...] = ((236, 182, 36), (150, 140, 44), (128, 78, 32), (70, 44, 28))
_GREENS: tuple[Color, ...] = ((58, 112, 48), (92, 138, 56), (40, 84, 46), (126, 152, 74))
_BACKDROPS: tuple[tuple[Color, Color], ...] = (
    ((150, 190, 232), (214, 228, 240)),  # sky
    ((84, 122, 66), (46, 82, 38)),  # meadow
    ((128, 98, 72), (84, 62, 46)),  # soil
    ((64, 74, 70), (34, 40, 38)),  # shade
    ((206, 190, 160), (176, 152, 120)),  # wall
    ((196, 176, 196), (120, 128, 120)),  # dusk
)


class _Pen:
    """Draws on a supersampled picture through the current view; carries the random numbers."""

    def __init__(self, backdrop: Image.Image, size: int, rng: np.random.Generator) -> None:
        # Small pictures are drawn at 256 pixels too, or fine lines would grow too thick in them.
        self.supersample = max(2, math.ceil(256 / size))
        self.side = size * self.supersample
        self.image = backdrop.resize((self.side, self.side), Image.Resampling.BILINEAR)
        self.rng = rng
        self.view: Points = _FRAME
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
        return self.vary(_GREENS[self.rng.integers(len(_GREENS))])


def _mix(a: Color, b: Color, share: float) -> Color:
    r, g, b_ = (int(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return r, g, b_


def _shade(color: Color, tone: float) -> Color:
    """Toward black below 1, toward white above."""
    return _mix((0, 0, 0), color, tone) if tone <= 1 else _mix(color, (255, 255, 255), tone - 1)


def _outline(start: float, end: float, half_width: float, root: float, tip: float) -> Points:
    """A petal along +x, (18, 2), with profile t^root (1-t)^tip: small tip blunt, large pointed."""
    t = (1 - np.cos(np.linspace(0, math.pi, 10))) / 2
    peak = root / (root + tip)
    profile = t**root * (1 - t) ** tip * half_width / (peak**root * (1 - peak) ** tip)
    x = start + (end - start) * t
    return np.concatenate([np.stack([x, profile], 1), np.stack([x, -profile], 1)[-2:0:-1]])


def _circle(radius: float, count: int = 28) -> Points:
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)[None]


def _turn(outline: Points, angles: Points, scales: Points | float = 1.0) -> Points:
    """Copies of a (p, 2) outline turned by (n,) angles and scaled by (n,) factors: (n, p, 2)."""
    c, s = (np.cos(angles) * scales)[:, None], (np.sin(angles) * scales)[:, None]
    x, y = outline[:, 0], outline[:, 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def _fill_layers(pen: _Pen, layers: Sequence[Points], colors: Sequence[Color]) -> None:
    """Fills (n, p, 2) layers petal by petal, so that a petal hides all layers of the one below."""
    pen.fill(np.stack(layers, axis=1).reshape(-1, *layers[0].shape[1:]), *colors)


def _petal_ring(
    pen: _Pen, color: Color, count: int, petal: tuple[float, ...], phase: float = 0
) -> None:
    """A ring of shaded petals; ``petal`` holds the arguments of `_outline`."""
    start, end, half_width, root, tip = petal
    angles = phase + 2 * math.pi * (np.arange(count) + pen.rng.normal(0, 0.12, count)) / count
    scales = pen.rng.normal(1, 0.05, count).clip(0.82, 1.12)
    # Every other petal first, so that neighbors overlap as on a real flower head.
    order = np.r_[0:count:2, 1:count:2]
    angles, scales = angles[order], scales[order]
    tones = 0.9 + 0.12 * np.cos(angles - pen.rng.uniform(0, 2 * math.pi))
    layers = [
        _turn(_outline(start, end * reach, half_width * width, root, tip), angles, scales)
        for reach, width in ((1, 1), (0.96, 0.78), (0.72, 0.2))  # edge, face, vein
    ]
    _fill_layers(pen, layers, [_shade(color, t * f) for t in tones for f in (0.7, 1, 0.84)])


def _disc(pen: _Pen, radius: float, shares: tuple[float, ...]) -> None:
    """The domed center, with florets on a golden-angle spiral and at times a darker middle."""
    color = pen.vary(_DISCS[pen.rng.choice(len(_DISCS), p=shares)])
    pen.fill(_circle(radius), _shade(color, 0.62))
    pen.fill(_circle(radius * 0.9), color)
    k = np.arange(int(40 + 110 * radius))
    spots = _turn(np.array([[1.0, 0.0]]), k * _GOLDEN_ANGLE, np.sqrt((k + 0.5) / len(k)))
    tones = pen.rng.uniform(0.6, 1.3, 9)
    florets = radius * 0.92 * spots + _circle(radius * 0.065, 5)
    pen.fill(florets, *(_shade(color, t) for t in tones))
    if radius * pen.rng.random() > 0.16:
        pen.fill(_circle(radius * pen.rng.uniform(0.3, 0.55)), _shade(color, 0.6))


def _daisy(pen: _Pen, color: Color) -> None:
    rng = pen.rng
    count, radius = int(rng.integers(9, 24)), rng.uniform(0.2, 0.38)
    width = min(rng.uniform(0.8, 1.15) * 2.1 / count, 0.22)
    petal = (radius * 0.6, 1.0, width, rng.uniform(0.5, 0.9), rng.uniform(0.15, 0.4))
    _petal_ring(pen, color, count, petal)
    _disc(pen, radius, (0.6, 0.2, 0.14, 0.06))


def _sunflower(pen: _Pen, color: Color) -> None:
    rng = pen.rng
    count, radius = int(rng.integers(13, 24)), rng.uniform(0.34, 0.56)
    width = rng.uniform(0.8, 1.15) * 2.4 / count
    petal = (radius * 0.7, 1.0, width, rng.uniform(0.5, 0.9), rng.uniform(0.6, 1.1))
    _petal_ring(pen, _shade(color, 0.86), count, petal)
    _petal_ring(pen, color, count, (petal[0], rng.uniform(0.8, 0.95), *petal[2:]), math.pi / count)
    _disc(pen, radius, (0.08, 0.12, 0.4, 0.4))


def _dandelion(pen: _Pen, color: Color) -> None:
    rng = pen.rng
    if rng.random() < 0.25:
        _seed_head(pen)
        return
    tip = rng.uniform(0.06, 0.25)
    for reach in (1.0, 0.86, 0.7, 0.54, 0.38, 0.22):
        count = int(rng.integers(26, 36) * (0.45 + 0.55 * reach))
        angles = 2 * math.pi * (np.arange(count) + rng.uniform(-0.4, 0.4, count)) / count
        floret = _outline(0, reach, 0.07 * (0.4 + 0.6 * reach), 0.7, tip)
        tones = rng.uniform(0.72, 1.0, 7) * (0.9 + 0.14 * reach)
        turned = _turn(floret, angles, rng.uniform(0.86, 1.08, count))
        pen.fill(turned, *(_shade(color, t) for t in tones))


def _seed_head(pen: _Pen) -> None:
    """The dandelion clock: a ball of stalks that end in tufts."""
    k = np.arange(int(pen.rng.integers(50, 80)))
    reach = 0.3 + 0.68 * np.sqrt((k + 0.5) / len(k))
    pale = pen.vary((232, 230, 220), 8)
    stalk = np.array([[0.0, 0.0], [0.8, 0.0]])
    tuft = np.array([[1.02, -0.13], [0.8, 0.0], [1.08, 0.0], [0.8, 0.0], [1.02, 0.13]])
    pen.stroke(_turn(stalk, k * _GOLDEN_ANGLE, reach), 0.014, _shade(pale, 0.72))
    pen.stroke(_turn(tuft, k * _GOLDEN_ANGLE, reach), 0.014, pale, _shade(pale, 0.9))
    pen.fill(_circle(0.13, 14), pen.vary((122, 98, 66)))


def _rose(pen: _Pen, color: Color) -> None:
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
            _turn((lobe * grow + (out, 0)) * reach, angles) + shift
            for grow, out in ((1.06, 0.5), (1, 0.49), (0.9, 0.44))  # shadow, lip, face
        ]
        tones = (0.62 + 0.38 * reach + rng.normal(0, 0.04, count)).clip(0.5, 1)
        _fill_layers(pen, layers, [_shade(color, t * f) for t in tones for f in (0.58, 1.14, 0.9)])
        turn, reach, shift = turn + _GOLDEN_ANGLE, reach * shrink, shift + drift
    curl = _turn(np.array([[1.0, 0.0]]), np.linspace(0, 10, 26), np.linspace(0.02, 0.17, 26))
    pen.stroke(curl[None, :, 0] + shift, 0.03, _shade(color, 0.4))


def _tulip(pen: _Pen, color: Color) -> None:
    rng = pen.rng
    tip = rng.uniform(0.4, 0.75)
    if rng.random() < 0.12:  # wide open, from above: six broad petals around a dark throat
        for phase, reach in ((0.0, 1.0), (math.pi / 3, 0.92)):
            petal = (0, reach, rng.uniform(0.34, 0.46), 0.8, tip)
            _petal_ring(pen, color, 3, petal, phase)
        pen.fill(_circle(0.2, 16), _shade(color, 0.35))
        pen.fill(_circle(0.08, 10), (214, 196, 84))
        return
    base, spread, width = np.array([0, 0.85]), rng.uniform(0.12, 0.5), rng.uniform(0.4, 0.56)
    angles = np.array([-0.55, 0.55, -1.0, 1.0, 0.0]) * spread - math.pi / 2
    scales = np.array([1.75, 1.75, 1.7, 1.7, 1.6]) * rng.normal(1, 0.03, 5)
    tones = np.array([0.7, 0.74, 0.9, 0.84, 1.0]) + rng.normal(0, 0.03, 5)
    layers = [
        _turn(_outline(0, reach, width * slim / 1.7, 0.55, tip), angles, scales) + base
        for reach, slim in ((1, 1), (0.97, 0.9), (0.8, 0.12))  # edge, face, vein
    ]
    _fill_layers(pen, layers, [_shade(color, t * f) for t in tones for f in (0.66, 1, 0.86)])


_PAINTERS = (_daisy, _dandelion, _rose, _sunflower, _tulip)  # in the order of CLASSES


def _backdrop(rng: np.random.Generator) -> Image.Image:
    """Gradient, cloudy texture and out-of-focus blobs in flower and leaf colors."""
    side = _BACKDROP_SIDE
    top, bottom = np.array(_BACKDROPS[rng.integers(len(_BACKDROPS))]) + rng.normal(0, 16, (2, 3))
    ramp = np.linspace(0, 1, side)[:, None, None]
    cloud = rng.normal(0, rng.uniform(0, 16), (side, side, 1))
    field = np.rint(top * (1 - ramp) + bottom * ramp + cloud).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(field)
    pen = ImageDraw.Draw(image)
    palette = (*_PETALS, *_GREENS, *_GREENS)
    for x, y, r in rng.uniform((0, 0, 2), (side, side, side / 8), (rng.integers(14), 3)).tolist():
        under = field[int(y), int(x)].tolist()
        color = _mix(palette[rng.integers(len(palette))], under, rng.uniform(0.3, 0.85))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=color)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 3.0)))


def _blades(pen: _Pen, count: int, width: float) -> None:
    """Grass and long leaves that grow from the bottom edge, in frame units."""
    rng, t = pen.rng, np.linspace(0, 1, 7)
    pen.view = _FRAME
    for _ in range(count):
        x = rng.uniform(-0.1, 1.1) + rng.normal(0, 0.28) * t**2
        y = 1.05 - rng.uniform(0.2, 0.9) * t
        taper = width * rng.uniform(0.5, 1.4) * (1 - t**2)
        edges = np.stack([x - taper, y], 1), np.stack([x + taper, y], 1)[::-1]
        pen.fill(np.concatenate(edges)[None], _shade(pen.green(), rng.uniform(0.6, 1.05)))


def _stem(pen: _Pen, top: Points, radius: float) -> None:
    """A bowed stem from ``top`` out of the frame, often with one leaf, in frame units."""
    rng, color = pen.rng, pen.green()
    pen.view = _FRAME
    foot = top + np.array([rng.normal(0, 0.12), 1.2])
    t = np.linspace(0, 1, 8)[:, None]
    curve = top * (1 - t) + foot * t + (rng.normal(0, 0.1), 0) * t * (1 - t)
    width = radius * rng.uniform(0.09, 0.16)
    pen.stroke(curve[None], width, _shade(color, 0.7))
    pen.stroke((curve - (width * 0.15, 0))[None], width * 0.5, color)
    if rng.random() < 0.6:
        angle = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 1.0) - math.pi / 2])
        length, slim = radius * rng.uniform(0.9, 1.9), rng.uniform(0.1, 0.24)
        for half, tone in ((slim, 0.86), (slim * 0.14, 0.64)):
            leaf = _turn(_outline(0, length, length * half, 0.7, 0.9), angle)
            pen.fill(leaf + curve[3] + (0, radius * 0.6), _shade(color, tone))


def _view(rng: np.random.Generator, x: float, y: float, radius: float, kind: str) -> Points:
    """Turns, tilts (foreshortens) and places a flower: (2, 3)."""
    upright = kind == "tulip"
    squash = rng.uniform({"tulip": 0.85, "rose": 0.65}.get(kind, 0.5), 1)
    turn, lean = (0 if upright else rng.uniform(0, 2 * math.pi)), rng.normal(0, 0.22)
    (spin,), (sway,) = (_turn(np.eye(2), np.array([a])).swapaxes(1, 2) for a in (turn, lean))
    return np.column_stack([radius * sway @ np.diag([1, squash]) @ spin, (x, y)])


def _flowers(pen: _Pen, label: int) -> None:
    """One to four flowers of one kind, the smallest first and so behind."""
    rng, kind = pen.rng, CLASSES[label]
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
        _PAINTERS[label](pen, pen.vary(color, 6))


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

    A pure function of its arguments, safe in any thread or process. Every size shows the same
    scene; only the sensor noise differs.

    Args:
        index: Which image, 0 or more.
        seed: Which set of images, 0 or more.
        size: Side of the square in pixels, 1 or more.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        ValueError: ``index`` or ``seed`` is negative, or ``size`` is below 1.
    """
    if index < 0 or seed < 0 or size < 1:
        raise ValueError(f"need index >= 0, seed >= 0, size >= 1; got {index}, {seed}, {size}")
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    pen = _Pen(_backdrop(rng), size, rng)
    _blades(pen, int(rng.integers(0, 14)), 0.014)
    _flowers(pen, index % len(CLASSES))
    _blades(pen, int(rng.choice([0, 1, 2, 4])), 0.018)
    return _photograph(pen.image.reduce(pen.supersample), size, rng)

"""What every stage of a network makes of one photo."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_exp.config.training import Views
from alexnet_exp.data.decode import Pixels
from alexnet_exp.pictures.canvas import (
    MARGIN,
    NORMAL,
    SMALL,
    TINY,
    Head,
    new_figure,
    place,
    show_image,
    styled,
    write,
)
from alexnet_exp.pictures.looking import Subject, best_by_tower, layers_of
from alexnet_exp.pictures.sheet import ROW, draw_bars
from alexnet_exp.report.drawing import GRAY, WIDE

_MAPS = 8
_NEUTRAL = "#d8d8d8"
_LABEL, _MAP, _GAP, _PHOTO, _STRIP = 1.15, 0.62, 0.05, 1.3, 0.36  # inches
_NONLINEAR = ("relu", "tanh", "sigmoid")
_LONG = 16  # a strip of units is so many times as wide as high


def activations(subject: Subject, photo: Path | None = None, seed: int = 0) -> Figure:
    """A photo, its five best classes, and what comes out of each stage, all of its center alone.

    Of every convolution the eight channels with the largest output are shown, the same number in
    each tower, and the same ones after normalization and pooling; of fully connected layers all.

    Args:
        subject: The network.
        photo: A file; None: a test photo that ``seed`` draws.

    Raises:
        UserError: The photo can't be read.
    """
    if photo is None:
        [row] = subject.draw(1, seed).tolist()
        [true], [file] = subject.names_of([row]), subject.files_of([row])
        title, pixels = f"{true}, one of the {subject.photos}: {file}", subject.store.images[row]
        [(outputs, best)] = subject.look(np.array([row]), Views.one, lambda x: _see(subject, x))
    else:
        true, title = None, str(photo.name)
        pixels, images = subject.photo(photo)
        outputs, best = subject.look_at(images, lambda x: _see(subject, x))
    shown, bars = subject.center(pixels), subject.best(best)
    towers = subject.config.model.towers
    stages_shown = [*_chosen(outputs, towers)]
    return _draw((title, subject.note), shown, true, stages_shown, bars, towers)


def stages(network: nn.Module) -> dict[str, str]:
    """Layers that are shown, in order, with what they are called.

    What follows a convolution, and hidden fully connected layers; a nonlinearity is called after
    the layer that it follows.
    """
    found, before = {}, ""
    for name, _ in layers_of(network):
        kind = name.rstrip("0123456789b")
        if kind in _NONLINEAR:
            found[name] = f"{before}, {kind}" if before.startswith(("conv", "fc")) else name
        elif kind in ("norm", "pool", "adaptive_pool"):
            found[name] = name
        before = name
    return found


def _see(subject: Subject, images: Tensor) -> tuple[dict[str, NDArray[np.float32]], Tensor]:
    """Outputs of stages, (C, H, W) or (units,), and probabilities (classes,)."""
    called = stages(subject.classifier.network)
    found = subject.outputs(images, called)
    probabilities = subject.classifier.probabilities(images)[0]
    outputs = {called[name]: out[0].float().cpu().numpy() for name, out in found.items()}
    return outputs, probabilities.float().cpu()


class _Stage(NamedTuple):
    name: str
    size: str
    shown: NDArray[np.float32]
    """Some of its maps (K, H, W), or all of its units (units,)."""

    @property
    def height(self) -> float:
        return _MAP if self.shown.ndim == 3 else _STRIP

    @property
    def has_constants(self) -> bool:
        parts = self.shown if self.shown.ndim == 3 else self.shown[None]
        return any(_is_constant(part) for part in parts)


def _chosen(outputs: dict[str, NDArray[np.float32]], towers: int) -> Iterator[_Stage]:
    channels: list[int] = []
    block = ""
    for name, out in outputs.items():
        if out.ndim == 1:
            yield _Stage(name, f"{len(out):,} units", out)
            continue
        if _number(name) not in ("", block):
            channels, block = best_by_tower(out.max((1, 2)), towers, _MAPS), _number(name)
        count, rows, columns = out.shape
        yield _Stage(name, f"{count} maps, {rows} x {columns}", out[channels])


def _number(name: str) -> str:
    """Of the convolution that a stage belongs to; none of adaptive pooling."""
    return "".join(sign for sign in name if sign.isdigit())


def _draw(
    said: tuple[str, str],
    pixels: Pixels,
    true: str | None,
    shown: Sequence[_Stage],
    bars: Sequence[tuple[str, float]],
    towers: int,
) -> Figure:
    title, trained = said
    scale = "Center view. Each map and strip from its least value (black) to its largest (white)."
    constant = "Gray: the same value everywhere." * any(stage.has_constants for stage in shown)
    with styled():
        head = Head(WIDE, title, scale, constant, trained)
        top = MARGIN + head.height
        below = top + max(_PHOTO, ROW * len(bars)) + 0.15
        figure = new_figure(WIDE, below + sum(_GAP + stage.height for stage in shown) + MARGIN)
        head.write(figure)
        show_image(place(figure, MARGIN, top, _PHOTO, _PHOTO), pixels)
        draw_bars(figure, MARGIN + _PHOTO + 0.4, top, 2.6, bars, true)
        for stage in shown:
            write(figure, MARGIN, below, stage.name, NORMAL, weight="bold")
            write(figure, MARGIN, below + 0.17, stage.size, SMALL, color=GRAY)
            draw = _draw_maps if stage.shown.ndim == 3 else _draw_units
            draw(figure, below, stage.shown, towers)
            below += _GAP + stage.height
    return figure


def _draw_maps(figure: Figure, top: float, maps: NDArray[np.float32], towers: int) -> None:
    for column, one in enumerate(maps):
        apart = 2 * _GAP * (column * towers // len(maps))
        left = MARGIN + _LABEL + column * (_MAP + _GAP) + apart
        axes = place(figure, left, top, _MAP, _MAP)
        if _is_constant(one):
            _mark_constant(axes, one[0, 0], "\n")
        else:
            axes.imshow(one, cmap="gray", interpolation="nearest")


def _draw_units(figure: Figure, top: float, units: NDArray[np.float32], towers: int) -> None:
    """Row by row, in a field about 16 times as wide as high, as near as rows can be whole."""
    wanted = (len(units) / _LONG) ** 0.5
    whole = [rows for rows in range(1, len(units) + 1) if len(units) % rows == 0]
    rows = min(whole, key=lambda rows: abs(np.log(rows / wanted)))
    width = _MAPS * (_MAP + _GAP) - _GAP + 2 * _GAP * (towers - 1)
    axes = place(figure, MARGIN + _LABEL, top, width, _STRIP)
    if _is_constant(units):
        _mark_constant(axes, units[0], " ")
    else:
        axes.imshow(units.reshape(rows, -1), cmap="gray", interpolation="nearest", aspect="auto")


def _is_constant(values: NDArray[np.float32]) -> bool:
    return bool(values.min() == values.max())


def _mark_constant(axes: Axes, value: np.float32, between: str) -> None:
    """Gray, which says neither little nor much, with the value."""
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=_NEUTRAL, transform=axes.transAxes))
    text = f"constant{between}{value:.2g}"
    axes.text(0.5, 0.5, text, fontsize=TINY, ha="center", va="center", transform=axes.transAxes)

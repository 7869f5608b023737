"""What every stage of a network makes of one photo."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_exp.config.training import Views
from alexnet_exp.data.decode import Pixels
from alexnet_exp.pictures.canvas import (
    HEAD,
    MARGIN,
    NORMAL,
    SMALL,
    new_figure,
    place,
    show_image,
    styled,
    write,
    write_head,
)
from alexnet_exp.pictures.looking import Subject, best_by_tower, layers_of
from alexnet_exp.pictures.sheet import ROW, draw_bars
from alexnet_exp.report.drawing import GRAY, WIDE

_MAPS = 8
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
        [true] = subject.names_of([row])
        title, pixels = f"{true}, one of the {subject.photos}", subject.store.images[row]
        [(outputs, best)] = subject.look(np.array([row]), Views.one, lambda x: _see(subject, x))
    else:
        true, title = None, str(photo.name)
        pixels, images = subject.photo(photo)
        outputs, best = subject.look_at(images, lambda x: _see(subject, x))
    shown, bars = subject.center(pixels), subject.best(best)
    return _draw(title, shown, true, outputs, bars, subject.config.model.towers)


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


def _draw(
    title: str,
    pixels: Pixels,
    true: str | None,
    outputs: dict[str, NDArray[np.float32]],
    bars: Sequence[tuple[str, float]],
    towers: int,
) -> Figure:
    below = MARGIN + HEAD + max(_PHOTO, ROW * len(bars)) + 0.15
    heights = [_GAP + (_MAP if out.ndim == 3 else _STRIP) for out in outputs.values()]
    with styled():
        figure = new_figure(WIDE, below + sum(heights) + MARGIN)
        note = "Each map and strip from its least (black) to its largest (white)."
        write_head(figure, title, note)
        show_image(place(figure, MARGIN, MARGIN + HEAD, _PHOTO, _PHOTO), pixels)
        draw_bars(figure, MARGIN + _PHOTO + 0.4, MARGIN + HEAD, 2.6, bars, true)
        channels: list[int] = []
        block = ""
        for number, (name, out) in enumerate(outputs.items()):
            top = below + sum(heights[:number])
            write(figure, MARGIN, top, name, NORMAL, weight="bold")
            if out.ndim == 1:
                write(figure, MARGIN, top + 0.17, f"{len(out):,} units", SMALL, color=GRAY)
                _draw_units(figure, top, out, towers)
                continue
            count, rows, columns = out.shape
            shape = f"{count} maps, {rows} x {columns}"
            write(figure, MARGIN, top + 0.17, shape, SMALL, color=GRAY)
            if _number(name) not in ("", block):
                channels, block = best_by_tower(out.max((1, 2)), towers, _MAPS), _number(name)
            _draw_maps(figure, top, out[channels], towers)
    return figure


def _number(name: str) -> str:
    """Of the convolution that a stage belongs to; none of adaptive pooling."""
    return "".join(sign for sign in name if sign.isdigit())


def _draw_maps(figure: Figure, top: float, maps: NDArray[np.float32], towers: int) -> None:
    for column, one in enumerate(maps):
        apart = 2 * _GAP * (column * towers // len(maps))
        left = MARGIN + _LABEL + column * (_MAP + _GAP) + apart
        axes = place(figure, left, top, _MAP, _MAP)
        axes.imshow(one, cmap="gray", interpolation="nearest")


def _draw_units(figure: Figure, top: float, units: NDArray[np.float32], towers: int) -> None:
    """Row by row, in a field about 16 times as wide as high; what is left over is blank."""
    rows = max(1, round((len(units) / _LONG) ** 0.5))
    field = np.full(rows * -(-len(units) // rows), np.nan, np.float32)
    field[: len(units)] = units
    width = _MAPS * (_MAP + _GAP) - _GAP + 2 * _GAP * (towers - 1)
    axes = place(figure, MARGIN + _LABEL, top, width, _STRIP)
    axes.imshow(field.reshape(rows, -1), cmap="gray", interpolation="nearest", aspect="auto")

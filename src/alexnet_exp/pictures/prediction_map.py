"""Where in a photo a network sees what: one prediction for every window of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch.nn import functional as F

from alexnet_exp.console import percent
from alexnet_exp.data.decode import DecodeError, Pixels, resize
from alexnet_exp.data.photos import read_whole_photo
from alexnet_exp.errors import UserError
from alexnet_exp.network.convolutional import FullyConvolutional
from alexnet_exp.pictures.canvas import (
    MARGIN,
    NORMAL,
    SMALL,
    Head,
    new_figure,
    place,
    shortened,
    show_image,
    styled,
    trained_on,
    write,
)
from alexnet_exp.report.drawing import BLUE
from alexnet_exp.training.classifier import Classifier

Photo = Path | str | bytes | Pixels
LARGER = 2
"""How many times as large as in training a photo is shown, where nothing else is asked for."""

_SHOWN = 3  # classes
_MOST_ASPECT, _AT_ONCE = 4, 64
# Inches.
_WIDE, _NARROWEST, _TALLEST = 3.5, 2.4, 4.2
_GAP, _HEADING, _KEY = 0.2, 0.36, 0.2
_FAINT, _MOST_COVER = 0.5, 0.65  # the photo stays readable under what lies on it
_PHOTO_GRAY = str(1 - _FAINT / 2)
_DARK = (0.05, 0.15, 0.35)  # dark also in print without color
_COLORS = LinearSegmentedColormap.from_list("share", [(*to_rgb(BLUE), 0), (*_DARK, _MOST_COVER)])


class NoMapError(UserError):
    """The network can't be slid over photos."""


@dataclass(frozen=True)
class PredictionMap:
    """Predictions for windows of a photo that lie a stride apart.

    Attributes:
        pixels: The photo as the network saw it, (H, W, C) uint8.
        probabilities: (h, w, classes) float32; the window of (i, j) begins at pixel
            (i * stride, j * stride).
        alone: The same of each window cut out, as the network sees an image of its size. Within a
            photo it sees of what lies around it where layers pad with zeros, and another part of
            the mean image is subtracted.
        window: Side of a window in pixels.
        stride: Pixels between windows.
    """

    pixels: Pixels
    probabilities: NDArray[np.float32]
    alone: NDArray[np.float32]
    window: int
    stride: int


def predict_map(classifier: Classifier, photo: Photo, side: int | None = None) -> PredictionMap:
    """Slide a classifier over a photo, in one pass of its network.

    The photo is decoded and resized as in training, but whole. The mean image, where one is
    subtracted, is enlarged to its size.

    Args:
        classifier: From ``Classifier.load``.
        photo: A file, the bytes of one, or pixels (H, W, C) uint8.
        side: Shorter side in pixels to which the photo is resized; None: twice that of training.

    Raises:
        NoMapError: The network has locally connected layers.
        UserError: The photo can't be read, or is too small or too long.
    """
    data, augmentation = classifier.config.data, classifier.augmentation
    side = side or LARGER * augmentation.side
    try:
        slid = FullyConvolutional(classifier.network)
    except ValueError as error:
        raise NoMapError(f"there is no map of predictions: {error}") from error
    try:
        if isinstance(photo, np.ndarray):
            pixels = resize(photo, side)
        else:
            pixels = read_whole_photo(photo, data, side)
    except DecodeError as error:
        raise UserError(f"can't read {error}: mend it or leave it out") from error
    height, width = pixels.shape[:2]
    if max(height, width) > _MOST_ASPECT * side:
        raise UserError(
            f"{_name(photo)} is more than {_MOST_ASPECT} times as long as it is wide: cut it"
        )
    mean = augmentation.mean.permute(2, 0, 1)[None]
    whole_mean = F.interpolate(mean, (height, width), mode="bilinear")
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    images = (planes - whole_mean) * augmentation.config.scale
    images = images.to(next(slid.parameters()))
    with torch.inference_mode():
        try:
            logits = slid(images)
        except ValueError as error:
            raise UserError(f"{_name(photo)}, at {side} pixels: {error}") from error
        size = classifier.config.model.input_size
        apart = _windows(planes.to(images), slid, logits.shape[2:], size)
        apart = (apart - _center(mean, size)) * augmentation.config.scale
        each = torch.cat([classifier.network(some) for some in apart.split(_AT_ONCE)])
    found = logits.softmax(1)[0].permute(1, 2, 0).float().cpu().numpy()
    alone = each.softmax(1).float().cpu().numpy().reshape(found.shape)
    return PredictionMap(pixels, found, alone, slid.window, slid.stride)


def _windows(
    planes: torch.Tensor, slid: FullyConvolutional, grid: Sequence[int], side: int
) -> torch.Tensor:
    """The ``grid`` of windows of (1, C, H, W), row by row: (N, C, side, side).

    The last ones may reach beyond the photo, as where a pooling rounds up: there are zeros.
    """
    ends = [(count - 1) * slid.stride + slid.window for count in grid]
    below, right = (max(0, end - own) for end, own in zip(ends, planes.shape[2:], strict=True))
    planes = F.pad(planes, (0, right, 0, below))
    found = planes.unfold(2, slid.window, slid.stride).unfold(3, slid.window, slid.stride)
    cut = found[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    rest = side - slid.window  # what conv1 drops of an image
    return F.pad(cut, (0, rest, 0, rest))


def _center(mean: torch.Tensor, side: int) -> torch.Tensor:
    """What is subtracted of an image in training, by its center view: of (1, C, S, S)."""
    before = (mean.shape[-1] - side) // 2
    return mean[..., before : before + side, before : before + side]


def prediction_map(
    classifier: Classifier, photo: Photo, side: int | None = None, title: str = ""
) -> Figure:
    """A photo, and where in it the three classes are that are most probable over all of it.

    A position is colored around the center of its window, so that the border has no color.
    Arguments and errors are those of ``predict_map``; ``title`` stands above all, by default the
    file's name.
    """
    found, names = predict_map(classifier, photo, side), classifier.output_names
    height, width, _ = found.pixels.shape
    wide = min(_WIDE, _TALLEST * width / height)
    size = wide, wide * height / width
    across, down = max(wide, _NARROWEST) + _GAP, _HEADING + size[1] + _GAP
    means = found.probabilities.mean((0, 1))
    whole = 2 * across - _GAP + 2 * MARGIN
    sizes = _sizes(found, photo, classifier.augmentation.side)
    with styled():
        drawn = trained_on(classifier.config.data.source)
        head = Head(whole, title or _name(photo), sizes, _apart(found), drawn)
        first = MARGIN + head.height
        figure = new_figure(whole, first + 2 * down + _KEY + MARGIN)
        head.write(figure)
        rows, columns = found.probabilities.shape[:2]
        lines = (
            f"{columns} x {rows} windows",
            f"as large as the square, {found.stride} pixels apart",
        )
        _show_photo(_panel(figure, MARGIN, first, size, lines), found)
        for number, label in enumerate(np.argsort(-means, kind="stable")[:_SHOWN], 1):
            share = found.probabilities[..., label]
            said = f"{percent(share.mean())} on average, at most {percent(share.max())}"
            row, column = divmod(number, 2)
            left, top = MARGIN + column * across, first + row * down
            _show_share(_panel(figure, left, top, size, (names[label], said)), found, share)
        _write_key(figure, first + 2 * down)
    return figure


def _name(photo: Photo) -> str:
    return Path(photo).name if isinstance(photo, str | Path) else "photo"


def _sizes(found: PredictionMap, photo: Photo, side: int) -> str:
    """A sentence on what the network sees, beside the ``side`` of squares in training."""
    height, width, _ = found.pixels.shape
    seen = f"The network sees {width} x {height} pixels"
    if isinstance(photo, np.ndarray) and photo.shape[0] < height:
        seen += f", enlarged from {photo.shape[1]} x {photo.shape[0]}"
    return f"{seen}; in training, images have {side} x {side}."


def _apart(found: PredictionMap) -> str:
    """A sentence on how far windows within the photo are what they are alone."""
    other = found.alone.argmax(2) != found.probabilities.argmax(2)
    if other.size == 1:
        return ""
    said = f"Cut out and seen alone, {other.sum()} of {other.size} windows have another best class."
    ends = [(count - 1) * found.stride + found.window for count in other.shape]
    beyond = max(end - own for end, own in zip(ends, found.pixels.shape[:2], strict=True))
    return said + f" The last ones reach {beyond} pixels beyond the photo." * (beyond > 0)


def _panel(
    figure: Figure, left: float, top: float, size: tuple[float, float], lines: tuple[str, str]
) -> Axes:
    """Axes of (width, height) inches below two lines."""
    [name] = shortened(lines[:1], max(size[0], _NARROWEST), NORMAL, "bold")
    write(figure, left, top, name, weight="bold")
    write(figure, left, top + 0.17, lines[1], SMALL)
    return place(figure, left, top + _HEADING, *size)


def _show_photo(axes: Axes, found: PredictionMap) -> None:
    """The photo, and in its middle the outline of a window."""
    show_image(axes, found.pixels)
    height, width, _ = found.pixels.shape
    corner = (width - found.window) / 2, (height - found.window) / 2
    for color, thick in (("white", 2.5), ("black", 1)):  # seen on any photo
        axes.add_patch(
            Rectangle(corner, found.window, found.window, fill=False, edgecolor=color, lw=thick)
        )


def _show_share(axes: Axes, found: PredictionMap, share: NDArray[np.float32]) -> None:
    """The photo, gray and faint, under the probabilities (h, w) of one class."""
    height, width = found.pixels.shape[:2]
    faint = 255 - (255 - found.pixels.mean(2, keepdims=True)) * _FAINT
    show_image(axes, faint)
    first = (found.window - found.stride) / 2 - 0.5
    down, across = (first + found.stride * count for count in share.shape)
    place_in_photo = (first, across, down, first)
    axes.imshow(share, cmap=_COLORS, vmin=0, vmax=1, extent=place_in_photo)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _write_key(figure: Figure, top: float) -> None:
    """Which color is which probability, over the middle of the faint photo's grays."""
    axes = place(figure, MARGIN + 0.3, top, 1.2, 0.12)
    axes.add_patch(
        Rectangle((0, 0), 1, 1, facecolor=_PHOTO_GRAY, transform=axes.transAxes, zorder=-1)
    )
    axes.imshow(np.linspace(0, 1, 64)[None], cmap=_COLORS, vmin=0, vmax=1, aspect="auto")
    write(figure, MARGIN, top, "0 %", SMALL)
    write(figure, MARGIN + 1.55, top, "100 % probability of the class, over middle gray", SMALL)

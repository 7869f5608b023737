"""The photos, and the regions of them, that excite channels of the last convolution most."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from alexnet_exp.config.training import Views
from alexnet_exp.errors import UserError
from alexnet_exp.network.plan import LayerPlan
from alexnet_exp.network.receptive_field import ReceptiveField
from alexnet_exp.pictures.canvas import (
    MARGIN,
    SMALL,
    TINY,
    Head,
    cut_name,
    new_figure,
    place,
    shortened,
    show_image,
    styled,
    write,
)
from alexnet_exp.pictures.looking import Subject, best_by_tower
from alexnet_exp.report.drawing import GRAY, ORANGE, WIDE

_CHANNELS, _PHOTOS = 6, 7
_GAP, _HEADING, _NAME, _FILE = 0.06, 0.2, 0.17, 0.14  # inches

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of a stored photo."""


def regions(subject: Subject, channels: Sequence[int] = ()) -> Figure:
    """Test photos that excite a channel most, a row for each, with what its unit sees in a frame.

    The frame is the receptive field of the output that is largest, as far as it lies on the photo's
    center, which the network is given.

    Args:
        subject: Whose last convolution is looked at, conv5 of AlexNet.
        channels: Of that layer, from 0; none: six, the same number in each tower, whose best photos
            stand out most from all (by standard deviations of a channel's maxima over photos).

    Raises:
        UserError: There is no such channel.
    """
    layer = check_channels(subject, channels)
    rows = subject.store.indices("test")
    values, places = _strongest(subject, rows, layer)
    chosen = [*channels] or telling_channels(values, subject.config.model.towers)
    side = (WIDE - 2 * MARGIN - (_PHOTOS - 1) * _GAP) / _PHOTOS
    height = _HEADING + side + _NAME + _FILE + _GAP
    network, seen = subject.classifier.network, subject.config.model.input_size
    field = ReceptiveField(network.features, layer.name, seen)
    with styled():
        title = f"Those {subject.photos} that excite channels of {layer.name} most"
        head = Head(WIDE, title, _note(field, seen), subject.note)
        figure = new_figure(WIDE, 2 * MARGIN + head.height + len(chosen) * height - _GAP)
        head.write(figure)
        for number, channel in enumerate(chosen):
            top = MARGIN + head.height + number * height
            tower = channel * subject.config.model.towers // layer.outputs + 1
            which = f", tower {tower}" * (subject.config.model.towers > 1)
            write(figure, MARGIN, top, f"Channel {channel}{which}", SMALL, weight="bold")
            best = np.argsort(-values[:, channel], kind="stable")[:_PHOTOS]
            said = subject.names_of(rows[best]), subject.files_of(rows[best])
            for column, (at, name, file) in enumerate(zip(best, *said, strict=True)):
                left = MARGIN + column * (side + _GAP)
                box = seen_box(subject, field, divmod(int(places[at, channel]), layer.size))
                _draw(figure, left, top + _HEADING, side, subject.store.images[int(rows[at])], box)
                below = top + _HEADING + side
                [text] = shortened([name], side, SMALL)
                write(figure, left, below + 0.03, text, SMALL)
                write(figure, left, below + _NAME, cut_name(file, side, TINY), TINY, color=GRAY)
    return figure


def check_channels(subject: Subject, channels: Sequence[int]) -> LayerPlan:
    """The last convolution; UserError if it lacks one of the channels."""
    layer = [one for one in subject.classifier.network.plan if one.kind == "conv"][-1]
    if wrong := [channel for channel in channels if not 0 <= channel < layer.outputs]:
        raise UserError(
            f"there is no channel {wrong[0]}: {layer.name} has channels 0 to {layer.outputs - 1}"
        )
    return layer


def _note(field: ReceptiveField, seen: int) -> str:
    """How to read the frames of a layer, of a network whose input is ``seen`` pixels wide."""
    note = "In the frame: what the largest output of the channel sees"
    if field.size <= seen:
        return f"{note}, at most {field.size} x {field.size} pixels of the network's input."
    return (
        f"{note}. Its field, {field.size} pixels wide, is larger than the network's input ({seen}):"
        " the frame is the whole input, or near the border a little less."
    )


def _strongest(
    subject: Subject, rows: NDArray[np.int64], layer: LayerPlan
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of each photo's center and channel the largest output, and where: (N, K) both."""

    def see(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = subject.outputs(images, [layer.name])[layer.name]
        found = maps.float().flatten(2).max(2)
        return found.values.cpu(), found.indices.cpu()

    parts = subject.look(rows, Views.one, see, f"{layer.name} of test images")
    values, places = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return values, places


def telling_channels(values: NDArray[np.float32], towers: int) -> list[int]:
    """Six channels, the same number in each tower, whose best photos stand out most.

    ``values`` are the largest outputs (N, K) of photos. A channel that a rectifier keeps at 0 for
    all photos tells nothing and comes last.
    """
    active = values.clip(min=0)
    best = np.sort(active, axis=0)[-_PHOTOS:].mean(0)
    spread = active.std(0)
    stands_out = np.where(spread > 0, (best - active.mean(0)) / np.where(spread > 0, spread, 1), -1)
    return best_by_tower(stands_out, towers, _CHANNELS)


def seen_box(subject: Subject, field: ReceptiveField, place: tuple[int, int]) -> Box:
    """What the output at a row and column of the layer sees, on a stored photo."""
    (top, bottom), (left, right) = map(field.span, place)
    scale, before = subject.to_stored
    return (
        scale * (left + before), scale * (top + before),
        scale * (right - left), scale * (bottom - top),
    )  # fmt: skip


def _draw(
    figure: Figure, left: float, top: float, side: float, pixels: NDArray[np.uint8], box: Box
) -> None:
    """A photo, pale outside of the box."""
    axes = place(figure, left, top, side, side)
    x, y, width, height = box
    rows, columns = (
        slice(round(start), round(start + size)) for start, size in ((y, height), (x, width))
    )
    pale = (255 - 0.4 * (255 - pixels.astype(np.float32))).astype(np.uint8)
    pale[rows, columns] = pixels[rows, columns]
    show_image(axes, pale)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec=ORANGE, lw=1.2))

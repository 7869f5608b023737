"""Finished batches of a store in the order of a sampler."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_exp.config.training import Views
from alexnet_exp.data.augmentation import Augmentation, Draws
from alexnet_exp.data.pixels import InMemory, Pixels
from alexnet_exp.data.sampler import TrainSampler
from alexnet_exp.data.stream import Stream

DRAWN_AT_ONCE = 64
"""Batches whose crops, flips and noise are drawn together: on a GPU each small operation costs as
much as a large one."""


class Loader:
    """Yields ``(images, labels)``, augmented or cut into views.

    Order, labels and random numbers lie on the device already, and so do the pixels where the
    store does: then nothing is copied in a step. A ``Trainer`` tells ``sampler`` its epoch by
    ``set_epoch``; so does a loop of your own. It counts when the first batch is drawn.

    Args:
        sampler: Which rows make up which batch; a list of them where views are cut.
        labels: (M,) int64 of all images of the store.
        pixels: Those of all images where they lie on the device, else what reads them.
        augmentation, views, dtype: What becomes of them.
    """

    def __init__(
        self,
        sampler: TrainSampler | Sequence[NDArray[np.int64]],
        labels: Tensor,
        pixels: Pixels | Stream,
        augmentation: Augmentation,
        views: Views = Views.one,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.sampler = sampler
        self.batch_sampler = None  # Lightning asks for it
        self.labels, self.pixels, self.device = labels, pixels, pixels.device
        self.augmentation, self.views, self.dtype = augmentation, views, dtype

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (N, C, s, s), or (N, V, C, s, s) of ten views, and labels (N,) int64."""
        batches = list(self.sampler)
        if not batches:
            return
        order = torch.from_numpy(np.concatenate(batches))
        labels = self.labels[order].to(self.device)
        order = order.to(self.device)
        sizes = [len(batch) for batch in batches]
        found: Iterator[tuple[Pixels, Tensor]]
        if isinstance(self.pixels, Stream):
            found = map(_whole, self.pixels.batches(batches))
        else:
            found = zip(repeat(self.pixels), order.split(sizes), strict=False)
        draws: Iterator[Draws | None] = repeat(None)
        if isinstance(self.sampler, TrainSampler):
            draws = drawn_ahead(self.augmentation.draw, self.sampler.epoch, order, sizes)
        for (pixels, rows), its_labels, drawn in zip(
            found, labels.split(sizes), draws, strict=False
        ):
            if drawn is not None:
                images = self.augmentation.train(pixels, rows, drawn, self.dtype)
            else:
                images = self.augmentation.views(pixels.gather(rows), self.views, self.dtype)
            yield images, its_labels


def _whole(pixels: Tensor) -> tuple[Pixels, Tensor]:
    """A streamed batch, all rows of it."""
    return InMemory(pixels), torch.arange(len(pixels), device=pixels.device)


def drawn_ahead(
    draw: Callable[[Tensor, int], Draws], epoch: int, order: Tensor, sizes: list[int]
) -> Iterator[Draws]:
    """What is drawn for each batch of ``order``, many batches at a time."""
    start = 0
    for first in range(0, len(sizes), DRAWN_AT_ONCE):
        some = sizes[first : first + DRAWN_AT_ONCE]
        yield from draw(order[start : start + sum(some)], epoch).split(some)
        start += sum(some)

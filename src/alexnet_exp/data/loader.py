"""Batches of a store in the order of a sampler, with what is drawn for each image."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet_exp.data.augmentation import Draws
from alexnet_exp.data.sampler import EvaluationSampler, TrainSampler
from alexnet_exp.data.stream import Stream

DRAWN_AT_ONCE = 64
"""Batches whose crops, flips and noise are drawn together: on a GPU each small operation costs as
much as a large one."""


class Loader:
    """What Lightning iterates over.

    Order, labels and random numbers lie on the device already, and so do the pixels where the
    store does: then nothing is copied in a step.

    Args:
        sampler: Says which images make up which batch.
        labels: (M,) int64 of all images of the store.
        device: Where the batches are wanted.
        draw: Random numbers of some images in an epoch; None where nothing is augmented.
        stream: Reads pixels; None where they lie on the device.
    """

    def __init__(
        self,
        sampler: TrainSampler | EvaluationSampler,
        labels: Tensor,
        device: torch.device,
        draw: Callable[[Tensor, int], Draws] | None,
        stream: Stream | None,
    ) -> None:
        self.sampler = sampler  # Lightning tells it the epoch, and asks for the next line too
        self.batch_sampler = None
        self.labels, self.device = labels, device
        self.draw, self.stream = draw, stream

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """``index``, ``labels`` (N,) int64, ``draws``, and ``pixels`` (N, S, S, C) if streamed."""
        batches = list(self.sampler)
        if not batches:
            return
        order = torch.from_numpy(np.concatenate(batches))
        labels = self.labels[order].to(self.device)
        order = order.to(self.device)
        pixels: Iterator[Tensor | None] = repeat(None)
        if self.stream is not None:
            pixels = self.stream.batches(batches)
        sizes = [len(batch) for batch in batches]
        draws: Iterator[Draws | None] = repeat(None)
        if self.draw is not None and isinstance(self.sampler, TrainSampler):
            draws = _drawn_ahead(self.draw, self.sampler.epoch, order, sizes)
        for index, its_labels, drawn, one in zip(
            order.split(sizes), labels.split(sizes), draws, pixels, strict=False
        ):
            given: dict[str, Any] = {"index": index, "labels": its_labels}
            if drawn is not None:
                given["draws"] = drawn
            if one is not None:
                given["pixels"] = one
            yield given


def _drawn_ahead(
    draw: Callable[[Tensor, int], Draws], epoch: int, order: Tensor, sizes: Sequence[int]
) -> Iterator[Draws]:
    """What is drawn for each batch of ``order``, many batches at a time."""
    start = 0
    for first in range(0, len(sizes), DRAWN_AT_ONCE):
        some = sizes[first : first + DRAWN_AT_ONCE]
        yield from draw(order[start : start + sum(some)], epoch).split(some)
        start += sum(some)

"""Batches of a store in the order of a sampler, with what is drawn for each image."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
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
        start = 0
        draws = chain.from_iterable(self._draws(order, [len(batch) for batch in batches]))
        for batch in batches:
            piece = slice(start, start + len(batch))
            start = piece.stop
            given: dict[str, Any] = {"index": order[piece], "labels": labels[piece]}
            if self.draw is not None:
                given["draws"] = next(draws)
            one = next(pixels)
            if one is not None:
                given["pixels"] = one
            yield given

    def _draws(self, order: Tensor, sizes: list[int]) -> Iterator[list[Draws]]:
        """Those of each batch, many batches at a time."""
        assert self.draw is None or isinstance(self.sampler, TrainSampler)
        start = 0
        for first in range(0, len(sizes), DRAWN_AT_ONCE):
            some = sizes[first : first + DRAWN_AT_ONCE]
            block = order[start : start + sum(some)]
            start += sum(some)
            assert self.draw is not None
            assert isinstance(self.sampler, TrainSampler)
            yield self.draw(block, self.sampler.epoch).split(some)

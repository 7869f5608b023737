"""Pixels that do not lie on the device: read ahead by threads, copied ahead by the GPU."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_exp.data.store.images import Images

_ROWS_A_TASK = 8

_Filling = tuple[Tensor, list[Future[None]]]
"""A batch in host memory, and the threads' work on it."""


class Stream:
    """Reads batches of a store ahead of their use.

    Threads read (and decode, where the store is encoded) into pinned memory; the copies to a GPU
    run on a stream of their own while the last batch is computed. Reading and decoding let go of
    Python's lock. 0 threads read in the calling one; ``ahead`` batches, at least 1, are read
    before they are asked for.
    """

    def __init__(self, images: Images, device: torch.device, threads: int, ahead: int) -> None:
        self.images, self.device = images, device
        self.threads, self.ahead = threads, ahead

    def batches(self, rows: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        """The pixels of each batch of rows, in order: (N,) to (N, S, S, C) uint8 on the device."""
        if self.threads == 0:
            for batch in rows:
                yield torch.from_numpy(self.images[batch]).to(self.device)
            return
        with ThreadPoolExecutor(self.threads, "read") as pool:
            try:
                filled = self._filled(rows, pool)
                if self.device.type == "cuda":
                    yield from self._copied(filled)
                else:
                    yield from (pixels.to(self.device) for pixels in filled)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _filled(
        self, rows: Iterable[NDArray[np.int64]], pool: ThreadPoolExecutor
    ) -> Iterator[Tensor]:
        """Batches in host memory, while the threads work on the next ones."""
        filling: deque[_Filling] = deque()
        for batch in rows:
            filling.append(self._start(batch, pool))
            if len(filling) > self.ahead:
                yield _wait(*filling.popleft())
        while filling:
            yield _wait(*filling.popleft())

    def _start(self, rows: NDArray[np.int64], pool: ThreadPoolExecutor) -> _Filling:
        # Pinned memory is kept by torch and given out again once the GPU has copied from it.
        pinned = self.device.type == "cuda"
        shape = (len(rows), *self.images.shape[1:])
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        out = pixels.numpy()

        def read(start: int) -> None:
            for place in range(start, min(start + _ROWS_A_TASK, len(rows))):
                self.images.read(int(rows[place]), out[place])

        return pixels, [pool.submit(read, start) for start in range(0, len(rows), _ROWS_A_TASK)]

    def _copied(self, filled: Iterator[Tensor]) -> Iterator[Tensor]:
        """Batches on the GPU, each copied while the one before it is computed."""
        copies = _copy_stream(self.device)
        ready: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        for pixels in filled:
            with torch.cuda.stream(copies):
                moved = pixels.to(self.device, non_blocking=True)
                ready.append((moved, copies.record_event()))
            if len(ready) > 1:
                yield self._received(*ready.popleft())
        while ready:
            yield self._received(*ready.popleft())

    def _received(self, pixels: Tensor, copied: torch.cuda.Event) -> Tensor:
        here = torch.cuda.current_stream(self.device)
        here.wait_event(copied)
        pixels.record_stream(here)  # its memory is not given out again before that has read it
        return pixels


def _wait(pixels: Tensor, tasks: list[Future[None]]) -> Tensor:
    """The pixels, or what went wrong in a thread."""
    for task in tasks:
        task.result()
    return pixels


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """One for each device: torch keeps what was freed for the stream that had it."""
    return torch.cuda.Stream(device)

"""The clock of every measurement."""

import time
from collections.abc import Callable
from statistics import median

import torch

WARM_UP = 2
"""Least steps before the clock starts: memory is allocated, kernels are chosen, workers are up."""

_WARM_UP_SHARE = 0.2  # of the window, in seconds, before it
_LEAST_STEPS = 2
_LAUNCHES = 10  # between two readings of the clock on a GPU, so that its launches queue up


class Window:
    """Counts the images of steps, from the end of the warm-up until enough time has gone by.

    Args:
        seconds: Least length.
        device: That computes; it is waited for at both ends.
        warm_up: Least steps before it begins.
    """

    def __init__(self, seconds: float, device: torch.device, warm_up: int = WARM_UP) -> None:
        self.seconds, self.device, self.warm_up = seconds, device, warm_up
        self.steps = 0
        self._images = 0
        self._before = 0
        self._first: float | None = None
        self._start: float | None = None
        self._end = 0.0

    def tick(self, images: int) -> bool:
        """Note the end of a step on ``images`` images; gives whether the window is over."""
        now = time.perf_counter()
        if self._start is None:
            self._before += 1
            self._first = now if self._first is None else self._first
            waited = now - self._first >= _WARM_UP_SHARE * self.seconds
            if self._before >= self.warm_up and waited:
                self._start = self._end = now_on(self.device)
            return False
        self.steps += 1
        self._images += images
        if now - self._start < self.seconds or self.steps < _LEAST_STEPS:
            return False
        self._end = now_on(self.device)
        return True

    def close(self) -> None:
        """The data has ended; what was counted until now is the window."""
        if self.steps and self._end == self._start:
            self._end = now_on(self.device)

    @property
    def images_per_second(self) -> float:
        """Rate within the window.

        Raises:
            RuntimeError: The steps ended before it did.
        """
        if self._start is None or self._end <= self._start:
            raise RuntimeError("the data ended before it was measured")
        return self._images / (self._end - self._start)


def now_on(device: torch.device) -> float:
    """Seconds of a clock, once the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median time of ``work`` over at least ``seconds``, after one call that does not count.

    On a GPU calls follow each other without waiting, as the kernels of a step do.
    """
    calls = _LAUNCHES if device.type == "cuda" else 1
    work()
    times: list[float] = []
    begin = now_on(device)
    while len(times) < 2 or sum(times) < seconds:
        for _ in range(calls):
            work()
        end = now_on(device)
        times.append(end - begin)
        begin = end
    return median(times) / calls

"""The clock of every measurement, the turns that they take, and how long they will go on."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

import torch

from alexnet_exp.console import say

T = TypeVar("T")

WARM_UP = 2
"""Least steps before the clock starts: memory is allocated, kernels are chosen, workers are up."""

_WARM_UP_SHARE = 0.2  # of the window, in seconds, before it
_LEAST_STEPS = 2
_LAUNCHES = 10  # between two readings of the clock on a GPU, so that its launches queue up


class Window:
    """Counts the images of steps for ``seconds`` at least, after ``warm_up`` steps at least.

    The device is waited for at both ends.
    """

    def __init__(self, seconds: float, device: torch.device, warm_up: int = WARM_UP) -> None:
        self.seconds, self.device, self.warm_up = seconds, device, warm_up
        self.steps = self._images = self._before = 0
        self._first = self._start = self._end = 0.0

    def tick(self, images: int) -> bool:
        """Note the end of a step on ``images`` images; gives whether the window is over."""
        now = time.perf_counter()
        if not self._start:
            self._first = self._first or now
            self._before += 1
            waited = now - self._first >= _WARM_UP_SHARE * self.seconds
            if self._before >= self.warm_up and waited:
                self._start = now_on(self.device)
            return False
        self.steps += 1
        self._images += images
        if now - self._start < self.seconds or self.steps < _LEAST_STEPS:
            return False
        self._end = now_on(self.device)
        return True

    @property
    def images_per_second(self) -> float:
        """Rate within the window; RuntimeError if the steps ended before it did."""
        if not self._end:
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


class Course:
    """Takes measurements, says which one it is at, and about how long all that follow will take.

    That is a guess: all will take ``windows`` of ``seconds``.
    """

    def __init__(self, windows: float, seconds: float) -> None:
        self.windows_left, self._window = windows, seconds
        self._done = self._took = 0.0

    def take(self, name: str, windows: float, measure: Callable[[], T]) -> T:
        """The value of one measurement, which takes about so many windows."""
        rate = self._took / self._done if self._done else self._window
        say(f"{name} (about {rate * self.windows_left:.0f} s left)")
        begin = time.perf_counter()
        value = measure()
        self._took += time.perf_counter() - begin
        self._done += windows
        self.windows_left -= windows
        return value

    def take_turns(
        self, rounds: int, windows: float, turns: Mapping[str, Callable[[], float]]
    ) -> list[list[float]]:
        """Values by round of every measurement, in turn, so that a slow moment falls on all."""
        values: list[list[float]] = [[] for _ in turns]
        for number in range(1, rounds + 1):
            for mine, (name, measure) in zip(values, turns.items(), strict=True):
                mine.append(self.take(f"{name}, round {number} of {rounds}", windows, measure))
        return values


def series(values: Sequence[float]) -> dict[str, Any]:
    """Median, spread and every round."""
    spread = {"median": median(values), "min": min(values), "max": max(values)}
    return spread | {"rounds": list(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over the rounds of the ratio within one round."""
    return median(a / b for a, b in zip(over, under, strict=True))

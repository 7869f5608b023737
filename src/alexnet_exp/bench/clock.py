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
_LAUNCHES = 10  # between two readings of the clock on a GPU, so that its launches queue up


class Window:
    """Counts the images of steps for ``seconds`` at least, after ``warm_up`` steps.

    Where steps are slow the warm-up ends after ``WARM_UP`` steps and ``seconds``. The device is
    waited for at both ends.
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
            share = _WARM_UP_SHARE if self._before >= self.warm_up else 1.0
            if self._before >= WARM_UP and now - self._first >= share * self.seconds:
                self._start = now_on(self.device)
            return False
        self.steps += 1
        self._images += images
        if now - self._start < self.seconds:
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
    while sum(times) < seconds:
        for _ in range(calls):
            work()
        end = now_on(device)
        times.append(end - begin)
        begin = end
    return median(times) / calls


class Course:
    """Takes measurements, and says which one it is at and how long all have taken so far.

    Args:
        seconds: That all may take, counted from the command.
        earlier: How many of them have gone by.

    Attributes:
        to_come: How many sets of turns, or what takes as long, share the time that is left.
    """

    def __init__(self, seconds: float, earlier: float) -> None:
        self._seconds, self._begin = seconds, time.perf_counter() - earlier
        self.to_come = 1.0

    def take(self, name: str, measure: Callable[[], T]) -> T:
        """The value of one measurement."""
        say(f"{name} ({self._taken:.0f} s of {self._seconds:.0f} s)")
        return measure()

    def take_turns(
        self, rounds: int, turns: Mapping[str, Callable[[], float]]
    ) -> list[list[float]]:
        """Values by round of every measurement, in turn, so that a slow moment falls on all.

        One round at least, and further ones as long as they end within this set's share of time.
        """
        begin = self._taken
        end = begin + (self._seconds - begin) / self.to_come
        self.to_come -= 1
        values: list[list[float]] = [[] for _ in turns]
        for number in range(1, rounds + 1):
            for mine, (name, measure) in zip(values, turns.items(), strict=True):
                mine.append(self.take(f"{name}, round {number} of {rounds}", measure))
            round_takes = (self._taken - begin) / number
            if number < rounds and self._taken + round_takes > end:
                say(f"{number} of {rounds} rounds fit: for all of them raise bench.minutes")
                break
        return values

    @property
    def _taken(self) -> float:
        return time.perf_counter() - self._begin


def series(values: Sequence[float]) -> dict[str, Any]:
    """Median, spread and every round."""
    spread = {"median": median(values), "min": min(values), "max": max(values)}
    return spread | {"rounds": list(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over the rounds of the ratio within one round."""
    return median(a / b for a, b in zip(over, under, strict=True))

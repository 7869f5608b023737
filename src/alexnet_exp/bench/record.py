"""What a measurement comes to: medians over rounds, and ratios within a round."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from alexnet_exp.console import say

PATHS = ("model", "input", "end_to_end", "plain")
"""What is measured in turn, in this order."""

RATIOS = {
    "end_to_end_over_plain": ("end_to_end", "plain"),
    "end_to_end_over_model": ("end_to_end", "model"),
    "input_over_model": ("input", "model"),
}


def take_turns(
    what: str, measurements: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Every measurement once in each round, in turn, so that a slow moment falls on all.

    Args:
        what: For the lines that are shown meanwhile.
        measurements: By name.
        rounds: How many.
    """
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(rounds):
        for name, measure in measurements.items():
            say(f"{what}: {name}, round {number + 1} of {rounds}")
            values[name].append(measure())
    return values


def series(values: Sequence[float]) -> dict[str, Any]:
    """Median, spread and every round."""
    return {
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "rounds": list(values),
    }


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over the rounds of the ratio within one round."""
    return median(a / b for a, b in zip(over, under, strict=True))


def case_record(batch: int, store: str, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """One batch size and store: images/s of all paths, and their ratios."""
    return {
        "batch": batch,
        "store": store,
        **{name: series(values[name]) for name in PATHS},
        **{name: ratio(values[over], values[under]) for name, (over, under) in RATIOS.items()},
    }


def headline(case: Mapping[str, Any]) -> dict[str, float]:
    """The figures of one case that stand at the top of bench.json."""
    figures = {f"{name}_images_per_second": float(case[name]["median"]) for name in PATHS}
    return figures | {name: float(case[name]) for name in RATIOS}

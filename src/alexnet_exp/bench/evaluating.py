"""How fast a trained network is evaluated: the test that ends a run."""

from functools import partial
from typing import Any

from alexnet_exp.bench.clock import Course, series
from alexnet_exp.bench.show import show, spread
from alexnet_exp.bench.subject import Subject, measure_evaluation
from alexnet_exp.config.bench import BenchConfig
from alexnet_exp.config.training import Views

WINDOWS = 3.0  # that one measurement takes


def measure(bench: BenchConfig, case: Subject, course: Course) -> dict[str, Any]:
    """Images/s with one view of each and with ten.

    Returns:
        The ``evaluation`` of bench.json.
    """
    turns = {
        f"evaluation, {case.name}, views: {views}": partial(
            measure_evaluation, case, views, bench.seconds
        )
        for views in Views
    }
    rates = [*map(series, course.take_turns(bench.rounds, WINDOWS, turns))]
    rows = [[name, spread(rate)] for name, rate in zip(turns, rates, strict=True)]
    show("Test of a trained network", ["what", "images/s"], rows)
    return dict(zip(map(str, Views), rates, strict=True))

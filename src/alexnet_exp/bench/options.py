"""Variants in turn: what single options buy in training, and views cost in evaluation."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from hydra.errors import HydraException

from alexnet_exp.bench.clock import Course, ratio, series
from alexnet_exp.bench.show import show, spread
from alexnet_exp.bench.subject import Subject, measure_evaluation, measure_network
from alexnet_exp.config import compose, to_config
from alexnet_exp.config.bench import BenchConfig, BenchRun
from alexnet_exp.config.training import Views
from alexnet_exp.errors import UserError


def with_changes(run: BenchRun, overrides: Sequence[str], changes: Sequence[str]) -> Subject:
    """The first case with ``changes`` after the ``overrides`` of the command line; or UserError."""
    try:
        composed = to_config(compose([*overrides, *changes], "bench"))
    except HydraException as error:
        named, reason = " ".join(changes), str(error).splitlines()[0]
        raise UserError(f"bench.variants: {named} can't be composed: {reason}") from error
    assert isinstance(composed, BenchRun)
    return Subject(composed.run_config(), run.bench.batches[0], run.bench.stores[0])


def measure(
    bench: BenchConfig, default: Subject, variants: Mapping[str, Subject], course: Course
) -> dict[str, Any]:
    """Every variant: the ``options`` of bench.json.

    Where one can't run here, as a compiler is missing, its record says why.
    """
    found: list[dict[str, Any]] = []
    for name, changed in variants.items():
        torch.compiler.reset()  # networks that differ in options alone count as one to recompile
        turns = {
            f"{name}: {side}": partial(measure_network, one, bench.seconds)
            for side, one in (("default", default), ("changed", changed))
        }
        try:
            by_default, by_changed = course.take_turns(bench.rounds, turns)
        except RuntimeError as error:
            found.append({"overrides": name, "error": str(error).strip().splitlines()[0]})
        else:
            rates = {"images_per_second": by_changed, "default_images_per_second": by_default}
            record = {what: series(values) for what, values in rates.items()}
            found.append({"overrides": name, **record, "ratio": ratio(by_changed, by_default)})
        changed.forget()
    rows = [
        [one["overrides"], one["error"], ""]
        if "error" in one
        else [one["overrides"], spread(one["images_per_second"]), f"{one['ratio']:.2f}"]
        for one in found
    ]
    title = f"The network's steps with other options, {default.name}"
    show(title, ["overrides", "images/s", "times as fast"], rows)
    return {"rounds": bench.rounds, "seconds": bench.seconds, "variants": found}


def evaluate(bench: BenchConfig, case: Subject, course: Course) -> dict[str, Any]:
    """Images/s of the test that ends a run, by number of views: the ``evaluation``."""
    turns = {
        f"evaluation, {case.name}, views: {views}": partial(
            measure_evaluation, case, views, bench.seconds
        )
        for views in Views
    }
    rates = [*map(series, course.take_turns(bench.rounds, turns))]
    rows = [[name, spread(rate)] for name, rate in zip(turns, rates, strict=True)]
    show("Test of a trained network", ["what", "images/s"], rows)
    return dict(zip(map(str, Views), rates, strict=True))

"""What single options buy: steps of the network with each, in turn with the default."""

from collections.abc import Mapping, Sequence
from typing import Any

import hydra
import torch

from alexnet_exp.bench.clock import Course, ratio, series
from alexnet_exp.bench.show import show, spread
from alexnet_exp.bench.subject import Subject
from alexnet_exp.bench.within_trainer import measure_network
from alexnet_exp.config import to_config
from alexnet_exp.config.bench import BenchConfig, BenchRun
from alexnet_exp.errors import UserError

WINDOWS = 3.0  # that one measurement takes


def with_changes(run: BenchRun, overrides: Sequence[str], changes: Sequence[str]) -> Subject:
    """The first case with other options.

    Args:
        run: What is measured.
        overrides: From the command line; Hydra must be initialized.
        changes: More of them.

    Raises:
        UserError: They can't be composed.
    """
    try:
        composed = to_config(hydra.compose("bench", [*overrides, *changes]))
    except hydra.errors.HydraException as error:
        named, reason = " ".join(changes), str(error).splitlines()[0]
        raise UserError(f"bench.variants: {named} can't be composed: {reason}") from error
    assert isinstance(composed, BenchRun)
    return Subject(composed.run_config(), run.bench.batches[0], run.bench.stores[0])


def measure(
    bench: BenchConfig, default: Subject, variants: Mapping[str, Subject], course: Course
) -> dict[str, Any]:
    """Every variant.

    Returns:
        The ``options`` of bench.json. Where one can't run here, as a compiler is missing, its
        record says why.
    """
    found = [measure_one(bench, default, name, one, course) for name, one in variants.items()]
    rows = [
        [one["overrides"], one["error"], ""]
        if "error" in one
        else [one["overrides"], spread(one["images_per_second"]), f"{one['ratio']:.2f}"]
        for one in found
    ]
    title = f"The network's steps with other options, {default.name}"
    show(title, ["overrides", "images/s", "times as fast"], rows)
    return {"rounds": bench.rounds, "seconds": bench.seconds, "variants": found}


def measure_one(
    bench: BenchConfig, default: Subject, name: str, changed: Subject, course: Course
) -> dict[str, Any]:
    """Both in turn."""
    torch.compiler.reset()  # networks that differ in options alone count as one to recompile
    turns = {
        f"{name}: default": lambda: measure_network(default, bench.seconds),
        f"{name}: changed": lambda: measure_network(changed, bench.seconds),
    }
    try:
        by_default, by_changed = course.take_turns(bench.rounds, WINDOWS, turns)
    except RuntimeError as error:
        return {"overrides": name, "error": str(error).strip().splitlines()[0]}
    finally:
        changed.forget()
    return {
        "overrides": name,
        "images_per_second": series(by_changed),
        "default_images_per_second": series(by_default),
        "ratio": ratio(by_changed, by_default),
    }

"""Measure this machine: ``python -m alexnet_exp.bench``, or ``make bench``.

By default how many images a second one device trains on, beside its network alone, its input
alone, plain PyTorch and what the hardware allows (*throughput*), and steps of every strategy on all
devices, GPUs or else two processes of the CPU (*parallel*). ``bench.parts`` chooses among these,
what single options buy (*options*), the test of a run (*evaluation*) and a GPU's *kernels*. It
takes minutes, and the whole machine: beside other work figures are noise. ``--help`` lists all.

    python -m alexnet_exp.bench bench.parts=[throughput] hydra.run.dir=results/bench/mine
    python -m alexnet_exp.bench model=original profile=cpu trainer.precision=32-true
"""

import json
import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

from alexnet_exp import cli
from alexnet_exp.bench import kernels, options, strategy_steps, throughput
from alexnet_exp.bench.clock import Course
from alexnet_exp.bench.options import with_changes
from alexnet_exp.bench.subject import Subject
from alexnet_exp.config.bench import BenchRun, Part, register_bench
from alexnet_exp.console import console
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import seconds_since_start
from alexnet_exp.network.kernels import gpu
from alexnet_exp.runs.folder import environment


def bench(run: BenchRun, folder: Path) -> None:
    """Measure, print, and write ``bench.json`` after each part; other parts stay as recorded.

    Raises:
        UserError: The network does not fit its input, or this machine lacks the device.
    """
    settings = run.bench
    course = Course(60 * settings.minutes, seconds_since_start())
    parts = [part for part in Part if part in settings.parts]
    if settings.profile == "gpu" and not torch.cuda.is_available():
        raise UserError("profile=gpu needs a GPU, and there is none: set profile=cpu")
    if Part.kernels in parts and not (torch.cuda.is_available() and gpu.INSTALLED):
        raise UserError("bench.parts: kernels are for an NVIDIA GPU with Triton; leave them out")
    file = folder / "bench.json"
    recorded = recorded_bench(file, run.model.name)
    pairs = product(settings.batches, settings.stores)
    cases = [Subject(run.run_config(), *pair) for pair in pairs]
    variants: dict[str, Subject] = {}
    if Part.options in parts:
        given = list(HydraConfig.get().overrides.task)
        variants = {" ".join(one): with_changes(run, given, one) for one in settings.variants}
    sets = {  # of turns, or what takes about as long
        Part.throughput: len(cases) + 0.3,
        Part.parallel: 0.5,
        Part.options: len(variants),
        Part.evaluation: 1.0,
        Part.kernels: len(settings.batches),
    }
    measures: dict[Part, Callable[[], dict[str, Any]]] = {
        Part.throughput: lambda: throughput.measure(settings, cases, course),
        Part.parallel: lambda: strategy_steps.measure(run, cases[0], course),
        Part.options: lambda: options.measure(settings, cases[0], variants, course),
        Part.evaluation: lambda: options.evaluate(settings, cases[0], course),
        Part.kernels: lambda: kernels.measure(settings, course),
    }
    here = environment() | {"command": ["alexnet_exp.bench", *sys.argv[1:]]}
    whole = {"model": run.model.name, **recorded, "environment": here}
    folder.mkdir(parents=True, exist_ok=True)
    for done, part in enumerate(parts):
        course.to_come = sum(sets[later] for later in parts[done:])
        load = os.getloadavg()
        found = measures[part]()
        whole[part] = {"load": load, "git_revision": here["git_revision"], **found}
        if part == Part.throughput:
            whole |= throughput.headline(found["cases"][0])
        file.write_text(json.dumps(whole, indent=1) + "\n")
    console.print(f"written: {file}", soft_wrap=True)


def recorded_bench(file: Path, model: str) -> dict[str, Any]:
    """What an earlier benchmark of this network has recorded; UserError if it is of another."""
    if not file.exists():
        return {}
    try:
        recorded: dict[str, Any] = json.loads(file.read_text())
        other = recorded["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} can't be read as a benchmark ({error!r}): delete it") from error
    if other != model:
        raise UserError(f"{file} is of model={other}: set hydra.run.dir=<another folder>")
    return recorded


def main() -> None:
    """Entry point of ``python -m alexnet_exp.bench``."""
    register_bench()
    cli.run(bench, name="bench")


if __name__ == "__main__":
    main()

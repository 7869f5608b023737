"""Measure this machine: ``python -m alexnet_exp.bench``, or ``make bench``.

Two parts, into one bench.json in the run folder. *throughput*: how many images a second one device
trains on, beside its network alone, its input alone, plain PyTorch and what the hardware allows.
*parallel*: the parts of a training step on all devices at once (GPUs, else two processes of the
CPU), the links between them and real steps of every strategy, and which strategy should be the
fastest on 2 to 64 such devices. It takes minutes, and the whole machine: beside other work its
figures are noise. ``--help`` lists what can be chosen.

    python -m alexnet_exp.bench bench.parts=[throughput] hydra.run.dir=results/bench/mine
    python -m alexnet_exp.bench model=original profile=cpu trainer.precision=32-true
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

from alexnet_exp import cli
from alexnet_exp.bench.observe import Observation, observe
from alexnet_exp.bench.record import headline
from alexnet_exp.bench.show import tables
from alexnet_exp.bench.throughput import IMAGENET_CLASSES, measure_throughput
from alexnet_exp.config import Config
from alexnet_exp.config.bench import BenchRun, Part, register_bench
from alexnet_exp.config.training import StrategyName
from alexnet_exp.console import console
from alexnet_exp.cost.measure import measure
from alexnet_exp.cost.pieces import STATED_LINKS, Machine, read_bench
from alexnet_exp.cost.step_time import Job, fits
from alexnet_exp.cost.tables import (
    BATCHES,
    Table,
    fastest,
    measured_links,
    measured_pieces,
    observed,
    sent_bytes,
    stated,
)
from alexnet_exp.cost.traffic import bytes_per_activation
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import plan
from alexnet_exp.runs.folder import environment
from alexnet_exp.training.settle import settle_hardware

STEPS, ROUNDS = 4, 2


def bench(run: BenchRun, folder: Path) -> None:
    """Measure, print, and write ``bench.json``; a part not measured stays as it was recorded.

    Args:
        run: What to measure, on what.
        folder: Run folder.

    Raises:
        UserError: The network does not fit its input, or this machine lacks the device.
    """
    if run.bench.profile == "gpu" and not torch.cuda.is_available():
        raise UserError("profile=gpu needs a GPU, and there is none: set profile=cpu")
    recorded = recorded_bench(folder / "bench.json", run.model.name)
    found: dict[str, Any] = {}
    if Part.throughput in run.bench.parts:
        overrides = list(HydraConfig.get().overrides.task)
        throughput = measure_throughput(run, overrides)
        for title, table in tables(throughput):
            _print(title, table)
        found |= headline(throughput["cases"][0]) | {"throughput": throughput}
    if Part.parallel in run.bench.parts:
        found |= {"parallel": measure_parallel(run.run_config())}
    found |= {"environment": environment() | {"command": ["alexnet_exp.bench", *sys.argv[1:]]}}
    file = folder / "bench.json"
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model": run.model.name, **recorded, **found}
    file.write_text(json.dumps(whole, indent=1) + "\n")
    console.print(f"written: {file}", soft_wrap=True)


def recorded_bench(file: Path, model: str) -> dict[str, Any]:
    """What an earlier benchmark of this network has recorded here; empty if there is none.

    Raises:
        UserError: It is damaged, or of another network.
    """
    if not file.exists():
        return {}
    recorded = read_bench(file)
    if recorded["model"] != model:
        raise UserError(
            f"{file} is of model={recorded['model']}: set hydra.run.dir=<another folder>"
        )
    return recorded


def measure_parallel(config: Config) -> dict[str, Any]:
    """Pieces, links and steps of every strategy, and what follows from them on the screen.

    Args:
        config: ``model``, ``optim``, ``trainer.accelerator``, ``trainer.precision`` and
            ``trainer.channels_last`` of it, and ``data.batch_size`` as one more batch to predict.

    Returns:
        The ``parallel`` of bench.json.

    Raises:
        UserError: The network does not fit its input.
    """
    model = config.model
    settle_hardware(config)
    model.classes = model.classes or IMAGENET_CLASSES
    model.input_channels = model.input_channels or config.data.channels
    try:
        layers = plan(model)
    except ValueError as error:
        raise UserError(str(error)) from error
    job = Job(layers, model.towers, config.strategy.bucket_mb)
    load = os.getloadavg()[0]
    machine, devices = measure(config)
    observations = []
    if devices > 1:
        strategies = [
            strategy
            for strategy in StrategyName
            if strategy == StrategyName.single
            or fits(strategy, job, config.data.batch_size, devices)
        ]
        observations = observe(config, strategies, devices, STEPS, ROUNDS)
    show(job, machine, observations, config.data.batch_size)
    return {
        "load": load,
        "machine": machine.to_plain(),
        "observed": [asdict(seen) for seen in observations],
    }


def show(job: Job, machine: Machine, observations: Sequence[Observation], batch: int) -> None:
    """Print what was measured and what is predicted from it.

    Args:
        job: What is trained.
        machine: As measured.
        observations: Real steps on it.
        batch: One more global batch size to predict.
    """
    size = bytes_per_activation(machine.precision)
    batches = sorted({*BATCHES, batch})
    _print(f"Parts of a step, {machine.name}, {machine.precision}", measured_pieces(machine))
    if machine.links:
        _print("Links between the devices of this machine", measured_links(machine))
    _print("MB that each device sends in a step", sent_bytes(job, batches, (2, 8, 64), size))
    if observations:
        _print("Real steps on this machine", observed(job, machine, observations))
    links = stated(STATED_LINKS)
    if machine.links:
        links.append(("this machine's own link", machine.links))
    for name, link in links:
        table = fastest(job, machine, [("", link)], batches, (2, 8, 64))
        _print(f"Times faster than one such device, predicted: {name}", table.without_first())


def _print(title: str, table: Table) -> None:
    console.print(title, style="bold", soft_wrap=True)
    console.print(table.rich())


def main() -> None:
    """Entry point of ``python -m alexnet_exp.bench``."""
    register_bench()
    cli.run(bench, name="bench")


if __name__ == "__main__":
    main()

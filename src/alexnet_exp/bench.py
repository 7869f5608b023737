"""Measure this machine: ``python -m alexnet_exp.bench``, or ``make bench``.

Times the parts of a training step on all devices at once (GPUs, else two processes of the CPU) and
the links between them, writes bench.json into the run folder, and predicts from it which strategy
trains fastest on 1 to 64 such devices. Takes two minutes on two cores.
"""

from alexnet_exp import startup  # noqa: F401  # isort: skip  # before Lightning

import json
from pathlib import Path

from alexnet_exp import cli
from alexnet_exp.config import Config
from alexnet_exp.console import console
from alexnet_exp.cost.measure import measure
from alexnet_exp.cost.pieces import STATED_LINKS, Machine
from alexnet_exp.cost.step_time import Job
from alexnet_exp.cost.tables import (
    BATCHES,
    fastest,
    measured_links,
    measured_pieces,
    sent_bytes,
    stated,
)
from alexnet_exp.cost.traffic import bytes_per_activation
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import resolve_precision
from alexnet_exp.model import plan
from alexnet_exp.runs import environment

IMAGENET_CLASSES = 1000
MEASURED_LINK = "this machine's own"


def bench(config: Config, folder: Path) -> None:
    """Measure, write ``bench.json`` and print what follows from it.

    Args:
        config: ``model``, ``optim``, ``trainer.accelerator``, ``trainer.precision`` and
            ``trainer.channels_last`` of it, and ``data.batch_size`` as one more batch to predict.
        folder: Run folder.

    Raises:
        UserError: The network does not fit its input.
    """
    model, trainer = config.model, config.trainer
    trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)
    model.classes = model.classes or IMAGENET_CLASSES
    model.input_channels = model.input_channels or config.data.channels
    try:
        layers = plan(model)
    except ValueError as error:
        raise UserError(str(error)) from error
    machine = measure(config)
    file = folder / "bench.json"
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "model": model.name,
        "environment": environment(),
        "parallel": {"machine": machine.to_plain()},
    }
    file.write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"model={model.name} precision={machine.precision}, {machine.name}", style="bold")
    show(machine, Job(layers, model.towers, config.strategy.bucket_mb), config.data.batch_size)
    console.print(f"written: {file}", soft_wrap=True)


def show(machine: Machine, job: Job, batch: int) -> None:
    """Print the measured pieces and what is predicted from them.

    Args:
        machine: As measured.
        job: What is trained.
        batch: One more global batch size to predict.
    """
    links = stated(STATED_LINKS)
    if machine.links:
        links.insert(0, (MEASURED_LINK, machine.links))
        console.print(measured_links(machine).rich())
    console.print(measured_pieces(machine).rich())
    console.print(f"bytes that each device sends in a step, MB ({machine.precision})", style="bold")
    size = bytes_per_activation(machine.precision)
    batches = sorted({*BATCHES, batch})
    console.print(sent_bytes(job, batches, (2, 8), size).rich())
    console.print("fastest strategy, times faster than one device (predicted)", style="bold")
    console.print(fastest(job, machine, links, batches).rich())


def main() -> None:
    """Entry point of ``python -m alexnet_exp.bench``."""
    cli.run(bench)


if __name__ == "__main__":
    main()

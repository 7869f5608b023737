"""Writes docs/scaling.md from committed benchmarks: ``python -m alexnet_exp.cost.page``."""

import argparse
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from alexnet_exp.bench.observe import Observation
from alexnet_exp.config import Config, conf_folder, register, to_config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost import imagenet
from alexnet_exp.cost.pieces import (
    STATED_LINKS,
    Link,
    Machine,
    Piece,
    ceilings,
    read_bench,
    same_for_all,
)
from alexnet_exp.cost.step_time import Job, step_time
from alexnet_exp.cost.tables import (
    Table,
    fastest,
    measured_links,
    measured_pieces,
    observed,
    sent_bytes,
    stated,
)
from alexnet_exp.errors import MISTAKE, UserError
from alexnet_exp.network.alexnet import plan

COMMAND = "python -m alexnet_exp.cost.page > docs/scaling.md"

_HEAD = """# Which strategy wins at which batch and link

Written by `{command}` from
`results/bench/*/bench.json`; a test checks that it is what the code computes. The network is
`model=paper` with 1000 classes. Batches are global.

## Bytes

What each device sends in a step, by the formulas in `alexnet_exp/cost/traffic.py`. With K devices,
a ring all-reduce of B bytes sends 2 (K-1)/K B from each, an all-gather or reduce-scatter (K-1)/K B,
an all-to-all (K-1)/K of what a device holds. ddp sends every gradient; fsdp gathers all weights
twice and scatters the gradients; towers and one_weird_trick send activations, which grow with the
batch, and of the gradients only those of weights that several devices have.

MB, with activations in bf16 (`trainer.precision=bf16-mixed`) and gradients in fp32:

{bytes}

**Counted.** What the kernel says that the TCP sockets of a process have sent in real steps on gloo
is what the formula says, with the 48-byte header of each of gloo's messages: to the byte, for each
collective and for a step of a small network under every strategy (`tests/test_cost.py`, 2 to 4
processes). One thing differs from NCCL: torch's reduce-scatter on gloo is an all-reduce of which
each process keeps its share (pytorch/pytorch#149869), and sends twice the bytes; the formula counts
it so where it is compared with gloo. NCCL sends by other ways than sockets, so there the formula
stands alone.

## Model of the step

`alexnet_exp/cost/step_time.py`. Convolutions and fully connected layers are timed by themselves,
forward and backward, at several batches, also with 1/K of their units, and so is the optimizer's
step. Assumptions:

- All devices are equal, every two are connected by the same link, a collective is a ring, and a
  device is in one collective at a time. There is no input pipeline and no straggler. On many
  devices NCCL also has trees, of fewer messages: at small batches 32 and 64 devices are judged too
  badly.
- Averaged gradients (ddp, and what towers and one_weird_trick average) leave in buckets during the
  backward pass: fc6's 151 MB travel while the convolutions go backward.
- Gathers of activations and their gradients hide behind nothing.
- fsdp gathers the next unit's weights while the last one computes; its gradients leave in the
  background.
- Dropout's masks, which every device draws for the whole batch, take no time.
- A GPU computes while it communicates. The processes of a CPU do not: sending takes the same cores.
"""

_GPU = """## GPUs: ceilings, not measured

These are the ceilings of one H200, not measurements: 790 TFLOP/s in bf16, 4.3 TB/s, arithmetic and
memory one after the other, 9.4 MB of activation traffic per image, 30 bytes per weight and
step. Kernel launches and products too small to fill the device take no time, so compute is too
short, and communication weighs more than it would. The links are stated, not measured either:

{links}

On a machine with GPUs `python -m alexnet_exp.bench hydra.run.dir=results/bench/<name>` measures the
pieces and links, and the page then has them too.

The fastest strategy, and how many times faster than one device; in brackets where it is slower:

{table}

What it says:

- At batches up to 256 one_weird_trick is the fastest on up to 16 devices, over every link: it sends
  no gradients of the fully connected layers, 58.6 of the 61 million weights.
- What it sends grows with the batch, what ddp sends does not: at batch 4096 ddp is the fastest on 4
  devices over InfiniBand of 400 Gb/s and over NVLink.
- On many devices with large batches it is towers: pairs send little for a small share of the batch,
  and each device averages half of the gradients.
- fsdp saves memory, not time, for a network of this size: it sends half as much again as ddp.
- Over Ethernet one such device alone is faster than 64.
"""

_KRIZHEVSKY = """## Against the published figures

Krizhevsky (2014, arXiv:1404.5997, table 1) trained with this scheme on up to 8 K20 GPUs, fp32, the
batch growing with the devices; 90 epochs took 98.05 hours on one GPU. The model with that one
figure (327 images/s, divided among layers by multiply-accumulates of `model=torchvision`, which is
that paper's network) and an assumed PCIe 2 x16 of 6 GB/s:

{table}

The model is too hopeful on 8 GPUs, as it leaves out a bus that several GPUs share, and that the
products of the fully connected layers shrink with the share of the units that a device has.
"""


def page(folder: Path) -> str:
    """The whole of docs/scaling.md.

    Args:
        folder: Holds ``<machine>/bench.json``.

    Raises:
        UserError: A benchmark can't be read, or is of another network.
    """
    paper = _composed("model=paper")
    job = _job(paper)
    gpu = ceilings(job.layers, job.towers)
    links = Table(
        ["link", "GB/s in one direction", "latency of a message, microseconds"],
        [
            [link.name, f"{link.bandwidth / 1e9:g}", f"{1e6 * link.latency:.0f}"]
            for link in STATED_LINKS
        ],
    ).markdown()
    parts = [
        _HEAD.format(
            command=COMMAND,
            bytes=sent_bytes(job, (128, 1024, 4096), (2, 8, 64), 2).markdown(),
        )
    ]
    benches = {}
    for file in sorted(folder.glob("*/bench.json")):
        bench = read_bench(file)
        if bench["model"] != paper.model.name:
            raise UserError(f"{file} is of model={bench['model']}, the page of model=paper")
        benches[file.parent.name] = bench
        if "parallel" in bench:
            parts.append(_of_machine(job, bench, file))
    parts.append(imagenet.section(job, benches))
    parts.append(_GPU.format(links=links, table=fastest(job, gpu, stated(STATED_LINKS)).markdown()))
    parts.append(_KRIZHEVSKY.format(table=_published().markdown()))
    return "\n".join(parts)


def _of_machine(job: Job, bench: dict[str, object], file: Path) -> str:
    """The section of one benchmark."""
    parallel, environment = bench["parallel"], bench["environment"]
    assert isinstance(parallel, dict)
    assert isinstance(environment, dict)
    machine = Machine.from_plain(parallel["machine"])
    seen = [Observation(**one) for one in parallel["observed"]]
    hardware = ", ".join(environment["gpus"]) or environment["cpu"]
    links = stated(STATED_LINKS if machine.overlaps else STATED_LINKS[:2])
    text = [
        f"## Measured: {file.parent.name}\n",
        f"{hardware}, {environment['cpu_cores']} cores; one device is: {machine.name},"
        f" {machine.precision}, torch {environment['versions']['torch']}. The fastest of several"
        f" repetitions, all devices at once, beside other work of {parallel['load']:.1f} processes"
        f" on average when it began (0 on an idle machine). The optimizer takes"
        f" {1e9 * machine.optimizer:.2f} ns a parameter.\n",
        measured_pieces(machine).markdown() + "\n",
    ]
    if machine.links:
        links.insert(0, ("this machine's own", machine.links))
        text += [
            "Collectives between its devices, each as a line through four sizes:\n",
            measured_links(machine).markdown() + "\n",
        ]
    if seen:
        text += [
            "Real steps of the strategies on random images: fastest step and what the model says of"
            " it, MB that each device sent as the kernel counted them and by the formula. `single`"
            " is every device by itself, all at once. Where the ratio is far from 1, what the next"
            " table says of that strategy is as far off:\n",
            observed(job, machine, seen).markdown() + "\n",
        ]
    text += [
        "The fastest strategy, predicted from these pieces (in brackets where it is slower than one"
        " such device):\n",
        fastest(job, machine, links).markdown() + "\n",
    ]
    return "\n".join(text)


PUBLISHED = {2: (256, 1.95), 4: (512, 3.74), 8: (1024, 6.25)}
"""Krizhevsky (2014), table 1: batch and speedup by number of K20 GPUs."""

_HOURS = 98.05


def _published() -> Table:
    job = _job(_composed("model=torchvision"))
    k20 = _k20(job)
    pcie = same_for_all(Link("PCIe 2 x16", 6e9, 20e-6))
    alone = step_time(StrategyName.single, job, 128, 1, k20, pcie).total / 128
    rows = []
    for devices, (batch, measured) in PUBLISHED.items():
        step = step_time(StrategyName.one_weird_trick, job, batch, devices, k20, pcie)
        rows.append(
            [f"{devices}", f"{batch}", f"{measured:.2f}", f"{alone * batch / step.total:.2f}"]
        )
    return Table(["GPUs", "batch", "published speedup", "model"], rows)


def _k20(job: Job) -> Machine:
    """One K20 as published: all of the step's time goes with the multiply-accumulates."""
    total = sum(layer.macs for layer in job.layers)
    per_image = _HOURS * 3600 / (imagenet.EPOCHS * imagenet.IMAGES)
    pieces = []
    for part, shares in (("conv", (1,)), ("fc", (1, *PUBLISHED))):
        macs = sum(layer.macs for layer in job.layers if layer.kind == part)
        for share in shares:
            for images in (1, 1024):
                seconds = images * per_image * macs / total / share
                pieces.append(Piece(part, share, images, seconds / 3, seconds * 2 / 3))
    return Machine("K20, as published", False, "32-true", True, 0.0, pieces)


def _composed(model: str) -> Config:
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        overrides = [model, "model.classes=1000", "model.input_channels=3"]
        return to_config(compose("config", overrides=overrides))


def _job(config: Config) -> Job:
    return Job(plan(config.model), config.model.towers, config.strategy.bucket_mb)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.cost.page", description=__doc__, epilog=f"example: {COMMAND}"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("results/bench"),
        help="holds <machine>/bench.json, as python -m alexnet_exp.bench"
        " hydra.run.dir=results/bench/<machine> writes it (default: %(default)s)",
    )  # fmt: skip
    try:
        print(page(parser.parse_args().folder), end="")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)


if __name__ == "__main__":
    main()

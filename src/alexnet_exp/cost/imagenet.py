"""ImageNet for 90 epochs: hours, dollars, and what the input side has to deliver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.pieces import STATED_LINKS, Link, Links, Machine, ceilings, same_for_all
from alexnet_exp.cost.step_time import Job, fits, step_time
from alexnet_exp.cost.tables import Table

IMAGES, EPOCHS = 1_281_167, 90
RUNS = ((1, 128), (1, 1024), (8, 1024), (8, 4096), (64, 1024), (64, 4096))
"""Numbers of GPUs, and global batch sizes."""

# Assumptions; the page states every one of them.
DOLLARS_PER_GPU_HOUR = 3.0
GPUS_OF_A_NODE, CORES_OF_A_GPU = 8, 16
GPU_BYTES = 141e9
HOST_BANDWIDTH = 200e9  # bytes/s of a node's memory, read and written
DISK_BANDWIDTH = 7e9  # bytes/s of one NVMe drive
PASSES = 3  # over a batch in the host's memory: read from the store, written, read by the copy
REACHED = 0.5  # of ceilings nobody has measured, links included
END_TO_END = 0.95  # of the network alone, where only that was measured
JPEG_BYTES, JPEG_RATE = 40e3, 1500.0  # of an image; images/s of a core

RAW_BYTES = 256 * 256 * 3
_INSIDE, _BETWEEN, _HOST = "NVLink 450 GB/s", "InfiniBand 400 Gb/s", "PCIe 4 x16"

Bench = Mapping[str, Any]


@dataclass(frozen=True)
class Basis:
    """What the hours are computed from.

    Attributes:
        machine: One device.
        links: Between the GPUs of a node.
        between: Between nodes.
        text: How it was come by.
    """

    machine: Machine
    links: Links
    between: Links
    text: str


def gpu_basis(job: Job, benches: Mapping[str, Bench]) -> Basis:
    """The first GPU that was measured, else the ceilings of one.

    Args:
        job: What is trained.
        benches: Records by name.
    """
    for name, bench in benches.items():
        if not bench["environment"]["gpus"]:
            continue
        gpu, reached = bench["environment"]["gpus"][0], 1.0
        inside, between = _stated(_INSIDE), _stated(_BETWEEN)
        machine, source = ceilings(job.layers, job.towers), "the ceilings"
        if "parallel" in bench:
            machine = Machine.from_plain(bench["parallel"]["machine"])
            source = "its measured pieces"
            inside = machine.links or inside
        if "throughput" in bench:
            case = max(bench["throughput"]["cases"], key=lambda case: case["batch"])
            rate, batch = case["end_to_end"]["median"], case["batch"]
            reached = rate / images_per_second(StrategyName.single, job, batch, 1, machine, inside)
            how = f"scaled so that one GPU trains on the {rate:,.0f} images/s measured end to end"
            how += f" at batch {batch}"
        else:
            reached, how = END_TO_END, f"times {END_TO_END} for what is not the network"
        text = f"**Measured on one {gpu}** (`{name}`): {source}, {how}."
        return Basis(slowed(machine, reached), inside, between, text)
    text = (
        "**Not measured**: no record of a GPU lies in `results/bench`. The ceilings of one H200"
        f" times {REACHED}, for arithmetic, memory and links alike."
    )
    inside, between = _stated(_INSIDE, REACHED), _stated(_BETWEEN, REACHED)
    return Basis(slowed(ceilings(job.layers, job.towers), REACHED), inside, between, text)


def _stated(name: str, share: float = 1.0) -> Links:
    link = next(link for link in STATED_LINKS if link.name == name)
    return same_for_all(Link(link.name, link.bandwidth * share, link.latency))


def slowed(machine: Machine, reached: float) -> Machine:
    """A machine whose every piece takes 1 / ``reached`` times as long."""
    pieces = [
        replace(piece, forward=piece.forward / reached, backward=piece.backward / reached)
        for piece in machine.pieces
    ]
    return replace(machine, pieces=pieces, optimizer=machine.optimizer / reached)


def images_per_second(
    strategy: StrategyName, job: Job, batch: int, devices: int, machine: Machine, links: Links
) -> float:
    """By the model of the step."""
    return batch / step_time(strategy, job, batch, devices, machine, links).total


def fastest(
    job: Job, batch: int, devices: int, machine: Machine, links: Links
) -> tuple[StrategyName, float]:
    """The strategy with the most images/s, and those."""
    rates = {
        strategy: images_per_second(strategy, job, batch, devices, machine, links)
        for strategy in StrategyName
        if fits(strategy, job, batch, devices)
    }
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


def hours(rate: float) -> float:
    """Of 90 epochs at ``rate`` images/s."""
    return IMAGES * EPOCHS / rate / 3600


def _gpu_rates(job: Job, basis: Basis) -> list[tuple[int, int, str, StrategyName, float]]:
    """GPUs, batch, link, strategy and images/s."""
    rates = []
    for devices, batch in RUNS:
        links = basis.links if devices <= GPUS_OF_A_NODE else basis.between
        name = "-" if devices == 1 else next(iter(links.values())).name
        rates.append((devices, batch, name, *fastest(job, batch, devices, basis.machine, links)))
    return rates


def costs(job: Job, basis: Basis) -> Table:
    """Hours and dollars on 1, 8 and 64 GPUs."""
    rows = []
    for devices, batch, link, strategy, rate in _gpu_rates(job, basis):
        taken = hours(rate)
        dollars = taken * devices * DOLLARS_PER_GPU_HOUR
        rows.append(
            [
                f"{devices}", f"{batch}", link, f"{strategy}", f"{rate:,.0f}", f"{taken:.2f}",
                f"{dollars:.2f}",
            ]
        )  # fmt: skip
    return Table(["GPUs", "global batch", "link", "strategy", "images/s", "hours", "USD"], rows)


@dataclass(frozen=True)
class Jpeg:
    """One image as a JPEG file of 256 pixels and quality 95.

    Attributes:
        size: Bytes.
        rate: Images/s that one core decodes.
        text: How they were come by.
    """

    size: float
    rate: float
    text: str


def jpeg_figures(benches: Mapping[str, Bench]) -> Jpeg:
    """As measured, on photos rather than drawn images and beside a GPU rather than not."""
    found = [
        (name, bench)
        for name, bench in benches.items()
        if bench.get("throughput", {}).get("jpeg", {}).get("side") == 256
    ]
    if not found:
        text = f"{JPEG_BYTES / 1e3:.0f} kB and {JPEG_RATE:,.0f} images/s per core, both assumed"
        return Jpeg(JPEG_BYTES, JPEG_RATE, text)

    def merit(item: tuple[str, Bench]) -> tuple[bool, bool]:
        _, bench = item
        return bench["throughput"]["data"] != "synthetic", bool(bench["environment"]["gpus"])

    name, bench = max(found, key=merit)
    jpeg, data = bench["throughput"]["jpeg"], bench["throughput"]["data"]
    size, rate = jpeg["bytes_per_image"], jpeg["images_per_second_per_core"]
    drawn = ", drawn by the program and not photos" if data == "synthetic" else ""
    text = (
        f"{size / 1e3:.0f} kB and {rate:,.0f} images/s per core, measured on `{name}`"
        f" ({bench['environment']['cpu']}, {jpeg['decoder']}, `data={data}`{drawn})"
    )
    return Jpeg(size, rate, text)


def demands(job: Job, basis: Basis, jpeg: Jpeg) -> Table:
    """What the input has to deliver to each node."""
    rows = []
    for devices, batch, _, _, rate in _gpu_rates(job, basis):
        nodes = max(1, devices // GPUS_OF_A_NODE)
        own = rate / nodes
        rows.append(
            [
                f"{devices}", f"{batch}", f"{own:,.0f}", f"{own * RAW_BYTES / 1e9:.1f}",
                f"{own * jpeg.size / 1e9:.2f}", f"{own / jpeg.rate:,.0f}",
                f"{min(devices, GPUS_OF_A_NODE) * CORES_OF_A_GPU}",
            ]
        )  # fmt: skip
    heads = ["GPUs", "global batch", "images/s of a node", "raw, GB/s", "JPEG, GB/s"]
    return Table([*heads, "cores that decode", "cores at hand"], rows)


def stores(job: Job, basis: Basis, jpeg: Jpeg) -> Table:
    """Each way to keep the images: its size, its limit, and how many GPUs of a node that feeds."""
    alone = {batch: rate for devices, batch, _, _, rate in _gpu_rates(job, basis) if devices == 1}
    need = alone[1024]
    raw, small = IMAGES * RAW_BYTES, IMAGES * RAW_BYTES // 4
    host = next(link for link in STATED_LINKS if link.name == _HOST).bandwidth
    cores = GPUS_OF_A_NODE * CORES_OF_A_GPU * jpeg.rate
    ways: list[tuple[str, float, float | None, str]] = [
        ("resident, 256 px", raw, _resident(raw), "each GPU holds all images"),
        ("resident, 128 px", small, _resident(small), "each GPU holds all images"),
        (
            "mapped, in RAM",
            raw,
            min(HOST_BANDWIDTH / PASSES, GPUS_OF_A_NODE * host) / RAW_BYTES,
            "memory of the host",
        ),
        ("mapped, on disk", raw, DISK_BANDWIDTH / RAW_BYTES, "disk"),
        ("JPEG, in RAM", IMAGES * jpeg.size, cores, "decoding"),
        (
            "JPEG, on disk",
            IMAGES * jpeg.size,
            min(cores, DISK_BANDWIDTH / jpeg.size),
            "decoding" if cores < DISK_BANDWIDTH / jpeg.size else "disk",
        ),
    ]
    rows = []
    for name, size, limit, by in ways:
        if limit is None:
            rows.append([name, f"{size / 1e9:.0f}", "-", f"{by}: too large", "0"])
            continue
        fed = min(float(GPUS_OF_A_NODE), limit / need)
        most = "-" if limit == float("inf") else f"{limit:,.0f}"
        rows.append([name, f"{size / 1e9:.0f}", most, by, f"{fed:.1f}"])
    return Table(
        ["store", "GB", "images/s of a node at most", "limit", f"GPUs fed of {GPUS_OF_A_NODE}"],
        rows,
    )


def _resident(size: float) -> float | None:
    """No limit where it fits into a GPU, half of which the network may want; None elsewhere."""
    return float("inf") if size <= GPU_BYTES / 2 else None


def on_cpus(job: Job, benches: Mapping[str, Bench]) -> list[str]:
    """A line for each record without a GPU."""
    lines = []
    for name, bench in benches.items():
        if bench["environment"]["gpus"]:
            continue
        if "throughput" in bench:
            case = bench["throughput"]["cases"][0]
            rate = case["end_to_end"]["median"]
            how = f"measured end to end at batch {case['batch']}"
        else:
            machine = Machine.from_plain(bench["parallel"]["machine"])
            devices = 2 if machine.links else 1
            strategy, rate = fastest(job, 128, devices, machine, machine.links)
            how = f"{strategy} at batch 128, predicted from its pieces, input not counted"
        lines.append(
            f"- `{name}`, {bench['environment']['cpu']}, {bench['environment']['cpu_cores']} cores:"
            f" {rate:,.0f} images/s ({how}), {hours(rate):,.0f} hours or {hours(rate) / 24:,.0f}"
            " days: absurd, a laptop is for the small studies."
        )
    return lines


def section(job: Job, benches: Mapping[str, Bench]) -> str:
    """The page's section.

    Args:
        job: The paper's network with 1000 classes.
        benches: Records by name.
    """
    basis, jpeg = gpu_basis(job, benches), jpeg_figures(benches)
    cpu: Sequence[str] = on_cpus(job, benches)
    parts = [
        "## ImageNet, 90 epochs\n",
        f"{IMAGES:,} images {EPOCHS} times; the paper took 5 to 6 days on two GTX 580.\n",
        f"{basis.text} Assumed: {DOLLARS_PER_GPU_HOUR:g} USD for a GPU and hour; nodes of"
        f" {GPUS_OF_A_NODE} GPUs, {_INSIDE} in a node and {_BETWEEN} between every two GPUs of"
        " several nodes; the fastest strategy by the model of the step; training alone, without"
        " validation, checkpoints and start-up; an input that never waits. Large batches want"
        " another learning rate, and whether they reach the same error is not asked here.\n",
        costs(job, basis).markdown() + "\n",
        "### What the input has to deliver\n",
        f"A raw image is {RAW_BYTES:,} bytes (256 x 256 x 3); as JPEG of quality 95 and the rate at"
        f" which it is decoded: {jpeg.text}. {CORES_OF_A_GPU} cores for each GPU are assumed.\n",
        demands(job, basis, jpeg).markdown() + "\n",
        "Which store feeds how many GPUs of one node, each at its images/s at batch 1024 from the"
        f" first table. Assumed: {GPU_BYTES / 1e9:.0f} GB on a GPU, half of them for images;"
        f" {HOST_BANDWIDTH / 1e9:.0f} GB/s of the host's memory, {PASSES} passes over each batch;"
        f" {_HOST} for each GPU; one drive of {DISK_BANDWIDTH / 1e9:g} GB/s.\n",
        stores(job, basis, jpeg).markdown() + "\n",
    ]
    if cpu:
        parts += ["### On CPUs\n", "\n".join(cpu) + "\n"]
    return "\n".join(parts)

"""What a step is made of: times of the network's parts on one device, and links between devices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_exp.cost.traffic import Collective, Transfer
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import LayerPlan

SHARES = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of devices that the model is asked for, and so the shares of fc layers measured."""


@dataclass(frozen=True)
class Piece:
    """Time of one part of the network on one device.

    Attributes:
        part: conv (convolutions, norms, pooling) or fc (fully connected layers, dropout).
        share: 1 / share of the kernels or units of each layer, all of its inputs.
        images: Size of the batch.
        forward, backward: Seconds.
    """

    part: str
    share: int
    images: int
    forward: float
    backward: float


@dataclass(frozen=True)
class Link:
    """What connects every two devices.

    Attributes:
        name: For tables.
        bandwidth: Bytes per second that a device sends.
        latency: Seconds of one message of a ring; a ring of K has K - 1 of them one after another,
            an all-reduce twice as many.
    """

    name: str
    bandwidth: float
    latency: float

    def seconds(self, transfer: Transfer) -> float:
        """Time of one collective over a ring."""
        rounds = 2 if transfer.collective == Collective.all_reduce else 1
        messages = rounds * (transfer.ranks - 1)
        return messages * self.latency + transfer.sent() / self.bandwidth


Links = Mapping[str, Link]
"""By collective: those of one machine, as measured, differ in speed."""


def same_for_all(link: Link) -> Links:
    """One link for every collective."""
    return dict.fromkeys(Collective, link)


@dataclass(frozen=True)
class Machine:
    """One device, as measured or as its ceilings allow.

    Attributes:
        name: For tables.
        measured: Whether the pieces were measured.
        precision: As in ``trainer.precision``.
        overlaps: Whether a device computes while it communicates. A CPU's cores do both, one after
            the other.
        optimizer: Seconds of the optimizer's step for one parameter.
        pieces: Times of the network's parts.
        links: Measured links by collective; empty where there is one device.
    """

    name: str
    measured: bool
    precision: str
    overlaps: bool
    optimizer: float
    pieces: list[Piece]
    links: dict[str, Link] = field(default_factory=dict)

    def time(self, part: str, share: int, images: float) -> tuple[float, float]:
        """Seconds forward and backward at any batch size, by straight lines between the pieces.

        Beyond the largest and below the smallest measured batch the nearest line goes on; it never
        falls below the share of time that the nearest piece took for as many images.

        Raises:
            ValueError: The share was not measured.
        """
        found = sorted(
            (piece for piece in self.pieces if piece.part == part and piece.share == share),
            key=lambda piece: piece.images,
        )
        if len(found) < 2:
            raise ValueError(f"{self.name}: 1/{share} of {part} was not measured")
        sizes = [piece.images for piece in found]
        forward = _line(images, sizes, [piece.forward for piece in found])
        return forward, _line(images, sizes, [piece.backward for piece in found])

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> "Machine":
        """Inverse of ``to_plain``."""
        pieces = [Piece(**piece) for piece in plain["pieces"]]
        links = {name: Link(**link) for name, link in plain["links"].items()}
        return Machine(**{**plain, "pieces": pieces, "links": links})


def _line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    if xs[0] <= x <= xs[-1]:
        return float(np.interp(x, xs, ys))
    (x0, y0), (x1, y1) = sorted(zip(xs, ys, strict=True))[:: 1 if x < xs[0] else -1][:2]
    return max(y0 + (x - x0) * (y1 - y0) / (x1 - x0), y0 * min(1.0, x / x0))


def read_bench(file: Path) -> dict[str, Any]:
    """What ``python -m alexnet_exp.bench`` has written.

    Raises:
        UserError: It can't be read, or was not written by it.
    """
    try:
        bench = json.loads(file.read_text())
        if "parallel" in bench:
            bench["parallel"]["machine"]["pieces"]
        else:
            bench["throughput"]["cases"]
        bench["model"], bench["environment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} can't be read as a benchmark ({error}): delete it, and"
            " python -m alexnet_exp.bench writes a new one"
        ) from error
    assert isinstance(bench, dict)
    return bench


# Ceilings of one H200 and the traffic of its memory, not measured. Bytes of activations per image:
# 9.4 MB for the paper's 1.25 million activations after each layer of the conv part, in bf16.
# Bytes per parameter and step: 20 in the optimizer (fp32; weight, gradient and momentum are read,
# weight and momentum written), 10 in both passes together.
H200_FLOPS, H200_BANDWIDTH = 790e12, 4.3e12
_BYTES_PER_ACTIVATION, _BYTES_PER_PARAMETER, _BYTES_OF_OPTIMIZER = 7.5, 10.0, 20.0


def ceilings(
    layers: Sequence[LayerPlan],
    towers: int,
    name: str = "H200, ceilings",
    flops: float = H200_FLOPS,
    bandwidth: float = H200_BANDWIDTH,
    activation_bytes: int = 2,
) -> Machine:
    """One device at its ceilings: arithmetic and memory one after the other, nothing else.

    A third of the arithmetic and of the activations' traffic is forward, two thirds are backward,
    less the gradient of conv1's input, which nobody needs. Kernels that start, and products too
    small to fill the device, take no time here: a real device is slower, most of all at small
    batches.

    Args:
        layers: Of ``alexnet_exp.network.alexnet.plan``.
        towers: ``model.towers``.
        name: For tables.
        flops: Operations per second.
        bandwidth: Bytes per second.
        activation_bytes: Of one activation.
    """
    conv = [layer for layer in layers if layer.kind != "fc"]
    fc = [layer for layer in layers if layer.kind == "fc"]
    activations = sum(layer.outputs * layer.size**2 for layer in conv)
    pieces = []
    for part, members, moved in (("conv", conv, activations), ("fc", fc, 0)):
        macs = sum(layer.macs for layer in members)
        unneeded = members[0].macs if part == "conv" else 0
        weights = sum(layer.parameters for layer in members) * _BYTES_PER_PARAMETER / 2
        for share in SHARES if part == "fc" else sorted({1, towers}):
            for images in (1, 4096):
                traffic = images * moved * _BYTES_PER_ACTIVATION * activation_bytes / 2
                forward = images * 2 * macs / flops + (traffic / 3 + weights) / bandwidth
                backward = (
                    images * 2 * (2 * macs - unneeded) / flops
                    + (traffic * 2 / 3 + weights) / bandwidth
                )
                pieces.append(Piece(part, share, images, forward / share, backward / share))
    precision = "bf16-mixed" if activation_bytes == 2 else "32-true"
    return Machine(name, False, precision, True, _BYTES_OF_OPTIMIZER / bandwidth, pieces)


STATED_LINKS = (
    Link("Ethernet 1 Gb/s", 1e9 / 8, 30e-6),
    Link("Ethernet 10 Gb/s", 10e9 / 8, 30e-6),
    Link("InfiniBand 100 Gb/s", 100e9 / 8, 5e-6),
    Link("PCIe 4 x16", 32e9, 5e-6),
    Link("InfiniBand 400 Gb/s", 400e9 / 8, 5e-6),
    Link("NVLink 450 GB/s", 450e9, 3e-6),
)
"""Line rates in one direction, and latencies of a message as we assume them; none is measured."""

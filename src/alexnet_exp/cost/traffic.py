"""Bytes that one device sends in one training step, for each strategy, by formula."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from alexnet_exp.config.training import StrategyName
from alexnet_exp.network.alexnet import LayerPlan

WEIGHT_BYTES = 4
"""Weights and their gradients travel in fp32."""


class Collective(StrEnum):
    """What devices do together; the comment says whose size ``Transfer.payload`` is."""

    all_reduce = "all_reduce"  # the tensor, equally large on every device
    all_gather = "all_gather"  # what is gathered in the end
    reduce_scatter = "reduce_scatter"  # what is summed, before it is scattered
    all_to_all = "all_to_all"  # what one device holds


class Phase(StrEnum):
    """Pass over the layers."""

    forward = "forward"
    backward = "backward"


class Overlap(StrEnum):
    """What a device does meanwhile."""

    none = "none"  # it waits
    background = "background"  # goes on with the pass, and waits before the optimizer's step
    prefetch = "prefetch"  # computes the layers before it


@dataclass(frozen=True)
class Transfer:
    """One collective of a step.

    Attributes:
        what: What travels, for tables.
        collective: Which one.
        phase: When.
        layer: Layer that needs it, or that has made it.
        before: Whether it comes before that layer's computation in this pass, else after it.
        payload: Bytes; see ``Collective``.
        ranks: Number of devices that take part.
        overlap: What it overlaps with.
    """

    what: str
    collective: Collective
    phase: Phase
    layer: str
    before: bool
    payload: float
    ranks: int
    overlap: Overlap

    def sent(self, backend: str = "nccl") -> float:
        """Bytes that each device sends, mean over the devices."""
        return bytes_sent(self.collective, self.payload, self.ranks, backend)


def bytes_sent(collective: Collective, payload: float, ranks: int, backend: str = "nccl") -> float:
    """Bytes that each of ``ranks`` devices sends for one collective.

    Ring algorithms (Patarasuk and Yuan 2009): an all-reduce is a reduce-scatter and an all-gather,
    each of which sends all but one device's share of the payload.

    Args:
        collective: Which one.
        payload: Bytes; see ``Collective``.
        ranks: Number of devices, K.
        backend: nccl, or gloo, whose reduce-scatter in torch is an all-reduce of which each
            process keeps its share (pytorch/pytorch#149869), and so sends twice the bytes.
    """
    rounds = 1
    if collective == Collective.all_reduce:
        rounds = 2
    if collective == Collective.reduce_scatter and backend == "gloo":
        rounds = 2
    return rounds * (ranks - 1) / ranks * payload


def transfers(
    strategy: StrategyName,
    layers: Sequence[LayerPlan],
    batch: int,
    devices: int,
    towers: int,
    activation_bytes: int,
    gradient_bytes: int = WEIGHT_BYTES,
) -> list[Transfer]:
    """Every collective of one training step, the forward ones first, in the order of the step.

    Where units do not divide by the devices it is the mean over the devices; what pads a tensor to
    equal shares counts. Not counted: a few bytes of barriers and
    metrics, and the parameters of batch normalization, which ``LayerPlan`` does not hold.

    Args:
        strategy: How the network is laid over the devices.
        layers: Of ``alexnet_exp.network.alexnet.plan``.
        batch: Global batch size, N.
        devices: All of them, K.
        towers: ``model.towers``, T; devices that share one copy of the network under ``towers``.
        activation_bytes: Of one activation or its gradient: 2 with bf16-mixed, 4 with 32-true.
        gradient_bytes: ddp: of one weight's gradient; 2 with ``strategy.bf16_gradients``.
    """
    if strategy == StrategyName.ddp:
        return _gradients(layers, devices, gradient_bytes)
    if strategy == StrategyName.fsdp:
        return _sharded(layers, devices)
    if strategy == StrategyName.towers:
        images = batch * towers / devices
        gathers = _gathers(layers, towers, images, activation_bytes)
        return _in_order(
            [*gathers, _logits(layers, towers, images, activation_bytes)],
            _gradients(layers, devices // towers, WEIGHT_BYTES / towers),
        )
    if strategy == StrategyName.one_weird_trick:
        fc = [layer for layer in layers if layer.kind == "fc"]
        conv = [layer for layer in layers if layer.kind == "conv"]
        return _in_order(
            [
                *_gathers(fc, devices, batch, activation_bytes),
                *_exchanged_logits(fc, devices, batch, activation_bytes),
            ],
            _gradients(conv, devices, WEIGHT_BYTES),
        )
    return []


def bytes_per_activation(precision: str) -> int:
    """Of activations under ``trainer.precision``: they travel as autocast has them."""
    if "64" in precision:
        return 8
    return 2 if "16" in precision else 4


def bytes_per_step(step: Sequence[Transfer], backend: str = "nccl") -> float:
    """Bytes that each device sends in one step, mean over the devices."""
    return sum(transfer.sent(backend) for transfer in step)


def _in_order(activations: list[Transfer], gradients: list[Transfer]) -> list[Transfer]:
    forward = [transfer for transfer in activations if transfer.phase == Phase.forward]
    backward = [transfer for transfer in activations if transfer.phase == Phase.backward]
    return [*forward, *reversed(backward), *gradients]


def _gradients(layers: Sequence[LayerPlan], ranks: int, bytes_per_weight: float) -> list[Transfer]:
    """All-reduce of every layer's gradients as soon as the layer has gone backward."""
    return [
        Transfer(
            f"{layer.name} gradients", Collective.all_reduce, Phase.backward, layer.name,
            False, layer.parameters * bytes_per_weight, ranks, Overlap.background,
        )
        for layer in reversed(layers)
        if layer.parameters and ranks > 1
    ]  # fmt: skip


def _sharded(layers: Sequence[LayerPlan], ranks: int) -> list[Transfer]:
    """FSDP2 by units: all convolutions together, and each fully connected layer.

    Every parameter is cut along its first dimension into equal shares; what is missing is padded.
    """
    conv = [layer for layer in layers if layer.kind == "conv"]
    units = [("conv", conv), *((fc.name, [fc]) for fc in layers if fc.kind == "fc")]

    def transfer(collective: Collective, phase: Phase, number: int) -> Transfer:
        name, members = units[number]
        gathers = collective == Collective.all_gather
        # In the backward pass a unit begins with its last layer.
        first = (phase == Phase.forward) == gathers
        padded = sum(
            -(-layer.outputs // ranks) * ranks * layer.parameters // layer.outputs
            for layer in members
        )
        return Transfer(
            f"{name} {'weights' if gathers else 'gradients'}", collective, phase,
            members[0 if first else -1].name, gathers, padded * WEIGHT_BYTES, ranks,
            Overlap.prefetch if gathers else Overlap.background,
        )  # fmt: skip

    numbers = range(len(units)) if ranks > 1 else range(0)
    step = [transfer(Collective.all_gather, Phase.forward, number) for number in numbers]
    for number in reversed(numbers):
        step.append(transfer(Collective.all_gather, Phase.backward, number))
        step.append(transfer(Collective.reduce_scatter, Phase.backward, number))
    return step


def _gathers(
    layers: Sequence[LayerPlan], ranks: int, images: float, activation_bytes: int
) -> list[Transfer]:
    """Gather the whole input of each layer that needs it; its gradient goes back summed.

    That is every layer with one group but the first convolution, which sees the images themselves.
    """
    pairs = []
    sides = {layer.name: before.size for before, layer in pairwise(layers)}
    for layer in layers:
        if layer.kind not in ("conv", "fc") or layer.groups > 1 or layer.name == "conv1":
            continue
        side = sides.get(layer.name, 1) if layer.kind == "conv" else 1
        payload = images * layer.inputs * side**2 * activation_bytes
        pairs += [
            Transfer(f"{layer.name} input", Collective.all_gather, Phase.forward, layer.name,
                     True, payload, ranks, Overlap.none),
            Transfer(f"{layer.name} input gradient", Collective.reduce_scatter, Phase.backward,
                     layer.name, False, payload, ranks, Overlap.none),
        ]  # fmt: skip
    return pairs


def _logits(
    layers: Sequence[LayerPlan], ranks: int, images: float, activation_bytes: int
) -> Transfer:
    """towers: both see all logits; each takes its own part of their gradient, and sends nothing."""
    last = layers[-1]
    units = -(-last.outputs // ranks) * ranks
    return Transfer(
        "logits", Collective.all_gather, Phase.forward, last.name, False,
        images * units * activation_bytes, ranks, Overlap.none,
    )  # fmt: skip


def _exchanged_logits(
    layers: Sequence[LayerPlan], ranks: int, images: float, activation_bytes: int
) -> list[Transfer]:
    """one_weird_trick: from all rows of some columns to some rows of all columns, and back."""
    last = layers[-1]
    payload = images * last.outputs / ranks * activation_bytes
    return [
        Transfer(what, Collective.all_to_all, phase, last.name, phase == Phase.backward,
                 payload, ranks, Overlap.none)
        for what, phase in (("logits", Phase.forward), ("logits gradient", Phase.backward))
    ]  # fmt: skip

"""A model of the time of one training step: compute, and what of communication it can't hide.

Assumptions, for every strategy:

- Every device is as fast as any other, and every two are connected by the same link; collectives
  run over a ring, and one device sends one of them at a time.
- Times of the conv part and of the fc part are those of ``Machine.pieces``, divided among their
  layers by multiply-accumulates.
- **ddp**, and the gradients that are averaged under towers and one_weird_trick: a bucket is sent
  as soon as its last layer has gone backward, while the pass goes on. The optimizer waits for all.
- **towers, one_weird_trick**: gathers of activations and their gradients hide behind nothing, and
  go before gradients that are on their way.
- **fsdp**: the weights of the next unit are gathered while this one computes, those of the first
  unit of each pass while nothing does; gradients are scattered in the background.
- Where the device does not overlap (``Machine.overlaps``), it waits for every transfer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.pieces import Links, Machine
from alexnet_exp.cost.traffic import (
    Collective,
    Overlap,
    Phase,
    Transfer,
    bytes_per_activation,
    bytes_per_step,
    transfers,
)
from alexnet_exp.network.alexnet import LayerPlan

MIB = 2**20


@dataclass(frozen=True)
class Job:
    """What is trained.

    Attributes:
        layers: Of ``alexnet_exp.network.alexnet.plan``.
        towers: ``model.towers``.
        bucket_mb: ``strategy.bucket_mb``.
    """

    layers: Sequence[LayerPlan]
    towers: int
    bucket_mb: float = 4.0


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step.

    Attributes:
        total: All of it.
        compute: Both passes and the optimizer; the rest is communication that nothing hides.
        sent: Bytes that each device sends.
    """

    total: float
    compute: float
    sent: float


def fits(strategy: StrategyName, job: Job, batch: int, devices: int) -> bool:
    """Whether the strategy can lay the network and batch over these devices."""
    if strategy == StrategyName.single or devices == 1:
        return strategy == StrategyName.single and devices == 1
    if strategy == StrategyName.towers:
        return job.towers > 1 and devices % job.towers == 0 and batch * job.towers % devices == 0
    if batch % devices:
        return False
    hidden = [layer for layer in job.layers if layer.kind == "fc"][:-1]
    return strategy != StrategyName.one_weird_trick or all(
        layer.groups == 1 and layer.outputs % devices == 0 for layer in hidden
    )


def step_time(
    strategy: StrategyName,
    job: Job,
    batch: int,
    devices: int,
    machine: Machine,
    links: Links,
) -> StepTime:
    """Predicted time of one training step.

    Args:
        strategy: One that ``fits``.
        job: What is trained.
        batch: Global batch size.
        devices: All of them.
        machine: One device.
        links: Between every two devices, by collective.
    """
    size = bytes_per_activation(machine.precision)
    step = transfers(strategy, job.layers, batch, devices, job.towers, size)
    times = _layer_times(strategy, job, batch, devices, machine)
    clock = _Clock(machine.overlaps)
    for phase in Phase:
        passing = [transfer for transfer in step if transfer.phase == phase]
        _run(clock, phase, times, _bucketed(passing, job.bucket_mb * MIB), links)
    clock.end()
    update = _parameters_held(strategy, job, devices) * machine.optimizer
    compute = sum(layer.forward + layer.backward for layer in times) + update
    return StepTime(clock.now + update, compute, bytes_per_step(step))


class _Clock:
    """Time on a device and on its link."""

    def __init__(self, overlaps: bool) -> None:
        self.now = self.link_free = 0.0
        self._overlaps = overlaps

    def compute(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float) -> None:
        """A transfer that goes before all others."""
        self.link_free = max(self.link_free, self.now) + seconds
        self.now += seconds

    def send(self, seconds: float) -> float:
        """A transfer in the background; returns when it will have arrived."""
        if not self._overlaps:
            self.wait(seconds)
            return self.now
        self.link_free = max(self.link_free, self.now) + seconds
        return self.link_free

    def until(self, arrival: float) -> None:
        self.now = max(self.now, arrival)

    def end(self) -> None:
        self.until(self.link_free)


def _run(
    clock: _Clock, phase: Phase, times: list["_LayerTime"], step: list[Transfer], links: Links
) -> None:
    """One pass over the layers."""
    prefetches = [transfer for transfer in step if transfer.overlap == Overlap.prefetch]
    arrival = clock.send(_seconds(prefetches[0], links)) if prefetches else 0.0
    for layer in times if phase == Phase.forward else reversed(times):
        here = [transfer for transfer in step if transfer.layer == layer.name]
        for transfer in here:
            if transfer.overlap == Overlap.prefetch:
                clock.until(arrival)
                following = prefetches[prefetches.index(transfer) + 1 :]
                if following:
                    arrival = clock.send(_seconds(following[0], links))
            elif transfer.before:
                clock.wait(_seconds(transfer, links))
        clock.compute(layer.forward if phase == Phase.forward else layer.backward)
        for transfer in here:
            if not transfer.before and transfer.overlap == Overlap.none:
                clock.wait(_seconds(transfer, links))
            elif not transfer.before:
                clock.send(_seconds(transfer, links))


def _seconds(transfer: Transfer, links: Links) -> float:
    return links[transfer.collective].seconds(transfer)


def _bucketed(step: list[Transfer], least: float) -> list[Transfer]:
    """Gradients that are averaged, sent together until a bucket has ``least`` bytes."""
    merged: list[Transfer] = []
    bucket: list[Transfer] = []
    averaged = [item for item in step if item.collective == Collective.all_reduce]
    for transfer in averaged:
        bucket.append(transfer)
        payload = sum(item.payload for item in bucket)
        if payload >= least or transfer is averaged[-1]:
            merged.append(replace(transfer, payload=payload))
            bucket = []
    return [item for item in step if item.collective != Collective.all_reduce] + merged


@dataclass(frozen=True)
class _LayerTime:
    name: str
    forward: float
    backward: float


def _layer_times(
    strategy: StrategyName, job: Job, batch: int, devices: int, machine: Machine
) -> list[_LayerTime]:
    """Seconds of each layer with weights, on one device."""
    replicas, share = devices, {"conv": 1, "fc": 1}
    images = {"conv": batch / devices, "fc": batch / devices}
    if strategy == StrategyName.towers:
        replicas = devices // job.towers
        share = {"conv": job.towers, "fc": job.towers}
        images = {"conv": batch / replicas, "fc": batch / replicas}
    if strategy == StrategyName.one_weird_trick:
        share["fc"], images["fc"] = devices, float(batch)
    times = []
    for part in ("conv", "fc"):
        members = [layer for layer in job.layers if layer.kind == part]
        macs = sum(layer.macs for layer in members)
        forward, backward = machine.time(part, share[part], images[part])
        times += [
            _LayerTime(layer.name, forward * layer.macs / macs, backward * layer.macs / macs)
            for layer in members
        ]
    return times


def _parameters_held(strategy: StrategyName, job: Job, devices: int) -> float:
    """Parameters that one device's optimizer has."""
    conv, fc = (
        sum(layer.parameters for layer in job.layers if layer.kind == kind)
        for kind in ("conv", "fc")
    )
    if strategy == StrategyName.towers:
        return (conv + fc) / job.towers
    if strategy == StrategyName.fsdp:
        return (conv + fc) / devices
    return conv + fc / (devices if strategy == StrategyName.one_weird_trick else 1)

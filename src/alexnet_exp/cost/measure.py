"""Measures the pieces of a step: the network's parts on every device at once, and the links."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from alexnet_exp.config import Config
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.console import say
from alexnet_exp.cost.pieces import SHARES, Link, Machine, Piece
from alexnet_exp.cost.traffic import Collective, bytes_sent
from alexnet_exp.hardware import keep_freed_memory, uses_gpu
from alexnet_exp.network.alexnet import AlexNet, plan
from alexnet_exp.training.optim import build_optimizer

SECONDS, REPETITIONS = 0.3, 4
"""Least of each measurement. The fastest repetition counts: other work on the machine only adds."""

LINK_SIZES = (4 * 2**10, 256 * 2**10, 4 * 2**20, 64 * 2**20)
"""Bytes of the whole tensor that a collective is measured with."""


def measure(config: Config) -> tuple[Machine, int]:
    """Pieces and links of this machine: on each of its GPUs, or on two processes of its CPU.

    All devices measure at once, as they would train, and the slowest counts.

    Args:
        config: ``model``, ``optim`` and ``trainer`` of it; classes, channels and precision set.

    Returns:
        One device, and how many there are.
    """
    on_gpu = uses_gpu(config.trainer.accelerator)
    devices = torch.cuda.device_count() if on_gpu else min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, (devices, on_gpu, config, folder), devices)
        found = json.loads((Path(folder) / "machine.json").read_text())
    return Machine.from_plain(found), devices


def _rank(rank: int, devices: int, on_gpu: bool, config: Config, folder: str) -> None:
    """What one process measures; the first one writes."""
    keep_freed_memory()
    if on_gpu:
        torch.cuda.set_device(rank)
        name = torch.cuda.get_device_name(rank)
    else:
        threads = max(1, (os.cpu_count() or 1) // devices)
        torch.set_num_threads(threads)
        name = f"CPU, {threads} core{'s' if threads > 1 else ''}"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=devices,
    )
    try:
        bench = _Bench(config, torch.device("cuda", rank) if on_gpu else torch.device("cpu"))
        machine = Machine(
            name=name,
            measured=True,
            precision=config.trainer.precision,
            overlaps=on_gpu,
            pieces=list(bench.pieces()),
            optimizer=bench.optimizer(),
            links=bench.links() if devices > 1 else {},
        )
    finally:
        dist.destroy_process_group()
    if rank == 0:
        (Path(folder) / "machine.json").write_text(json.dumps(machine.to_plain()))


class _Bench:
    """One process's measurements, in step with those of the others."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        self.layers = plan(config.model)
        self.memory_format = (
            torch.channels_last if config.trainer.channels_last else torch.contiguous_format
        )

    def pieces(self) -> Iterator[Piece]:
        """Conv and fc part, whole and in the shares that strategies give a device."""
        towers, gpu = self.config.model.towers, self.device.type == "cuda"
        first = self.layers[0]
        side = self.config.model.input_size
        for share in sorted({1, towers}):
            part = share_of_features(self.config.model, share)
            for images in (2, 8, 32, 128, 512) if gpu else (2, 8, 32):
                x = torch.randn(images, first.inputs, side, side, device=self.device)
                x = x.contiguous(memory_format=self.memory_format)
                yield self._passes("conv", share, part, x)
        fc = next(layer for layer in self.layers if layer.kind == "fc")
        for share in SHARES:
            part = share_of_classifier(self.config.model, share)
            for images in (2, 32, 256, 1024, 4096) if gpu else (2, 32, 128, 512):
                x = torch.randn(images, fc.inputs, device=self.device, requires_grad=True)
                yield self._passes("fc", share, part, x)

    def _passes(self, name: str, share: int, part: nn.Module, x: Tensor) -> Piece:
        """Forward and backward pass; the first one, which allocates, does not count."""
        part = part.to(self.device).to(memory_format=self.memory_format).train()
        times: list[tuple[float, float]] = []
        gradient: Tensor | None = None
        begin = time.perf_counter()
        self._meet()
        while not self._enough(len(times), begin):
            part.zero_grad(set_to_none=True)
            x.grad = None
            start = self._now()
            with self._autocast():
                y = part(x)
            middle = self._now()
            gradient = torch.ones_like(y) if gradient is None else gradient
            y.backward(gradient)
            times.append((middle - start, self._now() - middle))
        forward, backward = (min(column) for column in zip(*times[1:], strict=True))
        if dist.get_rank() == 0:
            say(
                f"{name}, 1/{share} of it, {len(x)} images:"
                f" {1e3 * forward:.1f} + {1e3 * backward:.1f} ms"
            )
        return Piece(name, share, len(x), self._slowest(forward), self._slowest(backward))

    def optimizer(self) -> float:
        """Seconds of a step for one parameter."""
        network = AlexNet(self.config.model).to(self.device)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        step = build_optimizer(network, self.config.optim).step
        seconds = self._fastest(lambda: step())
        return seconds / sum(parameter.numel() for parameter in network.parameters())

    def links(self) -> dict[str, Link]:
        """Latency and bandwidth of each collective: a line through the times of several sizes."""
        return {collective: self._link(collective) for collective in Collective}

    def _link(self, collective: Collective) -> Link:
        ranks = dist.get_world_size()
        messages = (2 if collective == Collective.all_reduce else 1) * (ranks - 1)
        sent, seconds = [], []
        for size in LINK_SIZES:
            whole = torch.empty(size // 4 // ranks * ranks, device=self.device).zero_()
            seconds.append(self._fastest(_operation(collective, whole)))
            sent.append(bytes_sent(collective, whole.nbytes, ranks))
        # Weighted, so that every size counts by its relative error.
        slope, start = np.polyfit(sent, seconds, 1, w=1 / np.array(seconds))
        name = "between the devices of this machine, measured"
        if dist.get_rank() == 0:
            say(f"{collective}: {1e-9 / slope:.2f} GB/s, {1e6 * start / messages:.0f} us a message")
        return Link(name, float(1 / slope), max(0.0, float(start)) / messages)

    def _fastest(self, work: Callable[[], object]) -> float:
        times: list[float] = []
        begin = time.perf_counter()
        self._meet()
        while not self._enough(len(times), begin):
            start = self._now()
            work()
            times.append(self._now() - start)
        return self._slowest(min(times[1:]))

    def _enough(self, done: int, begin: float) -> bool:
        """All processes have to agree, or one waits for another's transfer."""
        if done < REPETITIONS:
            return False
        return self._slowest(time.perf_counter() - begin) > SECONDS or done > 100

    def _slowest(self, seconds: float) -> float:
        worst = torch.tensor(seconds, device=self.device, dtype=torch.float64)
        dist.all_reduce(worst, dist.ReduceOp.MAX)
        return float(worst)

    def _meet(self) -> None:
        self._slowest(0.0)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _autocast(self) -> Any:
        precision = self.config.trainer.precision
        if "mixed" not in precision:
            return nullcontext()
        half = torch.float16 if precision.startswith("16") else torch.bfloat16
        return torch.autocast(self.device.type, half)


def _operation(collective: Collective, whole: Tensor) -> Callable[[], object]:
    part, received = whole.chunk(dist.get_world_size())[0].clone(), torch.empty_like(whole)
    return {
        Collective.all_reduce: lambda: dist.all_reduce(whole),
        Collective.all_gather: lambda: dist.all_gather_into_tensor(received, part),
        Collective.reduce_scatter: lambda: dist.reduce_scatter_tensor(part, whole),
        Collective.all_to_all: lambda: dist.all_to_all_single(received, whole),
    }[collective]


class Repeat(nn.Module):
    """Stands in for a gather: this device's channels or units as often as there are devices.

    Args:
        times: Number of devices.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C * times, ...)."""
        return torch.cat([x] * self.times, 1)


def share_of_features(model: ModelConfig, share: int) -> nn.Module:
    """The conv part, whole or of one tower; where a layer sees all towers, its own is repeated.

    Args:
        model: The whole network.
        share: 1, or the number of towers.
    """
    if share == 1:
        return AlexNet(model).features
    features = AlexNet(replace(model, width=model.width / share, towers=1)).features
    for layer in plan(model)[1:]:
        if layer.kind == "conv" and layer.groups == 1:
            conv = nn.Conv2d(
                layer.inputs, layer.outputs // share, layer.kernel, layer.stride, layer.padding
            )
            setattr(features, layer.name, nn.Sequential(Repeat(share), conv))
    return features


def share_of_classifier(model: ModelConfig, share: int) -> nn.Module:
    """The fully connected part with 1 / share of the units of each layer, and all of its inputs.

    Args:
        model: The whole network.
        share: Number of devices.

    Shape:
        (N, inputs of the first layer) to (N, ceil(classes / share)).
    """
    classifier = AlexNet(model).classifier
    inputs = 0
    for layer in plan(model):
        if layer.kind != "fc":
            continue
        width = -(-layer.outputs // share)
        own: nn.Module = nn.Linear(inputs or layer.inputs, width)
        if inputs:
            own = nn.Sequential(Repeat(share), own)
        setattr(classifier, layer.name, own)
        inputs = width * share
    return classifier

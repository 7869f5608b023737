"""Each Triton kernel beside the time that its bytes need.

At the paper's sizes in bf16: the time of each kernel, the bytes it must read and write, the time
those take at the rate of a large copy on the same GPU, and the ratio of the two.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from alexnet_exp.bench.clock import Course, seconds_of
from alexnet_exp.bench.show import show
from alexnet_exp.config.bench import BenchConfig
from alexnet_exp.network.kernels import gpu

ALPHA, K = 1e-4, 2.0
STORED_IMAGES, STORED_SIDE, INPUT_SIDE, COLORS = 4096, 256, 224, 3
COPIED = 2 * 2**30  # bytes of the tensor whose copy gives the rate
ROTATED = 2**30  # least bytes that a round over all sets of tensors touches, far above any cache

Work = Callable[[], Tensor]


def measure(bench: BenchConfig, course: Course) -> dict[str, Any]:
    """Every kernel at every batch size: the ``kernels`` of bench.json."""
    device, least = torch.device("cuda"), bench.seconds / 8
    rate = 2 * COPIED / seconds(lambda: _bytes(COPIED, device).clone, 2 * COPIED, least)

    def measure_all(batch: int) -> Iterator[dict[str, Any]]:
        for name, size, prepare in cases(batch, device):
            taken, copied = seconds(prepare, size, least), size / rate
            yield {
                "kernel": f"{name}, batch {batch}",
                "microseconds": 1e6 * taken,
                "megabytes": size / 1e6,
                "copied_microseconds": 1e6 * copied,
                "ratio": taken / copied,
            }
            torch.cuda.empty_cache()

    found: list[dict[str, Any]] = []
    for batch in bench.batches:
        found += course.take(f"kernels, batch {batch}", partial(list, measure_all(batch)))
    title = f"Kernels on {torch.cuda.get_device_name()}, where a copy moves {rate / 1e12:.2f} TB/s"
    rows = [
        [name, *(f"{value:.2f}" for value in values)] for name, *values in map(dict.values, found)
    ]
    show(title, ["kernel", "time µs", "MB", "at the copy's rate µs", "ratio"], rows)
    return {"bytes_per_second": rate, "kernels": found}


def cases(batch: int, device: torch.device) -> Iterator[tuple[str, int, Callable[[], Work]]]:
    """Name, bytes to read and write, and what makes tensors and gives the work on them."""
    for name, maps, side in (("norm1", 96, 55), ("norm2", 256, 27)):
        shape = (batch, maps, side, side)
        size = 2 * prod(shape)
        yield f"{name} forward", 2 * size, partial(_forward, shape, device)
        yield f"{name} backward", 3 * size, partial(_backward, shape, device)
    images = _bytes(STORED_IMAGES * STORED_SIDE**2 * COLORS, device)
    images = images.view(-1, STORED_SIDE, STORED_SIDE, COLORS)
    # A byte read and two written each; the mean image stays in the cache.
    yield "crop", 3 * batch * COLORS * INPUT_SIDE**2, partial(_crop, images, batch)


def seconds(prepare: Callable[[], Work], size: int, least: float) -> float:
    """Median time of one pass over ``size`` bytes, by CUDA graphs over several sets of tensors.

    A graph leaves out what launching costs, and changing sets what the cache would give.
    """
    sets = [prepare() for _ in range(max(2, -(-ROTATED // size)))]
    for work in sets[:2]:  # compiles
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [work() for work in sets]  # results lie apart, or the cache would take them all
    return seconds_of(graph.replay, kept[0].device, least) / len(kept)


def _bytes(count: int, device: torch.device) -> Tensor:
    return torch.randint(256, (count,), dtype=torch.uint8, device=device)


def _maps(shape: tuple[int, ...], device: torch.device) -> Tensor:
    x = torch.randn(shape, dtype=torch.bfloat16, device=device)
    return x.contiguous(memory_format=torch.channels_last)


def _forward(shape: tuple[int, ...], device: torch.device) -> Work:
    return partial(gpu.lrn, _maps(shape, device), 2, ALPHA, K, relu=True)


def _backward(shape: tuple[int, ...], device: torch.device) -> Work:
    from alexnet_exp.network.kernels.lrn_triton import differentiate  # Triton may not be there

    return partial(differentiate, _maps(shape, device), _maps(shape, device), 2, ALPHA, K, True)


def _crop(images: Tensor, batch: int) -> Work:
    device = images.device
    rows = torch.randint(len(images), (batch,), device=device)
    top, left = torch.randint(STORED_SIDE - INPUT_SIDE + 1, (2, batch), device=device)
    flip = torch.rand(batch, device=device) < 0.5
    mean = 255 * torch.rand(images.shape[1:], device=device)
    noise = torch.randn(batch, COLORS, device=device)
    place = (rows, top, left, flip, mean, noise, 1.0, INPUT_SIDE, torch.bfloat16)
    return partial(gpu.crop, images, *place)

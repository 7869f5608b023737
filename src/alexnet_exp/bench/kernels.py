"""Time the kernels beside what their bytes need: ``python -m alexnet_exp.bench.kernels``.

Needs a GPU and takes a minute. For batches of 128 and 1024 it prints the time of each kernel at the
paper's sizes in bf16, the bytes it must read and write, the time those take at the rate of a large
copy on the same GPU, and the ratio of the two. It neither takes options nor writes files.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from alexnet_exp import cli
from alexnet_exp.console import console
from alexnet_exp.network.kernels import gpu
from alexnet_exp.network.kernels import lrn_op as lrn
from alexnet_exp.network.kernels.crop_op import crop

BATCHES = (128, 1024)
ALPHA, K = 1e-4, 2.0
STORED_IMAGES, STORED_SIDE, INPUT_SIDE, COLORS = 4096, 256, 224, 3
COPIED = 2 * 2**30  # bytes of the tensor whose copy gives the rate
ROTATED = 2**30  # least bytes that a round over all sets of tensors touches, far above any cache
ROUNDS = 20

Work = Callable[[], Tensor]


@dataclass
class Case:
    """A kernel at one size.

    Args:
        name: What it computes.
        bytes: What it must read and write.
        prepare: Makes a set of tensors and returns the work on it.
    """

    name: str
    bytes: int
    prepare: Callable[[], Work]


def cases(batch: int, device: torch.device) -> Iterator[Case]:
    """All kernels at the paper's sizes."""
    for name, maps, side in (("norm1", 96, 55), ("norm2", 256, 27)):
        shape = (batch, maps, side, side)
        tensor = 2 * batch * maps * side * side
        yield Case(f"{name} forward", 2 * tensor, lambda s=shape: _forward(s, device))  # type: ignore[misc]
        yield Case(f"{name} backward", 3 * tensor, lambda s=shape: _backward(s, device))  # type: ignore[misc]
    images = torch.randint(
        256, (STORED_IMAGES, STORED_SIDE, STORED_SIDE, COLORS), dtype=torch.uint8, device=device
    )
    # A byte read and two written each; the mean image stays in the cache.
    pixels = 3 * batch * COLORS * INPUT_SIDE**2
    yield Case("crop", pixels, lambda: _crop(images, batch))


def seconds(case: Case, round_bytes: int = ROTATED) -> float:
    """Median time of one pass, from replays of a CUDA graph over several sets of tensors.

    A graph leaves out what launching costs, and changing sets what the cache would give.
    """
    sets = [case.prepare() for _ in range(max(2, -(-round_bytes // case.bytes)))]
    for work in sets[:2]:  # compiles
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [work() for work in sets]  # results lie apart, or the cache would take them all
    times = []
    for _ in range(ROUNDS + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3 / len(kept))
    return statistics.median(times[2:])


def main() -> None:
    """Entry point."""
    if not (torch.cuda.is_available() and gpu.INSTALLED):
        cli.mistake("nothing to measure: the kernels need an NVIDIA GPU and Triton")
    device = torch.device("cuda")
    rate = 2 * COPIED / seconds(Case("copy", 2 * COPIED, lambda: _copy(device)))
    table = Table("batch", "kernel", "time µs", "MB", "at the copy's rate µs", "ratio")
    for batch in BATCHES:
        for case in cases(batch, device):
            time, least = seconds(case), case.bytes / rate
            cells = [f"{value:.1f}" for value in (1e6 * time, case.bytes / 1e6, 1e6 * least)]
            table.add_row(f"{batch}", case.name, *cells, f"{time / least:.2f}")
            torch.cuda.empty_cache()
    console.print(f"{torch.cuda.get_device_name()}: a copy moves {rate / 1e12:.2f} TB/s")
    console.print(table)


def _copy(device: torch.device) -> Work:
    x = torch.randint(256, (COPIED,), dtype=torch.uint8, device=device)
    return x.clone


def _maps(shape: tuple[int, ...], device: torch.device) -> Tensor:
    x = torch.randn(shape, dtype=torch.bfloat16, device=device)
    return x.contiguous(memory_format=torch.channels_last)


def _forward(shape: tuple[int, ...], device: torch.device) -> Work:
    x = _maps(shape, device)
    return lambda: lrn.lrn(x, 2, ALPHA, K, relu=True)


def _backward(shape: tuple[int, ...], device: torch.device) -> Work:
    from alexnet_exp.network.kernels.lrn_triton import differentiate  # Triton may not be there

    x, grad = _maps(shape, device), _maps(shape, device)
    return lambda: differentiate(x, grad, 2, ALPHA, K, True)


def _crop(images: Tensor, batch: int) -> Work:
    device = images.device
    rows = torch.randint(len(images), (batch,), device=device)
    top, left = torch.randint(STORED_SIDE - INPUT_SIDE + 1, (2, batch), device=device)
    flip = torch.rand(batch, device=device) < 0.5
    mean = 255 * torch.rand(images.shape[1:], device=device)
    noise = torch.randn(batch, COLORS, device=device)
    return lambda: crop(images, rows, top, left, flip, mean, noise, 1.0, INPUT_SIDE, torch.bfloat16)


if __name__ == "__main__":
    main()

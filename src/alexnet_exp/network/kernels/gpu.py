"""Calls the Triton kernels: response normalization and cropping, one pass over memory each.

Triton itself is imported by what runs alone: it may not be installed.
"""

from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet_exp.network.kernels.selfcheck import agrees, check_crop, check_lrn

INSTALLED = find_spec("triton") is not None
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def supports_lrn(x: Tensor, towers: int, size: int, beta: float) -> bool:
    """Whether ``lrn`` can normalize ``x``.

    It can where Triton is installed, on NVIDIA GPUs since Ampere, for channels-last tensors in
    bf16, fp16 or fp32 whose towers have a multiple of eight maps each, with windows of five maps
    and a power of .75.
    """
    return (
        x.is_cuda
        and x.dtype in DTYPES
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.shape[1] % (8 * towers) == 0
        and size == 5
        and beta == 0.75
        and _lrn_agrees(x.device, x.dtype, int(x.shape[1]), towers)
    )


def supports_crop(images: Tensor, size: int, dtype: torch.dtype) -> bool:
    """Whether ``crop`` can cut squares of ``size`` pixels from ``images``.

    It can where Triton is installed, on NVIDIA GPUs since Ampere, from (M, S, S, C) uint8 in
    contiguous memory.
    """
    return (
        images.is_cuda
        and images.dtype == torch.uint8
        and images.dim() == 4
        and images.shape[1] == images.shape[2]
        and images.is_contiguous()
        and _runs_triton(images.device)
        and _check_crop(images.device, dtype, images.shape[1], size, images.shape[3])
    )


def lrn(x: Tensor, towers: int, alpha: float, k: float, relu: bool = False) -> Tensor:
    """As ``cpu.lrn``, over five maps, of an ``x`` that ``supports_lrn`` accepts.

    It computes in float32. Forward it reads x and writes y; backward it reads x and the gradient
    and writes a gradient; nothing else is kept.
    """
    from alexnet_exp.network.kernels.lrn_triton import normalize

    return normalize(x, towers, alpha, k, relu)


def crop(
    images: Tensor,
    rows: Tensor,
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    mean: Tensor,
    noise: Tensor | None,
    scale: float,
    size: int,
    dtype: torch.dtype,
) -> Tensor:
    """As ``cpu.crop``, of the ``rows`` (N,) int64 of ``images`` that ``supports_crop`` accepts.

    Those are (M, S, S, C) uint8, a store or a batch of it; ``dtype`` is bf16, fp16 or float32.
    """
    from alexnet_exp.network.kernels.crop_triton import BLOCK, LINES, crop_kernel

    side, channels = images.shape[1], images.shape[3]
    out = torch.empty(len(rows), size, size, channels, dtype=dtype, device=images.device)
    programs = -(-size // LINES)  # of an image
    tensors = rows, top, left, flip, mean, mean if noise is None else noise
    crop_kernel[(len(rows) * programs,)](
        images, *(tensor.contiguous() for tensor in tensors), out, scale, side,
        SIZE=size, CHANNELS=channels, NOISE=noise is not None, B=BLOCK, LINES=LINES,
    )  # fmt: skip
    return out.permute(0, 3, 1, 2)


@torch.compiler.assume_constant_result
def _lrn_agrees(device: torch.device, dtype: torch.dtype, channels: int, towers: int) -> bool:
    return _runs_triton(device) and _check_lrn(device, dtype, channels, towers)


def _runs_triton(device: torch.device) -> bool:
    """Whether Triton is installed and ``device`` is an NVIDIA GPU since Ampere."""
    return (
        INSTALLED
        and torch.version.hip is None
        and torch.cuda.get_device_properties(device).major >= 8
    )


@cache
def _check_lrn(device: torch.device, dtype: torch.dtype, channels: int, towers: int) -> bool:
    """With the sizes of the network's own layer, so that nothing is compiled for this alone."""

    def check() -> None:
        x = torch.empty(2, channels, 17, 17, dtype=dtype, device=device)
        x = x.contiguous(memory_format=torch.channels_last)
        check_lrn(lrn, x, towers)

    return agrees("LRN by Triton", _key("lrn", device, dtype, channels, towers), check)


@cache
def _check_crop(
    device: torch.device, dtype: torch.dtype, side: int, size: int, channels: int
) -> bool:
    def check() -> None:
        check_crop(partial(crop, size=size, dtype=dtype), device, side, size, channels)

    return agrees("cropping by Triton", _key("crop", device, dtype, side, size, channels), check)


def _key(kernel: str, device: torch.device, *sizes: Any) -> str:
    """Of what the numbers of a compiled kernel depend on."""
    import triton

    source = Path(__file__).with_name(f"{kernel}_triton.py").read_text()
    versions = torch.__version__, triton.__version__, torch.version.cuda
    return str((source, *versions, torch.cuda.get_device_properties(device).name, *sizes))

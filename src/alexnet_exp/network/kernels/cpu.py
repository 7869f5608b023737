"""Calls ``cpu.c``: response normalization and cropping in one pass over memory each.

torch.compile needs a compiler too, 20 seconds at first and 5 seconds of imports in every process,
and its kernels for channels-last memory are slower (README, speed).
"""

import ctypes
import subprocess
from collections.abc import Callable
from ctypes import c_float, c_int, c_int64, c_void_p
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from alexnet_exp.network.kernels.build import NotCompiledError, load_library
from alexnet_exp.network.kernels.selfcheck import agrees, check_crop, check_lrn

DTYPES = (torch.float32, torch.bfloat16)


def why_not() -> str | None:
    """Why there are no compiled functions; None where there are."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def supports_lrn(x: Tensor, beta: float) -> bool:
    """Whether ``lrn`` can normalize ``x``: with a C compiler, in fp32 or bf16, and beta .75."""
    return x.device.type == "cpu" and x.dtype in DTYPES and beta == 0.75 and _lrn_agrees(_key())


def supports_crop(device: torch.device) -> bool:
    """Whether ``crop`` can cut images that lie on ``device``."""
    return device.type == "cpu" and _crop_agrees(_key())


def lrn(x: Tensor, towers: int, size: int, alpha: float, k: float, relu: bool) -> Tensor:
    """Local response normalization with beta .75 (section 3.3); differentiable once.

    Args:
        x: (N, C, H, W), one that ``supports_lrn`` accepts.
        towers, size, alpha, k: As ``lrn.LocalResponseNorm`` has them.
        relu: Normalize max(x, 0) instead of x.

    Returns:
        As ``x``, in channels-last memory if ``x`` lies so, else contiguous.
    """
    y: Tensor = _Normalize.apply(x, towers, size, alpha, k, relu)
    return y


class _Normalize(torch.autograd.Function):
    """x alone is kept."""

    @staticmethod
    def forward(ctx, x, *constants):  # type: ignore[no-untyped-def]
        x = x.contiguous(memory_format=_layout(x))
        ctx.save_for_backward(x)
        ctx.constants = constants
        return _call_lrn(x, None, *constants)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        grad = grad.to(x.dtype).contiguous(memory_format=_layout(x))
        return _call_lrn(x, grad, *ctx.constants), None, None, None, None, None


def _layout(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _call_lrn(
    x: Tensor, grad: Tensor | None, towers: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    """The result, or the gradient by ``x``, which lies as ``grad`` does."""
    images, channels, height, width = x.shape
    outer, inner = images * towers, height * width
    if _layout(x) == torch.channels_last:
        outer, inner = outer * inner, 1
    result = torch.empty_like(x)
    function = _library().lrn_bf16 if x.dtype == torch.bfloat16 else _library().lrn_float
    failed = function(
        x.data_ptr(), None if grad is None else grad.data_ptr(), result.data_ptr(),
        outer, channels // towers, inner, size // 2, alpha, k, -2 * alpha * 0.75, relu,
        torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("local response normalization: can't allocate memory")
    return result


def crop(
    addresses: Tensor,
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    mean: Tensor,
    noise: Tensor | None,
    scale: float,
    size: int,
    dtype: torch.dtype,
) -> Tensor:
    """Crop, mirror, center and shift stored images: ``(image - mean + noise) * scale``.

    Args:
        addresses: (N,) int64, of images (S, S, C) uint8 in memory.
        top, left: (N,) int64, upper left corner of each crop.
        flip: (N,) bool.
        mean: (S, S, C) float32.
        noise: (N, C) float32, or None.
        scale: Factor of all pixels.
        size: Side s of the crops.
        dtype: Of the result; computed in float32 and rounded to it.

    Returns:
        (N, C, s, s) in channels-last memory.
    """
    side, channels = mean.shape[0], mean.shape[2]
    assert mean.dtype == torch.float32
    assert noise is None or noise.dtype == torch.float32
    # A list, so that what is made contiguous lives until the function has returned.
    given = [tensor.contiguous() for tensor in (top, left, flip, mean)]
    noise = None if noise is None else noise.contiguous()
    written = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    out = torch.empty(len(addresses), size, size, channels, dtype=written)
    function = _library().crop_bf16 if dtype == torch.bfloat16 else _library().crop_float
    failed = function(
        addresses.data_ptr(), *(tensor.data_ptr() for tensor in given),
        None if noise is None else noise.data_ptr(), scale,
        out.data_ptr(), len(addresses), side, size, channels, torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("cropping: can't allocate memory")
    return out.permute(0, 3, 1, 2).to(dtype)


@cache
def _load() -> tuple[ctypes.CDLL, str] | str:
    """The library and its key, or why there is none."""
    try:
        library, key = load_library()
    except (NotCompiledError, OSError, subprocess.SubprocessError) as error:
        return str(error)
    lrn = [*[c_void_p] * 3, *[c_int64] * 3, c_int, *[c_float] * 3, c_int, c_int]
    crop = [*[c_void_p] * 6, c_float, c_void_p, *[c_int64] * 4, c_int]
    for name, arguments in (("lrn", lrn), ("crop", crop)):
        for dtype in ("float", "bf16"):
            getattr(library, f"{name}_{dtype}").argtypes = arguments
    return library, key


def _key() -> str | None:
    """Of what the library was made of; None without one."""
    loaded = _load()
    return None if isinstance(loaded, str) else loaded[1]


def _library() -> ctypes.CDLL:
    loaded = _load()
    assert not isinstance(loaded, str), loaded
    return loaded[0]


@cache
def _lrn_agrees(key: str | None) -> bool:
    def check() -> None:
        for dtype in DTYPES:
            for layout in (torch.contiguous_format, torch.channels_last):
                for size in (5, 3):
                    x = torch.empty(2, 32, 17, 17, dtype=dtype, device="cpu", memory_format=layout)
                    check_lrn(partial(lrn, size=size), x, 2, size)

    return key is not None and agrees("LRN by compiled C", key, check)


@cache
def _crop_agrees(key: str | None) -> bool:
    def check() -> None:
        for dtype in DTYPES:
            for channels in (3, 1):
                cut = partial(_crop_rows, dtype)
                check_crop(cut, torch.device("cpu"), 24, 17, channels)

    return key is not None and agrees("cropping by compiled C", key, check)


def _crop_rows(dtype: torch.dtype, images: Tensor, rows: Tensor, *given: Any) -> Tensor:
    addresses = images.data_ptr() + rows * images[0].numel()
    cut: Callable[..., Tensor] = partial(crop, size=17, dtype=dtype)
    return cut(addresses, *given)

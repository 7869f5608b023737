"""Local response normalization, the one hot operation of AlexNet (section 3.3)."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.network.kernels import cpu
from alexnet_exp.network.kernels import lrn_op as triton_lrn


class Path(StrEnum):
    """Implementations of the same formula."""

    compiled = "compiled C"
    triton = "Triton"
    plain = "torch operations"


class LocalResponseNorm(nn.Module):
    """Divide each activation by the energy of its neighbors in adjacent maps (section 3.3).

    ``b_i = a_i / (k + alpha * sum_j a_j^2) ** beta`` with j over the ``size`` maps around i, cut
    off at the first and last map *of the same tower*. As in the paper's formula, ``alpha`` is not
    divided by ``size``; ``torch.nn.LocalResponseNorm`` divides, so there the paper's 1e-4 is 5e-4.

    In float32 all paths but Triton's give the same bits.

    Args:
        channels: Number of maps of the input, C.
        towers: Number of equal runs of maps that are normalized apart.
        size: Number n of adjacent maps, odd.
        alpha, beta, k: Constants of the formula; the paper has 1e-4, .75 and 2.

    Attributes:
        fast: Take the fastest path that can be had; false: plain torch operations.
        relu: Normalize max(x, 0): the rectifier before it is a part of it.

    Shape:
        (N, C, H, W) to the same; any floating dtype, computed in at least float32.
    """

    def __init__(
        self,
        channels: int,
        towers: int = 1,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"model.lrn.size={size} must be odd")
        self.channels, self.towers, self.size = channels, towers, size
        self.alpha, self.beta, self.k = alpha, beta, k
        self.fast, self.relu = True, False

    def of_one_tower(self) -> "LocalResponseNorm":
        """What normalizes the maps of one tower as this does those of all."""
        maps = self.channels // self.towers
        one = LocalResponseNorm(maps, 1, self.size, self.alpha, self.beta, self.k)
        one.fast, one.relu = self.fast, self.relu
        return one

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x``, (N, C, H, W)."""
        path = self.path(x)
        with torch.autocast(x.device.type, enabled=False):
            if path == Path.triton:
                return triton_lrn.lrn(x, self.towers, self.alpha, self.k, self.relu)
            if path == Path.compiled:
                return _Compiled.apply(x, self.towers, self.size, self.alpha, self.k, self.relu)
            x = x.relu() if self.relu else x
            if torch.compiler.is_compiling():
                return _differentiable(x, self.towers, self.size, self.alpha, self.beta, self.k)
            return _Normalize.apply(x, self.towers, self.size, self.alpha, self.beta, self.k)

    def path(self, x: Tensor) -> Path:
        """Which implementation normalizes ``x``."""
        if self.fast and triton_lrn.supports(x, self.towers, self.size, self.beta):
            return Path.triton
        if not self.fast or x.device.type != "cpu" or torch.compiler.is_compiling():
            return Path.plain
        known = x.dtype in (torch.float32, torch.bfloat16) and self.beta == 0.75
        return Path.compiled if known and cpu.kernels() is not None else Path.plain

    def extra_repr(self) -> str:
        """Constants of the formula."""
        return (
            f"towers={self.towers}, size={self.size}, alpha={self.alpha}, "
            f"beta={self.beta}, k={self.k}, relu={self.relu}"
        )


class WithinMapNorm(nn.Module):
    """Response normalization over a square window of the same map.

    The undocumented second norm after conv2 of the authors' code:
    ``b = a / (k + scale / size^2 * sum a^2) ** power`` over ``size`` x ``size`` pixels, zeros
    beyond the border. Source: ``rnorm`` layers of layer-params-*.cfg (size 5, scale 1e-3, power
    .75, k 1).

    Shape:
        (N, C, H, W) to the same; any floating dtype, computed in at least float32.
    """

    def __init__(
        self, size: int = 5, scale: float = 1e-3, power: float = 0.75, k: float = 1.0
    ) -> None:
        super().__init__()
        self.size, self.scale, self.power, self.k = size, scale, power, k

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x``, (N, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            mean_square = F.avg_pool2d(wide.square(), self.size, 1, self.size // 2)
            return (wide * (self.k + self.scale * mean_square).pow(-self.power)).to(x.dtype)

    def extra_repr(self) -> str:
        """Constants of the formula."""
        return f"size={self.size}, scale={self.scale}, power={self.power}, k={self.k}"


def _differentiable(
    x: Tensor, towers: int, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    """The formula as it stands, for a compiler that writes its gradient itself."""
    wide = x if x.dtype == torch.float64 else x.float()
    maps = F.pad((wide * wide).unflatten(1, (towers, -1)), (0, 0, 0, 0, size // 2, size // 2))
    count = x.shape[1] // towers
    total = maps[:, :, :count]
    for shift in range(1, size):
        total = total + maps[:, :, shift : shift + count]
    base = total.flatten(1, 2) * alpha + k
    return (base.pow(-beta) * wide).to(x.dtype)


_PIECE = 1 << 19
"""Elements that are normalized at once on a CPU: what is made of them stays in its cache."""


class _Normalize(torch.autograd.Function):
    """The formula with its gradient written out in torch operations, so that x alone is kept."""

    @staticmethod
    def forward(ctx, x, towers, size, alpha, beta, k):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.constants = towers, size, alpha, beta, k
        y = torch.empty_like(x)
        for source, result in zip(_pieces(x, towers), _pieces(y, towers), strict=True):
            maps = _Maps(source, size)
            power = _inverse_power(maps.base(alpha, k), beta)
            result.copy_(maps.without_gaps(power.mul_(maps.values)))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        towers, size, alpha, beta, k = ctx.constants
        dx = torch.empty_like(x)
        grad = torch.empty_like(x).copy_(grad) if grad.stride() != x.stride() else grad
        every = (_pieces(tensor, towers) for tensor in (x, grad, dx))
        with torch.autocast(x.device.type, enabled=False):
            for source, change, result in zip(*every, strict=True):
                maps, grads = _Maps(source, size), _Maps(change, size)
                base = maps.base(alpha, k)
                direct = _inverse_power(base, beta).mul_(grads.values)
                # d b_j / d a_i = [i=j] base_j^-beta - 2 alpha beta a_i a_j base_j^(-beta-1)
                torch.mul(direct, maps.values, out=grads.values)
                spread = maps.window_sum(partial(torch.div, grads.values, base))
                # Rounded after every operation, as the compiled kernel does.
                direct.add_(spread.mul_(maps.values).mul_(-2 * alpha * beta))
                result.copy_(maps.without_gaps(direct))
        return dx, None, None, None, None, None


def _pieces(x: Tensor, towers: int) -> tuple[Tensor, ...]:
    """Views (runs, maps of a tower, values that lie between neighbors) of all that ``x`` holds."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    maps = x.shape[1] // towers
    lying = x.permute(0, 2, 3, 1) if last else x
    runs = lying.view(-1, maps, 1 if last else x.shape[2:].numel())
    if x.device.type != "cpu":
        return (runs,)
    return runs.split(max(1, _PIECE // runs[0].numel()))


class _Maps:
    """Maps as one run of memory in at least float32, with gaps of zeros between the towers.

    Neighboring maps lie at one distance everywhere, so their sums are sums of the whole run with
    itself, shifted.

    Args:
        runs: (runs, maps, inner).
        size: Maps in a window.
    """

    def __init__(self, runs: Tensor, size: int) -> None:
        self.shape, self.size, self.gap = runs.shape, size, size // 2
        count, maps, inner = runs.shape
        dtype = torch.float64 if runs.dtype == torch.float64 else torch.float32
        wide = runs.new_empty((count, maps + self.gap, inner), dtype=dtype)
        wide[:, :maps] = runs
        wide[:, maps:] = 0
        self.values = wide.flatten()

    def without_gaps(self, flat: Tensor) -> Tensor:
        """(runs, maps, inner) of what was computed from ``values``."""
        count, maps, inner = self.shape
        return flat.view(count, maps + self.gap, inner)[:, :maps]

    def base(self, alpha: float, k: float) -> Tensor:
        """What the formula takes to a power."""
        total = self.window_sum(partial(torch.mul, self.values, self.values))
        return total.mul_(alpha).add_(k)

    def window_sum(self, write: Callable[..., Tensor]) -> Tensor:
        """Sum over the window around each: of pairs, in ascending order, and of the last one.

        Args:
            write: Writes what is summed into ``out``, shaped as ``values``.
        """
        step, length = self.shape[2], len(self.values)
        border = self.gap * step
        bordered = self.values.new_empty(length + 2 * border)
        bordered[:border] = 0
        bordered[border + length :] = 0
        write(out=bordered[border : border + length])
        if self.size == 1:
            return bordered
        pairs = bordered[:-step] + bordered[step:]
        total = pairs[:length]
        for shift in range(2, self.size - 1, 2):
            total = total + pairs[shift * step : shift * step + length]
        total += bordered[2 * border :]
        return total


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """``base ** -beta``; the paper's .75 by two roots, several times as fast as pow.

    Both are reciprocal roots, which torch rounds as the compiled kernel does; its root it does not.
    """
    if beta == 0.75:
        root = base.rsqrt()
        return (base * root).rsqrt_().mul_(root)
    return base.pow(-beta)


class _Compiled(torch.autograd.Function):
    """The kernel of ``kernels/cpu.c``; x alone is kept."""

    @staticmethod
    def forward(ctx: Any, x, towers, size, alpha, k, relu):  # type: ignore[no-untyped-def]
        x = _dense(x)
        ctx.save_for_backward(x)
        ctx.constants = towers, size, alpha, k, relu
        return _kernels().lrn(x, None, *ctx.constants)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return _kernels().lrn(x, grad, *ctx.constants), None, None, None, None, None


def _dense(x: Tensor) -> Tensor:
    """``x`` in one of the two layouts that the kernel knows."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _kernels() -> cpu.Kernels:
    kernels = cpu.kernels()
    assert kernels is not None
    return kernels

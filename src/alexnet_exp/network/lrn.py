"""Local response normalization, the one hot operation of AlexNet (section 3.3)."""

from copy import deepcopy
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.network.kernels import cpu, gpu


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

    Compiled C, Triton and torch's operations round differently, in the last bits of float32.

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
        one = deepcopy(self)
        one.channels, one.towers = self.channels // self.towers, 1
        return one

    def forward(self, x: Tensor) -> Tensor:
        path = self.path(x)
        with torch.autocast(x.device.type, enabled=False):
            if path == Path.triton:
                return gpu.lrn(x, self.towers, self.alpha, self.k, self.relu)
            if path == Path.compiled:
                return cpu.lrn(x, self.towers, self.size, self.alpha, self.k, self.relu)
            x = x.relu() if self.relu else x
            return _normalize(x, self.towers, self.size, self.alpha, self.beta, self.k)

    def path(self, x: Tensor) -> Path:
        """Which implementation normalizes ``x``."""
        if self.fast and gpu.supports_lrn(x, self.towers, self.size, self.beta):
            return Path.triton
        if self.fast and not torch.compiler.is_compiling() and cpu.supports_lrn(x, self.beta):
            return Path.compiled
        return Path.plain

    def extra_repr(self) -> str:
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
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            mean_square = F.avg_pool2d(wide.square(), self.size, 1, self.size // 2)
            return (wide * (self.k + self.scale * mean_square).pow(-self.power)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"size={self.size}, scale={self.scale}, power={self.power}, k={self.k}"


def _normalize(x: Tensor, towers: int, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """The formula in torch's operations, which lie in memory as ``x`` does."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    wide = x if x.dtype == torch.float64 else x.float()
    lying, maps = (wide.permute(0, 2, 3, 1), 3) if last else (wide, 1)
    squares = lying.square().unflatten(maps, (towers, -1))
    border = (size // 2, size // 2)
    padded = F.pad(squares, border if last else (0, 0, 0, 0, *border))
    count = x.shape[1] // towers
    total = padded.narrow(maps + 1, 0, count)
    for first in range(1, size):
        total = total + padded.narrow(maps + 1, first, count)
    y = lying * (total.flatten(maps, maps + 1) * alpha + k).pow(-beta)
    return (y.permute(0, 3, 1, 2) if last else y).to(x.dtype)

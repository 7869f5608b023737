"""Local response normalization, the one hot operation of AlexNet (section 3.3)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocalResponseNorm(nn.Module):
    """Divide each activation by the energy of its neighbors in adjacent maps (section 3.3).

    ``b_i = a_i / (k + alpha * sum_j a_j^2) ** beta`` with j over the ``size`` maps around i, cut
    off at the first and last map *of the same tower*. As in the paper's formula, ``alpha`` is not
    divided by ``size``; ``torch.nn.LocalResponseNorm`` divides, so there the paper's 1e-4 is 5e-4.

    Args:
        channels: Number of maps of the input, C.
        towers: Number of equal runs of maps that are normalized apart.
        size: Number n of adjacent maps, odd.
        alpha, beta, k: Constants of the formula; the paper has 1e-4, .75 and 2.

    Shape:
        (N, C, H, W) to the same; any floating dtype, computed in at least float32.
    """

    band: Tensor

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
        self.towers, self.size, self.alpha, self.beta, self.k = towers, size, alpha, beta, k
        self.register_buffer("band", band_kernel(channels, towers, size), persistent=False)

    def of_one_tower(self) -> "LocalResponseNorm":
        """What normalizes the maps of one tower as this does those of all."""
        maps = len(self.band) // self.towers
        return LocalResponseNorm(maps, 1, self.size, self.alpha, self.beta, self.k)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x``, (N, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return _Normalize.apply(
                x, self.band, self.towers, self.size, self.alpha, self.beta, self.k
            )

    def extra_repr(self) -> str:
        """Constants of the formula."""
        return (
            f"towers={self.towers}, size={self.size}, alpha={self.alpha}, "
            f"beta={self.beta}, k={self.k}"
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


def band_kernel(channels: int, towers: int, size: int) -> Tensor:
    """Kernel of a grouped 1x1 convolution that sums ``size`` adjacent maps of one tower.

    Returns:
        (channels, channels / towers, 1, 1) float32 of zeros and ones: a band matrix per tower.
    """
    maps = np.arange(channels // towers)  # torch's subtraction on the meta device imports sympy
    band = np.abs(maps[:, None] - maps[None, :]) <= size // 2
    return torch.from_numpy(np.tile(band, (towers, 1))[:, :, None, None].astype(np.float32))


def window_sum(x: Tensor, band: Tensor, towers: int, size: int) -> Tensor:
    """Sum over the adjacent maps of each tower; (N, C, H, W) to the same.

    On a CPU one matrix product with the band is about three times as fast as adding shifted
    copies. On a GPU the convolution would round to TF32, so there the copies are added.
    """
    if x.device.type == "cpu":
        return _banded_sum(x, band, towers)
    return _shifted_sum(x, towers, size)


def _banded_sum(x: Tensor, band: Tensor, towers: int) -> Tensor:
    return F.conv2d(x, band.to(x.dtype), groups=towers)


def _shifted_sum(x: Tensor, towers: int, size: int) -> Tensor:
    maps = x.unflatten(1, (towers, -1))
    total = maps.clone()
    for shift in range(1, size // 2 + 1):
        total[:, :, shift:] += maps[:, :, :-shift]
        total[:, :, :-shift] += maps[:, :, shift:]
    return total.flatten(1, 2)


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """``base ** -beta``; the paper's .75 by two square roots, several times as fast as pow."""
    if beta == 0.75:
        root = base.rsqrt()
        return root.sqrt().mul_(root)
    return base.pow(-beta)


class _Normalize(torch.autograd.Function):
    """The formula with its gradient written out, so that only x and the base are kept."""

    @staticmethod
    def forward(ctx, x, band, towers, size, alpha, beta, k):  # type: ignore[no-untyped-def]
        wide = x if x.dtype == torch.float64 else x.float()
        base = window_sum(wide.square(), band, towers, size).mul_(alpha).add_(k)
        ctx.save_for_backward(x, base, band)
        ctx.towers, ctx.size, ctx.alpha, ctx.beta = towers, size, alpha, beta
        return _inverse_power(base, beta).mul_(wide).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, base, band = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        direct = _inverse_power(base, ctx.beta).mul_(grad)
        # d b_j / d a_i = [i=j] base_j^-beta - 2 alpha beta a_i a_j base_j^(-beta-1)
        with torch.autocast(x.device.type, enabled=False):
            spread = window_sum((direct * wide).div_(base), band, ctx.towers, ctx.size)
        direct.addcmul_(wide, spread, value=-2 * ctx.alpha * ctx.beta)
        return direct.to(x.dtype), None, None, None, None, None, None

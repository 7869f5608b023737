"""Random numbers that depend on (seed, epoch, image) alone, on any device and in any order."""

import math

import torch
from torch import Tensor

# Constants of SplitMix64 (Steele, Lea and Flood 2014), as signed 64-bit integers.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def uniform(seed: int, epoch: int, index: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), a pure function of the arguments.

    ``count`` for each image of ``index``, (N,) int64: (N, count) float64 on its device; float32 on
    Apple's GPUs, which have no more.
    """
    if index.device.type == "mps":
        drawn = uniform(seed, epoch, index.cpu(), count)
        return drawn.float().clamp(max=1 - 2.0**-24).to(index.device)
    draws = torch.arange(1, count + 1, device=index.device)
    key = _mix(torch.full_like(index, seed) * _GAMMA + epoch)
    key = _mix(key + index * _GAMMA)
    bits = _mix(key[:, None] + draws * _GAMMA)
    return _shift_right(bits, 11).double() * 2.0**-53


def normal(seed: int, epoch: int, index: Tensor, count: int) -> Tensor:
    """Normal numbers N(0, 1) by Box and Muller; arguments and shape as for ``uniform``."""
    pairs = uniform(seed, epoch, index, 2 * count).unflatten(1, (count, 2))
    radius = torch.sqrt(-2.0 * torch.log1p(-pairs[..., 0]))
    return radius * torch.cos(2.0 * math.pi * pairs[..., 1])


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finalizer; int64 products wrap around on every device."""
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)

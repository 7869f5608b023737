"""How colorful and how oriented the kernels of a first layer are, tower by tower.

Section 6.1 and figure 3: one tower becomes largely color-agnostic, the other color-specific.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PERMUTATIONS = 9_999


class Towers(NamedTuple):
    """Two towers of one network by the mean colorfulness of their kernels, fractions."""

    less: float
    more: float
    by_chance: Array
    """(``PERMUTATIONS``,) differences where kernels change towers at random."""

    @property
    def difference(self) -> float:
        return self.more - self.less

    @property
    def p_value(self) -> float:
        """Of a permutation test: a network without specialized towers might have any of them."""
        return permutation_p(self.difference, self.by_chance)


def compare_towers(kernels: NDArray[np.floating], seed: int | Sequence[int] = 0) -> Towers:
    """How much more colorful one tower's kernels are than the other's.

    ``kernels`` are (K, C, s, s), the first half of one tower; ``seed`` is of the permutations.
    """
    values = colorfulness(kernels)
    rows = np.tile(values, (PERMUTATIONS, 1))
    shuffled = np.random.default_rng(seed).permuted(rows, axis=1).reshape(len(rows), 2, -1)
    less, more = sorted(values.reshape(2, -1).mean(1).tolist())
    return Towers(less, more, np.ptp(shuffled.mean(2), axis=1))


def permutation_p(found: float, by_chance: Array) -> float:
    """How often chance is as large as what was ``found``, which counts among them."""
    return float((1 + (by_chance >= found - 1e-12).sum()) / (1 + len(by_chance)))


def colorfulness(kernels: NDArray[np.floating]) -> Array:
    """Share of each kernel's energy, the sum of its squared weights, that lies off the gray axis.

    What all channels of a pixel have in common is gray, the rest is color. 0: the kernel sees
    brightness alone, 1: color alone; (C - 1) / C, so 2/3 of RGB, is what random weights have.

    Args:
        kernels: (K, C, s, s). Of one channel all are gray.

    Returns:
        (K,); 0 for a kernel of zeros.
    """
    weights = np.asarray(kernels, np.float64)
    color = weights - weights.mean(1, keepdims=True)
    return _share((color**2).sum((1, 2, 3)), (weights**2).sum((1, 2, 3)))


def orientation(kernels: NDArray[np.floating]) -> Array:
    """How far the energy of each kernel's spectrum lies in one direction.

    That is the coherence of a structure tensor, ``|sum E exp(2 i angle)| / sum E`` over all
    frequencies but 0, with the energy ``E`` of all channels together. 1: a grating, 0: a blob, or
    as much of each direction; of random weights it is about .07 for 11 x 11 x 3.

    Args:
        kernels: (K, C, s, s).

    Returns:
        (K,); 0 for a kernel that is the same everywhere.
    """
    weights = np.asarray(kernels, np.float64)
    energy = (np.abs(np.fft.fft2(weights)) ** 2).sum(1)
    steps = np.fft.fftfreq(weights.shape[-1])
    angle = np.arctan2(steps[:, None], steps[None, :])
    energy[:, 0, 0] = 0
    doubled = (energy * np.exp(2j * angle)).sum((1, 2))
    # What rounding leaves of a constant is no direction.
    least = 1e-20 * (weights**2).sum((1, 2, 3)) * weights.shape[-1] ** 2
    total = energy.sum((1, 2))
    return _share(np.abs(doubled), np.where(total > least, total, 0))


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)

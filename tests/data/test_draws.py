import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from alexnet_exp.data.draws import normal, uniform

WORD = (1 << 64) - 1
COUNT = 200_000
INDICES = torch.arange(COUNT)


def mixed(z: int) -> int:
    """The finalizer of SplitMix64, from the reference code in C."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def splitmix(seed: int, count: int) -> list[int]:
    return [mixed((seed + (i + 1) * 0x9E3779B97F4A7C15) & WORD) for i in range(count)]


def chi_square_score(counts: Tensor) -> float:
    """About N(0, 1) for counts of equally likely outcomes (Wilson and Hilferty)."""
    expected, freedom = counts.double().mean(), len(counts) - 1
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    score = (chi_square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))
    return score / math.sqrt(2 / (9 * freedom))


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


@pytest.mark.parametrize(
    ("seed", "epoch", "index"), [(0, 0, 0), (7, 3, 41), (2**31, 89, 1_281_166), (-1, 0, 5)]
)
def test_uniform_equals_plain_integers(seed: int, epoch: int, index: int) -> None:
    """The first image of seed 0 draws the published values of seed 0."""
    gamma = 0x9E3779B97F4A7C15
    key = mixed((mixed((seed * gamma + epoch) & WORD) + index * gamma) & WORD)
    expected = [(word >> 11) / 2**53 for word in splitmix(key, 4)]
    assert uniform(seed, epoch, torch.tensor([index]), 4).tolist() == [expected]


@pytest.mark.parametrize("vary", ["index", "epoch", "seed"])
def test_uniform_is_flat(vary: str) -> None:
    n = 50_000 if vary == "index" else 2000
    if vary == "index":
        draws = uniform(0, 1, INDICES[:n], 6)
    else:
        one = torch.tensor([17])
        draws = torch.cat(
            [uniform(0, i, one, 6) if vary == "epoch" else uniform(i, 0, one, 6) for i in range(n)]
        )
    assert draws.dtype == torch.float64
    assert draws.shape == (n, 6)
    for draw, bins in product(range(6), (2, 33, 256)):
        counts = torch.bincount((draws[:, draw] * bins).long(), minlength=bins)
        assert chi_square_score(counts) < 4.5, (draw, bins)


def test_neighbors_are_not_correlated() -> None:
    base = uniform(3, 10, INDICES, 6)
    limit = 5 / math.sqrt(COUNT)
    others = {
        "image": uniform(3, 10, INDICES + 1, 6),
        "epoch": uniform(3, 11, INDICES, 6),
        "seed": uniform(4, 10, INDICES, 6),
        "seed of the color noise": uniform(3 + 1_000_003, 10, INDICES, 6),
    }
    for name, other in others.items():
        for draw in range(6):
            assert abs(correlation(base[:, draw], other[:, draw])) < limit, name
    for a in range(6):
        for b in range(a):
            assert abs(correlation(base[:, a], base[:, b])) < limit, (a, b)


@pytest.mark.parametrize("function", [uniform, normal])
def test_numbers_belong_to_the_image(function: Callable[..., Tensor]) -> None:
    whole = function(1, 2, INDICES[:500], 4)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(function(1, 2, order, 4), whole[order])
    assert torch.equal(function(1, 2, order[:7], 4), whole[order[:7]])
    assert torch.equal(function(1, 2, torch.tensor([9, 9]), 4), whole[[9, 9]])
    assert torch.equal(function(1, 2, INDICES[:500], 2), whole[:, :2])
    torch.manual_seed(5)
    assert torch.equal(function(1, 2, INDICES[:500], 4), whole)


def test_normal_has_its_moments() -> None:
    draws = normal(0, 1, INDICES, 3)
    assert draws.shape == (COUNT, 3)
    assert draws.isfinite().all()
    n = draws.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        found = (draws**power).mean().item()
        assert abs(found - moment) < 5 * math.sqrt(variance / n), power
    for a, b in ((0, 1), (0, 2), (1, 2)):
        for power in (1, 2):
            limit = 5 / math.sqrt(COUNT)
            assert abs(correlation(draws[:, a] ** power, draws[:, b] ** power)) < limit

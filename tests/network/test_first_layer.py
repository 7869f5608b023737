"""Color and direction of kernels, and whether two towers differ, against other formulas."""

import cmath
import math
from itertools import combinations

import numpy as np
import pytest

from alexnet_exp.network.first_layer import (
    PERMUTATIONS,
    Towers,
    colorfulness,
    compare_towers,
    orientation,
    permutation_p,
)

SIDE = 11
GRAY, RED_GREEN = np.array([1, 1, 1.0]), np.array([1, -1, 0.0])


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def grating(angle: float, period: float = 4.0, phase: float = 0.3) -> np.ndarray:
    """(s, s); its stripes stand across ``angle``, under a bell."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    along = columns * math.cos(angle) + rows * math.sin(angle)
    bell = np.exp(-(rows**2 + columns**2) / (2 * 3.0**2))
    return bell * np.cos(2 * math.pi * along / period + phase)


def painted(map_: np.ndarray, color: np.ndarray) -> np.ndarray:
    return color[:, None, None] * map_


def test_colorfulness_is_the_energy_off_the_gray_axis() -> None:
    kernels = drawn(40, 3, SIDE, SIDE)
    axis = GRAY / math.sqrt(3)
    for kernel, found in zip(kernels, colorfulness(kernels), strict=True):
        pixels = kernel.reshape(3, -1).T
        gray = sum(float(pixel @ axis) ** 2 for pixel in pixels)
        assert found == pytest.approx(1 - gray / float((pixels**2).sum()))
    bell = grating(0.5)
    known = [painted(bell, GRAY), painted(bell, RED_GREEN), painted(bell, GRAY + RED_GREEN)]
    known.append(np.zeros((3, SIDE, SIDE)))
    assert colorfulness(np.array(known)) == pytest.approx([0, 1, 2 / 5, 0], abs=1e-12)
    assert colorfulness(np.array(known, np.float16)) == pytest.approx([0, 1, 2 / 5, 0], abs=1e-3)
    assert colorfulness(drawn(3000, 3, SIDE, SIDE)).mean() == pytest.approx(2 / 3, abs=0.003)
    assert not colorfulness(drawn(4, 1, 3, 3)).any()


@pytest.mark.parametrize("side", [4, 5])
def test_orientation_is_the_coherence_of_the_spectrum(side: int) -> None:
    kernels = drawn(6, 2, side, side)
    for kernel, found in zip(kernels, orientation(kernels), strict=True):
        total, doubled = 0.0, 0j
        for v in range(side):
            for u in range(side):
                if u == v == 0:
                    continue
                for channel in kernel:
                    term = sum(
                        channel[y, x] * cmath.exp(-2j * math.pi * (u * x + v * y) / side)
                        for y in range(side)
                        for x in range(side)
                    )
                    angle = math.atan2(*((f - side if 2 * f >= side else f) for f in (v, u)))
                    total += abs(term) ** 2
                    doubled += abs(term) ** 2 * cmath.exp(2j * angle)
        assert found == pytest.approx(abs(doubled) / total)


def test_gratings_are_oriented_whatever_their_angle_and_color_and_blobs_are_not() -> None:
    angles = [math.pi * step / 8 for step in range(8)]
    gratings = np.array([painted(grating(a), c) for a in angles for c in (GRAY, RED_GREEN)])
    found = orientation(gratings)
    assert found.min() > 0.8
    assert found[::2] == pytest.approx(found[1::2])
    turned = np.rot90(gratings, axes=(2, 3))
    assert orientation(turned) == pytest.approx(found)
    bell = np.abs(grating(0, 1e9, 0))
    crossed = grating(0) + np.rot90(grating(0))
    flat = np.full((SIDE, SIDE), 0.7)
    blobs = np.array([painted(map_, RED_GREEN) for map_ in (bell, crossed, flat, 0 * flat)])
    assert orientation(blobs) == pytest.approx(np.zeros(4), abs=1e-4)
    assert orientation(drawn(2000, 3, SIDE, SIDE)).mean() == pytest.approx(0.07, abs=0.01)


def test_towers_are_compared_as_all_ways_to_deal_the_kernels_would_have_it() -> None:
    kernels = drawn(10, 3, 5, 5, seed=3)
    kernels[:5] += 0.12 * kernels[:5].mean(1, keepdims=True)
    values = [float(value) for value in colorfulness(kernels)]
    one, two = sum(values[:5]) / 5, sum(values[5:]) / 5
    found = compare_towers(kernels)
    assert (found.less, found.more) == pytest.approx((min(one, two), max(one, two)))
    ways = [
        abs(sum(values[i] for i in own) - (sum(values) - sum(values[i] for i in own))) / 5
        for own in combinations(range(10), 5)
    ]
    exact = sum(way >= abs(one - two) - 1e-12 for way in ways) / len(ways)
    assert 0.02 < exact < 0.9
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(0.25 / PERMUTATIONS))
    assert found.by_chance.mean() == pytest.approx(np.mean(ways), abs=0.001)
    swapped = compare_towers(np.roll(kernels, 5, axis=0))
    assert (swapped.less, swapped.more) == pytest.approx((found.less, found.more))
    assert np.array_equal(compare_towers(kernels).by_chance, found.by_chance)


def test_random_kernels_differ_as_often_as_the_level_allows_and_specialized_ones_always() -> None:
    p_values = [compare_towers(drawn(24, 3, SIDE, SIDE, seed=s)).p_value for s in range(400)]
    for level in (0.05, 0.5):
        rate = np.mean([p < level for p in p_values])
        assert rate == pytest.approx(level, abs=3.5 * math.sqrt(level * (1 - level) / 400))
    colorless, colorful = (
        np.array([painted(grating(0.3 * k), c) for k in range(12)]) for c in (GRAY, RED_GREEN)
    )
    for halves in ([colorless, colorful], [colorful, colorless]):
        found = compare_towers(np.concatenate(halves) + 0.01 * drawn(24, 3, SIDE, SIDE))
        assert found.p_value == 1 / (1 + PERMUTATIONS)
        assert found.difference == pytest.approx(1, abs=0.01)


def test_a_p_value_is_never_0_and_ties_count() -> None:
    chance = np.array([0.1, 0.2, 0.3, 0.3])
    assert permutation_p(0.3, chance) == pytest.approx(3 / 5)
    assert Towers(0.2, 0.9, chance).p_value == pytest.approx(1 / 5)

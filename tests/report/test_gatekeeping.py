"""Correction for many claims: Holm's method, graphs worked out by hand, and simulation."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from alexnet_exp.report.gatekeeping import gatekeeping


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for place, i in enumerate(np.argsort(p_values)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = least
    return adjusted


def test_without_children_the_graph_is_holms_method() -> None:
    generator = np.random.default_rng(9)
    for count in (1, 2, 5, 14):
        p_values = [*generator.random(count) ** 4]
        adjusted, shares = gatekeeping(p_values, [None] * count)
        assert adjusted == pytest.approx(holm(p_values))
        resolved = sum(p < 0.05 for p in adjusted)
        left = [s for s, p in zip(shares, adjusted, strict=True) if p >= 0.05]
        assert left == pytest.approx([1 / (count - resolved)] * (count - resolved))
    assert gatekeeping([], []) == ([], [])


def test_top5_costs_top1_nothing_and_hands_its_share_on() -> None:
    p_values = [0.004, 0.03, 0.2]
    alone, _ = gatekeeping(p_values, [None] * 3)
    kept, shares = gatekeeping([*p_values, 0.5, 0.5, 0.5], [None, None, None, 0, 1, 2])
    assert kept[0] == alone[0] == pytest.approx(0.012)  # the first step
    assert shares == pytest.approx([1 / 3] * 4 + [0, 0])
    both, _ = gatekeeping([*p_values, 0.004, 0.006, 0.5], [None, None, None, 0, 1, 2])
    assert both[:3] == pytest.approx(alone)  # what top-5 errors that are resolved hand on
    assert both[3:5] == pytest.approx([0.012, 0.06])


def test_a_graph_worked_out_by_hand() -> None:
    """Two top-1 errors with half the level each, and their top-5 errors (the third and fourth).

    The first is rejected at .01 / .5, and its half goes to its child: .02 / .5 = .04 is less than
    the other's .04 / .5; the child's half goes to the other, .04 / 1; whose all goes to its child.
    """
    adjusted, shares = gatekeeping([0.01, 0.04, 0.02, 0.5], [None, None, 0, 1])
    assert adjusted == pytest.approx([0.02, 0.04, 0.04, 0.5])
    assert shares == pytest.approx([0.5, 1, 0.5, 1])
    # .2 / .5 ends it: a child whose parent is not rejected is not either, whatever its p-value.
    adjusted, shares = gatekeeping([0.001, 0.2, 0.3, 0.001], [None, None, 0, 1])
    assert adjusted == pytest.approx([0.002, 0.4, 0.4, 0.4])
    assert shares == pytest.approx([0.5, 0.5, 0.5, 0])


@pytest.mark.parametrize("strong", [0, 2])
def test_the_graph_rejects_what_is_true_in_at_most_5_percent(strong: int) -> None:
    """Five top-1 errors and their top-5 errors, correlated; some of the former are there."""
    trials, generator = 800, np.random.default_rng(10)
    normal = generator.standard_normal
    first = 0.5**0.5 * (normal((trials, 1)) + normal((trials, 5)))
    children = 0.8 * first + 0.6 * normal((trials, 5))
    first[:, :strong] += 6
    p_values = 2 * stats.norm.sf(np.abs(np.hstack([first, children])))
    parents = [None] * 5 + [*range(5)]
    wrong = sum(
        min(gatekeeping([*row], parents)[0][strong:]) < 0.05
        for row in p_values
        if strong or row.min() < 0.01  # with none of them there nothing else is rejected
    )
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)
    assert wrong > 0.015 * trials

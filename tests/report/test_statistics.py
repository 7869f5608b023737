"""Intervals and tests, against other formulas and on simulated runs whose true error is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from alexnet_exp.report import statistics
from alexnet_exp.report.statistics import (
    Components,
    Difference,
    Mean,
    Ratio,
    holm,
    mean_interval,
    paired_difference,
    ratio_interval,
)

Wrong = NDArray[np.bool_]

# (seeds, images, error of the baseline, added by the change, spread of networks over seeds).
# A spread of 0.03 is one point of error between seeds at 40 % error, 0.08 is three.
SETTINGS = [(3, 430, 0.40, 0.00, 0.08), (5, 430, 0.05, 0.02, 0.03)]
LONG_SETTINGS = [
    (seeds, *rest)
    for seeds in (2, 3, 5, 10)
    for rest in [
        (150, 0.15, 0.05, 0.03), (150, 0.40, 0.00, 0.00), (430, 0.05, 0.00, 0.00),
        (430, 0.25, 0.03, 0.03), (430, 0.40, 0.00, 0.03), (430, 0.40, 0.00, 0.08),
        (2000, 0.05, 0.02, 0.03), (2000, 0.30, 0.00, 0.03), (2000, 0.30, 0.00, 0.08),
    ]
]  # fmt: skip


def simulated(
    errors: list[float], seeds: int, images: int, spread: float, generator: np.random.Generator
) -> list[Wrong]:
    """(S, I) wrong of networks whose errors over all seeds and images are just ``errors``.

    An image is wrong where a normal score of variance 1 is above a threshold. The score is the
    image's difficulty, for all networks (0.75 of the variance) and for this one (0.08), the seed
    of the network (``spread`` squared) and of all (0.0009), and chance in (seed, image).
    """
    draw = generator.standard_normal
    difficulty = 0.75**0.5 * draw((1, images)) + 0.03 * draw((seeds, 1))
    chance = (1 - 0.75 - 0.08 - 0.0009 - spread**2) ** 0.5
    return [
        difficulty
        + 0.08**0.5 * draw((1, images))
        + spread * draw((seeds, 1))
        + chance * draw((seeds, images))
        > stats.norm.isf(error)
        for error in errors
    ]


def compared(setting, runs: int, draws: int = 1, resamples: int = 300) -> list[Difference]:
    """Of so many pairs of simulated networks."""
    seeds, images, error, effect, spread = setting
    generator = np.random.default_rng(draws)
    errors = [error, error + effect]
    pairs = (simulated(errors, seeds, images, spread, generator) for _ in range(runs))
    return [paired_difference(*pair, resamples=resamples) for pair in pairs]


def covered(setting, runs: int) -> int:
    """How many intervals hold the true difference."""
    return sum(found.low <= setting[3] <= found.high for found in compared(setting, runs))


@pytest.mark.parametrize("setting", SETTINGS)
def test_intervals_cover_at_their_rate(setting) -> None:
    """Of 300 at 95 %, 274 or fewer cover in 1 of 200 settings."""
    assert covered(setting, 300) >= 275


def test_simulated_errors_are_those_asked_for() -> None:
    generator = np.random.default_rng(0)
    many = [simulated([0.05, 0.3], 3, 2000, 0.03, generator) for _ in range(200)]
    assert np.mean(many, axis=(0, 2, 3)) == pytest.approx([0.05, 0.3], abs=0.002)


@pytest.mark.long
@pytest.mark.parametrize("setting", LONG_SETTINGS)
def test_intervals_cover_at_their_rate_in_many_settings(setting) -> None:
    """At least 95 %, within the error of 1,000 runs (99.9 %); with many seeds not far above."""
    rate = covered(setting, 1000) / 1000
    assert rate >= 0.929
    if setting[0] == 10:
        assert rate <= 0.98


def families(number: int, seeds: int, spread: float, draws: int) -> NDArray[np.float64]:
    """(number, 14) p-values of 14 changes that change nothing, against one baseline each."""
    generator = np.random.default_rng(draws)
    drawn = (simulated([0.3] * 15, seeds, 430, spread, generator) for _ in range(number))
    return np.array(
        [[paired_difference(base, x, resamples=300).p_value for x in rest] for base, *rest in drawn]
    )


def test_no_difference_is_rarely_called_one_among_many_claims() -> None:
    """Alone, and with Holm's correction."""
    found = families(30, 5, 0.03, draws=2)
    assert (found < 0.05).mean() <= 0.05
    assert np.mean([min(holm(row)) < 0.05 for row in found]) <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("spread", [0.0, 0.06])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_no_difference_is_called_one_in_at_most_5_percent(seeds: int, spread: float) -> None:
    """Families of 14, of steady and of unsteady networks; within the error of 150 (99.9 %)."""
    wrong = sum(min(holm(row)) < 0.05 for row in families(150, seeds, spread, draws=3))
    assert wrong <= stats.binom.ppf(0.999, 150, 0.05)


def drawn_difference(seeds: int, images: int, seed: int = 0) -> tuple[Wrong, Wrong]:
    before, after = simulated([0.2, 0.25], seeds, images, 0.06, np.random.default_rng(seed))
    return before, after


def test_components_and_standard_error_are_those_of_the_analysis_of_variance() -> None:
    before, after = drawn_difference(6, 80)
    cells = after.astype(float) - before
    mean = cells.mean()
    residuals = cells - cells.mean(0) - cells.mean(1, keepdims=True) + mean
    residual = (residuals**2).sum() / (5 * 79)
    found = paired_difference(before, after)
    assert found.estimate == pytest.approx(mean)
    assert found.components.residual == pytest.approx(residual)
    assert found.components.seed == pytest.approx(cells.mean(1).var(ddof=1) - residual / 80)
    assert found.components.image == pytest.approx(cells.mean(0).var(ddof=1) - residual / 6)
    variance = found.components.seed / 6 + found.components.image / 80 + residual / 480
    assert found.standard_error == pytest.approx(variance**0.5)


def test_components_are_never_negative() -> None:
    before = np.zeros((2, 4), bool)
    after = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)  # equal by seed and by image
    found = paired_difference(before, after)
    assert found.components == Components(0.0, 0.0, pytest.approx(2 / 3))
    assert found.standard_error == pytest.approx((2 / 3 / 8) ** 0.5)


@pytest.mark.long
def test_replicates_are_those_of_drawing_seeds_and_images() -> None:
    generator = np.random.default_rng(0)
    before, after = drawn_difference(3, 60)
    cells = after.astype(np.int8) - before
    fast = statistics._bootstrap_deviations(
        *np.unique(cells, axis=1, return_counts=True), 40_000, generator
    )
    plain = [
        cells[np.ix_(generator.integers(0, 3, 3), generator.integers(0, 60, 60))].mean()
        for _ in range(40_000)
    ]
    assert fast.std() == pytest.approx(np.std(plain), rel=0.02)
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        expected = np.quantile(plain, share) - cells.mean()
        assert np.quantile(fast, share) == pytest.approx(expected, abs=1.5 / 180)


def test_with_many_seeds_and_images_the_interval_is_students() -> None:
    found = paired_difference(*drawn_difference(12, 2000))
    assert 11 <= found.degrees_of_freedom < 40
    t = stats.t(found.degrees_of_freedom)
    assert found.high == pytest.approx(
        found.estimate + t.ppf(0.975) * found.standard_error, abs=0.03 * found.standard_error
    )
    at_90 = paired_difference(*drawn_difference(12, 2000), confidence=0.9)
    assert at_90.low == pytest.approx(
        found.estimate - t.ppf(0.95) * found.standard_error, abs=0.03 * found.standard_error
    )


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_interval_and_p_value_say_the_same(seeds: int) -> None:
    pair = drawn_difference(seeds, 300, seed=4)
    p_value = paired_difference(*pair).p_value
    at_p = paired_difference(*pair, confidence=1 - p_value)
    assert at_p.low == pytest.approx(0, abs=1e-6)


def test_result_depends_on_the_seed_alone() -> None:
    before, after = drawn_difference(3, 200)
    found = paired_difference(before, after)
    order = np.random.default_rng(1).permutation(200)
    assert paired_difference(before[:, order], after[:, order]) == found
    assert paired_difference(before, after, seed=1) != found
    swapped = paired_difference(after, before)
    assert swapped.estimate == -found.estimate
    assert swapped.low == pytest.approx(-(found.high or 0), rel=0.05)


def test_one_seed_or_one_image_has_no_interval() -> None:
    before, after = drawn_difference(3, 200)
    estimate = float(after[0].mean() - before[0].mean())
    assert paired_difference(before[:1], after[:1]) == Difference(pytest.approx(estimate))
    alone = paired_difference(before[:, :1], after[:, :1])
    assert (alone.low, alone.p_value, alone.components) == (None, None, None)


def test_no_difference_on_any_image_is_not_certain() -> None:
    before, _ = drawn_difference(3, 200)
    found = paired_difference(before, before)
    assert (found.estimate, found.p_value) == (0.0, 1.0)
    assert found.high == pytest.approx(3 / 200, rel=0.01)  # rule of three
    assert found.low == pytest.approx(-3 / 200, rel=0.01)
    everywhere = paired_difference(np.zeros((2, 20), bool), np.ones((2, 20), bool))
    assert everywhere.p_value == pytest.approx(2 * 0.5**20)
    assert everywhere.high == 1.0


def test_equal_seeds_leave_a_t_test_over_images() -> None:
    before, after = (np.repeat(x, 4, axis=0) for x in drawn_difference(1, 400))
    found = paired_difference(before, after)
    expected = stats.ttest_rel(after[0].astype(float), before[0].astype(float))
    assert found.degrees_of_freedom == pytest.approx(399)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.1)
    assert found.high == pytest.approx(expected.confidence_interval().high, rel=0.03)


def test_images_that_agree_leave_a_t_test_over_seeds() -> None:
    after = np.repeat([[True], [True], [False], [True], [False]], 50, axis=1)
    found = paired_difference(np.zeros_like(after), after)
    expected = stats.ttest_1samp(after[:, 0].astype(float), 0)
    assert found.degrees_of_freedom == pytest.approx(4)
    assert found.standard_error == pytest.approx(0.6 / (expected.statistic))
    assert found.high == pytest.approx(1.0)  # 0.6 + 0.68, and an error is 1 at most


@pytest.mark.parametrize(
    ("first", "second"), [((2, 3), (2, 4)), ((6,), (6,)), ((0, 5), (0, 5)), ((5, 0), (5, 0))]
)
def test_arrays_that_cannot_be_paired_are_refused(first, second) -> None:
    with pytest.raises(ValueError, match="two arrays"):
        paired_difference(np.zeros(first, bool), np.zeros(second, bool))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.4]) == [1.0, 1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_mean_over_seeds() -> None:
    values = [0.21, 0.25, 0.22, 0.19]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = mean_interval(values)
    assert found.mean == pytest.approx(0.2175)
    assert found.deviation == pytest.approx(0.025)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert mean_interval([0.3]) == Mean(0.3)
    assert mean_interval([0.5, 0.5]) == Mean(0.5, 0.0, 0.5, 0.5)


def test_ratio_of_many_epochs_is_a_t_test_on_logs() -> None:
    before, after = [61_000, 74_000, 58_000], [10_000, 14_000, 11_000]
    expected = stats.ttest_rel(np.log(after), np.log(before))
    interval = expected.confidence_interval()
    found = ratio_interval(before, after)
    assert found.estimate == pytest.approx(stats.gmean(np.array(after) / before))
    assert (found.low, found.high) == pytest.approx((np.exp(interval.low), np.exp(interval.high)))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4)


def test_equal_counts_on_all_seeds_are_not_certain() -> None:
    assert ratio_interval([36], [6]) == Ratio(pytest.approx(1 / 6))
    error = ((1 / 6**2 + 1 / 7**2) / 12 / 3) ** 0.5
    found = ratio_interval([7, 7, 7], [6, 6, 6])
    assert found.low == pytest.approx(6 / 7 * np.exp(-4.30265 * error))
    assert found.p_value == pytest.approx(2 * stats.t.sf(np.log(7 / 6) / error, 2))
    assert found.p_value == pytest.approx(0.056, abs=0.005)
    assert found.deviation == pytest.approx(error * 3**0.5)
    same = ratio_interval([6, 6], [6, 6])
    assert (same.estimate, same.p_value) == (1.0, 1.0)


@pytest.mark.parametrize(("before", "after"), [([1, 2], [1]), ([], []), ([0, 3], [1, 2])])
def test_counts_without_a_ratio_are_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="positive counts"):
        ratio_interval(before, after)

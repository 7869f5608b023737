"""Intervals and tests, against other formulas and on simulated runs whose true error is known."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from alexnet_exp.report.gatekeeping import gatekeeping
from alexnet_exp.report.ratios import log_ratio
from alexnet_exp.report.statistics import (
    Difference,
    Errors,
    against_baseline,
    corrected_resampled,
    effects,
    mean_over_seeds,
    paired,
)
from tests import measure_error_rates

Wrong = NDArray[np.bool_]

RATES = Path(__file__).parents[2] / "results" / "error_rates" / "rates.csv"

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
    errors: Sequence[float], seeds: int, images: int, spread: float, generator: np.random.Generator
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


def in_folds(
    errors: Sequence[float], folds: int, seeds: int, images: int, generator: np.random.Generator
) -> list[Errors]:
    """The same of each network by fold, each with images and seeds of its own."""
    made = [simulated(errors, seeds, images, 0.06, generator) for _ in range(folds)]
    return [dict(enumerate(of_network)) for of_network in zip(*made, strict=True)]


def covered(setting, runs: int) -> int:
    """How many intervals of so many pairs of networks hold the true difference."""
    seeds, images, error, effect, spread = setting
    generator = np.random.default_rng(1)
    pairs = (
        simulated([error, error + effect], seeds, images, spread, generator) for _ in range(runs)
    )
    found = [against_baseline({0: before}, [{0: after}])[0] for before, after in pairs]
    return sum(abs(one.estimate - effect) <= one.half_width() for one in found)


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
        assert rate <= 0.99


def families(
    number: int, networks: int, folds: int, seeds: int, images: int = 100
) -> list[list[Difference]]:
    """So many reports on networks that all equal the baseline."""
    generator = np.random.default_rng(2)
    drawn = (in_folds([0.3] * networks, folds, seeds, images, generator) for _ in range(number))
    return [against_baseline(base, others) for base, *others in drawn]


def mistaken(reports: list[list[Difference]]) -> int:
    """In how many a difference is called one."""
    return sum(min(gatekeeping([d.p_value for d in r], [None] * len(r))[0]) < 0.05 for r in reports)


FAMILIES = [(15, 1, 2), (15, 1, 5), (2, 5, 1), (3, 5, 1), (6, 5, 1), (6, 5, 2)]


@pytest.mark.parametrize(("networks", "folds", "seeds"), [(15, 1, 5), (2, 5, 1)])
def test_no_difference_is_rarely_called_one(networks: int, folds: int, seeds: int) -> None:
    """Within the error of so few reports (99 %)."""
    number = 150 if networks == 2 else 40
    assert mistaken(families(number, networks, folds, seeds)) <= stats.binom.ppf(0.99, number, 0.05)


@pytest.mark.long
@pytest.mark.parametrize(("networks", "folds", "seeds"), FAMILIES)
def test_no_difference_is_called_one_in_at_most_5_percent(networks, folds, seeds) -> None:
    """Within the error of 2,000 reports (99.9 %)."""
    wrong = mistaken(families(2000, networks, folds, seeds))
    assert wrong <= stats.binom.ppf(0.999, 2000, 0.05)


def mean_squares(values: NDArray) -> tuple[float, float, float]:
    """Of seeds, images and the residual, from the sums of squares of the analysis of variance."""
    seeds, images = values.shape
    total = correction = 0.0
    for value in values.ravel().astype(float):
        total += value**2
        correction += value
    correction = correction**2 / (seeds * images)
    of_seeds = sum(float(row.sum()) ** 2 for row in values.astype(float)) / images - correction
    of_images = sum(float(row.sum()) ** 2 for row in values.T.astype(float)) / seeds - correction
    rest = total - correction - of_seeds - of_images
    return (
        of_seeds / (seeds - 1),
        of_images / (images - 1),
        rest / ((seeds - 1) * (images - 1)),
    )


def joined(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of independent variances with theirs."""
    total = sum(variance for variance, _ in parts)
    return total**0.5, 1 / sum(variance / total / freedom for variance, freedom in parts)


def test_paired_is_the_analysis_of_variance_with_two_random_factors() -> None:
    one, ten = simulated([0.25, 0.2], 6, 80, 0.06, np.random.default_rng(0))
    values = one.astype(int) - ten
    of_seeds, of_images, rest = mean_squares(values)
    assert of_seeds > rest
    assert of_images > rest
    error, freedom = joined([(of_seeds / 480, 5), ((of_images - rest) / 480, 79)])
    found = paired({0: values})
    assert found.estimate == pytest.approx(one.mean() - ten.mean())
    assert (found.standard_error, found.freedom) == pytest.approx((error, freedom))
    assert error == pytest.approx(((of_seeds + of_images - rest) / 480) ** 0.5)
    assert found.components.run == pytest.approx(of_seeds / 80)
    assert found.components.image == pytest.approx((of_images - rest) / 480)
    assert found.components.variance(6, 1) == pytest.approx(error**2)
    t = stats.t(freedom)
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.estimate) / error))
    assert found.half_width() == pytest.approx(t.ppf(0.975) * error)
    assert found.half_width(0.9) == pytest.approx(t.ppf(0.95) * error)


def test_seeds_vary_no_less_and_images_no_more_than_the_residual_says() -> None:
    values = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])  # equal by seed and by image
    found = paired({0: values})
    assert mean_squares(values) == pytest.approx((0, 0, 2 / 3))
    assert found.components.run == pytest.approx(2 / 3 / 4)
    assert found.components.image == 0
    assert found.standard_error == pytest.approx((2 / 3 / 8) ** 0.5)


def test_one_seed_or_one_image_has_no_interval() -> None:
    (values,) = simulated([0.2], 3, 200, 0.06, np.random.default_rng(0))
    for few in (values[:1], values[:, :1]):
        found = paired({0: few})
        assert found == Difference(pytest.approx(float(few.mean())))
        assert (found.p_value, found.half_width()) == (None, None)
        assert against_baseline({0: few * 0}, [{0: few}]) == [found]


@pytest.mark.parametrize("values", [{}, {0: np.zeros((0, 5))}, {0: np.zeros((5, 0))}])
def test_no_runs_and_no_images_are_refused(values) -> None:
    with pytest.raises(ValueError, match="none of them empty"):
        paired(values)


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_no_difference_on_any_image_is_not_certain(seeds: int) -> None:
    """The rule of three, whatever rounding leaves of a variance of 0."""
    (one,) = simulated([0.3], 1, 37, 0.06, np.random.default_rng(0))
    same = {0: np.repeat(one, seeds, axis=0)}
    (found,) = against_baseline(same, [same])
    assert (found.estimate, found.p_value) == (0.0, 1.0)
    assert found.half_width() == pytest.approx(1 - 0.05 ** (1 / 37))
    assert found.half_width() == pytest.approx(3 / 37, rel=0.06)
    everywhere = paired({0: np.ones((seeds, 20))})
    assert everywhere.estimate == 1.0
    assert everywhere.p_value < 1e-6


def test_folds_differ_by_seeds_by_images_and_by_what_is_beyond_the_two() -> None:
    generator = np.random.default_rng(3)
    sizes, seeds, levels = (30, 50, 70), (3, 2, 4), (0.1, 0.35, 0.2)
    values: Errors = {
        fold: simulated([level], count, size, 0.35, generator)[0]
        for fold, (size, count, level) in enumerate(zip(sizes, seeds, levels, strict=True))
    }
    squares = [mean_squares(values[fold]) for fold in range(3)]
    shares = np.array(sizes) / 150
    means = np.array([values[fold].mean() for fold in range(3)])
    within = sum((s - 1) * q[0] / n for s, q, n in zip(seeds, squares, sizes, strict=True))
    run = within / (2 + 1 + 3)
    assert run > np.mean([q[2] / n for q, n in zip(squares, sizes, strict=True)])
    image = [max(0, q[1] - q[2]) / s / n for q, s, n in zip(squares, seeds, sizes, strict=True)]
    of_runs = [run / count for count in seeds]
    fold = means.var(ddof=1) - np.mean(of_runs) - np.mean(image)
    assert fold > 0
    error, freedom = joined(
        [(shares**2 @ of_runs, 6), (shares**2 @ image, 147), (fold / 3, 2)],
    )
    found = paired(values)
    assert found.estimate == pytest.approx(shares @ means)
    assert (found.standard_error, found.freedom) == pytest.approx((error, freedom))
    assert found.components.fold == pytest.approx(fold)


def test_one_seed_in_each_fold_is_a_t_test_over_folds() -> None:
    base, other = in_folds([0.2, 0.3], 5, 1, 60, np.random.default_rng(4))
    means, before = ([float(cell[fold].mean()) for fold in range(5)] for cell in (other, base))
    expected = stats.ttest_1samp(means, 0)
    found = paired(other)
    assert (found.freedom, found.p_value) == pytest.approx((4, expected.pvalue))
    (found,) = against_baseline(base, [other])
    expected = stats.ttest_rel(means, before)
    assert (found.freedom, found.p_value) == pytest.approx((4, expected.pvalue))
    interval = expected.confidence_interval()
    assert found.estimate + found.half_width() == pytest.approx(interval.high)


def test_one_seed_in_each_fold_of_several_networks_tells_less_what_folds_mean_to_all() -> None:
    cells = in_folds([0.2, 0.3, 0.25, 0.25], 5, 1, 60, np.random.default_rng(4))
    errors = np.array([[cell[fold].mean() for fold in range(5)] for cell in cells])
    rest = errors - errors.mean(0) - errors.mean(1, keepdims=True) + errors.mean()
    own = (rest**2).sum(1) / 4 * 4 / 3  # of 5 folds and 4 networks
    pool = (rest**2).sum() / (4 * 3)
    assert own.max() < 2 * pool
    used = np.maximum(own, pool)
    for i, found in enumerate(against_baseline(cells[0], cells[1:]), start=1):
        assert found.estimate == pytest.approx(errors[i].mean() - errors[0].mean())
        assert found.standard_error == pytest.approx(((used[0] + used[i]) / 5) ** 0.5)
        assert found.freedom == pytest.approx(4 * 3)


def constant(*runs: float) -> Errors:
    """Of runs that are as wrong on each of seven images, so that seeds alone make a variance."""
    return {0: np.outer(runs, np.ones(7))}


def spaced(seeds: int, variance: float) -> Errors:
    """Runs with that sample variance."""
    places = np.arange(seeds) - (seeds - 1) / 2
    return constant(*(0.3 + places * (variance / places.var(ddof=1)) ** 0.5))


POOL = [
    # Seeds and variance of each network, the baseline first; what counts, and its freedom.
    ([(2, 1.0), (2, 3.0), (2, 5.0)], [(1.0, 1), (3.0, 1), (5.0, 1)]),  # not pooled
    ([(3, 1.0), (3, 2.0), (3, 3.0)], [(2.0, 6), (2.0, 6), (3.0, 2)]),
    ([(4, 1.0), (4, 2.0), (4, 3.0)], [(2.0, 9), (2.0, 9), (3.0, 3)]),
    ([(5, 1.0), (5, 2.0), (5, 3.0)], [(2.0, 12), (2.0, 12), (3.0, 12)]),
    ([(5, 1.0), (5, 1.0), (5, 7.0)], [(3.0, 12), (3.0, 12), (7.0, 4)]),  # a wild one
    ([(5, 7.0), (5, 1.0), (5, 1.0)], [(7.0, 4), (3.0, 12), (3.0, 12)]),
    ([(13, 1.0), (5, 1.0), (5, 6.0)], [(2.0, 20), (2.0, 20), (6.0, 4)]),  # a surer baseline
    ([(5, 1.0), (2, 9.0), (5, 3.0)], [(2.0, 8), (9.0, 1), (3.0, 8)]),  # two seeds tell nobody else
]  # fmt: skip


@pytest.mark.parametrize(("networks", "used"), POOL)
def test_the_variance_in_common_counts_where_it_is_the_larger_one(networks, used) -> None:
    base, *others = (spaced(*network) for network in networks)
    for i, found in enumerate(against_baseline(base, others), start=1):
        sides = [(variance / networks[j][0], df) for j in (0, i) for variance, df in [used[j]]]
        assert (found.standard_error, found.freedom) == pytest.approx(joined(sides))
        assert found.estimate == pytest.approx(0)


def test_two_networks_are_paired_image_by_image_and_not_seed_by_seed() -> None:
    before, after = simulated([0.2, 0.3], 4, 90, 0.06, np.random.default_rng(5))
    (found,) = against_baseline({0: before}, [{0: after}])
    (a_seed, _, a_rest), (b_seed, _, b_rest) = mean_squares(before), mean_squares(after)
    own = np.maximum([a_seed, b_seed], [a_rest, b_rest]) / 90
    runs = np.maximum(own, own.mean()) / 4
    by_image = after.mean(0) - before.mean(0)
    image = (by_image.var(ddof=1) - (a_rest + b_rest) / 4) / 90
    assert image > 0
    df = [6 if one <= own.mean() else 3 for one in own]
    error, freedom = joined([*zip(runs, df, strict=True), (image, 89)])
    assert (found.standard_error, found.freedom) == pytest.approx((error, freedom))
    shuffled = np.random.default_rng(0).permuted(before, axis=0)[[2, 0, 3, 1]]
    assert shuffled.shape == before.shape
    (reordered,) = against_baseline({0: before[[2, 0, 3, 1]]}, [{0: after}])
    assert reordered.standard_error == pytest.approx(error)
    (other_images,) = against_baseline({0: before[:, ::-1]}, [{0: after}])
    assert other_images.standard_error > 1.2 * error


def test_a_side_with_one_seed_a_fold_has_an_interval_from_the_folds_alone() -> None:
    base, other = in_folds([0.2, 0.3], 4, 2, 50, np.random.default_rng(6))
    lone = {fold: array[:1] for fold, array in other.items()}
    by_fold = [lone[fold].mean() - base[fold].mean() for fold in range(4)]
    (found,) = against_baseline(base, [lone])
    expected = stats.ttest_1samp(by_fold, 0)
    assert (found.freedom, found.p_value) == pytest.approx((3, expected.pvalue))
    (found,) = against_baseline({0: base[0]}, [{0: lone[0]}])
    assert found == Difference(pytest.approx(by_fold[0]))
    (of_some,) = against_baseline(base, [{fold: other[fold] for fold in (1, 3)}])
    both = np.mean([other[f].mean() - base[f].mean() for f in (1, 3)])
    assert of_some.estimate == pytest.approx(both)


@pytest.mark.parametrize("seeds", [1, 2])
def test_folds_that_agree_by_chance_are_not_certain(seeds: int) -> None:
    base, other = in_folds([0.2, 0.3], 2, 2, 50, np.random.default_rng(6))
    before = {fold: array[:seeds] for fold, array in base.items()}
    after = {0: other[0][:1], 1: other[0][:1]}
    before[1] = before[0]
    by_image = after[0][0] - before[0].mean(0)
    (found,) = against_baseline(before, [after])
    assert found.estimate == pytest.approx(by_image.mean())
    error = (by_image.var(ddof=1) / 100) ** 0.5  # of 100 images
    assert (found.standard_error, found.freedom) == pytest.approx((error, 1))
    same = {fold: array[:1] for fold, array in before.items()}
    alike = {fold: np.repeat(array, 2, axis=0) for fold, array in same.items()}
    for one, two in ((same, same), (alike, same)):
        (found,) = against_baseline(one, [two])
        assert (found.estimate, found.p_value) == (0, 1)
        assert found.half_width() == pytest.approx(1 - 0.05 ** (1 / 100))


LEVELS = np.array([*product((-1, 1), repeat=3)])
SIGNS = np.column_stack([
    LEVELS[:, chosen].prod(1) for chosen in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])
]).astype(float)  # fmt: skip


def test_effects_of_a_full_design_are_means_on_less_means_off() -> None:
    wanted = 0.2 + LEVELS @ [0.04, 0.0, -0.03] + 0.02 * LEVELS[:, 0] * LEVELS[:, 1]
    cells = in_folds([*wanted], 1, 3, 300, np.random.default_rng(7))
    errors = np.array([cell[0].mean() for cell in cells])
    found = effects(cells, SIGNS)
    for one, signs in zip(found, SIGNS.T, strict=True):
        assert one.estimate == pytest.approx(errors[signs > 0].mean() - errors[signs < 0].mean())
    expected = [0.08, 0, -0.06, 0.04, 0, 0, 0]
    assert [one.estimate for one in found] == pytest.approx(expected, abs=0.03)
    contrasts = [sum(s * cell[0] / 4 for s, cell in zip(signs, cells, strict=True))
                 for signs in SIGNS.T]  # fmt: skip
    squares = [mean_squares(contrast) for contrast in contrasts]
    own = [max(of_seeds, rest) / 300 for of_seeds, _, rest in squares]
    for one, contrast, variance, (*_, rest) in zip(found, contrasts, own, squares, strict=True):
        image = max(0, contrast.mean(0).var(ddof=1) - rest / 3) / 300
        run = max(variance, np.mean(own)) / 3
        assert one.standard_error == pytest.approx((run + image) ** 0.5)
        freedom = 2 if variance > np.mean(own) else 14
        assert one.freedom == pytest.approx((run + image) / (run / freedom + image / 299))


def test_what_a_seed_does_without_an_idea_widens_the_effect_of_that_idea_alone() -> None:
    lively, calm = spaced(5, 4.0), spaced(5, 1e-9)
    first, *others = effects([lively if row[0] > 0 else calm for row in LEVELS], SIGNS)
    assert first.standard_error == pytest.approx((4.0 / 5) ** 0.5, rel=1e-3)
    assert first.freedom == pytest.approx(4)
    for one in others:
        assert one.standard_error == pytest.approx((4.0 / 7 / 5) ** 0.5, rel=1e-3)
        assert one.freedom == pytest.approx(28)


def test_effects_with_one_seed_in_each_fold_use_what_they_differ_between_folds() -> None:
    cells = in_folds([0.3] * 8, 3, 1, 100, np.random.default_rng(8))
    errors = np.array([[cell[fold].mean() for fold in range(3)] for cell in cells])
    own = (SIGNS.T @ errors / 4).var(1, ddof=1)
    for one, variance in zip(effects(cells, SIGNS), own, strict=True):
        assert one.standard_error == pytest.approx((max(variance, own.mean()) / 3) ** 0.5)
        assert one.freedom == pytest.approx(2 if variance > own.mean() else 14)


def test_corrected_resampled_is_nadeau_and_bengios() -> None:
    differences = [0.01, 0.03, 0.02, 0.05, 0.04]
    low, high = corrected_resampled(differences, 1 / 4)
    error = ((1 / 5 + 1 / 4) * 0.00025) ** 0.5  # a sample variance of 2.5 points squared
    assert (low, high) == pytest.approx((0.03 - 2.7764451 * error, 0.03 + 2.7764451 * error))
    plain = stats.ttest_1samp(differences, 0).confidence_interval()
    assert corrected_resampled(differences, 0.0) == pytest.approx((plain.low, plain.high))


def test_mean_over_seeds() -> None:
    values = [0.21, 0.25, 0.22, 0.19]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = mean_over_seeds(values)
    assert found.estimate == pytest.approx(0.2175)
    assert found.standard_error == pytest.approx(0.025 / 2)
    assert found.ends == pytest.approx(tuple(expected))
    assert mean_over_seeds([0.3]) == Difference(0.3)
    assert mean_over_seeds([0.5, 0.5]).ends == (0.5, 0.5)


def test_ratio_of_many_epochs_is_a_t_test_on_logs() -> None:
    before, after = [61_000, 74_000, 58_000], [10_000, 14_000, 11_000]
    expected = stats.ttest_rel(np.log(after), np.log(before))
    interval = expected.confidence_interval()
    found = log_ratio(before, after)
    assert np.exp(found.estimate) == pytest.approx(stats.gmean(np.array(after) / before))
    assert found.ends == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4)


def test_equal_counts_on_all_seeds_are_not_certain() -> None:
    assert log_ratio([36], [6]) == Difference(pytest.approx(np.log(1 / 6)))
    error = ((1 / 6**2 + 1 / 7**2) / 12 / 3) ** 0.5
    found = log_ratio([7, 7, 7], [6, 6, 6])
    assert found.ends[0] == pytest.approx(np.log(6 / 7) - 4.30265 * error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(np.log(7 / 6) / error, 2))
    assert found.p_value == pytest.approx(0.056, abs=0.005)
    assert found.components.run == pytest.approx(error**2 * 3)
    same = log_ratio([6, 6], [6, 6])
    assert (same.estimate, same.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(("before", "after"), [([1, 2], [1]), ([], []), ([0, 3], [1, 2])])
def test_counts_without_a_ratio_are_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="positive counts"):
        log_ratio(before, after)


def test_committed_error_rates_are_those_of_their_file(capsys: pytest.CaptureFixture[str]) -> None:
    before = RATES.read_bytes()
    measure_error_rates.main(RATES, trials=0)
    assert capsys.readouterr().out in RATES.with_name("README.md").read_text()
    assert RATES.read_bytes() == before


@pytest.mark.parametrize(
    "cell",
    [
        measure_error_rates.Cell("null", 430, 3, 5),
        *(
            pytest.param(measure_error_rates.Cell(*cell), marks=pytest.mark.long)
            for cell in [
                ("own seeds", 4300, 3, 15, "one wild", 1, 1, 0.0, 50),
                ("null", 430, 2, 14, "one wild", 1, 5),
                ("power", 430, 5, 14),
            ]
        ),
    ],
)
def test_committed_error_rates_are_those_of_this_code(cell: measure_error_rates.Cell) -> None:
    with RATES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _is_of(cell, row)]
    found = measure_error_rates.hits(cell, 0)
    # Rounding of another processor may move one of a thousand trials across the limit.
    assert found == {form: pytest.approx(int(rows[0][form]), abs=1) for form in found}


def _is_of(cell: measure_error_rates.Cell, row: dict[str, str]) -> bool:
    return all(str(value) == row[name] for name, value in vars(cell).items())

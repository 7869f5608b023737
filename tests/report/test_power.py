"""Numbers of seeds that settle a claim, against simulated runs and other formulas."""

import numpy as np
import pytest
from scipy import stats

from alexnet_exp.report.power import (
    power,
    seeds_and_images,
    seeds_for_width,
    seeds_needed,
)
from alexnet_exp.report.ratios import log_ratio
from alexnet_exp.report.statistics import Components, Errors, against_baseline

PARTS = Components(run=2 * 0.02**2, image=0.004**2)


def networks(
    number: int, seeds: int, folds: int, effect: float, generator: np.random.Generator
) -> list[Errors]:
    """The first is the baseline, the second worse by ``effect``; variances as in ``PARTS``."""
    images = 50
    found: list[Errors] = []
    for place in range(number):
        shift = effect * (place == 1)
        found.append({
            fold: 0.2
            + shift
            + 0.02 * generator.standard_normal((seeds, 1))
            + (0.004**2 / 2 * images) ** 0.5 * generator.standard_normal(images)
            for fold in range(folds)
        })  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("number", "seeds", "folds", "effect"),
    [(2, 5, 1, 0.04), (6, 5, 1, 0.035), (6, 2, 5, 0.025), (6, 1, 5, 0.03)],
)
def test_power_is_the_share_of_simulated_reports_that_find_the_effect(
    number: int, seeds: int, folds: int, effect: float
) -> None:
    """Never more than promised; less by what taking the larger of two variances costs."""
    generator, trials = np.random.default_rng(0), 120
    found = 0
    for _ in range(trials):
        base, *others = networks(number, seeds, folds, effect, generator)
        found += against_baseline(base, others)[0].p_value < 0.05
    expected = power(PARTS, effect, seeds, folds, number)
    assert 0.6 < expected < 0.95
    assert expected - 0.2 < found / trials < expected + 0.08


def test_power_grows_with_seeds_folds_networks_effect_and_level() -> None:
    plain = power(PARTS, 0.02, 5)
    assert 0.1 < plain < 0.5
    assert power(PARTS, 0.02, 6) > plain
    assert power(PARTS, 0.02, 5, folds=2) > plain
    assert power(PARTS, 0.02, 5, networks=4) > plain
    assert power(PARTS, 0.025, 5) > plain
    assert power(PARTS, -0.02, 5) == plain
    assert power(PARTS, 0.02, 5, share=0.1) < plain
    assert power(PARTS, 0.02, 1) == power(PARTS, 0.02, 5, share=0) == 0  # one seed tells nothing
    assert power(PARTS, 0.02, 2, networks=9) == power(PARTS, 0.02, 2)  # two are not pooled


def test_power_of_known_variances_is_that_of_the_noncentral_t() -> None:
    parts = Components(run=0.03**2, image=0.01**2, fold=0.005**2)
    error = (0.03**2 / (4 * 3) + (0.01**2 + 0.005**2) / 4) ** 0.5
    assert parts.variance(3, 4) == pytest.approx(error**2)
    df = (12 - 4) * 6
    limit = stats.t.ppf(1 - 0.05 / 7 / 2, df)
    expected = stats.nct.sf(limit, df, 0.02 / error)
    assert power(parts, 0.02, 3, 4, 6, 1 / 7) == pytest.approx(expected)
    one = stats.nct.sf(stats.t.ppf(0.975, 3 * 5), 3 * 5, 0.02 / parts.variance(1, 4) ** 0.5)
    assert power(parts, 0.02, 1, 4, 6) == pytest.approx(one)  # less what a fold means to all


@pytest.mark.parametrize(("folds", "many", "share"), [(1, 1, 1.0), (1, 15, 1 / 14), (3, 15, 0.1)])
def test_fewer_seeds_than_needed_are_too_few(folds: int, many: int, share: float) -> None:
    seeds = seeds_needed(PARTS, 0.02, folds, many, share)
    assert 2 < seeds < 200
    assert power(PARTS, 0.02, seeds, folds, many, share) >= 0.8
    assert power(PARTS, 0.02, seeds - 1, folds, many, share) < 0.8


@pytest.mark.parametrize(("effect", "margin"), [(0.0, 0.03), (0.01, 0.03), (-0.02, 0.04)])
def test_power_of_a_margin_is_that_of_an_interval_that_lies_within(effect, margin) -> None:
    """Against simulated intervals; with fewer seeds than are enough it promises too little."""
    generator, share = np.random.default_rng(1), 0.5
    enough = seeds_needed(PARTS, effect, 1, 1, share, margin)
    assert power(PARTS, effect, enough - 1, share=share, margin=margin) < 0.8
    for seeds in (max(2, enough // 2), enough):
        errors = PARTS.variance(seeds, 1) ** 0.5
        freedom = seeds - 1
        known = errors * np.sqrt(generator.chisquare(freedom, 20_000) / freedom)
        half = stats.t.ppf(1 - share * 0.05 / 2, freedom) * known
        within = np.abs(effect + errors * generator.standard_normal(20_000)) + half < margin
        promised = power(PARTS, effect, seeds, share=share, margin=margin)
        assert promised < within.mean() + 0.01
    assert promised >= 0.8
    assert within.mean() == pytest.approx(promised, abs=0.02)


def test_what_images_and_folds_hide_no_number_of_seeds_finds() -> None:
    assert seeds_needed(Components(0.02**2, 0.005**2), 0.01) is None  # two standard errors
    assert seeds_needed(Components(0.02**2, 0.0, 0.005**2), 0.01, folds=1) is None
    assert seeds_needed(Components(0.02**2, 0.0, 0.005**2), 0.01, folds=2) is not None
    assert seeds_needed(PARTS, 0.0) is None
    assert seeds_needed(Components(1e-6, 0.0), 0.5) == 2


def test_seeds_and_images_find_the_effect_together() -> None:
    parts, images = Components(0.03**2, 0.02**2), 400
    seeds, needed = seeds_and_images(parts, 0.01, images, share=1 / 14)
    more = Components(parts.run, parts.image * images / needed)
    # By the normal distribution, so that a few seeds find a little less.
    assert power(more, 0.01, seeds, networks=100, share=1 / 14) == pytest.approx(0.8, abs=0.005)
    assert needed > images
    assert seeds_and_images(Components(1e-8, 1e-8), 0.01, images) == (2, images)


def test_seeds_for_a_ratio_have_the_power_they_promise() -> None:
    deviation, ratio = 0.6, 1.8
    parts = Components(deviation**2, 0.0)
    seeds = seeds_needed(parts, np.log(ratio))
    assert 4 < seeds < 20
    generator = np.random.default_rng(8)

    def share(seeds: int) -> float:
        """Of 1,000 sets of seeds whose interval leaves 1 out; counts too large to be rounded."""
        logs = generator.normal(np.log(ratio), deviation, (1000, seeds))
        pairs = ((np.full(seeds, 1e6), 1e6 * np.exp(row)) for row in logs)
        return float(np.mean([log_ratio(*pair).ends[0] > 0 for pair in pairs]))  # type: ignore[arg-type, index]

    assert share(seeds) > 0.78
    assert share(seeds - 1) < 0.81
    assert seeds_needed(parts, np.log(1 / ratio)) == seeds
    assert seeds_needed(parts, 0.0) is None
    assert seeds_needed(Components(1e-6, 0.0), np.log(1e6)) == 2


def test_seeds_for_a_width_give_an_interval_of_that_width() -> None:
    components = Components(run=0.02**2, image=0.002**2)
    seeds = seeds_for_width(components, 0.012)

    def width(seeds: int) -> float:
        error = (0.02**2 / seeds + 0.002**2) ** 0.5
        return float(stats.t.ppf(0.975, seeds - 1) * error)

    assert width(seeds) <= 0.012 < width(seeds - 1)
    assert seeds_for_width(components, 1.9 * 0.002) is None

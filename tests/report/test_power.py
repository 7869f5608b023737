"""Numbers of seeds and images that settle a claim, against simulated runs."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from alexnet_exp.report.power import Needed, needed, seeds_for_ratio, seeds_for_width
from alexnet_exp.report.statistics import Components, Difference, ratio_interval
from tests.report.test_statistics import compared


@pytest.mark.long
def test_needed_numbers_have_the_power_they_promise() -> None:
    """To within what a few seeds tell of their own variance."""
    error, effect, spread = 0.3, 0.05, 0.03

    def many(seeds: int, images: int, **how: int) -> list[Difference]:
        return compared((seeds, images, error, effect, spread), **how)

    large = many(20, 1000, runs=40, draws=6, resamples=2)
    parts = [astuple(found.components) for found in large]
    enough = needed(Components(*np.mean(parts, axis=0)), effect, seeds=4, images=430)
    assert 4 < enough.seeds < 20
    assert enough.images > 430
    for seeds, images in ((enough.seeds, 430), (4, enough.images)):
        found = many(seeds, images, runs=250, draws=7)
        assert 0.72 < np.mean([difference.p_value < 0.05 for difference in found]) < 0.9


def test_needed_knows_what_more_seeds_or_images_cannot_do() -> None:
    by_image = Components(seed=0.0, image=0.05, residual=0.1)
    found = needed(by_image, -0.01, seeds=5, images=430)  # images alone: 0.0108
    assert found.seeds is None
    assert found.images is not None
    by_seed = Components(seed=1e-4, image=0.0, residual=0.1)
    found = needed(by_seed, 0.005, seeds=3, images=50_000)
    assert found.images is None
    assert needed(by_seed, 0.005, seeds=found.seeds, images=50_000).images is not None
    assert needed(by_seed, 0.0, seeds=3, images=50_000) == Needed(None, None)
    assert needed(by_seed, 0.5, seeds=1, images=50_000) == Needed(2, None)


def test_needed_after_no_difference_at_all_is_the_rule_of_three() -> None:
    nothing = Components(0.0, 0.0, 0.0)
    found = needed(nothing, 0.01, seeds=3, images=100)
    assert found.seeds is None
    assert found.images == pytest.approx(300, rel=0.02)
    assert needed(nothing, 0.05, seeds=3, images=100).seeds == 2


def test_seeds_for_a_ratio_have_the_power_they_promise() -> None:
    deviation, ratio = 0.6, 1.8
    seeds = seeds_for_ratio(deviation, ratio)
    assert 4 < seeds < 20
    generator = np.random.default_rng(8)

    def share(seeds: int) -> float:
        """Of 2,000 sets of seeds whose interval leaves 1 out; counts too large to be rounded."""
        logs = generator.normal(np.log(ratio), deviation, (2000, seeds))
        pairs = ((np.full(seeds, 1e6), 1e6 * np.exp(row)) for row in logs)
        return float(np.mean([ratio_interval(*pair).low > 1 for pair in pairs]))  # type: ignore[arg-type, operator]

    assert share(seeds) > 0.78
    assert share(seeds - 1) < 0.81
    assert seeds_for_ratio(deviation, 1 / ratio) == seeds
    assert seeds_for_ratio(deviation, 1.0) is None
    assert seeds_for_ratio(1e-3, 1e6) == 2


def test_seeds_for_a_width_give_an_interval_of_that_width() -> None:
    components = Components(seed=0.02**2, image=0.0, residual=0.2)
    seeds = seeds_for_width(components, 0.012, images=50_000)
    variance = 0.02**2 + 0.2 / 50_000  # of one seed

    def width(seeds: int) -> float:
        return float(stats.t.ppf(0.975, seeds - 1) * (variance / seeds) ** 0.5)

    assert width(seeds) <= 0.012 < width(seeds - 1)
    by_image = Components(seed=0.0, image=0.1, residual=0.0)
    assert seeds_for_width(by_image, 0.5 * (0.1 / 1000) ** 0.5, images=1000) is None

"""How many seeds would settle a claim, and how likely the ones at hand were to."""

from bisect import bisect_left
from collections.abc import Callable
from math import ceil

from scipy import stats

from alexnet_exp.report.statistics import POOLED_FROM, Components

LEVEL = 0.05
POWER = 0.8
_MOST = 1000


def power(
    components: Components,
    effect: float,
    seeds: float,
    folds: int = 1,
    networks: int = 1,
    share: float = 1.0,
) -> float:
    """Probability that a difference of this size is found.

    The components are taken as known, although a few seeds know them only roughly.

    Args:
        components: Of the difference, or of the logarithm of a ratio.
        effect: True difference, of either sign.
        seeds: In each fold.
        folds: How many.
        networks: From how many the variance between seeds is known.
        share: Of the level of 5 %.
    """
    freedom = folds * seeds - (folds if seeds > 1 else 1)  # with one seed a fold: between folds
    if freedom < 1:
        return 0.0
    error = max(components.variance(seeds, folds), 1e-18) ** 0.5
    known = max(1, networks - (seeds <= 1)) if freedom >= POOLED_FROM else 1
    limit = stats.t.ppf(1 - share * LEVEL / 2, freedom * known)
    return float(stats.nct.sf(limit, freedom * known, abs(effect) / error))


def seeds_needed(
    components: Components, effect: float, folds: int = 1, networks: int = 1, share: float = 1.0
) -> int | None:
    """Fewest seeds in each fold that find the effect with a power of 80 %; None beyond 1,000."""
    return _fewest(lambda seeds: power(components, effect, seeds, folds, networks, share) >= POWER)


def seeds_and_images(
    components: Components, effect: float, images: int, folds: int = 1, share: float = 1.0
) -> tuple[int, int]:
    """Seeds in each fold and test images in all that find the effect with a power of 80 %.

    Each may then make half of the variance; ``images`` are those behind the components.
    """
    distance = float(stats.norm.ppf(1 - share * LEVEL / 2) + stats.norm.ppf(POWER))
    half = (effect / distance) ** 2 / 2
    seeds = ceil(components.run / folds / half)
    return max(2, seeds), ceil(images * max(1.0, components.image / folds / half))


def seeds_for_width(components: Components, half_width: float, folds: int = 1) -> int | None:
    """Fewest seeds whose interval of 95 % is as narrow as that; None beyond 1,000.

    ``half_width`` is half of the interval, a fraction above 0.
    """

    def is_narrow(seeds: int) -> bool:
        freedom = folds * seeds - 1
        limit = float(stats.t.ppf(1 - LEVEL / 2, freedom)) if freedom else float("inf")
        return limit * components.variance(seeds, folds) ** 0.5 <= half_width

    return _fewest(is_narrow)


def _fewest(settles: Callable[[int], bool]) -> int | None:
    """By bisection: what so many settle, more settle too."""
    seeds = 1 + bisect_left(range(1, _MOST + 1), True, key=settles)
    return seeds if seeds <= _MOST else None

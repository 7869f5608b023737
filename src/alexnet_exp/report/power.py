"""How many seeds would settle a claim, and how likely the ones at hand were to."""

from bisect import bisect_left
from collections.abc import Callable
from math import ceil
from typing import Any

from scipy import special, stats

from alexnet_exp.report.statistics import POOLED_FROM, Components

LEVEL = 0.05
POWER = 0.8
_MOST = 1000


def power(
    components: Components,
    effect: float,
    seeds: float,
    folds: int = 1,
    networks: float = 1,
    share: float = 1.0,
    margin: float | None = None,
    pooled_from: int = POOLED_FROM,
) -> float:
    """Probability that a difference of this size is found, or is shown to lie within a margin.

    The components are taken as known, although a few seeds know them only roughly.

    Args:
        components: Of the difference, or of the logarithm of a ratio.
        effect: True difference, of either sign.
        seeds: In each fold.
        folds: How many.
        networks: From how many the variance between seeds is known, by its degrees of freedom.
        share: Of the level of 5 %.
        margin: Larger than the effect: the probability that the interval lies wholly within plus
            and minus that, or less where it is small.
        pooled_from: Degrees of freedom of a network from which on that variance is in common.
    """
    if margin is not None:
        gaps = (margin - abs(effect), margin + abs(effect))
        known = networks, share, None, pooled_from
        sides = [power(components, gap, seeds, folds, *known) for gap in gaps]
        return max(0.0, sum(sides) - 1)
    freedom = between(seeds, folds)
    if freedom < 1:
        return 0.0
    error = max(components.variance(seeds, folds), 1e-18) ** 0.5
    freedom *= max(1, networks - (seeds <= 1)) if freedom >= pooled_from else 1
    limit = special.stdtrit(freedom, 1 - share * LEVEL / 2)
    return float(stats.nct.sf(limit, freedom, abs(effect) / error))  # special.nctdtr: NaN at times


def between(seeds: float, folds: int) -> float:
    """Degrees of freedom of a network's variance; with one seed in each fold between folds."""
    return folds * seeds - (folds if seeds > 1 else 1)


def seeds_needed(components: Components, effect: float, *rest: Any, **named: Any) -> int | None:
    """Fewest seeds in each fold with a :func:`power` of 80 %; None beyond 1,000."""
    return _fewest(lambda seeds: power(components, effect, seeds, *rest, **named) >= POWER)


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

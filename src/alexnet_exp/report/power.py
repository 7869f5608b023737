"""How many seeds or test images would settle a claim."""

from dataclasses import astuple, dataclass

import numpy as np
from scipy import stats

from alexnet_exp.report.statistics import Array, Components, unseen, variance_of_mean

MOST_SEEDS = 1000
MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class Needed:
    """What would resolve an effect; None where no number of them would."""

    seeds: int | None
    """Fewest seeds on the same number of images."""

    images: int | None
    """Fewest images with the same number of seeds."""


def needed(
    components: Components,
    effect: float,
    seeds: int,
    images: int,
    confidence: float = 0.95,
    power: float = 0.8,
) -> Needed:
    """How many seeds, or images, would resolve an effect of this size.

    Resolved means that the interval of ``paired_difference`` leaves 0 out. The components are
    taken as known, although a few seeds know them only roughly.

    Args:
        components: From ``paired_difference``.
        effect: True difference of error, a fraction of either sign.
        seeds: Seeds there are.
        images: Test images there are.
        confidence: Of the interval.
        power: Probability of resolving.

    Returns:
        Up to 1,000 seeds (2 at least), and up to ten million images to within 1 %.
    """
    many_seeds = np.arange(2, MOST_SEEDS + 1, dtype=np.float64)
    many_images = np.unique(np.geomspace(2, MOST_IMAGES, 1600).round())

    def fewest(numbers: Array, seeds: int | Array, images: int | Array) -> int | None:
        reached = _power(components, effect, seeds, images, confidence) >= power
        return int(numbers[reached.argmax()]) if reached.any() else None

    return Needed(
        seeds=fewest(many_seeds, many_seeds, images),
        images=fewest(many_images, seeds, many_images) if seeds > 1 else None,
    )


def _power(
    components: Components,
    effect: float,
    seeds: int | Array,
    images: int | Array,
    confidence: float,
) -> Array:
    """Probability that the interval leaves 0 out, for arrays of seeds or of images."""
    if not any(astuple(components)):
        seen = unseen(images, confidence) < abs(effect)
        return np.asarray(seen + np.zeros(np.shape(seeds)), np.float64)
    variance, freedom = variance_of_mean(components, seeds, images)
    limit = stats.t.ppf((1 + confidence) / 2, freedom)
    return np.asarray(stats.nct.sf(limit, freedom, abs(effect) / np.sqrt(variance)))


def seeds_for_ratio(
    deviation: float, ratio: float, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Fewest seeds whose interval of ``ratio_interval`` leaves 1 out; None beyond 1,000.

    Args:
        deviation: Standard deviation of the log ratio over seeds, taken as known.
        ratio: True ratio, above 0.
        confidence: Of the interval.
        power: Probability of resolving.
    """
    seeds = np.arange(2, MOST_SEEDS + 1, dtype=np.float64)
    limit = stats.t.ppf((1 + confidence) / 2, seeds - 1)
    distance = abs(np.log(ratio)) * np.sqrt(seeds) / deviation
    reached = stats.nct.sf(limit, seeds - 1, distance) >= power
    return int(seeds[reached.argmax()]) if reached.any() else None


def seeds_for_width(
    components: Components, half_width: float, images: int, confidence: float = 0.95
) -> int | None:
    """Fewest seeds on so many images whose interval is as narrow as that; None beyond 1,000.

    Args:
        components: From ``paired_difference``, taken as known.
        half_width: Half of the interval, a fraction above 0.
        images: Test images there are.
        confidence: Of the interval.
    """
    seeds = np.arange(2, MOST_SEEDS + 1, dtype=np.float64)
    variance, freedom = variance_of_mean(components, seeds, images)
    reached = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance) <= half_width
    return int(seeds[reached.argmax()]) if reached.any() else None

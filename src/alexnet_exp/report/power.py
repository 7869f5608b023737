"""How many seeds or test images would settle a claim."""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alexnet_exp.report.statistics import Array, Components, unseen, variance_of_mean

_SEEDS = np.arange(2, 1001, dtype=np.float64)
_IMAGES = np.unique(np.geomspace(2, 10_000_000, 1600).round())


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

    Resolved means that the interval of ``paired_difference`` leaves 0 out, with probability
    ``power``. Its components are taken as known, although a few seeds know them only roughly.
    ``effect`` is the true difference of error, a fraction of either sign.

    Returns:
        Up to 1,000 seeds (2 at least), and up to ten million images to within 1 %.
    """
    by_seeds = _power(components, effect, _SEEDS, images, confidence)
    by_images = _power(components, effect, seeds, _IMAGES, confidence) if seeds > 1 else None
    return Needed(
        seeds=_fewest(_SEEDS, by_seeds >= power),
        images=None if by_images is None else _fewest(_IMAGES, by_images >= power),
    )


def _fewest(numbers: Array, reached: NDArray[np.bool_]) -> int | None:
    return int(numbers[reached.argmax()]) if reached.any() else None


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

    ``deviation`` of the log ratio over seeds is taken as known, ``ratio`` is the true one.
    """
    limit = stats.t.ppf((1 + confidence) / 2, _SEEDS - 1)
    distance = abs(np.log(ratio)) * np.sqrt(_SEEDS) / deviation
    return _fewest(_SEEDS, stats.nct.sf(limit, _SEEDS - 1, distance) >= power)


def seeds_for_width(
    components: Components, half_width: float, images: int, confidence: float = 0.95
) -> int | None:
    """Fewest seeds on so many images whose interval is as narrow as that; None beyond 1,000.

    ``half_width`` is half of the interval, a fraction above 0.
    """
    variance, freedom = variance_of_mean(components, _SEEDS, images)
    limit = stats.t.ppf((1 + confidence) / 2, freedom)
    return _fewest(_SEEDS, limit * np.sqrt(variance) <= half_width)

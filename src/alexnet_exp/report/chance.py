"""Networks that did no better than one that gives every image the same answer."""

from collections.abc import Mapping
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.report.claims import Metric

CLEARLY = 2.0
"""Standard errors below chance from which on a network has learned something."""

_NAMED = {Metric.top1: 1, Metric.top5: 5}


def chance_error(labels: NDArray[np.int64], metric: Metric) -> float:
    """Error of naming the most frequent class, or the five most frequent, for each of (I,)."""
    counts = np.sort(np.unique(labels, return_counts=True)[1])
    return 1 - float(counts[-_NAMED[metric] :].sum()) / len(labels)


def not_above_chance(
    labels: NDArray[np.int64], metric: Metric, sides: Mapping[str, NDArray[np.bool_]]
) -> str:
    """Names the sides that did no better than chance; empty if all did.

    A side did if its mean error over seeds lies two standard errors of one seed's images, or
    more, below that of chance. All seeds see the same images, so more seeds do not narrow it.
    ``labels`` (I,) are of the test images, ``sides`` (S, I) whether each seed was wrong.
    """
    chance = chance_error(labels, metric)
    most = chance - CLEARLY * sqrt(chance * (1 - chance) / len(labels))
    named = [
        f"{name} ({100 * wrong.mean():.1f} %)"
        for name, wrong in sides.items()
        if wrong.mean() > most
    ]
    if not named:
        return ""
    classes = "class" if metric is Metric.top1 else "five classes"
    return (
        f"not above chance: {' and '.join(named)}; naming the most frequent {classes} for every"
        f" image errs in {100 * chance:.1f} %, and a network that did not train settles nothing"
    )

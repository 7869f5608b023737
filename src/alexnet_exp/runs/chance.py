"""The error of a network that has learned nothing."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

CLEARLY = 2.0
"""Standard errors below chance from which on a network has learned something."""

FEW_CLASSES = 5
"""With so many classes or fewer the five best hold every class."""


def chance_error(labels: NDArray[np.int64], named: int = 1) -> float:
    """Error of naming the most frequent class, or the ``named`` most frequent, for each of (I,).

    No answer that is one for all images errs less; 1 - 1/classes would be more where classes are
    unbalanced, and naming the largest would pass for learning.
    """
    counts = np.sort(np.unique(labels, return_counts=True)[1])
    return 1 - float(counts[-named:].sum()) / len(labels)


def clearly_below(chance: float, images: int) -> float:
    """The error from which on it is no longer chance: two binomial standard errors below it."""
    return chance - CLEARLY * sqrt(chance * (1 - chance) / images)

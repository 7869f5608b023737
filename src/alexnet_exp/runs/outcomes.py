"""What probabilities and labels say of a network: errors, confusions, calibration, averages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CALIBRATION_BINS = 15
_FEWEST = 1e-12  # of a probability whose logarithm is taken


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval, all fractions."""

    estimate: float
    low: float
    high: float


def five_best(probabilities: ArrayLike) -> NDArray[np.int64]:
    """The classes of (I, C), from best to worst: (I, 5 or C); of equals the lower goes first."""
    return np.argsort(-np.asarray(probabilities), axis=1, kind="stable")[:, :5]


def wrong(top5: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """By ``top1`` and ``top5`` (I,): the label is not the best class, or none of the five best."""
    hits = top5 == labels[:, None]
    return {"top1": ~hits[:, 0], "top5": ~hits.any(1)}


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a network, or the average of several, makes of I images of known classes.

    Attributes:
        labels: (I,) int64.
        top5: (I, 5 or the number of classes) int64, from best to worst.
        top5_probability: Of these, float.
        label_probability: (I,) float, of the label.
        names: (I,) of the images' files.
    """

    labels: NDArray[np.int64]
    top5: NDArray[np.int64]
    top5_probability: NDArray[Any]
    label_probability: NDArray[Any]
    names: Sequence[str]

    @classmethod
    def of(cls, probabilities: NDArray[Any], labels: ArrayLike, names: Sequence[str]) -> "Outcomes":
        """From probabilities (I, C), labels (I,) and names (I,)."""
        labels, top5 = np.asarray(labels, np.int64), five_best(probabilities)
        own = np.take_along_axis(probabilities, labels[:, None], 1)[:, 0]
        return cls(labels, top5, np.take_along_axis(probabilities, top5, 1), own, names)

    @cached_property
    def wrong(self) -> dict[str, NDArray[np.bool_]]:
        """As :func:`wrong`."""
        return wrong(self.top5, self.labels)

    @property
    def confidence(self) -> NDArray[Any]:
        """(I,) probability of the best class."""
        return self.top5_probability[:, 0]

    @property
    def metrics(self) -> dict[str, float]:
        """Mean negative logarithm of the label's probability, top-1 and top-5 error (fractions)."""
        loss = -np.log(np.maximum(self.label_probability, _FEWEST, dtype=np.float64)).mean()
        errors = {f"{name}_error": float(own.mean()) for name, own in self.wrong.items()}
        return {"loss": float(loss), **errors}

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, fraction: see :func:`calibration_error`."""
        return calibration_error(self.confidence, ~self.wrong["top1"])

    def error(self, name: str) -> Interval:
        """``top1`` or ``top5`` error with Wilson's interval over images."""
        return wilson(int(self.wrong[name].sum()), len(self.labels))

    def by_class(self, classes: int) -> list[Interval | None]:
        """Top-1 error of the images of each class, as :meth:`error`; None where there are none."""
        images = np.bincount(self.labels, minlength=classes)
        wrong = np.bincount(self.labels, self.wrong["top1"], classes).astype(int)
        return [wilson(*pair) if pair[1] else None for pair in zip(wrong, images, strict=True)]

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """Number of images by class (rows) and best class (columns): (C, C)."""
        pairs = self.labels * classes + self.top5[:, 0]
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def mistakes(self, most: int) -> NDArray[np.int64]:
        """Positions of wrong images, at most so many: the most confident first."""
        order = np.argsort(-self.confidence, kind="stable")
        return order[self.wrong["top1"][order]][:most]


def wilson(wrong: int, images: int) -> Interval:
    """Share of wrong images with Wilson's 95 % score interval (1927): for new images of the kind.

    It covers 95 % also where hardly any image is wrong. It knows nothing of other seeds.
    """
    from scipy.stats import binomtest  # a second, which reading runs should not take

    low, high = binomtest(int(wrong), int(images)).proportion_ci(method="wilson")
    return Interval(float(wrong / images), float(low), float(high))


def calibration_error(
    confidence: ArrayLike, right: ArrayLike, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error of Guo et al. (2017, equation 3), fraction.

    Images are put into bins by their confidence, of equal width and closed at the upper end: the
    mean over images of how far the share of right ones in a bin lies from its mean confidence.

    Args:
        confidence: (I,) probability of the best class.
        right: (I,) bool, whether that is the label.
        bins: Their number.
    """
    sure = np.asarray(confidence, np.float64)
    places = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, np.asarray(right, np.float64) - sure)
    return float(np.abs(gaps).sum() / len(sure))


def gain(members: Sequence[NDArray[np.bool_]], average: NDArray[np.bool_]) -> Interval:
    """What averaging takes off the mean error of its members, fraction; above 0 where it helps.

    Networks are paired image by image. The 95 % interval is Student's over images: for new images,
    of these very networks. (The report's is for new seeds, too.) Where no image differs, a share of
    1 - .05^(1/I) of others may.

    Args:
        members: Whether each network alone is wrong, (I,) each.
        average: Whether the average of their probabilities is, (I,).
    """
    from scipy.stats import t

    each = np.mean(members, axis=0) - average
    images, mean = len(each), float(each.mean())
    half = 1 - 0.05 ** (1 / images)
    if images > 1 and each.std():
        half = float(t.ppf(0.975, images - 1)) * float(each.std(ddof=1)) / images**0.5
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))

"""Errors, calibration, confusion and gains against plain loops and the formulas of their papers."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from alexnet_exp.runs.outcomes import Outcomes, calibration_error, five_best, gain, wilson

IMAGES, CLASSES = 500, 7


@pytest.fixture(scope="module")
def probabilities() -> np.ndarray:
    """(I, C), of which the label ``i % C`` has more than others."""
    scores = np.random.default_rng(0).normal(0, 1.5, (IMAGES, CLASSES))
    scores[np.arange(IMAGES), np.arange(IMAGES) % CLASSES] += 1.5
    shares = np.exp(scores)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def found(probabilities: np.ndarray) -> Outcomes:
    names = [f"{i}.jpg" for i in range(IMAGES)]
    return Outcomes.of(probabilities, np.arange(IMAGES) % CLASSES, names)


def test_errors_and_loss_are_counted_image_by_image(
    probabilities: np.ndarray, found: Outcomes
) -> None:
    wrong, loss = {1: 0, 5: 0}, 0.0
    for i, row in enumerate(probabilities.tolist()):
        label = i % CLASSES
        order = sorted(range(CLASSES), key=lambda c: -row[c])
        for named in wrong:
            wrong[named] += label not in order[:named]
        loss -= math.log(row[label])
    assert found.metrics["top1_error"] == pytest.approx(wrong[1] / IMAGES)
    assert found.metrics["top5_error"] == pytest.approx(wrong[5] / IMAGES)
    assert found.metrics["loss"] == pytest.approx(loss / IMAGES, rel=1e-5)
    assert 0 < wrong[5] < wrong[1]
    assert found.error("top5").estimate == pytest.approx(wrong[5] / IMAGES)


def test_of_equal_classes_the_lower_goes_first() -> None:
    assert five_best([[0.2, 0.3, 0.3, 0.2]]).tolist() == [[1, 2, 0, 3]]
    assert five_best(np.full((2, 9), 1 / 9)).tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize(("wrong", "images"), [(0, 25), (3, 25), (155, 430), (25, 25)])
def test_the_interval_of_an_error_is_wilsons(wrong: int, images: int) -> None:
    """Its ends are the shares p at which (share - p)^2 = z^2 p (1 - p) / n."""
    error = wilson(wrong, images)
    assert error.estimate == wrong / images
    z = 1.959963984540054
    for end in error[1:]:
        gap = (wrong / images - end) ** 2
        assert gap == pytest.approx(z**2 * end * (1 - end) / images, abs=1e-12)
    assert 0 <= error.low <= error.estimate <= error.high <= 1
    assert error.high - error.low > 0.03


def test_calibration_error_is_that_of_guo_and_others(
    probabilities: np.ndarray, found: Outcomes
) -> None:
    """Equation 3: the sum over bins of |B| / n |acc(B) - conf(B)|, and torchmetrics' own."""
    labels = np.arange(IMAGES) % CLASSES
    expected = 0.0
    for m in range(15):
        inside = [
            i for i in range(IMAGES) if m / 15 < float(probabilities[i].max()) <= (m + 1) / 15
        ]
        if inside:
            right = sum(int(probabilities[i].argmax()) == labels[i] for i in inside) / len(inside)
            sure = sum(float(probabilities[i].max()) for i in inside) / len(inside)
            expected += len(inside) / IMAGES * abs(right - sure)
    assert found.calibration_error == pytest.approx(expected)
    theirs = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")
    measured = theirs(torch.from_numpy(probabilities), torch.from_numpy(labels))
    assert found.calibration_error == pytest.approx(float(measured), abs=1e-6)
    # A bin holds its upper end: 0.2 and 0.15 share one of five, 0.25 lies in the next.
    shared = calibration_error([0.15, 0.2, 0.25], [True, False, True], bins=5)
    assert shared == pytest.approx((abs(1 - 0.35) + abs(1 - 0.25)) / 3)
    assert calibration_error([1.0, 1.0], [True, True]) == 0


def test_confusions_errors_by_class_and_mistakes(
    probabilities: np.ndarray, found: Outcomes
) -> None:
    counts = found.confusion(CLASSES + 1)
    for label in range(CLASSES):
        own = probabilities[label::CLASSES].argmax(1)
        assert counts[label].tolist() == [int((own == c).sum()) for c in range(CLASSES + 1)]
    by_class = found.by_class(CLASSES + 1)
    assert by_class[CLASSES] is None, "a class without images"
    one = by_class[2]
    assert one is not None
    assert one == wilson(int(counts[2].sum() - counts[2, 2]), int(counts[2].sum()))
    places = found.mistakes(10)
    wrong = [i for i in range(IMAGES) if probabilities[i].argmax() != i % CLASSES]
    expected = sorted(wrong, key=lambda i: -probabilities[i].max())[:10]
    assert places.tolist() == expected
    assert len(found.mistakes(IMAGES)) == len(wrong)


def test_a_gain_is_paired_by_image() -> None:
    random = np.random.default_rng(1)
    members = [random.random(200) < 0.4 for _ in range(3)]
    average = np.sum(members, axis=0) >= 2
    each = [sum(bool(own[i]) for own in members) / 3 - bool(average[i]) for i in range(200)]
    mean = sum(each) / 200
    deviation = math.sqrt(sum((x - mean) ** 2 for x in each) / 199)
    half = 1.971956544 * deviation / math.sqrt(200)  # Student's t of 199 degrees of freedom
    found = gain(members, average)
    assert tuple(found) == pytest.approx((mean, mean - half, mean + half), rel=1e-6)
    same = gain([average, average], average)
    assert same.estimate == 0
    assert same.high == -same.low == pytest.approx(3 / 200, rel=0.02), "the rule of three"

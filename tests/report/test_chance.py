"""Which networks did no better than the same answer for every image."""

import numpy as np
import pytest

from alexnet_exp.report.chance import chance_error, not_above_chance
from alexnet_exp.report.findings import Metric

# 400 images: 160 of class 0, 100 of class 1, and 28 of each of five more.
LABELS = np.repeat(np.arange(7), [160, 100, 28, 28, 28, 28, 28])


def test_chance_is_the_most_frequent_class() -> None:
    assert chance_error(LABELS, Metric.top1) == pytest.approx(1 - 160 / 400)
    assert chance_error(LABELS, Metric.top5) == pytest.approx(1 - (160 + 100 + 3 * 28) / 400)


@pytest.mark.parametrize(("errors", "told"), [(221, True), (220, False), (240, True), (40, False)])
def test_two_standard_errors_below_chance_are_above_it(errors: int, told: bool) -> None:
    # 60 % of 400 images: a standard error of 2.449 points, 9.8 images.
    wrong = np.zeros((3, 400), bool)
    wrong[:, :errors] = True
    text = not_above_chance(LABELS, Metric.top1, {"tanh": wrong, "other": np.zeros((1, 400), bool)})
    assert bool(text) == told
    assert ("tanh" in text, "other" in text) == (told, False)

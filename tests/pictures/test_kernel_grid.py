"""Figure 3: every kernel in its place, the towers apart."""

from itertools import pairwise

import numpy as np
import pytest

from alexnet_exp.network.first_layer import colorfulness, compare_towers, orientation
from alexnet_exp.pictures.kernel_grid import kernel_grid, summary


def drawn(count: int, channels: int = 3, side: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, channels, side, side))


@pytest.mark.parametrize(
    ("count", "channels", "towers", "columns"),
    [(96, 3, 2, 16), (34, 3, 2, 9), (10, 1, 1, 10), (64, 3, 1, 16)],
)
def test_kernels_stand_in_order_each_from_black_to_white(count, channels, towers, columns) -> None:
    kernels = drawn(count, channels)
    figure = kernel_grid(kernels, towers)
    assert len(figure.axes) == towers
    each = count // towers
    for number, kernel in enumerate(kernels):
        image = figure.axes[number // each].images[0].get_array()
        top, left = (6 * step for step in divmod(number % each, columns))
        shown = image[top : top + 5, left : left + 5]
        expected = 0.5 + kernel / (2 * np.abs(kernel).max())
        assert np.allclose(shown, expected.transpose(1, 2, 0), atol=1e-6)
        assert shown.min() >= 0
        assert shown.max() <= 1
        beside = image[top : top + 5, left + 5 : left + 6]
        assert (beside == 1).all()
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(one.y0 > two.y1 for one, two in pairwise(boxes))
    for box, axes in zip(boxes, figure.axes, strict=True):
        rows, wide = axes.images[0].get_array().shape[:2]
        width, height = (box.width, box.height) * figure.get_size_inches()
        assert width / wide == pytest.approx(height / rows)


def test_the_measures_stand_above_each_tower_and_below_how_the_towers_differ() -> None:
    kernels = drawn(24)
    kernels[:12] = kernels[:12].mean(1, keepdims=True)
    lines = summary(kernels, 2)
    for number, tower in enumerate((kernels[:12], kernels[12:])):
        color, direction = colorfulness(tower).mean(), orientation(tower).mean()
        assert f"{100 * color:.0f} % color, orientation {direction:.2f}" in lines[number]
    assert lines[0].startswith("Tower 1: 0 % color")
    found = compare_towers(kernels)
    assert f"differ by {100 * (found.more - found.less):.1f} points" in lines[3]
    assert "(p = 0.0001)" in lines[3]
    said = " ".join(text.get_text() for text in kernel_grid(kernels, 2, "And a note.").texts)
    below = (
        "Each kernel is scaled by its own largest weight: middle gray is 0, lighter is positive."
    )
    assert sorted(said.split()) == sorted(" ".join((*lines, below, "And a note.")).split())


def test_what_random_weights_have_is_said_of_kernels_of_the_same_shape() -> None:
    weights = np.random.default_rng(7).uniform(-1, 1, (4000, 3, 11, 11))
    assert colorfulness(weights).mean() == pytest.approx(2 / 3, abs=0.002)
    assert f"{orientation(weights).mean():.2f}" == "0.07"
    chance = "Random weights have 67 % of their squared weights in color and orientation 0.07."
    assert summary(drawn(8, 3, 11), 1)[1] == chance
    gray = orientation(weights[:, :1, :5, :5]).mean()
    found = float(
        summary(drawn(8, 1, 5), 1)[1].removeprefix("Random weights have orientation ")[:-1]
    )
    assert found == pytest.approx(gray, abs=0.02)


def test_of_one_tower_or_gray_kernels_nothing_is_compared_and_dead_ones_are_gray() -> None:
    assert len(summary(drawn(8), 1)) == 2
    assert not any("color" in line for line in summary(drawn(8, 1), 2))
    dead = kernel_grid(np.zeros((4, 3, 5, 5)), 1).axes[0].images[0].get_array()
    assert set(np.unique(dead)) == {0.5, 1.0}

"""What the pictures of an evaluation show."""

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from alexnet_exp.errors import UserError
from alexnet_exp.pictures.evaluated import MOST_CLASSES, confusion_matrix, mistakes
from alexnet_exp.runs.outcomes import Outcomes
from alexnet_exp.training.evaluation import MISTAKES, Evaluation


def made_up(names: list[str], images: int = 300, spread: float = 2.0) -> Evaluation:
    """An evaluation of random probabilities; image i is of class i modulo their number."""
    random, classes = np.random.default_rng(0), len(names)
    labels = np.arange(images) % classes
    scores = np.exp(random.normal(0, spread, (images, classes)))
    scores[np.arange(images), labels] *= 30
    files = [f"{names[label]}/{i}.jpg" for i, label in enumerate(labels)]
    found = Outcomes.of(scores / scores.sum(1, keepdims=True), labels, files)

    def pixels(place: int) -> Any:
        return np.full((16, 16, 3), place % 256, np.uint8)

    metrics = {f"test/{name}": value for name, value in found.metrics.items()}
    return Evaluation(("a",), metrics, "one", {"test": images}, names, False, found, (), pixels)


def words(figure: Figure) -> list[str]:
    texts = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in texts if text.get_text() and text.get_visible()]


def test_the_matrix_has_every_count_in_its_place() -> None:
    names = ["daisy", "dandelion", "rose"]
    found = made_up(names)
    figure = confusion_matrix(found)
    [axes] = figure.axes
    counts = np.zeros((3, 3), int)
    for text in axes.texts:
        column, row = map(int, text.get_position())
        counts[row, column] = int(text.get_text())
    expected = np.zeros((3, 3), int)
    for label, best in zip(found.outcomes.labels, found.outcomes.top5[:, 0], strict=True):
        expected[label, best] += 1
    assert np.array_equal(counts, expected)
    [image] = axes.images
    shares = np.asarray(image.get_array(), float)
    assert np.allclose(shares, expected / expected.sum(1, keepdims=True))
    error = 1 - expected.trace() / 300
    assert f"300 images, {100 * error:.1f} % wrong" in words(figure)
    assert all(words(figure).count(name) == 2 for name in names)


def test_of_many_classes_those_most_often_confused_are_drawn() -> None:
    names = [f"class {i}" for i in range(60)]
    found = made_up(names, 1200, 3.0)
    counts = found.outcomes.confusion(60)
    np.fill_diagonal(counts, 0)
    figure = confusion_matrix(found)
    shown = [name for name in names if name in words(figure)]
    assert len(shown) == MOST_CLASSES
    inside = [name in shown for name in names]
    missing = counts[~np.outer(inside, inside)].max()
    assert all(max(counts[i].max(), counts[:, i].max()) >= missing for i in np.flatnonzero(inside))
    assert counts[np.ix_(inside, inside)].max() == counts.max()
    assert any("the 40 classes most often confused" in text for text in words(figure))


def test_mistakes_are_drawn_with_the_names_of_their_files() -> None:
    found = made_up(["daisy", "rose", "tulip"])
    texts = words(mistakes(found))
    places = found.outcomes.mistakes(MISTAKES)
    assert len(places) == MISTAKES
    for place in places:
        assert f"{place}.jpg" in texts
    right = made_up(["daisy", "rose"], spread=0.0)
    with pytest.raises(UserError, match="none of 300 images is wrong"):
        mistakes(right)

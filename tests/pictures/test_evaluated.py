"""What the pictures of an evaluation show."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from alexnet_exp.config.data import DataConfig, Layout
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
    counts, data = {"test": images}, DataConfig("flowers", Layout.flowers)
    return Evaluation(("runs/a",), metrics, "ten", counts, data, names, False, found, (), pixels)


def said(figure: Figure) -> str:
    """The head, and all other text after it."""
    return " ".join(words(figure))


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
    assert f"300 test photos of flowers, {100 * error:.1f} % wrong" in words(figure)
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
    assert "the 40 classes most often confused" in said(figure)


@pytest.mark.parametrize("draw", [confusion_matrix, mistakes])
def test_network_images_and_views_stand_above(draw: Callable[[Evaluation], Figure]) -> None:
    found = made_up(["daisy", "rose", "tulip"])
    head = said(draw(found))
    assert "300 test photos of flowers, " in head
    assert "Network: runs/a, ten views." in head
    assert "drawn" not in head
    drawn = replace(found, networks=tuple("abcde"), views="one", data=DataConfig(), synthetic=True)
    head = said(draw(drawn))
    assert "300 drawn test images of synthetic, " in head
    assert "Average of 5 networks, one view." in head
    assert "Trained on drawn images, not on photos." in head
    head = said(draw(replace(drawn, images={"photos": 300}, synthetic=False)))
    assert "300 photos, " in head
    assert "Trained on drawn images, not on photos." in head


@pytest.mark.parametrize("classes", [2, 5, 10, 102, 1000])
@pytest.mark.parametrize("images", [20, 9000])
def test_a_matrix_is_laid_out_tightly_and_nothing_overlaps(classes: int, images: int) -> None:
    synonyms = ["tench, Tinca tinca", "great white shark, white shark, Carcharodon carcharias"]
    names = [f"{synonyms[i % 2][: 9 + i % 40]}, {i}" for i in range(classes)]
    figure = confusion_matrix(made_up(names, images, 3.0))
    figure.canvas.draw()
    [axes] = figure.axes
    across, down = figure.get_size_inches()
    field, dpi = axes.get_window_extent(), figure.dpi
    around = [text.get_window_extent() for text in figure.texts]
    assert min(box.x0 for box in around) / dpi == pytest.approx(0.1, abs=0.02)
    assert min(box.y0 for box in around) / dpi == pytest.approx(0.1, abs=0.03)
    assert across - field.x1 / dpi == pytest.approx(0.1, abs=0.001)
    assert all(box.x1 <= across * dpi and box.y1 <= down * dpi for box in around)
    assert all(size >= 6 for size in [text.get_fontsize() for text in axes.texts])
    if images == 20 or classes == 1000:
        assert across <= 7.41, "the width of a page"
    boxes = [*around, *(text.get_window_extent() for text in axes.texts)]
    ends = np.array([box.extents for box in boxes])
    shrunk = ends + np.array([1, 1, -1, -1]) * 0.02 * dpi  # of letters without ascenders
    for box in shrunk:
        apart = (shrunk[:, :2] >= box[2:]).any(1) | (shrunk[:, 2:] <= box[:2]).any(1)
        assert apart.sum() == len(boxes) - 1


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


def test_of_many_classes_only_confused_ones_are_drawn() -> None:
    names = [f"class_{number:03d}" for number in range(200)]
    found = made_up(names, 200, 0.0)
    labels, top5 = found.outcomes.labels.copy(), found.outcomes.top5.copy()
    top5[:, 0] = labels
    top5[[7, 9], 0] = 8, 150
    changed = replace(found, outcomes=replace(found.outcomes, top5=top5))
    texts = words(confusion_matrix(changed))
    shown = {text for text in texts if text.startswith("class_")}
    assert shown == {"class_007", "class_008", "class_009", "class_150"}
    assert any("the 4 classes most often confused" in text for text in texts)

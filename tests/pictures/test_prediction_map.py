"""Predictions over a whole photo: the numbers, where they are drawn, and what can't be done."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from alexnet_exp.errors import UserError
from alexnet_exp.network.convolutional import FullyConvolutional
from alexnet_exp.pictures import prediction_map as module
from alexnet_exp.pictures.prediction_map import PredictionMap, predict_map, prediction_map
from alexnet_exp.pictures.saving import save
from alexnet_exp.training.classifier import Classifier
from tests.conftest import ComposeConfig


@pytest.fixture
def classifier(trained_run: SimpleNamespace) -> Classifier:
    """Its images are 72 pixels wide, its network sees 64."""
    return Classifier.load(trained_run.folder)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """300 x 200 pixels (width, height) of noise that is coarser than a pixel."""
    coarse = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = tmp_path / "noise.png"
    Image.fromarray(coarse).resize((300, 200), Image.Resampling.BILINEAR).save(file)
    return file


def untrained(compose_config: ComposeConfig, *overrides: str) -> Classifier:
    config = compose_config("model.width=0.1", *overrides)
    channels, side = config.data.channels, config.data.image_size
    mean = np.full((side, side, channels), 99.0, np.float32)
    return Classifier(config, "abcdefghij", mean, np.eye(channels)).eval()


def test_a_photo_of_the_networks_size_is_classified_as_always(classifier, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    found = predict_map(classifier, tmp_path / "small.png", side=64)
    mean = classifier.statistics["mean"].permute(2, 0, 1)[None]
    centered = torch.from_numpy(pixels).permute(2, 0, 1)[None] - F.interpolate(
        mean, (64, 64), mode="bilinear"
    )
    assert found.probabilities.shape == (1, 1, 5)
    expected = classifier.probabilities(centered).detach().numpy()
    np.testing.assert_allclose(found.probabilities[0], expected, atol=1e-6)
    assert np.array_equal(found.pixels, pixels)
    same = predict_map(classifier, pixels, side=64)
    assert np.array_equal(same.probabilities, found.probabilities)


def test_a_larger_photo_is_resized_as_a_whole_to_twice_the_size(classifier, photo: Path) -> None:
    found = predict_map(classifier, photo)
    assert found.pixels.shape == (144, 216, 3)
    assert (found.window, found.stride) == (64, 32)
    assert found.probabilities.shape == ((144 - 64) // 32 + 1, (216 - 64) // 32 + 1, 5)
    np.testing.assert_allclose(found.probabilities.sum(2), 1, atol=1e-6)
    mean = classifier.statistics["mean"].permute(2, 0, 1)[None]
    planes = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1)[None]
    centered = planes - F.interpolate(mean, (144, 216), mode="bilinear")
    expected = FullyConvolutional(classifier.network)(centered)[0].softmax(0)
    np.testing.assert_allclose(
        found.probabilities.transpose(2, 0, 1), expected.detach().numpy(), atol=1e-6
    )
    assert predict_map(classifier, photo.read_bytes(), side=100).pixels.shape == (100, 150, 3)


def test_windows_alone_are_cut_out(classifier, photo: Path) -> None:
    found = predict_map(classifier, photo)
    mean = classifier.statistics["mean"].permute(2, 0, 1)[None]
    planes = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1)[None]
    for i, j in ((0, 0), (1, 3), (2, 4)):
        window = planes[:, :, 32 * i : 32 * i + 64, 32 * j : 32 * j + 64] - mean[..., 4:68, 4:68]
        expected = classifier.probabilities(window)[0].detach().numpy()
        np.testing.assert_allclose(found.alone[i, j], expected, atol=1e-6)


def test_the_picture_says_how_many_windows_are_another_class_alone(
    classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((128, 128, 3), np.uint8)
    within = np.tile(np.float32([0.6, 0.4, 0, 0, 0]), (3, 3, 1))
    alone = within.copy()
    alone[0, :2] = alone[0, :2, ::-1]
    for own, said in ((alone, "alone, 2 of 9 windows have another"), (within, "alone, 0 of 9")):
        found = PredictionMap(pixels, within, own, 64, 32)
        monkeypatch.setattr(module, "predict_map", lambda *given, found=found: found)
        texts = [text.get_text() for text in prediction_map(classifier, pixels).texts]
        assert said in " ".join(texts)


def test_scale_and_size_of_enlarged_gray_images_are_those_of_training(
    compose_config: ComposeConfig, photo: Path
) -> None:
    gray = untrained(compose_config, "data=fashion_mnist", "model=d2l")
    found = predict_map(gray, photo, side=250)
    assert found.pixels.shape == (250, 375, 1)
    assert not gray.config.augmentation.mean_image
    planes = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1)[None] / 255
    expected = FullyConvolutional(gray.network)(planes)[0].softmax(0)
    np.testing.assert_allclose(
        found.probabilities.transpose(2, 0, 1), expected.detach().numpy(), atol=1e-6
    )
    assert predict_map(gray, photo).pixels.shape[0] == 2 * gray.config.data.upscale_to


def test_classes_are_drawn_where_their_windows_are(classifier, photo: Path, tmp_path) -> None:
    found, figure = predict_map(classifier, photo), prediction_map(classifier, photo)
    best = found.probabilities.mean((0, 1)).argmax()
    shown = figure.axes[1].images[1]
    assert np.array_equal(shown.get_array(), found.probabilities[..., best])
    left, right, below, above = shown.get_extent()
    rows, columns = found.probabilities.shape[:2]
    assert (right - left, below - above) == (32 * columns, 32 * rows)
    # The middle of the first cell is that of the first window, pixels 0 to 63.
    assert (left + 16, above + 16) == (31.5, 31.5)
    said = [text.get_text() for text in figure.texts]
    assert "noise.png" in said
    note = "The network sees 216 x 144 pixels; in training, images have 72 x 72."
    assert said[1].startswith(note)
    assert " ".join(said).count("Trained on drawn images") == 1
    assert classifier.class_names[best] in said
    assert len(figure.axes) == 1 + 3 + 1, "photo, three classes, key"
    assert [file.suffix for file in save(figure, tmp_path / "map")] == [".png", ".svg"]


def test_a_stored_square_is_said_to_be_enlarged(classifier) -> None:
    figure = prediction_map(classifier, np.full((72, 72, 3), 50, np.uint8), title="rose, tulips")
    said = [text.get_text() for text in figure.texts]
    assert said[0] == "rose, tulips"
    assert said[1].startswith(
        "The network sees 144 x 144 pixels, enlarged from 72 x 72; in training"
    )


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_photo_stays_readable_under_any_probability(
    classifier, monkeypatch: pytest.MonkeyPatch, probability: float
) -> None:
    """In gray, as a printer may have it: stripes of black and white differ by 35 of 255 levels."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    shares = np.zeros((3, 3, 5), np.float32)
    shares[..., 0] = probability
    found = PredictionMap(stripes.repeat(2, 1)[:, :128], shares, shares, 64, 32)
    monkeypatch.setattr(module, "predict_map", lambda *given: found)
    figure = prediction_map(classifier, stripes)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(2)
    box = figure.axes[1].get_window_extent()
    middle = drawn[round(len(drawn) - (box.y0 + box.y1) / 2), round(box.x0) : round(box.x1)]
    inside = middle[len(middle) // 3 : len(middle) // 2]
    assert inside.max() - inside.min() > 35
    assert (inside.max() < 140) == bool(probability), "what is probable is dark"


def test_what_has_no_map_is_said(
    classifier, photo: Path, compose_config: ComposeConfig, tmp_path: Path
) -> None:
    local = untrained(compose_config, "data=cifar10", "model=cifar_local")
    with pytest.raises(UserError, match="no map of predictions: conv3 and conv4 are locally"):
        predict_map(local, photo)
    with pytest.raises(UserError, match=r"noise\.png, at 60 pixels: an image of 60 x 90 pixels"):
        predict_map(classifier, photo, side=60)
    Image.fromarray(np.zeros((10, 50, 3), np.uint8)).save(tmp_path / "long.png")
    with pytest.raises(UserError, match=r"long\.png is more than 4 times as long"):
        predict_map(classifier, tmp_path / "long.png")
    with pytest.raises(UserError, match=r"can't read .*none\.png.*leave it out"):
        predict_map(classifier, tmp_path / "none.png")


def test_the_key_shows_the_colors_over_gray(classifier, photo: Path) -> None:
    figure = prediction_map(classifier, photo)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    box = figure.axes[-1].get_window_extent()
    row = drawn[round(len(drawn) - (box.y0 + box.y1) / 2), round(box.x0) + 2 : round(box.x1) - 2]
    assert np.abs(row[0] - 191).max() < 6, "0 % is the middle of the faint photo's grays"
    assert row[-1, 0] < row[-1, 2] - 20, "100 % is blue"
    assert (np.diff(row[:, 0]) <= 1).all()

"""Drawn flowers: the same in every process, and not to be told apart by color or by blur alone."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from alexnet_exp.data.sources.synthetic import CLASSES, draw

TRAIN, COUNT = 480, 600


@cache
def thumbnails() -> tuple[NDArray[np.uint8], torch.Tensor]:
    """(600, 64, 64, 3) uint8 images, an equal number of each kind, and their labels."""
    images = np.stack([draw(index, seed=7, size=64) for index in range(COUNT)])
    return images, torch.arange(COUNT) % len(CLASSES)


def linear_error(features: NDArray[np.float64], labels: torch.Tensor) -> float:
    """Top-1 error on the last 120 images of softmax regression fitted to the first 480."""
    x = torch.as_tensor(features, dtype=torch.float32)
    x = (x - x[:TRAIN].mean(0)) / (x[:TRAIN].std(0) + 0.3 * x[:TRAIN].std())
    weight = torch.zeros(x.shape[1], len(CLASSES), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=40)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x[:TRAIN] @ weight, labels[:TRAIN])
        loss = loss + 0.03 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    wrong = (x[TRAIN:] @ weight).argmax(1) != labels[TRAIN:]
    return wrong.float().mean().item()


def color_histograms(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Square roots of 8 x 8 x 8 RGB histograms: (n, 512)."""
    bins = (images >> 5).astype(int) @ np.array([64, 8, 1])
    counts = [np.bincount(image.ravel(), minlength=512) for image in bins]
    return np.sqrt(np.array(counts) / bins[0].size)


def test_golden_means() -> None:
    """Channel means of the first five images; a tolerance, for Pillow versions differ in edges."""
    golden = [
        [166.3, 168.3, 128.8],
        [106.7, 134.8, 96.5],
        [115.7, 106.7, 105.8],
        [105.7, 99.7, 63.0],
        [127.3, 93.0, 106.4],
    ]
    means = [draw(index, seed=0).mean(axis=(0, 1)) for index in range(5)]
    np.testing.assert_allclose(means, golden, atol=1.0)


@pytest.mark.parametrize("index", range(5))
def test_every_size_shows_the_same_scene(index: int) -> None:
    large, small = draw(index, seed=2).astype(float), draw(index, seed=2, size=64).astype(float)
    shrunk = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    stranger = draw(index + 5, seed=2, size=64)
    # Blur first: thin outlines and sensor noise are what a small picture cannot share.
    coarse = [image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)) for image in (shrunk, small)]
    assert np.abs(coarse[0] - coarse[1]).mean() < 4
    assert np.abs(shrunk - small).mean() < 0.5 * np.abs(shrunk - stranger).mean()


def test_label_rule() -> None:
    """Indices five apart look more alike in kind than chance: a linear rule on both cues learns."""
    assert len(CLASSES) == len(set(CLASSES)) == 5
    images, labels = thumbnails()
    coarse = images.reshape(COUNT, 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(COUNT, -1) / 255
    both = np.concatenate([color_histograms(images), coarse], axis=1)
    assert linear_error(both, labels) < 0.6


def test_color_alone_does_not_tell_the_kinds_apart() -> None:
    images, labels = thumbnails()
    histograms = color_histograms(images)
    assert linear_error(histograms, labels) > 0.35
    squares = torch.as_tensor(histograms)
    neighbors = torch.cdist(squares[TRAIN:], squares[:TRAIN]).topk(5, largest=False).indices
    votes = labels[:TRAIN][neighbors].mode(dim=1).values
    assert (votes != labels[TRAIN:]).float().mean() > 0.35


def test_a_coarse_gray_picture_does_not_tell_the_kinds_apart() -> None:
    images, labels = thumbnails()
    gray = images.astype(float) @ np.array([0.299, 0.587, 0.114]) / 255
    coarse = gray.reshape(COUNT, 32, 2, 32, 2).mean(axis=(2, 4)).reshape(COUNT, -1)
    assert linear_error(coarse, labels) > 0.35

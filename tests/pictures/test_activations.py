"""Stages of one photo: which are shown, and that the maps are those of the network."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alexnet_exp.config.training import Views
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.presets import preset
from alexnet_exp.pictures.activations import activations, stages
from alexnet_exp.pictures.looking import Subject

PAPER = ["conv1, relu", "norm1", "pool1", "conv2, relu", "norm2", "pool2", "conv3, relu",
         "conv4, relu", "conv5, relu", "pool5", "fc6, relu", "fc7, relu"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("paper", PAPER),
        ("original", ["norm1", "pool1", "relu1"]),
        ("torchvision", ["conv5, relu", "pool5", "adaptive_pool", "fc6, relu"]),
        ("cifar_small", ["pool1", "relu1", "norm1", "conv2, relu"]),
    ],
)
def test_stages_are_what_follows_each_convolution_and_hidden_layers(name: str, some: list) -> None:
    narrow = {} if name.startswith("cifar") else {"width": 0.02}
    called = [*stages(AlexNet(preset(name, classes=5, input_channels=3, **narrow))).values()]
    start = called.index(some[0])
    assert called[start : start + len(some)] == some
    assert not any(stage.startswith(("drop", "pad")) for stage in called)


def test_maps_are_those_with_the_largest_output_of_each_tower_and_the_same_after_pooling(
    subject: Subject, trained_run: SimpleNamespace
) -> None:
    figure = activations(subject, seed=2)
    [row] = subject.draw(1, 2)
    store = trained_run.store
    called = stages(subject.classifier.network)
    [outputs] = subject.look(
        np.array([row]), Views.one, lambda images: subject.outputs(images, called)
    )
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert np.array_equal(shown.pop(0), store.images[int(row)][4:68, 4:68])
    channels: list[int] = []
    for name, label in called.items():
        out = outputs[name][0].numpy()
        if out.ndim == 1:
            assert np.array_equal(np.asarray(shown.pop(0)).flatten()[: len(out)], out)
            continue
        if label.startswith("conv"):
            halves = np.split(out.max((1, 2)), 2)
            best = [sorted(np.argsort(-half, kind="stable")[:4]) for half in halves]
            channels = [*best[0], *(len(halves[0]) + channel for channel in best[1])]
        for channel in channels:
            assert np.array_equal(np.asarray(shown.pop(0)), out[channel])
    assert not shown
    words = [text.get_text() for text in figure.texts]
    assert [label for label in called.values() if label not in words] == []
    assert f"{store.classes[store.labels[row]]}, one of the drawn test images of synthetic" in words


def test_a_file_is_shown_by_its_name_and_nothing_is_marked(subject: Subject, tmp_path) -> None:
    file = tmp_path / "my rose.jpg"
    Image.fromarray(np.full((90, 120, 3), 200, np.uint8)).save(file)
    figure = activations(subject, file)
    words = [text.get_text() for text in figure.texts]
    assert words[0] == "my rose.jpg"
    bars = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("%" in word for word in bars) == 5
    assert not any("✓" in word for word in bars)

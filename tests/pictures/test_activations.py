"""Stages of one photo: which are shown, and that the maps are those of the network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_exp.config.training import Views
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.presets import preset
from alexnet_exp.pictures import activations as module
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
    photo, _, *shown = figure.axes
    assert np.array_equal(photo.images[0].get_array(), store.images[int(row)][4:68, 4:68])
    channels: list[int] = []
    for name, label in called.items():
        out = outputs[name][0].numpy()
        if out.ndim == 1:
            field = np.asarray(shown.pop(0).images[0].get_array())
            assert np.array_equal(field.flatten()[: len(out)], out)
            continue
        if label.startswith("conv"):
            halves = np.split(out.max((1, 2)), 2)
            best = [sorted(np.argsort(-half, kind="stable")[:4]) for half in halves]
            channels = [*best[0], *(len(halves[0]) + channel for channel in best[1])]
        for channel in channels:
            axes = shown.pop(0)
            if out[channel].size == 1:
                assert axes.texts[0].get_text() == f"constant\n{out[channel].item():.2g}"
            else:
                assert np.array_equal(np.asarray(axes.images[0].get_array()), out[channel])
    assert not shown
    words = [text.get_text() for text in figure.texts]
    assert [label for label in called.values() if label not in words] == []
    name = store.classes[store.labels[row]]
    assert words[0] == f"{name}, one of the drawn test images of synthetic: {store.names[row]}"
    assert "Trained on drawn images" in " ".join(words)


@pytest.mark.parametrize("dead", [True, False])
def test_what_is_the_same_everywhere_is_gray_with_its_value(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    random = np.random.default_rng(0)
    outputs = {"conv1, relu": random.random((4, 5, 5), np.float32),
               "fc6, relu": random.random(32, np.float32)}  # fmt: skip
    if dead:
        outputs["conv1, relu"][2], outputs["fc6, relu"][:] = 0, 0.25
    monkeypatch.setattr(module, "_see", lambda *given: (outputs, torch.full((5,), 0.2)))
    figure = activations(subject)
    _, _, *shown = figure.axes
    assert len(shown) == 5
    marked = [axes for axes in shown if axes.texts]
    assert [axes.texts[0].get_text() for axes in marked] == ["constant\n0", "constant 0.25"] * dead
    assert [axes for axes in shown if not axes.images] == marked
    drawn = np.asarray(figure.canvas.buffer_rgba()) if figure.canvas.draw() is None else None
    for axes in marked:
        box = axes.get_window_extent()
        corner = drawn[round(len(drawn) - box.y0) - 5, round(box.x0) + 5, :3]
        assert np.ptp(corner) == 0
        assert 100 < corner[0] < 250
    notes = " ".join(text.get_text() for text in figure.texts)
    assert ("Gray: the same value everywhere." in notes) == dead


def test_a_file_is_shown_by_its_name_and_nothing_is_marked(subject: Subject, tmp_path) -> None:
    file = tmp_path / "my rose.jpg"
    Image.fromarray(np.full((90, 120, 3), 200, np.uint8)).save(file)
    figure = activations(subject, file)
    words = [text.get_text() for text in figure.texts]
    assert words[0] == "my rose.jpg"
    bars = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("%" in word for word in bars) == 5
    assert not any("✓" in word for word in bars)

"""What excites a channel: the photos, and that nothing outside of the frame counts."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_exp.config.training import Views
from alexnet_exp.errors import UserError
from alexnet_exp.network.receptive_field import ReceptiveField
from alexnet_exp.pictures.looking import Subject
from alexnet_exp.pictures.regions import _note, regions, seen_box, telling_channels
from alexnet_exp.training.fit import train


@pytest.fixture(scope="module")
def small(compose_config, stores, tmp_path_factory) -> Subject:
    """A network whose outputs see less than the image: 40 pixels, of which it is given 32."""
    config = compose_config(
        "model=cifar_small", "data.image_size=40", "data.synthetic_images=120",
        f"data.stores={stores}", "data.batch_size=16", "trainer.max_epochs=1",
        "trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.progress=false",
        "evaluation.views=one",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("small") / "run"
    train(config, folder)
    return Subject(folder, progress=False)


def test_frames_hold_all_that_the_largest_outputs_see(small: Subject) -> None:
    figure = regions(small, [7, 40])
    layer = small.classifier.network.plan[-3]
    assert layer.name == "conv3"
    rows = small.store.indices("test")
    images = torch.cat(small.look(rows, Views.one, lambda images: images.clone()))
    maps = small.look_at(images, lambda x: small.outputs(x, ["conv3"]))["conv3"]
    axes = iter(figure.axes)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 100
    for channel in (7, 40):
        strongest = maps[:, channel].amax((1, 2))
        order = strongest.argsort(descending=True, stable=True)[:7]
        for at in order.tolist():
            shown = next(axes)
            [frame] = shown.patches
            left, top = (round(end + 0.5) for end in frame.get_xy())
            right, bottom = left + round(frame.get_width()), top + round(frame.get_height())
            photo, pale = small.store.images[int(rows[at])], shown.images[0].get_array()
            inside = np.zeros((40, 40), bool)
            inside[top:bottom, left:right] = True
            assert np.array_equal(pale[inside], photo[inside])
            assert (pale[~inside] >= photo[~inside]).all()
            assert not inside.all()
            # The network is given pixels 4 to 36.
            seen = torch.from_numpy(inside[4:36, 4:36])
            other = torch.where(seen, images[at], noise[at])[None]
            changed = small.look_at(other, lambda x: small.outputs(x, ["conv3"]))["conv3"]
            place = maps[at, channel].flatten().argmax()
            assert float(changed[0, channel].flatten()[place]) == pytest.approx(
                float(strongest[at]), rel=1e-4, abs=1e-5
            )
            edges = inside.copy()
            edges[top + 1 : bottom - 1, left + 1 : right - 1] = False  # pixels at the rim count
            rim = torch.from_numpy(edges[4:36, 4:36])
            touched = torch.where(rim, noise[at], images[at])[None]
            moved = small.look_at(touched, lambda x: small.outputs(x, ["conv3"]))["conv3"]
            assert float(moved[0, channel].flatten()[place]) != float(strongest[at])
    assert next(axes, None) is None


def test_channels_are_those_whose_best_photos_stand_out_and_each_tower_has_some(
    subject: Subject, trained_run: SimpleNamespace
) -> None:
    values = np.random.default_rng(0).normal(5, 1, (100, 12)).astype(np.float32)
    for channel in (1, 4, 5, 6, 8, 11):
        values[:7, channel] += 10 + channel
    values[:, 0], values[:, 7] = 3.0, -2.0  # no photo stands out; never active
    assert telling_channels(values, 2) == [1, 4, 5, 6, 8, 11]
    assert telling_channels(values, 1) == [1, 4, 5, 6, 8, 11]
    headings = [text.get_text() for text in regions(subject).texts if "tower" in text.get_text()]
    assert [heading[-1] for heading in headings] == ["1"] * 3 + ["2"] * 3


def test_a_frame_is_in_pixels_of_the_stored_photo_also_where_the_network_sees_larger_ones() -> None:
    field = ReceptiveField(nn.Sequential(nn.Conv2d(1, 1, 20, 8, 4)), "0", 56)
    model, data = SimpleNamespace(input_size=56), SimpleNamespace(image_size=32, upscale_to=64)
    subject = SimpleNamespace(config=SimpleNamespace(model=model, data=data))
    subject.to_stored = Subject.to_stored.fget(subject)
    # Rows 0 to 16 and columns 12 to 32 of the input, which begins at pixel 4 of 64.
    assert seen_box(subject, field, (0, 2)) == pytest.approx((8, 2, 10, 8))
    assert seen_box(subject, field, (6, 6)) == pytest.approx((24, 24, 6, 6))


def test_a_frame_that_is_the_whole_input_is_said_to_be_it(small: Subject, subject: Subject) -> None:
    """By hand, from conv5 back: 3, 5, 7, 15 (pool2), 19, 39 (pool1), 163."""
    for which, sees in (
        (subject, "field, 163 pixels wide, is larger than the network's input (64)"),
        (small, "47 pixels wide, is larger than the network's input (32)"),
    ):
        notes = " ".join(text.get_text() for text in regions(which).texts)
        assert sees in notes
        assert "the frame is the whole input" in notes
        assert "Trained on drawn images" in notes
    frames = {patch.get_bbox().bounds for axes in regions(subject, [0]).axes
              for patch in axes.patches}  # fmt: skip
    assert frames == {(3.5, 3.5, 64, 64)}


def test_the_note_of_a_field_within_the_input_and_names_of_files(small: Subject) -> None:
    whole = ReceptiveField(small.classifier.network.features, "conv2", 32)
    assert _note(whole, 32).endswith(f"at most {whole.size} x {whole.size} pixels of the network's"
                                     " input.")  # fmt: skip
    rows = small.store.indices("test")
    said = [text.get_text() for text in regions(small, [7]).texts]
    shown = [int(name) for name in said if re.fullmatch(r"\d{6}", name)]
    assert len(shown) == 7
    assert {*shown} <= {int(small.store.names[row]) for row in rows}


def test_a_channel_that_is_not_there_is_named(subject: Subject) -> None:
    count = subject.classifier.network.get_submodule("features.conv5").out_channels
    for channel in (-1, count):
        with pytest.raises(UserError, match=f"no channel {channel}: conv5 .* 0 to {count - 1}"):
            regions(subject, [0, channel])

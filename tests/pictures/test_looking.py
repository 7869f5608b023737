"""A network with its images: what its layers give, and what of a photo it sees."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.config.training import Views
from alexnet_exp.pictures.looking import Subject, best_by_tower, layers_of, photos_tested


def test_outputs_and_features_are_those_of_the_layers_one_after_the_other(
    subject: Subject, trained_run: SimpleNamespace
) -> None:
    network = subject.classifier.network
    rows = trained_run.store.indices("test")[:4]
    [images] = subject.look(rows, Views.one, lambda images: images.clone())
    expected, x = {}, images.clone()
    with torch.no_grad():
        for name, module in [
            *network.features.named_children(),
            *network.classifier.named_children(),
        ]:
            if isinstance(module, torch.nn.Linear) and x.ndim == 4:
                x = x.flatten(1)
            before, x = x.clone(), module(x.clone())
            expected[name] = x.clone()
    names = [name for name, _ in layers_of(network)]
    [found] = subject.look(rows, Views.one, lambda images: subject.outputs(images, names))
    assert found.keys() == expected.keys()
    assert "relu1" in found
    for name, out in found.items():
        torch.testing.assert_close(out, expected[name])
    torch.testing.assert_close(subject.look_at(images, subject.features), before)
    assert before.shape == (4, 32)


def test_rows_are_seen_in_their_order_and_a_file_as_the_store_has_it(
    subject: Subject, trained_run: SimpleNamespace, tmp_path
) -> None:
    from PIL import Image

    store = trained_run.store
    rows = store.indices("train")[[5, 2, 9]]
    images = torch.cat(subject.look(rows, Views.one, lambda images: images.clone()))
    for row, image in zip(rows.tolist(), images, strict=True):
        file = tmp_path / "photo.png"
        Image.fromarray(store.images[row]).save(file)
        pixels, read = subject.photo(file)
        assert np.array_equal(pixels, store.images[row])
        torch.testing.assert_close(read[0], image)
        mean = store.mean[4:68, 4:68]
        assert np.allclose(subject.center(pixels) - mean, image.permute(1, 2, 0), atol=1e-4)


def test_photos_are_drawn_of_every_class_before_a_second_of_one(
    subject: Subject, trained_run: SimpleNamespace
) -> None:
    store = trained_run.store
    every = subject.draw(1000, 3)
    assert sorted(every.tolist()) == store.indices("test").tolist()
    labels = store.labels[every]
    classes = len(set(labels.tolist()))
    assert len(set(labels[:classes].tolist())) == classes
    assert subject.draw(4, 3).tolist() == every[:4].tolist()
    assert subject.draw(4, 4).tolist() != every[:4].tolist()


def test_names_of_classes(subject: Subject) -> None:
    assert subject.name(1) == subject.classifier.class_names[1]
    best = subject.best(torch.tensor([0.1, 0.2, 0.05, 0.4, 0.25]))
    assert [name for name, _ in best] == [subject.name(label) for label in (3, 4, 1, 0, 2)]
    assert [p for _, p in best] == pytest.approx([0.4, 0.25, 0.2, 0.1, 0.05])
    assert subject.photos == "drawn test images of synthetic"
    flowers = DataConfig("flowers", Layout.flowers)
    assert photos_tested(flowers) == "test photos of flowers"


def test_names_of_files_have_no_folders(
    subject: Subject, trained_run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = trained_run.store
    assert subject.files_of([3, 1]) == [store.names[3], store.names[1]]
    names = [f"rose/{number}.jpg" for number in range(len(store.names))]
    monkeypatch.setitem(subject.store.__dict__, "names", names)
    assert subject.files_of(np.array([3, 1])) == ["3.jpg", "1.jpg"]


@pytest.mark.parametrize(
    ("towers", "count", "expected"),
    [
        (1, 3, [0, 2, 5]),
        (2, 3, [2, 5]),
        (2, 4, [0, 2, 4, 5]),
        (3, 1, [0, 2, 5]),
        (1, 9, [*range(6)]),
    ],
)
def test_channels_are_chosen_alike_in_every_tower(towers, count, expected) -> None:
    scores = np.array([5.0, 1.0, 9.0, 0.0, 3.0, 7.0])
    assert best_by_tower(scores, towers, count) == expected

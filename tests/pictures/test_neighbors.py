"""Figure 4 right: the nearest photos, against all distances computed one by one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet_exp.config.training import Views
from alexnet_exp.pictures.looking import Subject
from alexnet_exp.pictures.neighbors import Among, Distance, nearest_rows, neighbors


def distance(kind: Distance, one: np.ndarray, two: np.ndarray) -> float:
    if kind is Distance.cosine:
        return 1 - float(one @ two) / float(np.sqrt((one @ one) * (two @ two)))
    return float(np.sqrt(((one - two) ** 2).sum()))


@pytest.mark.parametrize("among", [*Among])
def test_the_six_nearest_by_both_distances(
    subject: Subject, trained_run: SimpleNamespace, among: Among
) -> None:
    store = trained_run.store
    asked, there = store.indices("test")[[3, 0]], store.indices(among)
    every = np.concatenate([asked, there])
    features = torch.cat(subject.look(every, Views.one, subject.features)).double().numpy()
    known = dict(zip(every.tolist(), features, strict=True))
    found = nearest_rows(subject, asked, there)
    assert set(found) == set(Distance)
    for kind, rows in found.items():
        for query, nearest in zip(asked.tolist(), rows, strict=True):
            others = [row for row in there.tolist() if row != query]
            apart = {row: distance(kind, known[query], known[row]) for row in others}
            assert len(set(nearest)) == 6
            expected = sorted(apart.values())[:6]
            assert [apart[row] for row in nearest] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_row_shows_the_photo_its_neighbors_and_which_are_of_its_class(
    subject: Subject, trained_run: SimpleNamespace
) -> None:
    store = trained_run.store
    figure = neighbors(subject, Distance.cosine, seed=1)
    asked = subject.draw(5, 1)
    rows = nearest_rows(subject, asked, store.indices("test"))[Distance.cosine]
    shown = [axes.images[0].get_array() for axes in figure.axes]
    title, note, *said = [text.get_text() for text in figure.texts]
    assert title == "Some drawn test images of synthetic, and the nearest others"
    assert note.startswith("By cosine distance")
    assert note.endswith("Trained on drawn images, not on photos.")
    names, files = said[::2], said[1::2]
    place = 0
    for query, nearest in zip(asked.tolist(), rows, strict=True):
        for number, row in enumerate([query, *nearest]):
            assert np.array_equal(shown[place], store.images[row])
            same = number > 0 and bool(store.labels[row] == store.labels[query])
            assert files[place] == store.names[row]
            assert names[place] == "✓ " * same + store.classes[store.labels[row]]
            place += 1
    assert place == len(shown) == len(names)
    assert any(name.startswith("✓") for name in names)

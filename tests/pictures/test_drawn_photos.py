"""Figure 4 left: which photos, and the probabilities that evaluation recorded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet_exp.pictures import drawn_photos as module
from alexnet_exp.pictures.drawn_photos import drawn_photos
from alexnet_exp.pictures.looking import Subject
from alexnet_exp.pictures.sheet import Tile


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """``drawn(subject, seed)``: the tiles, and what is said above them."""

    def look(subject: Subject, seed: int) -> tuple[list[Tile], str]:
        found: dict = {}
        monkeypatch.setattr(
            module,
            "sheet",
            lambda tiles, title, notes: found.update(t=tiles, title=title, notes=notes),
        )
        drawn_photos(subject, seed)
        return found["t"], " ".join((found["title"], *found["notes"]))

    return look


def test_bars_are_what_evaluation_recorded_and_photos_are_the_first_of_a_random_order(
    subject: Subject, trained_run: SimpleNamespace, drawn
) -> None:
    store = trained_run.store
    saved = np.load(trained_run.folder / "predictions.npz")
    test = saved["split"] == "test"
    by_row = dict(zip(saved["index"][test].tolist(), saved["probabilities"][test], strict=True))
    order = np.random.default_rng(5).permutation(store.indices("test")).tolist()
    right = [row for row in order if by_row[row].argmax() == store.labels[row]]
    wrong = [row for row in order if row not in right]
    assert min(len(right), len(wrong)) >= 4
    tiles, title = drawn(subject, 5)
    assert "4 drawn test images of synthetic of those that are named rightly, and 4" in title
    assert "Trained on drawn images" in title
    rows = right[:4] + wrong[:4]
    assert len(tiles) == len(rows)
    for tile, row in zip(tiles, rows, strict=True):
        true = store.classes[store.labels[row]]
        assert (tile.title, tile.right, tile.caption) == (true, true, store.names[row])
        assert np.array_equal(tile.pixels, store.images[row])
        expected = sorted(by_row[row], reverse=True)
        assert [p for _, p in tile.bars] == pytest.approx(expected, abs=1e-5)
        assert tile.bars[0][0] == store.classes[by_row[row].argmax()]
    others = [tile.pixels.tobytes() for tile in drawn(subject, 6)[0]]
    assert others != [tile.pixels.tobytes() for tile in tiles]


def test_where_one_kind_is_rare_there_are_more_of_the_other(
    subject: Subject, trained_run: SimpleNamespace, drawn, monkeypatch
) -> None:
    store = trained_run.store
    order = np.random.default_rng(0).permutation(store.indices("test")).tolist()
    for known, words in ((5, "6 drawn test images"), (0, "8 drawn test images")):
        wrong = {order[-1 - 3 * number] for number in range(2)} if known else set()

        def answered(subject: Subject, seed: int, wrong: set = wrong):
            for row in order:
                label = int(store.labels[row])
                yield row, torch.eye(5)[(label + 1) % 5 if row in wrong else label]

        monkeypatch.setattr(module, "_in_random_order", answered)
        tiles, title = drawn(subject, 0)
        assert words in title
        right = [tile.bars[0][0] == tile.right for tile in tiles]
        assert right == [True] * (8 - len(wrong)) + [False] * len(wrong)

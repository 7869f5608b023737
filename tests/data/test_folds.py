"""Folds: each image is a test image once, near doubles stay together, one store holds all."""

import pickle
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from alexnet_exp.config import Config
from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.data.sources import near_doubles
from alexnet_exp.data.sources.split import SPLITS, UNUSED, Entry, assign_folds
from alexnet_exp.data.sources.synthetic import draw
from alexnet_exp.data.store.store import Store, prepare, store_path
from alexnet_exp.errors import UserError
from tests.data.drawn import config_of, encoded, folder_of, left, opened, picture

CLASSES = ["daisy", "rose", "tulip"]


def entries_of(*counts: int) -> list[Entry]:
    return [
        Entry(f"{CLASSES[label]}/{i:04d}.jpg", label, "all", 10)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def assigned(
    entries: list[Entry], folds: int, groups: list[int] | None = None, **fields: float
) -> list[tuple[str, ...]]:
    groups = list(range(len(entries))) if groups is None else groups
    config = DataConfig(folds=folds, fold=0, **fields)  # type: ignore[arg-type]
    return assign_folds(entries, groups, CLASSES, config, "flowers")


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_each_image_is_a_test_image_once_in_equal_parts_of_its_class(folds: int) -> None:
    entries = entries_of(201, 53, 22)
    sides = assigned(entries, folds)
    assert {of_folds.count("test") for of_folds in sides} == {1}
    for count, label in ((201, 0), (53, 1), (22, 2), (276, None)):
        mine = [s for e, s in zip(entries, sides, strict=True) if label in (e.label, None)]
        for fold in range(folds):
            found = Counter(of_folds[fold] for of_folds in mine)
            assert found.keys() == {*SPLITS}
            assert abs(found["test"] - count / folds) < 1, "of all classes together, too"
            assert label is None or found["val"] == int(count * 0.1 + 0.5)
    assert {of_folds.count("val") for of_folds in sides} <= {0, 1}, "never held out twice"
    assert len(set(sides)) <= 3 * folds


def test_order_of_the_listing_does_not_matter_and_the_seed_does() -> None:
    entries = entries_of(40, 30, 20)
    expected = dict(zip((e.name for e in entries), assigned(entries, 4), strict=True))
    shuffled = random.Random(1).sample(entries, len(entries))
    found = dict(zip((e.name for e in shuffled), assigned(shuffled, 4), strict=True))
    assert found == expected
    other = dict(zip((e.name for e in entries), assigned(entries, 4, split_seed=1), strict=True))
    assert other != expected
    assert Counter(other.values()) == Counter(expected.values())


def test_copies_share_a_fold_and_a_small_class_has_every_side() -> None:
    for seed in range(30):
        entries = entries_of(20, 20, 6)
        groups = [*range(40), 0, 1, 2, 20, 21, 22]  # tulips are daisies and roses, too
        groups[33] = groups[7]
        sides = assigned(entries, 3, groups, split_seed=seed)
        assert all(sides[index] == sides[group] for index, group in enumerate(groups))
        assert all({one[fold] for one in sides[40:]} == {*SPLITS} for fold in range(3))


@pytest.mark.parametrize(("folds", "enough"), [(2, 4), (3, 3), (5, 5)])
def test_a_class_with_too_few_images_is_named(folds: int, enough: int) -> None:
    entries = entries_of(20, 20, enough)
    assigned(entries, folds)
    message = rf"'tulip' in flowers has {enough - 1} distinct images .near.*data.folds={folds}, add"
    copied = [*range(39 + enough), 38 + enough]  # a copy is no image of its own
    for some, groups in ((entries[:-1], None), (entries, copied)):
        with pytest.raises(UserError, match=message):
            assigned(some, folds, groups)


def test_a_subset_is_a_share_of_what_each_fold_trains_on() -> None:
    entries = entries_of(200, 50, 12)
    shares = (0.02, 0.1, 0.5, 0.9, 1.0)
    found = {share: assigned(entries, 5, subset=share) for share in shares}
    for fold in range(5):
        whole = [of_folds[fold] for of_folds in found[1.0]]
        counts = Counter((e.label, side) for e, side in zip(entries, whole, strict=True))
        for smaller, larger in pairwise(shares):
            few, many = ([one[fold] for one in found[s]] for s in (smaller, larger))
            assert all(a in (b, UNUSED) for a, b in zip(few, many, strict=True))
            counted = Counter((e.label, side) for e, side in zip(entries, few, strict=True))
            for (label, side), count in counts.items():
                share = 1 if side == "test" else smaller
                assert counted[label, side] == max(1, int(count * share + 0.5))


def photos(root: Path, count: int) -> Path:
    """Drawn flowers of two classes in files of their own."""
    for index in range(count):
        folder = root / ("a" if index % 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(index, 0, 96)).save(folder / f"{index:03d}.jpg")
    return root


def test_near_doubles_lie_in_one_fold_and_unlike_photos_are_not_joined(tmp_path: Path) -> None:
    root = photos(tmp_path / "flowers", 40)
    photo = Image.open(root / "a" / "001.jpg")
    copies = {
        "a/small.jpg": photo.resize((60, 60)),
        "a/bright.jpg": ImageEnhance.Brightness(photo).enhance(1.2),
        "a/gray.png": photo.convert("L"),
        "b/other_class.png": photo,
        "b/deep.png": Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257),
    }
    for name, image in copies.items():
        image.save(root / name)
    (root / "b" / "same.jpg").write_bytes((root / "a" / "001.jpg").read_bytes())
    ImageOps.mirror(photo).save(root / "a" / "mirrored.jpg")
    for broken in ("a/broken.jpg", "b/broken.jpg"):
        (root / broken).write_bytes(b"no photo " + broken.encode())
    for seed in range(5):
        source = opened(config_of(tmp_path, root, folds=5, fold=0, split_seed=seed))
        sides = {item.name: item.sides for item in source.items}
        together = {sides[name] for name in ("a/001.jpg", "b/same.jpg", *copies)}
        assert len(together) == 1
        assert source.doubles == {
            "doubles": 1, "doubles_across_splits": 0, "near_doubles": len(copies)
        }  # fmt: skip


@pytest.mark.parametrize("reason", ["alike", "pairs", "many"])
def test_where_near_doubles_cannot_be_told_byte_doubles_alone_are_kept_together(
    tmp_path: Path, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photos(tmp_path / "flowers", 40)
    if reason == "many":
        monkeypatch.setattr(near_doubles, "MOST", 39)
    else:  # a class of one scene, with other noise in each
        for index in range(20):
            noisy = draw(1, 0, 96) // 2 + picture(index, (96, 96, 3)) // 16
            (root / "a" / f"{index:03d}.png").write_bytes(encoded(noisy))
    if reason == "pairs":
        monkeypatch.setattr(near_doubles, "_PAIRS", 1)
        monkeypatch.setattr(near_doubles, "_BLOCK", 10)
    source = opened(config_of(tmp_path, root, folds=2, fold=0))
    assert source.doubles["near_doubles"] == 0
    said = "more than 39" if reason == "many" else "too much alike"
    assert f"{said} to look for near doubles" in capsys.readouterr().err


def test_one_store_holds_all_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path / "flowers", {"daisy": 31, "rose": 20})
    config = config_of(tmp_path, root, folds=3, fold=0, subset=0.5)
    stores = [prepare(config, progress=False)]
    monkeypatch.setattr("alexnet_exp.data.store.store.pack", None)
    stores += [prepare(replace(config, fold=fold), progress=False) for fold in (1, 2)]
    assert left(config) == {stores[0].path.name}
    tested = np.concatenate([store.indices("test") for store in stores])
    assert sorted(tested) == list(range(51))
    for fold, store in enumerate(stores):
        images = store.images[store.indices("train")].astype(np.float64)
        np.testing.assert_allclose(store.mean, images.mean(axis=0), rtol=1e-6)
        pixels = images.reshape(-1, 3)
        np.testing.assert_allclose(store.covariance, np.cov(pixels.T, bias=True), rtol=1e-10)
        sides = [item.sides[fold] for item in opened(config).items]
        assert store.counts == {side: sides.count(side) for side in SPLITS}
        counted = store.meta["counts"][fold]
        assert {side: sum(counted[side].values()) for side in SPLITS} == store.counts
        assert sides.count(UNUSED) == (store.split == 3).sum() > 0
        again = pickle.loads(pickle.dumps(store))
        np.testing.assert_array_equal(again.mean, store.mean)
    assert not np.array_equal(stores[0].mean, stores[1].mean)
    for fold in (None, 3):
        with pytest.raises(UserError, match=f"packed with data.folds=3: it has no fold {fold}"):
            Store.open(stores[0].path, fold)


def test_folds_have_a_store_of_their_own_and_no_test_fraction(tmp_path: Path) -> None:
    config = config_of(tmp_path, tmp_path, folds=3, fold=0)
    assert store_path(replace(config, fold=1, test_fraction=0.5)) == store_path(config)
    others = (replace(config, folds=4), replace(config, folds=None, fold=None))
    assert len({store_path(config), *map(store_path, others)}) == 3


def test_folds_of_data_with_test_images_are_refused(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "test")):
        folder_of(tmp_path / "data" / split, {"a": 9, "b": 9}, seed=seed)
    source = opened(config_of(tmp_path, tmp_path / "data", folds=3, fold=0))
    with pytest.raises(UserError, match=r"data\.folds=3 is for images without a test set.*leave"):
        _ = source.items


def test_a_fold_that_loses_its_only_image_of_a_side_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", {"daisy": 20, "rose": 5})
    config = config_of(tmp_path, root, folds=5, fold=0, max_undecodable=0.5)
    item = next(item for item in opened(config).items if item.name.startswith("rose"))
    fold, side = next((fold, side) for fold, side in enumerate(item.sides) if side != "train")
    (root / item.name).write_bytes(b"broken")
    with pytest.raises(UserError, match=rf"'rose'.*no {side} image of fold {fold}.*{item.name}"):
        prepare(config, progress=False)


def test_drawn_flowers_have_folds_too() -> None:
    source = opened(DataConfig(folds=4, fold=2, synthetic_images=80, image_size=32))
    assert Counter(item.sides[2] for item in source.items) == {"train": 50, "val": 10, "test": 20}
    assert source.doubles["near_doubles"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"folds": 1}, "data.folds=1 must be at least 2 or null"),
        ({"fold": 0}, "data.fold=0 data.folds=null: there is no such fold"),
        ({"folds": 3, "fold": 3}, "data.fold=3 data.folds=3: there is no such fold"),
        ({"folds": 3, "fold": -1}, "data.fold=-1 data.folds=3: there is no such fold"),
        (
            {"folds": 2, "val_fraction": 0.5},
            r"data.val_fraction \+ 1 / \(data.folds=2\) must leave",
        ),
    ],
)
def test_mistakes_are_named(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**fields)  # type: ignore[arg-type]
    DataConfig(source=Layout.flowers, folds=2, fold=1, val_fraction=0.2, test_fraction=0.8)


def test_fold_follows_from_the_seed_unless_it_is_given() -> None:
    def fold_of(seed: int, **fields: int) -> int | None:
        return Config(seed=seed, data=DataConfig(**fields)).data.fold  # type: ignore[arg-type]

    assert [fold_of(seed, folds=5) for seed in (0, 4, 5, 7)] == [0, 4, 0, 2]
    assert (fold_of(7, folds=5, fold=1), fold_of(7)) == (1, None)

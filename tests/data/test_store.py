import errno
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import resize_and_crop
from alexnet_exp.data.lock import only_one
from alexnet_exp.data.store import packing, shards
from alexnet_exp.data.store.store import Store, prepare, store_path
from alexnet_exp.data.store.totals import PixelTotals
from alexnet_exp.errors import UserError
from tests.data.drawn import SIZE, config_of, encoded, folder_of, left, opened, picture

FILES = "images-00000.npy labels.npy split.npy mean.npy names.txt meta.json"


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return config_of(tmp_path, folder_of(tmp_path / "flowers", {"daisy": 20, "rose": 12}))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_CHUNK_IMAGES", 5)


def test_store_holds_what_the_source_gives(config: DataConfig, small_chunks: None) -> None:
    store = prepare(config, progress=False)
    source = opened(config)
    assert store.images.shape == (32, SIZE, SIZE, 3)
    assert {path.name for path in store.path.iterdir()} == {*FILES.split()}
    assert left(config) == {store.path.name}
    assert store.names == [item.name for item in source.items]
    assert store.labels.tolist() == [item.label for item in source.items]
    for row, item in enumerate(source.items):
        np.testing.assert_array_equal(store.images[row], resize_and_crop(source.load(item), SIZE))
    for split in ("train", "val", "test"):
        rows = [row for row, item in enumerate(source.items) if item.sides == (split,)]
        assert store.indices(split).tolist() == rows
        assert store.indices(split).dtype == np.int64
        counted = Counter(store.classes[label] for label in store.labels[rows])
        assert store.meta["counts"][0][split] == counted
    assert store.meta["counts"][0]["test"] == {"daisy": 2, "rose": 1}
    assert store.meta["fingerprint"] == source.fingerprint


@pytest.mark.parametrize("shape", [(3, 256, 256, 3), (50, 7, 7, 1), (2, 300, 300, 3)])
def test_totals_do_not_round(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(250, 256, shape, dtype=np.uint8)
    totals = PixelTotals.of(images[:1]) + PixelTotals.of(images[1:])
    exact = images.astype(np.int64).reshape(-1, shape[3])
    np.testing.assert_array_equal(totals.products, exact.T @ exact)
    np.testing.assert_array_equal(totals.sums, images.sum(axis=0, dtype=np.int64))
    np.testing.assert_allclose(
        totals.color_covariance(), np.atleast_2d(np.cov(exact.T, bias=True)), rtol=1e-9
    )


def test_a_complete_store_is_opened_and_not_packed_again(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(config, progress=False)
    monkeypatch.setattr("alexnet_exp.data.store.store.pack", None)
    np.testing.assert_array_equal(prepare(config, progress=False).images[:], first.images[:])
    assert Store.open(store_path(config)).names == first.names


def test_settings_that_matter_have_stores_of_their_own(config: DataConfig) -> None:
    here = store_path(config)
    assert here.name.startswith(f"drawn-{SIZE}px-")
    assert store_path(replace(config, batch_size=3, workers=0)) == here
    changes = {"image_size": 9, "channels": 1, "split_seed": 1, "val_fraction": 0.2}
    others = [replace(config, **{name: value}) for name, value in changes.items()]
    others.append(replace(config, encoding=Encoding.jpeg))
    assert len({here, *map(store_path, others)}) == 6


def test_a_changed_source_is_packed_again(
    config: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(prepare(config, progress=False).images) == 32
    (tmp_path / "flowers" / "rose" / "new.png").write_bytes(encoded(picture(77)))
    store = prepare(config, progress=False)
    assert "flowers has changed since it was packed" in capsys.readouterr().err
    assert len(store.images) == 33
    assert "rose/new.png" in store.names
    assert left(config) == {store.path.name}
    shutil.rmtree(tmp_path / "flowers")
    with pytest.raises(UserError, match=r"data\.root=.*flowers does not exist"):
        prepare(config, progress=False)


def test_undecodable_files_are_left_out_and_named(
    config: DataConfig, tmp_path: Path, small_chunks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("daisy/004.png", "rose/003.png"):
        (tmp_path / "flowers" / name).write_bytes(b"not a picture: " + name.encode())
    with pytest.raises(UserError) as caught:
        prepare(config, progress=False)
    assert "1 of the first 5 of 32 files" in str(caught.value)
    assert "daisy/004.png" in str(caught.value)
    assert "data.max_undecodable=0.01" in str(caught.value)
    assert left(config) == set()
    config.max_undecodable = 2 / 32
    store = prepare(config, progress=False)
    assert "left out 2 of 32" in capsys.readouterr().err
    assert set(store.meta["skipped"]) == {"daisy/004.png", "rose/003.png"}
    source = opened(config)
    kept = [item for item in source.items if item.name not in store.meta["skipped"]]
    for item, name, label, image in zip(kept, store.names, store.labels, store.images, strict=True):
        assert (name, label) == (item.name, item.label)
        np.testing.assert_array_equal(image, resize_and_crop(source.load(item), SIZE))


def test_a_class_whose_only_test_image_is_broken_is_named(
    config: DataConfig, tmp_path: Path
) -> None:
    source = opened(config)
    item = next(i for i in source.items if "test" in i.sides and i.name.startswith("rose"))
    (tmp_path / "flowers" / item.name).write_bytes(b"x")
    config.max_undecodable = 0.5
    with pytest.raises(UserError, match=rf"'rose'.*no test image.*{item.name}"):
        prepare(config, progress=False)
    assert left(config) == set()


@pytest.mark.parametrize(
    ("encoding", "needed", "how"),
    [(Encoding.raw, 32 * 192, ""), (Encoding.jpeg, 23_322, r"\(at 1 kB a JPEG, an estimate\) ")],
)
def test_too_little_space_is_seen_before_packing(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, encoding: Encoding, needed: int, how: str
) -> None:
    config.encoding = encoding
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    with pytest.raises(UserError, match=rf"needs 0\.00 GB {how}in .*data\.stores="):
        prepare(config, progress=False)
    assert left(config) == set()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed))
    prepare(config, progress=False)


def test_a_disk_that_fills_up_costs_nothing_that_was_packed(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packing, "put", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        with pytest.raises(UserError, match=r"disk of .*stores is full.*goes on.*data\.stores="):
            prepare(config, progress=False)
    assert packing.partial_path(store_path(config)).exists()
    prepare(config, progress=False)
    assert not packing.partial_path(store_path(config)).exists()


def test_errors_of_the_program_leave_nothing_and_are_not_hidden(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "resize_and_crop", Mock(side_effect=ZeroDivisionError))
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        prepare(config, progress=False)
    assert left(config) == set()
    assert torch.get_num_threads() == threads


def test_a_second_process_waits_and_then_opens(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store_path(config)
    ready: list[Store] = []
    with only_one(path, "packing"):
        waiting = threading.Thread(target=lambda: ready.append(prepare(config, progress=False)))
        waiting.start()
        deadline = time.monotonic() + 20
        said = ""
        while "waiting for another process that is packing" not in said:
            assert time.monotonic() < deadline
            said += capsys.readouterr().err
            time.sleep(0.01)
        source = opened(config)
        packing.pack(source, config, path, progress=False)
        written = (path / "images-00000.npy").stat().st_ino
        assert not ready
    waiting.join()
    assert len(ready[0].images) == 32
    assert (path / "images-00000.npy").stat().st_ino == written


def test_moved_images_are_the_same_data(config: DataConfig, tmp_path: Path) -> None:
    here = prepare(config, progress=False)
    shutil.copytree(tmp_path / "flowers", tmp_path / "elsewhere")
    there = prepare(config_of(tmp_path, tmp_path / "elsewhere"), progress=False)
    assert here.path != there.path
    assert here.meta["fingerprint"] == there.meta["fingerprint"]
    other = prepare(config_of(tmp_path, tmp_path / "elsewhere", split_seed=1), progress=False)
    assert other.meta["fingerprint"] != there.meta["fingerprint"]


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 2)


def without_the_last(file: Path) -> None:
    np.save(file, np.load(file)[..., :-1])


def of_another_version(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 99}))


@pytest.mark.parametrize(
    ("damage", "name", "expected"),
    [
        (of_another_version, "meta.json", "has format version 99, this program reads 4: delete"),
        (cut_short, "meta.json", "is damaged .*meta.json.*delete the folder"),
        (Path.unlink, "mean.npy", "is damaged .*mean.npy.*delete the folder"),
        (without_the_last, "labels.npy", r"is damaged .*hold \(32, 31, 32, 32\) images"),
        (without_the_last, "split.npy", r"is damaged .*hold \(32, 32, 31, 32\) images"),
        (cut_short, "images-00000.npy", "is damaged .*delete the folder"),
        (without_the_last, "images-00000.npy", "is damaged .images-00000.npy has shape"),
        (Path.unlink, "images-00000.npy", "is damaged .*images-00000.npy.*delete the folder"),
        (Path.unlink, "offsets-00000.npy", "is damaged .*offsets-00000.npy.*delete the folder"),
        (without_the_last, "offsets-00000.npy", "is damaged .offsets-00000.npy is not of images-"),
    ],
)
def test_stores_that_cannot_be_used_are_named(
    config: DataConfig, damage: Callable[[Path], None], name: str, expected: str
) -> None:
    for encoding in Encoding:
        config.encoding = encoding
        path = prepare(config, progress=False).path
        if not (path / name).exists():  # raw images have no offsets
            continue
        damage(path / name)
        for use in (lambda: prepare(config, progress=False), partial(Store.open, path)):
            with pytest.raises(UserError, match=expected) as caught:
                use()
            assert str(path) in str(caught.value)


def test_no_store_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a packed store: run prepare"):
        Store.open(tmp_path / "nowhere")


def test_off_a_terminal_progress_is_a_few_lines(
    config: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(config)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 5
    assert lines[2] == "packing drawn: 32 images"
    assert "images/s" in lines[3]


def test_a_subset_is_packed_alone_and_tested_on_the_same_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_of(tmp_path / "data" / "train", {"a": 40, "b": 20}, seed=1).parent
    folder_of(root / "test", {"a": 6, "b": 5}, seed=2)
    shutil.copy(root / "train/a/000.png", root / "test/a/copy.png")
    stores = {}
    for share in (0.1, 0.5, 1.0):
        config = config_of(tmp_path, root, subset=share, image_size=5)
        store = stores[share] = prepare(config, progress=False)
        doubles = store.meta["doubles_across_splits"]
        assert doubles == ("train/a/000.png" in store.names)
        said = "1 val or test images have a byte-identical double" in capsys.readouterr().err
        assert said == doubles
    assert {share: store.counts for share, store in stores.items()} == {
        0.1: {"train": 6, "val": 2, "test": 12},
        0.5: {"train": 27, "val": 3, "test": 12},
        1.0: {"train": 54, "val": 6, "test": 12},
    }
    small, whole = stores[0.1], stores[1.0]
    for row, name in enumerate(small.names):
        np.testing.assert_array_equal(small.images[row], whole.images[whole.names.index(name)])
    mean = small.images[small.indices("train")].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(small.mean, mean, rtol=1e-6)

import gzip
import hashlib
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import CIFAR10, FashionMNIST

from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.data.sources.source import Item, Source, synthetic
from alexnet_exp.data.sources.split import SPLITS
from alexnet_exp.errors import UserError
from tests.data.conftest import Serve
from tests.data.drawn import config_of, encoded, folder_of, opened, picture

FLOWERS = {"daisy": 6, "rose": 5, "tulip": 4}
FISH, DOG, BIRD = "n01440764", "n02119789", "n01530575"


def counted(source: Source) -> dict[str, list[int]]:
    """Images of each class to train on, to choose by and to test."""
    counts = Counter((source.classes[item.label], *item.sides) for item in source.items)
    return {name: [counts[name, split] for split in SPLITS] for name in source.classes}


def find(source: Source, name: str) -> Item:
    return next(item for item in source.items if item.name == name)


def test_folder(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", FLOWERS)
    (root / "LICENSE.txt").write_text("free")
    (root / "daisy" / ".hidden.png").write_bytes(b"no image")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "daisy.png").write_bytes(b"no image")
    source = opened(config_of(tmp_path, root))
    assert source.classes == ["daisy", "rose", "tulip"]
    assert [item.name for item in source.items] == sorted(
        f"{name}/{i:03d}.png" for name, count in FLOWERS.items() for i in range(count)
    )
    assert all(item.name.startswith(source.classes[item.label]) for item in source.items)
    assert counted(source) == {name: [count - 2, 1, 1] for name, count in FLOWERS.items()}
    np.testing.assert_array_equal(source.load(find(source, "rose/002.png")), picture(1002))


@pytest.mark.parametrize("kind", ["tar", "tgz", "tar.xz", "zip", "folder in a folder"])
def test_archive_holds_what_the_folder_holds(tmp_path: Path, kind: str) -> None:
    root = folder_of(tmp_path / "flower_photos", FLOWERS)
    plain = opened(config_of(tmp_path, root))
    archive = tmp_path / f"flowers.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(root.rglob("*"), reverse=True):
                packed.write(path, path.relative_to(tmp_path))
    elif kind == "folder in a folder":
        (tmp_path / "around").mkdir()
        archive = Path(shutil.copytree(root, tmp_path / "around" / "flowers")).parent
    else:
        with tarfile.open(archive, {"tar": "w", "tgz": "w:gz", "tar.xz": "w:xz"}[kind]) as packed:
            packed.add(root, "./flower_photos")
    source = opened(config_of(tmp_path, archive))
    assert source.items == plain.items
    assert source.fingerprint == plain.fingerprint
    for item in source.items:
        np.testing.assert_array_equal(source.load(item), plain.load(item))


def test_members_outside_the_archive_are_ignored(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", FLOWERS)
    with tarfile.open(tmp_path / "evil.tar", "w") as packed:
        packed.add(root, "flowers")
        packed.add(root / "daisy" / "000.png", "../escaped/000.png")
    source = opened(config_of(tmp_path, tmp_path / "evil.tar"))
    assert source.classes == ["daisy", "rose", "tulip"]
    assert not list(tmp_path.rglob("escaped"))


def test_links_are_followed_but_where_they_lead_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", FLOWERS)
    before = {item.name for item in opened(config_of(tmp_path, root)).items}
    os.link(root / "rose" / "001.png", root / "rose" / "hard.png")
    (root / "rose" / "soft.png").symlink_to("../daisy/002.png")
    (root / "rose" / "again.png").symlink_to("soft.png")
    (root / "rose" / "nowhere.png").symlink_to("gone.png")
    (root / "rose" / "round.png").symlink_to("round.png")
    (root / "rose" / "up").symlink_to("..")
    (root / "self").symlink_to(".")
    archive = tmp_path / "flowers.tar"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(root, "flowers")
    links = {"rose/hard.png": 1001, "rose/soft.png": 2, "rose/again.png": 2}
    for source in (opened(config_of(tmp_path, place)) for place in (root, archive)):
        assert {item.name for item in source.items} == before | links.keys()
        for name, seed in links.items():
            np.testing.assert_array_equal(source.load(find(source, name)), picture(seed))


def test_doubles_are_on_one_side_and_counted(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", {"daisy": 30, "rose": 30})
    for copy, original in (("rose/copy.png", "daisy/003.png"), ("daisy/c.png", "daisy/005.png")):
        shutil.copy(root / original, root / copy)
    for seed in range(10):
        source = opened(config_of(tmp_path, root, split_seed=seed, val_fraction=0.3))
        assert find(source, "rose/copy.png").sides == find(source, "daisy/003.png").sides
        assert find(source, "daisy/c.png").sides == find(source, "daisy/005.png").sides
    assert source.doubles == {"doubles": 2, "doubles_across_splits": 0}


@pytest.mark.parametrize(
    ("held_out", "layout"),
    [
        *((name, Layout.imagefolder) for name in ("val", "valid", "validation", "test")),
        ("test", Layout.cifar10),
    ],
)
def test_one_given_split_is_for_testing(tmp_path: Path, held_out: str, layout: Layout) -> None:
    folder_of(tmp_path / "data" / "train", {"a": 20, "b": 10}, seed=1)
    folder_of(tmp_path / "data" / held_out, {"a": 3, "b": 2}, seed=2)
    shutil.copy(tmp_path / "data/train/a/000.png", tmp_path / "data" / held_out / "b/copy.png")
    source = opened(config_of(tmp_path, tmp_path / "data", layout))
    assert counted(source) == {"a": [18, 2, 3], "b": [9, 1, 3]}
    assert all(item.name.startswith(held_out) == (item.sides == ("test",)) for item in source.items)
    assert source.doubles["doubles_across_splits"] == 1


def test_three_given_splits_stay(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        folder_of(tmp_path / "data" / split, {"a": 3 + seed, "b": 1}, seed=seed)
    source = opened(config_of(tmp_path, tmp_path / "data"))
    assert all(item.sides == (item.name.split("/")[0],) for item in source.items)
    assert counted(source) == {"a": [3, 4, 5], "b": [1, 1, 1]}


def test_mistakes_in_folders_are_named(tmp_path: Path) -> None:
    def message(root: Path, source: Layout = Layout.imagefolder) -> str:
        with pytest.raises(UserError) as caught:
            _ = opened(config_of(tmp_path, root, source)).items
        return str(caught.value)

    assert f"data.root={tmp_path}/none does not exist" in message(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "empty holds no images" in message(tmp_path / "empty")
    assert "holds 1 class folders" in message(folder_of(tmp_path / "one", {"daisy": 4}))
    bare = folder_of(tmp_path / "bare", {"daisy": 4, "rose": 4})
    (bare / "tulip").mkdir()
    assert f"class folder {bare}/tulip holds no images" in message(bare)
    folder_of(tmp_path / "odd" / "train", {"a": 5, "b": 5})
    folder_of(tmp_path / "odd" / "val", {"a": 5, "c": 5}, seed=1)
    assert "class 'c' has no images to train on" in message(tmp_path / "odd")
    (tmp_path / "broken.tgz").write_bytes(b"\x1f\x8b no archive")
    assert "broken.tgz is not a folder, and cannot be read" in message(tmp_path / "broken.tgz")
    assert "no folder train" in message(bare, Layout.imagenet)
    odd = tmp_path / "odd" / "train"
    assert "neither cifar-10-batches-py nor train/ and test/" in message(odd, Layout.cifar10)
    with pytest.raises(UserError, match=r"data\.root is not set"):
        opened(config_of(tmp_path, None, Layout.imagenet))


def imagenet(root: Path, *, flat: bool) -> Path:
    """Three classes; validation image i shows class i modulo 3 in sorted order."""
    classes = sorted((FISH, DOG, BIRD))
    folder_of(root / "train", dict.fromkeys(classes, 10), seed=3)
    for i in range(1, 7):
        name = f"ILSVRC2012_val_{i:08d}.JPEG"
        folder = root / "val" if flat else root / "val" / classes[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(picture(900 + i)))
    return root


def test_imagenet_val_is_the_test_split(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC", flat=False)
    (root / "test").mkdir()
    (root / "test" / "ILSVRC2012_test_00000001.JPEG").write_bytes(encoded(picture(1)))
    source = opened(config_of(tmp_path, tmp_path / "kaggle", Layout.imagenet))
    assert counted(source) == {wnid: [9, 1, 2] for wnid in (FISH, BIRD, DOG)}
    assert find(source, f"val/{BIRD}/ILSVRC2012_val_00000001.JPEG").sides == ("test",)


# In the order of ILSVRC2012_ID, which is not the sorted one.
BY_ID = (DOG, FISH, BIRD)
SHOWN = {f"ILSVRC2012_val_{i:08d}": sorted(BY_ID)[i % 3] for i in range(1, 7)}
TRUTH = "".join(f"{BY_ID.index(wnid) + 1}\n" for wnid in SHOWN.values())
LABELS = "".join(f"{name}.JPEG {wnid}\n" for name, wnid in SHOWN.items())
SOLUTION = "".join(f"{name},{wnid} 1 2 3 4 \n" for name, wnid in reversed(SHOWN.items()))
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def save_devkit(root: Path) -> None:
    rows = [(i, wnid, "", "", 0) for i, wnid in enumerate(BY_ID, 1)]
    rows.append((4, "n00000001", "", "", 2))  # an inner node of the hierarchy
    names = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    synsets = np.array(rows, dtype=[(name, object) for name in names])
    (root / "devkit").mkdir()
    savemat(root / "devkit" / "meta.mat", {"synsets": synsets})


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("LOC_val_solution.csv", "ImageId,PredictionString\n" + SOLUTION),
        ("ILSVRC2012_val_labels.txt", LABELS),
        (f"devkit/{GROUND_TRUTH}", TRUTH),
    ],
)
def test_flat_val_is_labeled_from_a_table(tmp_path: Path, table: str, content: str) -> None:
    root = imagenet(tmp_path / "imagenet", flat=True)
    save_devkit(root)
    (root / table).write_text(content)
    source = opened(config_of(tmp_path, root, Layout.imagenet))
    assert source.classes == sorted(BY_ID)
    for name, wnid in SHOWN.items():
        item = find(source, f"val/{name}.JPEG")
        assert (source.classes[item.label], *item.sides) == (wnid, "test")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "flat val folder and no table"),
        ({GROUND_TRUTH: TRUTH}, "nothing that can be read says which class"),
        ({GROUND_TRUTH: "1\n4\n1\n"}, f"{GROUND_TRUTH}, line 2: '4' is not an ILSVRC2012_ID"),
        ({GROUND_TRUTH: "1\n2\n"}, "ILSVRC2012_val_00000003.JPEG is not in"),
        ({GROUND_TRUTH: TRUTH, "meta.mat": "?"}, "meta.mat can't be read"),
        ({"val_labels.txt": LABELS.replace(FISH, "n09999999")}, "n09999999, the class of val/"),
        ({"val_labels.txt": "a n01440764\nb 3\n"}, "val_labels.txt, line 2: 'b 3' is not"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    root = imagenet(tmp_path / "imagenet", flat=True)
    if "nothing" not in expected:
        save_devkit(root)
    for name, content in files.items():
        (root / name).write_text(content)
    with pytest.raises(UserError) as caught:
        _ = opened(config_of(tmp_path, root, Layout.imagenet)).items
    assert expected in str(caught.value)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def cifar_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cifar-10-batches-py with 20 images in each file, packed, and taken for the real one."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for seed, name in enumerate(names):
        rows = picture(seed, (20, 3 * 32 * 32))
        content = pickle.dumps({"data": rows, "labels": [i % 2 for i in range(20)]})
        (folder / name).write_bytes(content)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as packed:
        packed.add(folder, folder.name)
    *train, test = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(folder / "batches.meta")})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(root / "cifar-10-python.tar.gz"))
    return root


@pytest.mark.parametrize("way", ["folder", "batches", "archive", "its folder", "downloaded"])
def test_cifar_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, serve: Serve
) -> None:
    root = cifar_batches(tmp_path / "data", monkeypatch)
    archive, folder = root / "cifar-10-python.tar.gz", root / "cifar-10-batches-py"
    given: Path | None = {"batches": folder, "archive": archive}.get(way, root)
    if way == "its folder":
        shutil.rmtree(folder)
    if way == "downloaded":
        monkeypatch.setattr(CIFAR10, "url", f"{serve(root)}/{archive.name}")
        given = None
    source = opened(config_of(tmp_path, given, Layout.cifar10))
    assert counted(source) == {"cat": [45, 5, 10], "dog": [45, 5, 10]}
    item = find(source, "train/00027")  # the eighth of the second file
    assert item.label == 1
    planes = picture(1, (20, 3, 32, 32))[7]
    np.testing.assert_array_equal(source.load(item), planes.transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "."])
def test_other_cifar_batches_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = cifar_batches(tmp_path / "data", monkeypatch)
    monkeypatch.undo()
    shutil.rmtree(root / "cifar-10-batches-py")
    source = opened(config_of(tmp_path, root / name, Layout.cifar10))
    with pytest.raises(UserError, match="cifar-10-batches-py is incomplete or damaged, by its che"):
        _ = source.items


def fashion(root: Path) -> list[tuple[str, str]]:
    """The four idx files, with other images; their names and checksums."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count, seed in (("train", 60, 1), ("t10k", 20, 2)):
        images, labels = picture(seed, (count, 28, 28)), np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            packed = gzip.compress(header + array.tobytes())
            (raw / f"{prefix}-{name}-ubyte.gz").write_bytes(packed)
    return [(name, md5(raw / name)) for name, _ in FashionMNIST.resources]


@pytest.mark.parametrize("way", ["packed", "unpacked", "downloaded"])
def test_fashion_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, serve: Serve
) -> None:
    root = tmp_path / "given"
    monkeypatch.setattr(FashionMNIST, "resources", fashion(root))
    raw = root / "FashionMNIST" / "raw"
    if way == "downloaded":
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"{serve(raw)}/"])
    if way == "unpacked":
        for path in raw.glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    given = None if way == "downloaded" else root
    source = opened(config_of(tmp_path, given, Layout.fashion_mnist, channels=1))
    assert source.classes[9] == "Ankle boot"
    assert counted(source) == {name: [5, 1, 2] for name in source.classes}
    item = find(source, "test/00013")
    assert item.label == 3
    np.testing.assert_array_equal(source.load(item)[:, :, 0], picture(2, (20, 28, 28))[13])
    rgb = opened(config_of(tmp_path, given, Layout.fashion_mnist)).load(item)
    np.testing.assert_array_equal(rgb, np.repeat(source.load(item), 3, axis=2))


def test_damaged_fashion_mnist_is_named(tmp_path: Path) -> None:
    fashion(tmp_path)  # not the published files, so not the published checksums
    source = opened(config_of(tmp_path, tmp_path, Layout.fashion_mnist))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged: its md5"):
        _ = source.items


def test_drawn_flowers() -> None:
    config = DataConfig(synthetic_images=50, image_size=32, synthetic_seed=3)
    source = opened(config)
    assert source.classes == list(synthetic.CLASSES)
    assert counted(source) == {name: [8, 1, 1] for name in source.classes}
    item = source.items[7]
    assert item.label == 7 % len(synthetic.CLASSES)
    np.testing.assert_array_equal(source.load(item), synthetic.draw(7, 3, 32))
    other = opened(replace(config, synthetic_seed=4))
    assert other.fingerprint != source.fingerprint
    gray = opened(replace(config, channels=1))
    luma = source.load(item) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(gray.load(item)[:, :, 0], luma, atol=0.51)

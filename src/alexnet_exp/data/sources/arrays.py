"""CIFAR-10 and Fashion-MNIST as torchvision reads and checks them.

torchvision takes seconds to import, so the functions that need it do.
"""

import gzip
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from alexnet_exp.config.data import Layout
from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.sources.download import fetch
from alexnet_exp.data.sources.files import unpack
from alexnet_exp.errors import UserError

Arrays = dict[Literal["train", "test"], tuple[Pixels, list[int]]]
"""By split: uint8 images of shape (N, H, W, C) and their labels."""

_BATCHES, _ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


def find_cifar(root: Path | None) -> Path | None:
    """The authors' archive, or the folder around its content, in or at ``root``; else None."""
    if root is None or not root.is_dir():
        return root
    around = root.parent if root.name == _BATCHES else root
    found = around / _ARCHIVE
    return around if (around / _BATCHES).is_dir() else found if found.is_file() else None


def checksums(source: Layout) -> str:
    """Of what is published as CIFAR-10 or Fashion-MNIST; what is loaded is checked against them."""
    from torchvision.datasets import CIFAR10, FashionMNIST

    if source == Layout.cifar10:
        return CIFAR10.tgz_md5
    return " ".join(md5 for _, md5 in FashionMNIST.resources)


def load_cifar(
    root: Path | None, downloads: Path, unpacked: Path, *, progress: bool
) -> tuple[list[str], Arrays]:
    """Class names and images of ``cifar-10-batches-py``; ``root`` is what ``find_cifar`` gave.

    Raises:
        UserError: a file is missing, damaged, or cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    if root is None:
        root = fetch(CIFAR10.url, f"md5:{CIFAR10.tgz_md5}", downloads, progress=progress)
    folder = root if root.is_dir() else unpack(root, unpacked, progress=progress)
    try:
        train, test = CIFAR10(folder, train=True), CIFAR10(folder, train=False)
    except RuntimeError as error:
        raise UserError(
            f"{root}: {_BATCHES} is incomplete or damaged, by its checksums ({error}): get"
            f" {_ARCHIVE} again, or leave data.root=null to download it"
        ) from error
    arrays: Arrays = {"train": (train.data, train.targets), "test": (test.data, test.targets)}
    return list(train.classes), arrays


def load_fashion(root: Path | None, downloads: Path, *, progress: bool) -> tuple[list[str], Arrays]:
    """The same for the four idx files in ``root/FashionMNIST/raw``, packed or not."""
    from torchvision.datasets import FashionMNIST

    folder = (root or downloads) / "FashionMNIST" / "raw"
    parts: list[Pixels] = []
    for name, md5 in FashionMNIST.resources:  # images and labels to train on, and to test
        packed, plain = folder / name, folder / Path(name).stem
        if root is None:
            fetch(FashionMNIST.mirrors[0] + name, f"md5:{md5}", folder, progress=progress)
        if not packed.is_file() and not plain.is_file():
            raise UserError(
                f"{packed} does not exist: data.root must be the folder that holds"
                " FashionMNIST/raw, or null to download it"
            )
        content = (packed if packed.is_file() else plain).read_bytes()
        if packed.is_file() and hashlib.md5(content).hexdigest() != md5:
            raise UserError(
                f"{packed} is damaged: its md5 is not {md5}; get it again, or leave"
                " data.root=null to download it"
            )
        content = gzip.decompress(content) if packed.is_file() else content
        shape, header = ((-1, 28, 28, 1), 16) if "images" in name else ((-1,), 8)
        try:
            parts.append(np.frombuffer(content, np.uint8, offset=header).reshape(shape))
        except ValueError as error:
            raise UserError(f"{plain} is damaged ({error}): remove it and get it again") from error
    train, train_labels, test, test_labels = parts
    return list(FashionMNIST.classes), {
        "train": (train, train_labels.tolist()),
        "test": (test, test_labels.tolist()),
    }


def in_channels(image: Pixels, channels: int) -> Pixels:
    """RGB from gray, or gray from RGB with the weights that JPEG and Pillow use."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    weights = np.array([0.299, 0.587, 0.114])
    gray: Pixels = np.rint(image @ weights).astype(np.uint8)[:, :, None]
    return gray

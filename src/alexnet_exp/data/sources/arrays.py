"""CIFAR-10 and Fashion-MNIST in their authors' files, whose checksums torchvision knows.

torchvision takes seconds to import, so the functions that need it do.
"""

import gzip
import struct
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.sources.download import digest_of, fetch
from alexnet_exp.errors import UserError

Arrays = dict[str, tuple[Pixels, list[int]]]
"""By split (train, test): uint8 images of shape (N, H, W, C) and their labels."""


class Files(ABC):
    """A data set of a few files with known checksums.

    Args:
        root: folder with the files; None downloads them.
        downloads: folder for downloads.
    """

    def __init__(self, root: Path | None, downloads: Path) -> None:
        self.root = root
        self.downloads = downloads

    @property
    @abstractmethod
    def identity(self) -> str:
        """Checksums of the content; what is loaded is checked against them."""

    @abstractmethod
    def load(self, progress: bool) -> tuple[list[str], Arrays]:
        """Class names and images.

        Raises:
            UserError: a file is missing, damaged, or cannot be downloaded.
        """


class Cifar10(Files):
    """``cifar-10-batches-py``, in ``root`` or downloaded."""

    @property
    def identity(self) -> str:
        from torchvision.datasets import CIFAR10

        return CIFAR10.tgz_md5

    def load(self, progress: bool) -> tuple[list[str], Arrays]:
        from torchvision.datasets import CIFAR10

        root = self.root
        if root is None:
            root = self.downloads
            fetch(CIFAR10.url, CIFAR10.tgz_md5, root, algorithm="md5", progress=progress)
        try:
            parts = {
                split: CIFAR10(root, train=split == "train", download=self.root is None)
                for split in ("train", "test")
            }
        except RuntimeError as error:
            raise UserError(
                f"{root / CIFAR10.base_folder} is incomplete or damaged ({error}): remove it and"
                " unpack cifar-10-python.tar.gz again, or leave data.root=null to download it"
            ) from error
        classes = list(parts["train"].classes)
        return classes, {split: (part.data, part.targets) for split, part in parts.items()}


class FashionMnist(Files):
    """The four idx files, packed or unpacked, in ``root/FashionMNIST/raw`` or downloaded."""

    _PREFIXES = {"train": "train", "test": "t10k"}  # noqa: RUF012

    @property
    def identity(self) -> str:
        from torchvision.datasets import FashionMNIST

        return " ".join(md5 for _, md5 in FashionMNIST.resources)

    def load(self, progress: bool) -> tuple[list[str], Arrays]:
        from torchvision.datasets import FashionMNIST

        folder = (self.root or self.downloads) / "FashionMNIST" / "raw"
        contents: dict[str, bytes] = {}
        for name, md5 in FashionMNIST.resources:
            if self.root is None:
                address = FashionMNIST.mirrors[0] + name
                fetch(address, md5, folder, algorithm="md5", progress=progress)
            contents[name] = _read_idx_file(folder / name, md5)
        arrays: Arrays = {}
        for split, prefix in self._PREFIXES.items():
            images = _parse_idx(contents[f"{prefix}-images-idx3-ubyte.gz"], 3, folder)
            labels = _parse_idx(contents[f"{prefix}-labels-idx1-ubyte.gz"], 1, folder)
            if len(images) != len(labels):
                raise UserError(f"{folder}: {len(images)} {split} images, {len(labels)} labels")
            arrays[split] = (images[..., None], labels.tolist())
        return list(FashionMNIST.classes), arrays


def _read_idx_file(packed: Path, md5: str) -> bytes:
    """A packed file if it is there (torchvision reads only unpacked ones), else an unpacked one."""
    unpacked = packed.with_suffix("")
    if packed.is_file():
        if digest_of(packed, "md5") != md5:
            raise UserError(
                f"{packed} is damaged: its md5 is not {md5}; get it again, or leave"
                " data.root=null to download it"
            )
        return gzip.decompress(packed.read_bytes())
    if unpacked.is_file():
        return unpacked.read_bytes()
    raise UserError(
        f"{packed} does not exist: data.root must be the folder that holds FashionMNIST/raw, or"
        " null to download it"
    )


def _parse_idx(content: bytes, dimensions: int, folder: Path) -> Pixels:
    """The idx format: two zero bytes, a type (8 is uint8), the dimensions, then the numbers."""
    header = 4 + 4 * dimensions
    if content[:4] == bytes((0, 0, 8, dimensions)) and len(content) >= header:
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        if len(content) == header + int(np.prod(shape)):
            return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    raise UserError(f"{folder} holds a damaged idx file: remove the folder and get it again")

"""Where images come from: one way in for folders, archives, known data sets and drawings."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from alexnet_exp.config.data import DataConfig, Encoding, Layout
from alexnet_exp.console import progress_bar
from alexnet_exp.data.decode import DecodeError, Pixels, decode
from alexnet_exp.data.sources import synthetic
from alexnet_exp.data.sources.arrays import Arrays, Cifar10, FashionMnist, Files
from alexnet_exp.data.sources.download import fetch
from alexnet_exp.data.sources.layout import Listing, list_folders, list_imagenet
from alexnet_exp.data.sources.split import (
    TAIL_BYTES,
    Entry,
    assign_splits,
    choose_subset,
    count_doubles,
    find_doubles,
)
from alexnet_exp.data.sources.tree import UNREADABLE, Tree, open_tree, require_readable
from alexnet_exp.errors import UserError

_UNCOMPRESSED = (".bmp", ".ppm", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source: its unique name, its label, and train, val or test."""

    name: str
    label: int
    split: str


class Source(ABC):
    """Labeled images with a deterministic split.

    Listing, hashing and downloading are put off until something asks for them: a packed store
    is opened by its fingerprint alone.

    Attributes:
        name: ``data.name``.
    """

    def __init__(self, config: DataConfig, *, progress: bool) -> None:
        self.name = config.name
        self.config = config
        self.progress = progress

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Class names by label."""

    @property
    @abstractmethod
    def where(self) -> str:
        """The folder, archive or address, for messages and the record."""

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that decides what a store of this source holds.

        Where the images lie is not part of it: a data set may be moved.
        """
        settings = {k: v for k, v in parameters(self.config).items() if k != "root"}
        text = json.dumps([settings, self._identity()])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def items(self) -> list[Item]:
        """The images of ``data.subset`` in order of their names, with labels and splits."""
        return self._divided[0]

    @property
    def doubles(self) -> dict[str, int]:
        """See ``split.count_doubles``."""
        return self._divided[1]

    @property
    def listed_tree(self) -> Tree | None:
        """The files behind the fingerprint, if it took listing them."""
        return None

    @abstractmethod
    def load(self, item: Item) -> Pixels:
        """Decode one image; safe from several threads.

        Returns:
            uint8 array of shape (height, width, ``data.channels``), in the image's own size.

        Raises:
            DecodeError: the file is no readable image.
        """

    @abstractmethod
    def _identity(self) -> str | None:
        """What tells one content from another."""

    @abstractmethod
    def _entries(self) -> Sequence[Entry]:
        """The listed images, sorted by name."""

    @abstractmethod
    def _read(self, name: str, last: int | None) -> bytes:
        """The bytes that doubles have in common, or the last of them."""

    def _groups(self) -> list[int]:
        entries = self._entries()
        what = f"looking for doubles in {self.where}"
        with progress_bar(what, len(entries), unit="images", show=self.progress) as advance:
            return find_doubles(entries, self._read, advance)

    @cached_property
    def _divided(self) -> tuple[list[Item], dict[str, int]]:
        entries, groups = self._entries(), self._groups()
        splits = assign_splits(
            entries,
            groups,
            self.classes,
            val_fraction=self.config.val_fraction,
            test_fraction=self.config.test_fraction,
            seed=self.config.split_seed,
            where=self.where,
        )
        if self.config.subset < 1:
            seed = self.config.split_seed
            chosen = choose_subset(entries, groups, splits, self.config.subset, seed)
            first: dict[int, int] = {}
            groups = [first.setdefault(groups[index], new) for new, index in enumerate(chosen)]
            entries = [entries[index] for index in chosen]
            splits = [splits[index] for index in chosen]
        items = [
            Item(entry.name, entry.label, split)
            for entry, split in zip(entries, splits, strict=True)
        ]
        return items, count_doubles(entries, groups, splits)


def open_source(config: DataConfig, *, progress: bool = True) -> Source:
    """The source that ``config`` describes.

    Raises:
        UserError: ``data.root`` is missing where it is needed, or does not exist.
    """
    if config.source == Layout.synthetic:
        return SyntheticSource(config, progress=progress)
    root = None if config.root is None else Path(config.root).expanduser()
    if root is not None:
        require_readable(root)
    if config.source == Layout.fashion_mnist:
        return ArraySource(config, FashionMnist(root, downloads_folder(config)), progress=progress)
    if config.source == Layout.cifar10:
        if root is not None and root.name == "cifar-10-batches-py":
            root = root.parent
        if root is None or (root / "cifar-10-batches-py").is_dir():
            return ArraySource(config, Cifar10(root, downloads_folder(config)), progress=progress)
    if root is None and config.url is None:
        raise UserError(
            f"data.root is not set: data.source={config.source} needs data.root=<folder or archive"
            " with the images>"
        )
    return TreeSource(config, root, progress=progress)


def downloads_folder(config: DataConfig) -> Path:
    """Where downloaded archives are kept."""
    return Path(config.stores).expanduser() / "downloads"


def parameters(config: DataConfig) -> dict[str, object]:
    """The settings that decide what a store holds, and so its name; JSON."""
    chosen: dict[str, object] = {
        "source": str(config.source),
        "image_size": config.image_size,
        "channels": config.channels,
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "split_seed": config.split_seed,
    }
    # Stores packed before these fields existed keep their names and fingerprints.
    if config.encoding != Encoding.raw:
        chosen["encoding"] = str(config.encoding)
    if config.subset != 1:
        chosen["subset"] = config.subset
    if config.source == Layout.synthetic:
        chosen |= {"images": config.synthetic_images, "seed": config.synthetic_seed}
    elif config.root is not None:
        chosen["root"] = str(Path(config.root).expanduser().resolve())
    else:
        chosen |= {"url": config.url, "sha256": config.sha256}
    return chosen


class TreeSource(Source):
    """Images in class folders, in a folder or an archive, local (``root``) or downloaded."""

    def __init__(self, config: DataConfig, root: Path | None, *, progress: bool) -> None:
        super().__init__(config, progress=progress)
        self._root = root

    @property
    def where(self) -> str:
        return str(self._root or self.config.url)

    @cached_property
    def _tree(self) -> Tree:
        downloads = downloads_folder(self.config)
        root = self._root
        if root is None:
            assert self.config.url is not None  # open_source asks for one of the two
            root = fetch(self.config.url, self.config.sha256, downloads, progress=self.progress)
        return open_tree(root, downloads)

    @cached_property
    def _listing(self) -> Listing:
        if self.config.source == Layout.imagenet:
            return list_imagenet(self._tree)
        listing = list_folders(self._tree)
        if self.config.source == Layout.cifar10 and listing.entries[0].pool == "all":
            raise UserError(
                f"data.root={self._root} holds neither cifar-10-batches-py nor train/ and test/"
                " with class folders: for other images use data=imagefolder"
            )
        return listing

    @property
    def classes(self) -> list[str]:
        return self._listing.classes

    def load(self, item: Item) -> Pixels:
        try:
            data = self._tree.read(self._listing.base + item.name)
        except UNREADABLE as error:
            raise DecodeError(item.name, str(error)) from error
        return decode(data, item.name, self.config.channels)

    @property
    def listed_tree(self) -> Tree | None:
        return None if self._root is None else self._tree

    def _identity(self) -> str | None:
        if self._root is None:
            # The checksum stands for the content: a store can do without the archive.
            return self.config.sha256 or self.config.url
        digest = hashlib.sha256()
        for entry in self._listing.entries:
            listed = [entry.name, entry.size, self.classes[entry.label], entry.pool]
            digest.update(json.dumps(listed).encode())
            if entry.name.lower().endswith(_UNCOMPRESSED):  # many have the same size
                digest.update(self._read(entry.name, TAIL_BYTES))
        return digest.hexdigest()

    def _entries(self) -> Sequence[Entry]:
        return self._listing.entries

    def _read(self, name: str, last: int | None) -> bytes:
        try:
            return self._tree.read(self._listing.base + name, last)
        except UNREADABLE:
            return name.encode("utf-8", "surrogateescape")  # like no other; load() reports it


class ArraySource(Source):
    """Images that come as arrays, with train and test splits: val is carved out of train."""

    def __init__(self, config: DataConfig, files: Files, *, progress: bool) -> None:
        super().__init__(config, progress=progress)
        self._files = files

    @property
    def where(self) -> str:
        return str(self._files.root or f"downloaded {self.config.source}")

    @cached_property
    def _loaded(self) -> tuple[list[str], Arrays]:
        return self._files.load(self.progress)

    @property
    def classes(self) -> list[str]:
        return self._loaded[0]

    def load(self, item: Item) -> Pixels:
        return _in_channels(self._image(item.name), self.config.channels)

    def _image(self, name: str) -> Pixels:
        split, number = name.split("/")
        image: Pixels = self._loaded[1][split][0][int(number)]
        return image

    def _identity(self) -> str | None:
        return self._files.identity

    def _entries(self) -> Sequence[Entry]:
        return self._array_entries

    @cached_property
    def _array_entries(self) -> list[Entry]:
        train, test = (self._loaded[1][split] for split in ("train", "test"))
        size = train[0][0].nbytes
        return [
            *(Entry(f"test/{i:05d}", label, "test", size) for i, label in enumerate(test[1])),
            *(Entry(f"train/{i:05d}", label, "train", size) for i, label in enumerate(train[1])),
        ]

    def _read(self, name: str, last: int | None) -> bytes:
        return self._image(name).tobytes()


class SyntheticSource(Source):
    """Flowers that the program draws: image i is of class i modulo the number of classes."""

    @property
    def where(self) -> str:
        return "the drawn flowers (data.synthetic_images)"

    @property
    def classes(self) -> list[str]:
        return list(synthetic.CLASSES)

    def load(self, item: Item) -> Pixels:
        size, seed = self.config.image_size, self.config.synthetic_seed
        drawn = synthetic.draw(int(item.name), seed, size)
        return _in_channels(drawn, self.config.channels)

    def _identity(self) -> str | None:
        # A few drawings stand for the program that draws: after a change to it, pack again.
        seed = self.config.synthetic_seed
        drawn = [synthetic.draw(index, seed, 64) for index in range(len(synthetic.CLASSES))]
        return hashlib.sha256(b"".join(image.tobytes() for image in drawn)).hexdigest()

    def _entries(self) -> Sequence[Entry]:
        kinds = len(synthetic.CLASSES)
        return [Entry(f"{i:06d}", i % kinds, "all", 0) for i in range(self.config.synthetic_images)]

    def _groups(self) -> list[int]:
        return list(range(self.config.synthetic_images))  # no two drawings are the same

    def _read(self, name: str, last: int | None) -> bytes:
        raise AssertionError("drawings are not compared")


def _in_channels(image: Pixels, channels: int) -> Pixels:
    """RGB from gray, or gray from RGB with the weights that JPEG and Pillow use."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    weights = np.array([0.299, 0.587, 0.114])
    gray: Pixels = np.rint(image @ weights).astype(np.uint8)[:, :, None]
    return gray

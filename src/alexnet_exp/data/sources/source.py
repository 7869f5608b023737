"""Where images come from: one way in for folders, archives, known data sets and drawings."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.console import progress_bar
from alexnet_exp.data.decode import DecodeError, Pixels, decode
from alexnet_exp.data.sources import arrays, split, synthetic
from alexnet_exp.data.sources.download import fetch
from alexnet_exp.data.sources.files import Files, require_readable, unpack
from alexnet_exp.data.sources.folders import Listing, list_folders, list_imagenet
from alexnet_exp.data.sources.near_doubles import join_near_doubles
from alexnet_exp.data.sources.split import Entry
from alexnet_exp.errors import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source."""

    name: str
    """Unique in its source."""
    label: int
    sides: tuple[str, ...]
    """train, val, test or unused in each of ``data.folds``; one side where there are no folds."""


class Source(ABC):
    """Labeled images with a deterministic split.

    Listing, hashing, unpacking and downloading are put off until something asks for them. ``root``
    is the folder or archive with the images (None downloads or draws them), ``unpacked`` beside
    what an archive is unpacked (see ``files.unpack``).
    """

    may_have_doubles = True

    def __init__(
        self, config: DataConfig, root: Path | None, unpacked: Path, *, progress: bool
    ) -> None:
        self.config, self.root, self.unpacked, self.progress = config, root, unpacked, progress
        self.is_archive = root is not None and not root.is_dir()

    @property
    def where(self) -> str:
        """The folder, archive or address, for messages and the record."""
        return str(self.root or self.config.url or f"downloaded {self.config.source}")

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that decides what a store of this source holds.

        Where the images lie is not part of it: a data set may be moved.
        """
        settings = {k: v for k, v in parameters(self.config).items() if k != "root"}
        text = json.dumps([settings, self.identity()])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def items(self) -> list[Item]:
        """The images of ``data.subset`` in order of their names; those of all folds."""
        return self._divided[0]

    @property
    def doubles(self) -> dict[str, int]:
        """See ``split.count_doubles``; with folds ``near_doubles``, that are no doubles, too."""
        return self._divided[1]

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Class names by label."""

    @property
    @abstractmethod
    def entries(self) -> Sequence[Entry]:
        """The listed images, sorted by name."""

    @abstractmethod
    def identity(self) -> str | None:
        """What tells one content from another."""

    @abstractmethod
    def load(self, item: Item) -> Pixels:
        """Decode one image: uint8 (height, width, ``data.channels``); safe from several threads.

        Raises:
            DecodeError: the file is no readable image.
        """

    def read(self, name: str, last: int | None) -> bytes:
        """The bytes that doubles have in common, or the last of them; a name where none are."""
        return name.encode("utf-8", "surrogateescape")

    @cached_property
    def _divided(self) -> tuple[list[Item], dict[str, int]]:
        """``items`` and ``doubles``."""
        entries, config = self.entries, self.config
        if config.folds is not None and any(entry.pool != "all" for entry in entries):
            raise UserError(
                f"data.folds={config.folds} is for images without a test set, and {self.where} has"
                " one, which all runs are tested on: leave data.folds out"
            )
        chosen = groups = list(range(len(entries)))
        near = {}
        if self.may_have_doubles:
            what = f"looking for doubles in {self.where}"
            with progress_bar(what, len(entries), unit="images", show=self.progress) as advance:
                groups = split.find_doubles(entries, self.read, advance)
        if config.folds is None:
            splits = split.assign_splits(entries, groups, self.classes, config, self.where)
            if config.subset < 1:
                seed = config.split_seed
                chosen = split.choose_subset(entries, groups, splits, config.subset, seed)
            alone: dict[str, tuple[str, ...]] = {side: (side,) for side in split.SPLITS}
            sides = [alone[side] for side in splits]
        else:
            joined = self._joined(entries, groups)
            near = {"near_doubles": len(set(groups)) - len(set(joined))}
            sides = split.assign_folds(entries, joined, self.classes, config, self.where)
        items = [Item(entries[i].name, entries[i].label, sides[i]) for i in chosen]
        doubles = split.count_doubles([groups[i] for i in chosen], [item.sides for item in items])
        return items, doubles | near

    def _joined(self, entries: Sequence[Entry], groups: list[int]) -> list[int]:
        """The groups, with those of near doubles joined."""
        if not self.may_have_doubles:
            return groups
        what, count = f"looking for near doubles in {self.where}", len(set(groups))
        with progress_bar(what, count, unit="images", show=self.progress) as advance:
            return join_near_doubles(entries, groups, self.read, advance, self.where)


def open_source(config: DataConfig, unpacked: Path, *, progress: bool = True) -> Source:
    """The source that ``config`` describes; the arguments are those of ``Source``.

    Raises:
        UserError: ``data.root`` is missing where it is needed, or does not exist.
    """
    if config.source == Layout.synthetic:
        return SyntheticSource(config, None, unpacked, progress=progress)
    root = None if config.root is None else Path(config.root).expanduser()
    if root is not None:
        require_readable(root)
    if config.source == Layout.fashion_mnist:
        return ArraySource(config, root, unpacked, progress=progress)
    if config.source == Layout.cifar10:
        found = arrays.find_cifar(root)
        if root is None or found is not None:
            return ArraySource(config, found, unpacked, progress=progress)
    if root is None and config.url is None:
        raise UserError(
            f"data.root is not set: data.source={config.source} needs data.root=<folder or archive"
            " with the images>"
        )
    return FileSource(config, root, unpacked, progress=progress)


def downloads_folder(config: DataConfig) -> Path:
    """Where downloaded archives are kept."""
    return Path(config.stores).expanduser() / "downloads"


def parameters(config: DataConfig) -> dict[str, object]:
    """The settings that decide what a store holds, and so its name; JSON."""
    names = ("image_size", "channels", "val_fraction", "test_fraction", "split_seed", "subset")
    chosen: dict[str, object] = {name: getattr(config, name) for name in names}
    chosen |= {"source": str(config.source), "encoding": str(config.encoding)}
    if config.folds is not None:
        del chosen["test_fraction"]  # the folds take its place
        chosen["folds"] = config.folds
    if config.source == Layout.synthetic:
        chosen |= {"images": config.synthetic_images, "seed": config.synthetic_seed}
    elif config.root is not None:
        chosen["root"] = str(Path(config.root).expanduser().resolve())
    else:
        chosen |= {"url": config.url, "sha256": config.sha256}
    return chosen


class FileSource(Source):
    """Images in class folders, in a folder or an archive, local (``root``) or downloaded."""

    @cached_property
    def files(self) -> Files:
        """All files; downloads or unpacks them first."""
        root = self.root
        if root is None:
            assert self.config.url is not None  # open_source asks for one of the two
            checksum = self.config.sha256 and f"sha256:{self.config.sha256.lower()}"
            folder = downloads_folder(self.config)
            root = fetch(self.config.url, checksum, folder, progress=self.progress)
        if root.is_dir():
            return Files(root, root)
        return Files(unpack(root, self.unpacked, progress=self.progress), root)

    @cached_property
    def _listing(self) -> Listing:
        if self.config.source == Layout.imagenet:
            return list_imagenet(self.files)
        listing = list_folders(self.files)
        if self.config.source == Layout.cifar10 and listing.entries[0].pool == "all":
            raise UserError(
                f"data.root={self.root} holds neither cifar-10-batches-py nor train/ and test/"
                " with class folders: for other images use data=imagefolder"
            )
        return listing

    @property
    def classes(self) -> list[str]:
        return self._listing.classes

    @property
    def entries(self) -> Sequence[Entry]:
        return self._listing.entries

    def identity(self) -> str | None:
        if self.root is None:
            # The checksum stands for the content: a store can do without the archive.
            return self.config.sha256 or self.config.url
        digest = hashlib.sha256()
        for entry in self.entries:
            listed = [entry.name, entry.size, self.classes[entry.label], entry.pool]
            digest.update(json.dumps(listed).encode())
        return digest.hexdigest()

    def load(self, item: Item) -> Pixels:
        try:
            data = self.files.read(self._listing.base + item.name)
        except OSError as error:
            raise DecodeError(item.name, str(error)) from error
        return decode(data, item.name, self.config.channels)

    def read(self, name: str, last: int | None) -> bytes:
        try:
            return self.files.read(self._listing.base + name, last)
        except OSError:
            return super().read(name, last)  # like no other; load() reports it


class ArraySource(Source):
    """CIFAR-10 and Fashion-MNIST."""

    @cached_property
    def _loaded(self) -> tuple[list[str], arrays.Arrays]:
        downloads, progress = downloads_folder(self.config), self.progress
        if self.config.source == Layout.cifar10:
            return arrays.load_cifar(self.root, downloads, self.unpacked, progress=progress)
        return arrays.load_fashion(self.root, downloads, progress=progress)

    @property
    def classes(self) -> list[str]:
        return self._loaded[0]

    @cached_property
    def entries(self) -> Sequence[Entry]:
        return [
            Entry(f"{pool}/{i:05d}", label, pool, images[0].size)
            for pool, (images, labels) in sorted(self._loaded[1].items())
            for i, label in enumerate(labels)
        ]

    def identity(self) -> str:
        return arrays.checksums(self.config.source)

    def load(self, item: Item) -> Pixels:
        return arrays.in_channels(self._image(item.name), self.config.channels)

    def read(self, name: str, last: int | None) -> bytes:
        return self._image(name).tobytes()

    def _image(self, name: str) -> Pixels:
        pool, number = name.split("/")
        images, _ = self._loaded[1]["train" if pool == "train" else "test"]
        return images[int(number)]


class SyntheticSource(Source):
    """Flowers that the program draws: image i is of class i modulo the number of classes."""

    may_have_doubles = False

    @property
    def where(self) -> str:
        return "the drawn flowers (data.synthetic_images)"

    @property
    def classes(self) -> list[str]:
        return list(synthetic.CLASSES)

    @property
    def entries(self) -> Sequence[Entry]:
        count, kinds = self.config.synthetic_images, len(synthetic.CLASSES)
        return [Entry(f"{i:06d}", i % kinds, "all", 0) for i in range(count)]

    def identity(self) -> str:
        # A few drawings stand for the program that draws: after a change to it, pack again.
        seed = self.config.synthetic_seed
        drawn = [synthetic.draw(index, seed, 64).tobytes() for index in range(len(self.classes))]
        return hashlib.sha256(b"".join(drawn)).hexdigest()

    def load(self, item: Item) -> Pixels:
        config = self.config
        drawn = synthetic.draw(int(item.name), config.synthetic_seed, config.image_size)
        return arrays.in_channels(drawn, config.channels)

"""The packed data set: plain .npy files, memory-mapped, the same on every run."""

import errno
import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.console import say
from alexnet_exp.data.lock import only_one
from alexnet_exp.data.sources.files import remove_unpacked
from alexnet_exp.data.sources.listing import is_unchanged, remember_listing
from alexnet_exp.data.sources.source import Source, open_source, parameters
from alexnet_exp.data.sources.split import SPLITS
from alexnet_exp.data.store.images import Images
from alexnet_exp.data.store.packing import (
    FORMAT_VERSION,
    TooLittleSpaceError,
    pack,
    partial_path,
    remove_records,
)
from alexnet_exp.errors import UserError

_PACK_AGAIN = "delete the folder, and it is packed again"
_NOT_OURS = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
)


@dataclass(frozen=True)
class Store:
    """A packed data set of N images of S x S pixels and C channels, in the view of one fold."""

    path: Path
    fold: int | None
    """None where it has no folds."""
    images: Images
    """(N, S, S, C) uint8, read one by one."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    split: NDArray[np.uint8]
    """Shape (N,): 0 train, 1 val, 2 test, 3 unused."""
    mean: NDArray[np.float32]
    """Shape (S, S, C): per-pixel mean of the training split, 0 to 255."""
    classes: list[str]
    """Names by label."""
    meta: dict[str, Any]
    """The content of ``meta.json``."""

    @classmethod
    def open(cls, path: Path, fold: int | None = None) -> "Store":
        """Open a complete store without asking whether its source has changed.

        ``fold`` is one of the folds that it was packed with, if it was.

        Raises:
            UserError: no store there, one without that fold, of another format version, or a
                damaged one.
        """
        meta = read_meta(path)
        if meta is None:
            raise UserError(f"{path} is not a packed store: run prepare first")
        folds = meta.get("folds")
        if fold not in ([None] if folds is None else range(folds)):
            raise UserError(f"{path} was packed with data.folds={folds}: it has no fold {fold}")
        try:
            encoding, square = Encoding(meta["encoding"]), (meta["image_size"], meta["channels"])
            images = Images(path, encoding, meta["shards"], *square)
            arrays = {name: np.load(path / f"{name}.npy") for name in ("labels", "split", "mean")}
            for name in ("split", "mean"):
                arrays[name] = arrays[name][fold or 0]
            store = cls(path, fold, images, classes=meta["classes"], meta=meta, **arrays)
            store._check()
        except (OSError, EOFError, ValueError, LookupError) as error:
            raise UserError(f"store {path} is damaged ({error}): {_PACK_AGAIN}") from error
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Processes that are not forked open it again; the images would be copied."""
        return Store.open, (self.path, self.fold)

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the channels over all training pixels, float64, shape (C, C)."""
        return np.array(self.meta["rgb_covariance"][self.fold or 0], np.float64)

    @cached_property
    def names(self) -> list[str]:
        """Names of the images within their source, in the order of the images."""
        content = (self.path / "names.txt").read_bytes().decode("utf-8", "surrogateescape")
        return content.split("\n")[:-1]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of the train, val or test split, ascending; int64, shape (images in it,)."""
        return np.flatnonzero(self.split == SPLITS.index(split)).astype(np.int64)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images by split."""
        return {split: len(self.indices(split)) for split in SPLITS}

    def _check(self) -> None:
        counts = len(self.images), len(self.labels), len(self.split), self.meta["images"]
        if len(set(counts)) > 1 or self.mean.shape != self.images.shape[1:]:
            raise ValueError(f"shards, labels, split and meta.json hold {counts} images")


def store_path(config: DataConfig) -> Path:
    """The folder of the store that ``config`` asks for; other settings, another folder."""
    text = json.dumps(parameters(config), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    folder = Path(config.stores).expanduser()
    return folder / f"{config.name}-{config.image_size}px-{digest}"


def prepare(config: DataConfig, *, progress: bool = True) -> Store:
    """Open the store that ``config`` asks for, packing it first if that has not been done.

    A store whose source has changed since (other names or sizes of files) is packed again. If
    this process is killed, interrupted or loses power, or the disk or the memory is full, the next
    call goes on where it stopped. After an error of the data nothing is left behind. Several
    processes may call this at once: one packs, the others wait.

    Raises:
        UserError: anything wrong with the source, the store, the download or the disk.
    """
    path = store_path(config)
    unpacked = path.with_name(path.name + ".unpacked")
    source = open_source(config, unpacked, progress=progress)
    if _is_current(path, source, config, may_unpack=False):
        return _opened(path, config)
    try:
        with only_one(path, "packing"):
            try:
                # Unless a process that held the lock before has packed it.
                if not _is_current(path, source, config, may_unpack=True):
                    if path.exists():
                        say(f"{source.where} has changed since it was packed: packing it again")
                    pack(source, config, path, progress=progress)
                    remember_listing(path, source, config)
            except (TooLittleSpaceError, OSError, MemoryError):
                raise  # the machine's, not the data's fault: the next attempt goes on
            except Exception:
                shutil.rmtree(partial_path(path), ignore_errors=True)
                remove_unpacked(unpacked)
                raise
            remove_unpacked(unpacked)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk of {path.parent} is full: free some space, and the same command goes on"
                f" with what is packed in {partial_path(path)}; or remove that, and set"
                " data.stores=<a folder on another disk>"
            ) from error
        if error.errno in _NOT_OURS:
            raise UserError(
                f"cannot write in {path.parent} ({error}): set data.stores=<a folder of yours>"
            ) from error
        raise
    return _opened(path, config)


def _is_current(path: Path, source: Source, config: DataConfig, *, may_unpack: bool) -> bool:
    """Whether the store is there and of this source; an archive is unpacked to be compared."""
    meta = read_meta(path)
    if meta is None or is_unchanged(path, meta["fingerprint"], config):
        return meta is not None
    if (source.is_archive and not may_unpack) or meta["fingerprint"] != source.fingerprint:
        return False
    remember_listing(path, source, config)
    return True


def _opened(path: Path, config: DataConfig) -> Store:
    remove_records(path)
    return Store.open(path, config.fold)


def read_meta(path: Path) -> dict[str, Any] | None:
    """The content of a store's ``meta.json``; None if there is no store.

    Raises:
        UserError: it was written by another format version, or is damaged.
    """
    if not path.exists():
        return None
    try:
        meta: dict[str, Any] = json.loads((path / "meta.json").read_text())
        version, _ = meta["format_version"], meta["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"store {path} is damaged (meta.json: {error}): {_PACK_AGAIN}") from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"store {path} has format version {version}, this program reads {FORMAT_VERSION}:"
            f" {_PACK_AGAIN}"
        )
    return meta

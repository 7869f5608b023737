"""From items to the shards of a store: each is whole, with a record beside it, or not there."""

import io
import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import DecodeError, Pixels, decode, encode_jpeg, resize_and_crop
from alexnet_exp.data.sources.source import Source
from alexnet_exp.data.store.images import offsets_path, shard_path
from alexnet_exp.data.store.totals import PixelTotals


@dataclass
class Record:
    """What is known of packed images: of a shard, a part of one, or several together."""

    sizes: list[int]
    """Bytes of each image as stored."""
    skipped: list[tuple[int, str]]
    """Index and reason of each item that could not be decoded."""
    seconds: float
    """That packing took."""
    totals: dict[tuple[str, ...], PixelTotals]
    """By their sides in the folds, over the images that are trained on in one."""

    @classmethod
    def none(cls) -> Self:
        return cls([], [], 0.0, {})

    def merge(self, other: "Record") -> None:
        """Add the images that follow."""
        self.sizes += other.sizes
        self.skipped += other.skipped
        self.seconds += other.seconds
        for sides, totals in other.totals.items():
            mine = self.totals.get(sides)
            self.totals[sides] = totals if mine is None else mine + totals


Chunk = tuple[bytes, Record]
"""Stored images, one after the other, and what is known of them."""


def pack_chunk(source: Source, config: DataConfig, start: int, stop: int) -> Chunk:
    """The stored bytes of items ``start`` to ``stop``, less those that cannot be decoded."""
    stored: list[bytes] = []
    train: dict[tuple[str, ...], list[Pixels]] = defaultdict(list)
    record = Record.none()
    for index, item in enumerate(source.items[start:stop], start):
        try:
            image = resize_and_crop(source.load(item), config.image_size)
        except DecodeError as error:
            record.skipped.append((index, error.reason))
            continue
        is_jpeg = config.encoding == Encoding.jpeg
        stored.append(encode_jpeg(image) if is_jpeg else image.tobytes())
        if "train" in item.sides:  # as a reader of the store will see it
            seen = decode(stored[-1], item.name, config.channels) if is_jpeg else image
            train[item.sides].append(seen)
    record.totals = {sides: PixelTotals.of(np.stack(images)) for sides, images in train.items()}
    record.sizes = [len(content) for content in stored]
    return b"".join(stored), record


def record_path(folder: Path, shard: int) -> Path:
    """The file that says that a shard is finished."""
    return folder / f"record-{shard:05d}.npz"


def read_record(folder: Path, shard: int, key: str) -> Record | None:
    """The record of a shard; None if it is not finished, or was packed under another key."""
    try:
        with np.load(record_path(folder, shard)) as saved:
            noted = json.loads(str(saved["noted"]))
            if noted["key"] != key:
                return None
            parts = zip(saved["counts"].tolist(), saved["sums"], saved["products"], strict=True)
            sides = (tuple(one) for one in noted["sides"])
            totals = dict(zip(sides, (PixelTotals(*part) for part in parts), strict=True))
            sizes = saved["sizes"].tolist()
    except FileNotFoundError:
        return None
    skipped = [(index, reason) for index, reason in noted["skipped"]]
    return Record(sizes, skipped, noted["seconds"], totals)


class ShardWriter:
    """Writes one shard of the store in ``folder``, under a temporary name until it is finished."""

    def __init__(self, folder: Path, shard: int, config: DataConfig) -> None:
        self.folder, self.shard, self.config = folder, shard, config
        self.path = shard_path(folder, shard)
        self._file = open(self.path.with_suffix(".partial"), "wb")  # noqa: SIM115
        self._file.write(self._header(0, 0))

    def append(self, content: bytes) -> None:
        """Write images that lie one after the other."""
        self._file.write(content)

    def finish(self, record: Record, key: str) -> None:
        """Put the shard on the disk, and then the record that says so."""
        sizes, totals = np.array(record.sizes, np.int64), [*record.totals.values()]
        with self._file as file:
            file.seek(0)
            file.write(self._header(len(sizes), int(sizes.sum())))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.path)
        if self.config.encoding == Encoding.jpeg:
            offsets = np.concatenate([[0], sizes.cumsum()])
            put(offsets_path(self.folder, self.shard), lambda file: np.save(file, offsets))
        noted = {"key": key, "skipped": record.skipped, "seconds": record.seconds}
        noted["sides"] = list(record.totals)
        arrays: dict[str, Any] = {"sizes": sizes, "counts": [one.count for one in totals]}
        arrays["sums"] = [one.sums for one in totals]
        arrays["products"] = [one.products for one in totals]
        put(
            record_path(self.folder, self.shard),
            lambda file: np.savez(file, noted=json.dumps(noted), **arrays),
        )

    def _header(self, count: int, size: int) -> bytes:
        """NumPy pads it so that the first dimension may change and its length does not."""
        side, channels = self.config.image_size, self.config.channels
        is_jpeg = self.config.encoding == Encoding.jpeg
        shape = (size,) if is_jpeg else (count, side, side, channels)
        header, content = io.BytesIO(), {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, content)
        return header.getvalue()


def put(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file, which has its name once it is on the disk."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)

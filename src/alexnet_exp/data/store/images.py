"""Reading the pixels of a store: raw or JPEG, in one shard or in hundreds."""

import os
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config.data import Encoding
from alexnet_exp.data.decode import DecodeError, Pixels, decode
from alexnet_exp.errors import UserError


def shard_path(folder: Path, shard: int) -> Path:
    """The file with the images of a shard."""
    return folder / f"images-{shard:05d}.npy"


def offsets_path(folder: Path, shard: int) -> Path:
    """The file that says where each JPEG of a shard begins and the last one ends."""
    return folder / f"offsets-{shard:05d}.npy"


class Images:
    """The N images of a store, S x S pixels and C channels, uint8.

    A raw shard is a .npy array of shape (n, S, S, C). A JPEG shard is a one-dimensional uint8 .npy
    array, n files one after the other, and beside it the offsets, int64 of shape (n + 1,).

    Rows are read with ``pread`` and not through a memory map: the page faults of a map take longer
    than the copy, all threads of a process queue for them, and every page ever touched counts as
    the process's memory.

    Raises:
        OSError, ValueError: a shard is missing, or does not hold what it should.
    """

    def __init__(
        self, folder: Path, encoding: Encoding, counts: Sequence[int], size: int, channels: int
    ) -> None:
        self.shape = (sum(counts), size, size, channels)
        self.is_encoded = encoding == Encoding.jpeg
        self._folder = folder
        self._counts = list(counts)
        self._first = [0, *accumulate(counts)][:-1]  # row of each shard's first image
        self._row_bytes = size * size * channels
        self._files: list[int] = []
        self._maps: list[np.memmap[Any, np.dtype[np.uint8]]] = []
        self._offsets: list[NDArray[np.int64]] = []
        weakref.finalize(self, _close, self._files)
        self.stored_bytes = sum(self._open(shard) for shard in range(len(counts)))
        self._starts = np.array([mapped.ctypes.data for mapped in self._maps], np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels, as they are once decoded."""
        return len(self) * self._row_bytes

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[np.integer]) -> Pixels:
        """A copy of one image (S, S, C), or of some (n, S, S, C)."""
        if isinstance(index, int | np.integer):
            return self[[int(index)]][0]
        rows = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for row, out in zip(rows, images, strict=True):
            self.read(row + len(self) if row < 0 else row, out)
        return images

    def read(self, row: int, out: Pixels) -> None:
        """Copy image ``row`` to ``out``, C-contiguous uint8 of shape (S, S, C).

        Safe from several threads, which let go of Python's lock while they read or decode.

        Raises:
            IndexError: no such row.
            UserError: the store is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} images")
        shard = bisect_right(self._first, row) - 1
        place = row - self._first[shard]
        if self.is_encoded:
            out[...] = self._decoded(shard, place)
        else:
            start = self._maps[shard].offset + place * self._row_bytes
            if os.preadv(self._files[shard], [out.data], start) != self._row_bytes:
                raise self._damaged(shard, "ends too early")

    def addresses(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where images of a raw store are mapped: (n,) to (n,), int64; IndexError: no such row."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a store of {len(self)} images")
        shards = np.searchsorted(self._first, rows, side="right") - 1
        places = rows - np.asarray(self._first)[shards]
        found: NDArray[np.int64] = self._starts[shards] + places * self._row_bytes
        return found

    def _decoded(self, shard: int, place: int) -> Pixels:
        start, stop = self._offsets[shard][place : place + 2].tolist()
        data = os.pread(self._files[shard], stop - start, self._maps[shard].offset + start)
        try:
            return decode(data, f"image {place}", self.shape[3])
        except DecodeError as error:
            raise self._damaged(shard, str(error)) from error

    def _damaged(self, shard: int, reason: str) -> UserError:
        return UserError(
            f"store {self._folder} is damaged ({shard_path(self._folder, shard).name}: {reason}):"
            " delete the folder, and it is packed again"
        )

    def _open(self, shard: int) -> int:
        """The bytes in the files of a shard."""
        path, count = shard_path(self._folder, shard), self._counts[shard]
        self._files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        self._maps.append(np.load(path, mmap_mode="r"))
        wanted: tuple[int, ...] = (count, *self.shape[1:])
        if self.is_encoded:
            self._offsets.append(np.load(offsets_path(self._folder, shard)))
            if len(self._offsets[-1]) != count + 1:
                raise ValueError(f"{offsets_path(self._folder, shard).name} is not of {path.name}")
            wanted = (int(self._offsets[-1][-1]),)
        if self._maps[-1].shape != wanted:
            raise ValueError(f"{path.name} has shape {self._maps[-1].shape} instead of {wanted}")
        return self._maps[-1].nbytes + (self._offsets[-1].nbytes if self.is_encoded else 0)


def _close(files: list[int]) -> None:
    for descriptor in files:
        os.close(descriptor)

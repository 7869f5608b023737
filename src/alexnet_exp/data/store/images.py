"""Reading the pixels of a store: raw or JPEG, in one shard or in hundreds."""

import os
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

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

    Rows are read with ``pread`` and not through a memory map: where each row is read once an epoch,
    the page faults of a map take longer than the copy (38 us against 32 us for 256 x 256 x 3 from
    the page cache), all threads of a process queue for them, and every page ever touched counts as
    the process's memory.

    Args:
        folder: the store.
        encoding: how its shards hold the images.
        counts: images in each shard.
        size: S.
        channels: C.

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
        self._headers: list[int] = []  # bytes before a shard's first image
        self._offsets: list[NDArray[np.int64]] = []
        self._maps: list[Pixels] = []
        weakref.finalize(self, _close, self._files)
        self.stored_bytes = sum(self._open(shard) for shard in range(len(counts)))

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
            start = self._headers[shard] + place * self._row_bytes
            if os.preadv(self._files[shard], [out.data], start) != self._row_bytes:
                raise self._damaged(shard, "ends too early")

    def addresses(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where images of a raw store lie in this process's memory: (n,) to (n,), int64.

        The shards are mapped, read-only, for as long as this object lives.

        Raises:
            IndexError: no such row.
        """
        assert not self.is_encoded
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a store of {len(self)} images")
        shards = np.searchsorted(self._first, rows, side="right") - 1
        places = rows - np.asarray(self._first)[shards]
        found: NDArray[np.int64] = self._starts[shards] + places * self._row_bytes
        return found

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where the first image of each shard is mapped."""
        starts = np.zeros(len(self._counts), np.int64)
        for shard, count in enumerate(self._counts):
            if count:
                # The file that was opened, also where the store has been packed again since.
                with os.fdopen(os.dup(self._files[shard]), "rb") as file:
                    shape = (count, *self.shape[1:])
                    mapped = np.memmap(file, np.uint8, "r", self._headers[shard], shape)
                self._maps.append(np.asarray(mapped))
                starts[shard] = self._maps[-1].ctypes.data
        return starts

    def _decoded(self, shard: int, place: int) -> Pixels:
        start, stop = self._offsets[shard][place : place + 2].tolist()
        data = os.pread(self._files[shard], stop - start, self._headers[shard] + start)
        try:
            image = decode(data, f"image {place}", self.shape[3])
        except DecodeError as error:
            raise self._damaged(shard, str(error)) from error
        if image.shape != self.shape[1:]:
            raise self._damaged(shard, f"image {place} has shape {image.shape}")
        return image

    def _damaged(self, shard: int, reason: str) -> UserError:
        return UserError(
            f"store {self._folder} is damaged ({shard_path(self._folder, shard).name}: {reason}):"
            " delete the folder, and it is packed again"
        )

    def _open(self, shard: int) -> int:
        """Open a shard for reading; the bytes in its files."""
        path, count = shard_path(self._folder, shard), self._counts[shard]
        self._files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        wanted: tuple[int, ...] = (count, *self.shape[1:])
        beside = 0
        if self.is_encoded:
            offsets = np.load(offsets_path(self._folder, shard))
            ascending = offsets.shape == (count + 1,) and (np.diff(offsets) > 0).all()
            if not ascending or offsets[0] or offsets.dtype != np.int64:
                raise ValueError(
                    f"{offsets_path(self._folder, shard).name} does not hold {count + 1}"
                    " ascending offsets"
                )
            self._offsets.append(offsets)
            wanted, beside = (int(offsets[-1]),), offsets.nbytes
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            header = file.tell()
        size, right = path.stat().st_size, header + int(np.prod(wanted))
        if shape != wanted or size != right or dtype != np.uint8 or fortran_order:
            raise ValueError(
                f"{path.name} has {size} bytes, {dtype} and shape {shape} instead of {right},"
                f" uint8 and {wanted}"
            )
        self._headers.append(header)
        return size + beside


def _close(files: list[int]) -> None:
    for descriptor in files:
        os.close(descriptor)

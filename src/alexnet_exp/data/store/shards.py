"""Writing the shards of a store, so that a killed packing goes on within the last one."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from alexnet_exp.config.data import Encoding
from alexnet_exp.data.store.images import offsets_path, shard_path

SHARD_BYTES = 1 << 30


class ShardWriter:
    """Appends images to the shards of a store that is being packed.

    Args:
        folder: the store.
        encoding: how the images are stored.
        shape: (S, S, C) of each.

    Attributes:
        counts: images by shard; the last shard is the one that is written.
        bytes: what the images in the last shard take.
        stored_bytes: what the images in all shards take.
    """

    def __init__(self, folder: Path, encoding: Encoding, shape: tuple[int, int, int]) -> None:
        self.folder = folder
        self.encoding = encoding
        self.shape = shape
        self.counts = [0]
        self.bytes = 0
        self.stored_bytes = 0
        self._offsets = [0]  # of the last shard
        self._file: IO[bytes] | None = None
        self._header_bytes = len(self._header(0, 0))

    def note(self, sizes: Sequence[int]) -> None:
        """Count images of these sizes in bytes as written."""
        for size in sizes:
            self._offsets.append(self._offsets[-1] + size)
        self.counts[-1] += len(sizes)
        self.stored_bytes += self._offsets[-1] - self.bytes
        self.bytes = self._offsets[-1]

    def append(self, content: bytes | memoryview, sizes: Sequence[int]) -> None:
        """Write images that lie one after the other; ``sync`` puts them on the disk."""
        file = self._open()
        file.write(content)
        file.flush()
        self.note(sizes)

    def sync(self) -> None:
        """Put what was appended on the disk; a complete shard is there already."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def cut(self) -> None:
        """Cut the last shard back to what is noted.

        Raises:
            ValueError: less than that is there.
        """
        path = shard_path(self.folder, len(self.counts) - 1)
        if not self.counts[-1]:
            path.unlink(missing_ok=True)
            return
        wanted, found = self._header_bytes + self.bytes, path.stat().st_size
        if found < wanted:
            raise ValueError(f"{path.name} has {found} bytes, and {wanted} were written")
        os.truncate(path, wanted)

    def read(self, place: int) -> bytes:
        """The stored bytes of an image of the last shard; safe from several threads."""
        start, stop = self._offsets[place : place + 2]
        return os.pread(self._open().fileno(), stop - start, self._header_bytes + start)

    def complete(self) -> None:
        """Write what stands before and beside the images of the last shard, on the disk."""
        with self._open() as file:
            file.seek(0)
            file.write(self._header(self.counts[-1], self.bytes))
            file.flush()
            os.fsync(file.fileno())
        self._file = None
        if self.encoding == Encoding.jpeg:
            with open(offsets_path(self.folder, len(self.counts) - 1), "wb") as offsets:
                np.save(offsets, np.array(self._offsets, np.int64))
                offsets.flush()
                os.fsync(offsets.fileno())

    def finish(self) -> None:
        """Complete the last shard, or do without it where it holds no image."""
        if self.counts[-1]:
            self.complete()
        else:
            self.counts.pop()
            shard_path(self.folder, len(self.counts)).unlink(missing_ok=True)

    def begin_next(self) -> None:
        """Turn to another shard; the last one is complete."""
        self.counts.append(0)
        self.bytes = 0
        self._offsets = [0]

    def _open(self) -> IO[bytes]:
        if self._file is None:
            path = shard_path(self.folder, len(self.counts) - 1)
            path.touch()
            self._file = open(path, "r+b")  # noqa: SIM115  # until the shard is complete
            if self._file.seek(0, os.SEEK_END) < self._header_bytes:
                self._file.seek(0)
                self._file.write(self._header(0, 0))
        return self._file

    def _header(self, count: int, size: int) -> bytes:
        """NumPy pads it so that the first dimension may change and its length does not."""
        shape = (size,) if self.encoding == Encoding.jpeg else (count, *self.shape)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        return header.getvalue()

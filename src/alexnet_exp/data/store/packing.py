"""Writing a store: in parallel, and so that a kill at any moment does no harm.

Everything is written into ``<store>.partial`` and renamed at the end. The next attempt goes on
after the last shard with a record, and ends with the same bytes as an undisturbed one.
"""

import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.console import Advance, progress_bar, say
from alexnet_exp.data.decode import decoder_name, import_decoders
from alexnet_exp.data.sources.source import FileSource, Item, Source
from alexnet_exp.data.sources.split import SIDES, SPLITS
from alexnet_exp.data.store.shards import Chunk, Record, ShardWriter, pack_chunk, put, read_record
from alexnet_exp.data.store.totals import PixelTotals
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import cores

FORMAT_VERSION = 4

SHARD_BYTES = 1 << 30
SHARD_IMAGES = 16_384  # seconds of packing, a minute at the worst, which a kill may waste
_CHUNK_BYTES = 8 << 20
_CHUNK_IMAGES = 512
_JPEG_SHARE = 0.15  # of the raw bytes: photos of ImageNet at quality 95 take .14
_JPEG_HEADER = 700
_NAMED = 5  # skipped files named in a message


class TooLittleSpaceError(UserError):
    """Seen before anything is written: what an earlier attempt has packed stays."""


def partial_path(path: Path) -> Path:
    """Where the store at ``path`` is written until it is complete."""
    return path.with_name(path.name + ".partial")


def pack(source: Source, config: DataConfig, path: Path, *, progress: bool) -> None:
    """Write the store of ``source`` to ``path``, in place of any store there before.

    Raises:
        UserError: the source is no good, or there is not enough space.
    """
    if isinstance(source, FileSource):  # arrays and drawings need none
        import_decoders()
    job = _Job(source, config, partial_path(path))
    job.resume()
    job.require_space()
    what, total = f"packing {config.name}", len(job.items)
    with (
        _one_torch_thread(),
        progress_bar(what, total, unit="images", show=progress, before=job.done) as advance,
    ):
        job.run(advance)
    job.finish()
    _replace(job.folder, path)
    if progress:
        say(job.summary(path))


class _Job:
    def __init__(self, source: Source, config: DataConfig, folder: Path) -> None:
        self.source, self.config, self.folder = source, config, folder
        self.items: list[Item] = source.items
        self.key = f"{FORMAT_VERSION} {source.fingerprint}"
        self.row_bytes = config.image_size**2 * config.channels
        is_jpeg = config.encoding == Encoding.jpeg
        self.stored_row = _JPEG_SHARE * self.row_bytes + _JPEG_HEADER if is_jpeg else self.row_bytes
        self.shard_images = max(1, min(SHARD_IMAGES, int(SHARD_BYTES / self.stored_row)))
        self.step = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // self.row_bytes))
        self.cores = cores()
        self.counts: list[int] = []  # images of each finished shard
        self.packed = Record.none()

    @property
    def done(self) -> int:
        """Items in finished shards."""
        return min(len(self.counts) * self.shard_images, len(self.items))

    def resume(self) -> None:
        """Take over the shards that an attempt at the same store has finished, or begin anew."""
        while record := read_record(self.folder, len(self.counts), self.key):
            self._count(record)
        if not self.counts:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)

    def require_space(self) -> None:
        is_jpeg, each = self.config.encoding == Encoding.jpeg, self.stored_row
        how = f" (at {each / 1e3:.0f} kB a JPEG, an estimate)" if is_jpeg else ""
        needed = (len(self.items) - self.done) * each
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            if not self.done:
                shutil.rmtree(self.folder)
            raise TooLittleSpaceError(
                f"packing {self.config.name} needs {needed / 1e9:.2f} GB{how} in"
                f" {self.folder.parent}, {free / 1e9:.2f} GB are free: free some space, or set"
                " data.stores=<a folder on another disk>"
            )

    def run(self, advance: Advance) -> None:
        """Decode the rest in threads, write here."""
        record, started = Record.none(), time.perf_counter()
        writer: ShardWriter | None = None
        with ThreadPoolExecutor(1) as disk:
            flushed: list[Future[None]] = []
            for start, stop, (content, chunk) in self._chunks():
                writer = writer or ShardWriter(self.folder, len(self.counts), self.config)
                writer.append(content)
                record.merge(chunk)
                self._refuse_many(self.packed.skipped + record.skipped, stop)
                if stop == len(self.items) or stop % self.shard_images == 0:
                    now = time.perf_counter()
                    record.seconds, started = now - started, now
                    for earlier in flushed:
                        earlier.result()
                    flushed = [disk.submit(writer.finish, record, self.key)]
                    self._count(record)
                    record, writer = Record.none(), None
                advance(stop - start)
            for last in flushed:
                last.result()

    def _chunks(self) -> Iterator[tuple[int, int, Chunk]]:
        """The first and last item of each chunk, and what came of it; a few are worked on."""
        pending: deque[tuple[int, int, Future[Chunk]]] = deque()
        with ThreadPoolExecutor(self.cores) as threads:
            try:
                start = self.done
                while start < len(self.items) or pending:
                    while start < len(self.items) and len(pending) <= self.cores:
                        end = (start // self.shard_images + 1) * self.shard_images
                        stop = min(start + self.step, end, len(self.items))
                        task = threads.submit(pack_chunk, self.source, self.config, start, stop)
                        pending.append((start, stop, task))
                        start = stop
                    first, last, task = pending.popleft()
                    yield first, last, task.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _count(self, record: Record) -> None:
        self.counts.append(len(record.sizes))
        self.packed.merge(record)

    def _refuse_many(self, skipped: list[tuple[int, str]], done: int) -> None:
        if len(skipped) > self.config.max_undecodable * len(self.items):
            raise UserError(
                f"{len(skipped)} of the first {done} of {len(self.items)} files in"
                f" {self.source.where} cannot be decoded, and"
                f" data.max_undecodable={self.config.max_undecodable} of all may fail:"
                f" {self._names(skipped)}; mend or remove them, or raise data.max_undecodable"
            )

    def finish(self) -> None:
        """Write what belongs to the images, ``meta.json`` last."""
        skipped = self.packed.skipped
        left_out = {index for index, _ in skipped}
        items = [item for index, item in enumerate(self.items) if index not in left_out]
        self._require_all_sides(items)
        if skipped:
            say(
                f"left out {len(skipped)} of {len(self.items)} files that cannot be decoded:"
                f" {self._names(skipped)}"
            )
        across = self.source.doubles["doubles_across_splits"]
        if across:
            say(
                f"{across} val or test images have a byte-identical double on another side: the"
                f" splits are as they came in {self.source.where}"
            )
        codes = [[SIDES.index(side) for side in item.sides] for item in items]
        totals = self._totals()
        for name, array in (
            ("labels", np.array([item.label for item in items], np.int64)),
            ("split", np.array(codes, np.uint8).T.copy()),
            ("mean", np.stack([fold.mean_image() for fold in totals])),
        ):
            put(self.folder / f"{name}.npy", partial(np.save, arr=array))
        names = "".join(item.name.replace("\n", "\\n") + "\n" for item in items)
        content = names.encode("utf-8", "surrogateescape")
        put(self.folder / "names.txt", lambda file: file.write(content))
        meta = (json.dumps(self._meta(items, totals), indent=2) + "\n").encode()
        put(self.folder / "meta.json", lambda file: file.write(meta))

    def _totals(self) -> list[PixelTotals]:
        """Of the training images of each fold."""
        found = self.packed.totals
        return [
            reduce(add, (found[sides] for sides in found if sides[fold] == "train"))
            for fold in range(self.config.folds or 1)
        ]

    def _meta(self, items: list[Item], totals: list[PixelTotals]) -> dict[str, Any]:
        counted = Counter(
            (fold, side, item.label) for item in items for fold, side in enumerate(item.sides)
        )
        classes = self.source.classes
        return {
            "format_version": FORMAT_VERSION,
            "name": self.config.name,
            "source": str(self.config.source),
            "root": self.source.where,
            "fingerprint": self.source.fingerprint,
            "image_size": self.config.image_size,
            "channels": self.config.channels,
            "encoding": str(self.config.encoding),
            "images": len(items),
            "shards": self.counts,
            "stored_bytes": sum(self.packed.sizes),
            "classes": classes,
            "folds": self.config.folds,
            "counts": [
                {
                    split: {name: counted[fold, split, label] for label, name in enumerate(classes)}
                    for split in SPLITS
                }
                for fold in range(len(totals))
            ],
            "rgb_covariance": [fold.color_covariance() for fold in totals],
            "skipped": {self.items[index].name: reason for index, reason in self.packed.skipped},
            **self.source.doubles,
            "decoder": decoder_name(),
        }

    def summary(self, path: Path) -> str:
        """One line: what it took and what it takes."""
        images, seconds, stored = sum(self.counts), self.packed.seconds, sum(self.packed.sizes)
        rate = images / seconds
        near = self.source.doubles.get("near_doubles")
        joined = "" if near is None else f"; {near:,} near doubles lie in the fold of their first"
        return (
            f"{path}: {images:,} images in {seconds:,.1f} s, {rate:,.0f} images/s,"
            f" {rate / self.cores:,.0f} per core on {self.cores} cores;"
            f" {stored / 1e9:,.2f} GB, {self.config.encoding}, {stored / images / 1e3:,.1f} kB each"
            f"{joined}"
        )

    def _names(self, skipped: list[tuple[int, str]]) -> str:
        named = [f"{self.items[index].name} ({reason})" for index, reason in skipped[:_NAMED]]
        return ", ".join(named) + (", ..." if len(skipped) > _NAMED else "")

    def _require_all_sides(self, kept: list[Item]) -> None:
        left = {(item.label, item.sides) for item in kept}
        present = {(label, *of_fold) for label, sides in left for of_fold in enumerate(sides)}
        for item in self.items:
            for fold, side in enumerate(item.sides):
                if (item.label, fold, side) not in present and side in SPLITS:
                    of_fold = "" if self.config.folds is None else f" of fold {fold}"
                    raise UserError(
                        f"class {self.source.classes[item.label]!r} in {self.source.where} has no"
                        f" {side} image{of_fold} that can be decoded ({item.name} for one cannot):"
                        " mend or replace it, or remove the class"
                    )


def _replace(folder: Path, path: Path) -> None:
    """Rename the finished store to ``path``; a store there before steps aside and goes."""
    aside = path.with_name(path.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    os.replace(folder, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    remove_records(path)  # not before: a kill here would waste the packing
    shutil.rmtree(aside, ignore_errors=True)


def remove_records(path: Path) -> None:
    """Remove from a finished store what only its packing needed, also what a kill left there."""
    for record in path.glob("record-*.npz"):
        record.unlink(missing_ok=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """The images are the parallel part; threads within a resize only get in each other's way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Writing a store: in chunks, in parallel, and so that a kill at any moment does no harm.

Everything is written into ``<store>.partial`` and renamed at the end. A chunk counts once its
images are on the disk and its line is in the journal; the next attempt goes on after the last
such line, and ends with the same bytes as an undisturbed one. The sums behind mean and covariance
are kept whenever a shard is full, so that the next attempt reads only the last shard again.
"""

import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.console import Advance, progress_bar, say
from alexnet_exp.data.decode import decoder_name, import_decoders
from alexnet_exp.data.sources.source import Item, Source, TreeSource
from alexnet_exp.data.sources.split import SPLITS
from alexnet_exp.data.store.chunks import Chunk, pack_chunk, stored_pixels
from alexnet_exp.data.store.journal import Commits, append, journal_path, read_journal
from alexnet_exp.data.store.pixel_totals import PixelTotals
from alexnet_exp.data.store.shards import SHARD_BYTES, ShardWriter
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import cores

FORMAT_VERSION = 2

_CHUNK_BYTES = 8 << 20
_JPEG_SHARE = 0.15  # of the raw bytes: photos of ImageNet at quality 95 take .14
_JPEG_HEADER = 700
_NAMED = 5  # skipped files named in a message


class TooLittleSpaceError(UserError):
    """Seen before anything is written: what an earlier attempt has packed stays."""


def partial_path(path: Path) -> Path:
    """Where the store at ``path`` is written before it is complete."""
    return path.with_name(path.name + ".partial")


def pack(source: Source, config: DataConfig, path: Path, *, progress: bool) -> None:
    """Write the store of ``source`` to ``path``, in place of any store there before.

    Raises:
        UserError: not enough space, too many files that cannot be decoded, a class without a
            readable image on some side, or what the source itself finds wrong.
    """
    if isinstance(source, TreeSource):  # arrays and drawings need none
        import_decoders()
    items = source.items
    job = _Job(source, config, items, partial_path(path))
    job.resume()
    job.require_space()
    with (
        _one_torch_thread(),
        progress_bar(
            f"packing {source.name}", len(items), unit="images", show=progress, before=job.done
        ) as advance,
    ):
        job.run(advance)
    job.finish()
    _replace(job.folder, path)
    if progress:
        say(job.summary(path))


class _Job:
    def __init__(self, source: Source, config: DataConfig, items: list[Item], folder: Path) -> None:
        self.source = source
        self.config = config
        self.items = items
        self.folder = folder
        self.shape = (config.image_size, config.image_size, config.channels)
        self.row_bytes = config.image_size**2 * config.channels
        self.step = min(512, max(1, _CHUNK_BYTES // self.row_bytes))
        self.cores = cores()
        self.done = 0
        self.skipped: list[tuple[int, str]] = []
        self.totals = PixelTotals(config.image_size, config.channels)
        self.shards = ShardWriter(folder, config.encoding, self.shape)
        self.seconds_before = 0.0
        self.start = time.perf_counter()

    def resume(self) -> None:
        """Take over what an attempt at the same store has finished, or begin anew."""
        heading = {"format_version": FORMAT_VERSION, "fingerprint": self.source.fingerprint}
        lines = read_journal(self.folder)
        if not lines or lines[0] != heading:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with open(journal_path(self.folder), "w") as journal:
                append(journal, [heading])
            return
        first = 0  # item of the last shard
        for line in lines[1:]:
            self.done = line["done"]
            self.skipped += [(index, reason) for index, reason in line["skipped"]]
            self.seconds_before = line["seconds"]
            self.shards.note(line["sizes"])
            if line["full"]:
                self.shards.begin_next()
                first = self.done
        try:
            self.shards.cut()
            self._count_again(first)
        except (OSError, ValueError) as error:
            raise UserError(
                f"what was packed so far in {self.folder} is damaged ({error}) and has been"
                " removed: run this again to pack from the start"
            ) from error

    def _count_again(self, first: int) -> None:
        """The pixel totals so far: those up to the last shard from their file, its own anew."""
        if len(self.shards.counts) > 1:
            self.totals = PixelTotals.load(_totals_path(self.folder, len(self.shards.counts) - 2))
        kept = self._kept(first, self.done)
        train = [place for place, index in enumerate(kept) if self.items[index].split == "train"]

        def count(places: list[int]) -> PixelTotals:
            totals = PixelTotals(self.config.image_size, self.config.channels)
            totals.add(np.stack([stored_pixels(self.shards.read(i), self.config) for i in places]))
            return totals

        parts = [train[start : start + self.step] for start in range(0, len(train), self.step)]
        with _one_torch_thread(), ThreadPoolExecutor(self.cores) as threads:
            for totals in threads.map(count, parts):
                self.totals.merge(totals)

    def require_space(self) -> None:
        """Raw images have one size; JPEGs are taken to go on as they began, or as photos do."""
        each, how = float(self.row_bytes), ""
        if self.config.encoding == Encoding.jpeg:
            stored = sum(self.shards.counts)
            each = _JPEG_SHARE * self.row_bytes + _JPEG_HEADER
            if stored:
                each = self.shards.stored_bytes / stored
            how = f" (at {each / 1e3:.0f} kB a JPEG, an estimate)"
        needed = (len(self.items) - self.done) * each
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            if not self.done:
                shutil.rmtree(self.folder)
            raise TooLittleSpaceError(
                f"packing {self.source.name} needs {needed / 1e9:.2f} GB{how} in"
                f" {self.folder.parent}, {free / 1e9:.2f} GB are free: free some space, or set"
                " data.stores=<a folder on another disk>"
            )

    def run(self, advance: Advance) -> None:
        """Decode the rest in threads (decoders and torch let go of Python's lock), write here."""
        pending: deque[Future[Chunk]] = deque()
        with (
            Commits(self.folder, self.shards.sync) as commits,
            ThreadPoolExecutor(self.cores) as threads,
        ):

            def write_first() -> None:
                before = self.done
                self._write(pending.popleft().result(), commits)
                advance(self.done - before)

            try:
                for start in range(self.done, len(self.items), self.step):
                    pending.append(
                        threads.submit(
                            pack_chunk, self.source, self.config, start, start + self.step
                        )
                    )
                    if len(pending) > self.cores + 1:
                        write_first()
                while pending:
                    write_first()
                commits.wait()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _write(self, chunk: Chunk, commits: Commits) -> None:
        self.shards.append(chunk.content, chunk.sizes)
        self.done = chunk.stop
        self.skipped += chunk.skipped
        self.totals.merge(chunk.totals)
        full = self.shards.bytes + self.step * self.row_bytes > SHARD_BYTES
        line = {
            "done": self.done,
            "skipped": chunk.skipped,
            "seconds": self._seconds(),
            "sizes": chunk.sizes,
            "full": full,
        }
        if full:
            commits.wait()
            self.shards.complete()
            self.totals.save(_totals_path(self.folder, len(self.shards.counts) - 1))
        commits.add(line)
        if full:
            commits.wait()
            if len(self.shards.counts) > 1:
                _totals_path(self.folder, len(self.shards.counts) - 2).unlink()
            self.shards.begin_next()
        if len(self.skipped) > self.config.max_undecodable * len(self.items):
            raise UserError(
                f"{len(self.skipped)} of the first {self.done} of {len(self.items)} files in"
                f" {self.source.where} cannot be decoded, and"
                f" data.max_undecodable={self.config.max_undecodable} of all may fail:"
                f" {self._skipped_names()}; mend or remove them, or raise data.max_undecodable"
            )

    def finish(self) -> None:
        """Write what belongs to the images, and put everything on the disk."""
        kept = self._kept(0, len(self.items))
        items = [self.items[index] for index in kept]
        self._require_all_sides(items)
        if self.skipped:
            say(
                f"left out {len(self.skipped)} of {len(self.items)} files that cannot be decoded:"
                f" {self._skipped_names()}"
            )
        across = self.source.doubles["doubles_across_splits"]
        if across:
            say(
                f"{across} val or test images have a byte-identical double on another side: the"
                f" splits are as they came in {self.source.where}"
            )
        self.shards.finish()
        labels = np.array([item.label for item in items], np.int64)
        splits = np.array([SPLITS.index(item.split) for item in items], np.uint8)
        np.save(self.folder / "labels.npy", labels)
        np.save(self.folder / "split.npy", splits)
        np.save(self.folder / "mean.npy", self.totals.mean_image())
        names = "".join(item.name.replace("\n", "\\n") + "\n" for item in items)
        (self.folder / "names.txt").write_bytes(names.encode("utf-8", "surrogateescape"))
        meta = json.dumps(self._meta(items), indent=2)
        (self.folder / "meta.json").write_text(meta + "\n")
        for file_path in (*self.folder.iterdir(), self.folder):
            _sync(file_path)

    def _meta(self, items: list[Item]) -> dict[str, Any]:
        seconds = self._seconds()
        counted = Counter((item.split, item.label) for item in items)
        classes = self.source.classes
        return {
            "format_version": FORMAT_VERSION,
            "name": self.source.name,
            "source": str(self.config.source),
            "root": self.source.where,
            "fingerprint": self.source.fingerprint,
            "image_size": self.config.image_size,
            "channels": self.config.channels,
            "encoding": str(self.config.encoding),
            "images": len(items),
            "shards": self.shards.counts,
            "stored_bytes": self.shards.stored_bytes,
            "classes": classes,
            "counts": {
                split: {name: counted[split, label] for label, name in enumerate(classes)}
                for split in SPLITS
            },
            "rgb_mean": self.totals.color_mean(),
            "rgb_covariance": self.totals.color_covariance(),
            "skipped": {self.items[index].name: reason for index, reason in self.skipped},
            **self.source.doubles,
            "decoder": decoder_name(),
            "seconds": round(seconds, 3),
            "images_per_second": round(len(items) / seconds, 1),
            "images_per_second_per_core": round(len(items) / seconds / self.cores, 1),
            "cores": self.cores,
        }

    def summary(self, path: Path) -> str:
        """One line: what it took and what it takes."""
        images, seconds = sum(self.shards.counts), self._seconds()
        rate = images / seconds
        return (
            f"{path}: {images:,} images in {seconds:,.1f} s, {rate:,.0f} images/s,"
            f" {rate / self.cores:,.0f} per core on {self.cores} cores;"
            f" {self.shards.stored_bytes / 1e9:,.2f} GB, {self.config.encoding},"
            f" {self.shards.stored_bytes / images / 1e3:,.1f} kB each"
        )

    def _seconds(self) -> float:
        """Of all attempts together."""
        return self.seconds_before + time.perf_counter() - self.start

    def _kept(self, start: int, stop: int) -> list[int]:
        skipped = {index for index, _ in self.skipped}
        return [index for index in range(start, stop) if index not in skipped]

    def _skipped_names(self) -> str:
        named = [f"{self.items[i].name} ({reason})" for i, reason in self.skipped[:_NAMED]]
        return ", ".join(named) + (", ..." if len(self.skipped) > _NAMED else "")

    def _require_all_sides(self, kept: list[Item]) -> None:
        sides = {(item.label, item.split) for item in kept}
        for item in self.items:
            if (item.label, item.split) not in sides:
                raise UserError(
                    f"class {self.source.classes[item.label]!r} in {self.source.where} has no"
                    f" {item.split} image that can be decoded ({item.name} for one cannot): mend"
                    " or replace it, or remove the class"
                )


def tidy(path: Path) -> None:
    """Remove from a finished store what only its packing needed, if a kill left it there."""
    if journal_path(path).exists():
        for totals in path.glob(_totals_path(path, 0).name.replace("00000", "*")):
            totals.unlink(missing_ok=True)
        journal_path(path).unlink(missing_ok=True)


def _totals_path(folder: Path, shard: int) -> Path:
    return folder / f"totals-{shard:05d}.npz"


def _replace(folder: Path, path: Path) -> None:
    """Rename the finished store to ``path``; a store there before steps aside and goes."""
    aside = path.with_name(path.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    os.replace(folder, path)
    _sync(path.parent)
    tidy(path)  # not before: without the journal a kill here would waste the packing
    shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """The images are the parallel part; threads within a resize only get in each other's way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Writing a store: in chunks, in parallel, and so that a kill at any moment does no harm.

Everything is written into ``<store>.partial`` and renamed at the end. A chunk counts once its
images are on the disk and its line is in the journal; the next attempt goes on after the last
such line, and ends with the same bytes as an undisturbed one.
"""

import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.decode import DecodeError, Pixels, decoder_name, resize_and_crop
from alexnet_exp.data.progress import Advance, progress_bar, say
from alexnet_exp.data.sources import Item, Source
from alexnet_exp.data.split import SPLITS
from alexnet_exp.data.statistics import PixelTotals
from alexnet_exp.errors import UserError

FORMAT_VERSION = 1

_JOURNAL = "journal.jsonl"
_CHUNK_BYTES = 8 << 20
_NAMED = 5  # skipped files named in a message


def partial_path(path: Path) -> Path:
    """Where the store at ``path`` is written before it is complete."""
    return path.with_name(path.name + ".partial")


def pack(source: Source, config: DataConfig, path: Path, *, progress: bool) -> None:
    """Write the store of ``source`` to ``path``, in place of any store there before.

    Raises:
        UserError: not enough space, too many files that cannot be decoded, a class without a
            readable image on some side, or what the source itself finds wrong.
    """
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


@dataclass(slots=True)
class _Chunk:
    """A run of items, decoded; images that cannot be decoded are left out."""

    stop: int
    images: Pixels
    totals: PixelTotals
    skipped: list[tuple[int, str]]


class _Job:
    def __init__(self, source: Source, config: DataConfig, items: list[Item], folder: Path) -> None:
        self.source = source
        self.config = config
        self.items = items
        self.folder = folder
        self.shape = (config.image_size, config.image_size, config.channels)
        self.row_bytes = config.image_size**2 * config.channels
        self.done = 0
        self.skipped: list[tuple[int, str]] = []
        self.totals = PixelTotals(config.image_size, config.channels)
        self.seconds_before = 0.0
        self.start = time.perf_counter()

    def resume(self) -> None:
        """Take over what an attempt at the same store has finished, or begin anew."""
        heading = {"format_version": FORMAT_VERSION, "fingerprint": self.source.fingerprint}
        lines = _read_journal(self.folder / _JOURNAL)
        if not lines or lines[0] != heading:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with open(self.folder / "images.npy", "wb") as file:
                _write_header(file, (len(self.items), *self.shape))
            with open(self.folder / _JOURNAL, "w") as journal:
                _append(journal, heading)
            return
        for line in lines[1:]:
            self.done = line["done"]
            self.skipped += [(index, reason) for index, reason in line["skipped"]]
            self.seconds_before = line["seconds"]
        with open(self.folder / _JOURNAL, "w") as journal:  # without a line that broke off
            for line in lines:
                _append(journal, line)
        kept = self._kept(self.done)
        with open(self.folder / "images.npy", "r+b") as file:
            header = _write_header(file, (len(self.items), *self.shape))
            file.truncate(header + len(kept) * self.row_bytes)
            file.seek(header)
            for index in kept:
                image = np.frombuffer(file.read(self.row_bytes), np.uint8).reshape(self.shape)
                if self.items[index].split == "train":
                    self.totals.add(image[None])

    def require_space(self) -> None:
        needed = (len(self.items) - self.done) * self.row_bytes
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"packing {self.source.name} needs {needed / 1e9:.2f} GB in {self.folder.parent},"
                f" {free / 1e9:.2f} GB are free: free some space, or set"
                " data.stores=<a folder on another disk>"
            )

    def run(self, advance: Advance) -> None:
        """Decode the rest in threads (decoders and torch let go of Python's lock), write here."""
        workers = _cores()
        step = min(512, max(1, _CHUNK_BYTES // self.row_bytes))
        pending: deque[Future[_Chunk]] = deque()
        with (
            open(self.folder / "images.npy", "ab") as images,
            open(self.folder / _JOURNAL, "a") as journal,
            ThreadPoolExecutor(workers) as threads,
        ):

            def write_first() -> None:
                before = self.done
                self._write(pending.popleft().result(), images, journal)
                advance(self.done - before)

            try:
                for start in range(self.done, len(self.items), step):
                    pending.append(threads.submit(self._decode, start, start + step))
                    if len(pending) > workers + 1:
                        write_first()
                while pending:
                    write_first()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _decode(self, start: int, stop: int) -> _Chunk:
        items = self.items[start:stop]
        images = np.empty((len(items), *self.shape), np.uint8)
        skipped: list[tuple[int, str]] = []
        train: list[int] = []
        row = 0
        for index, item in enumerate(items, start):
            try:
                images[row] = resize_and_crop(self.source.load(item), self.config.image_size)
            except DecodeError as error:
                skipped.append((index, error.reason))
                continue
            if item.split == "train":
                train.append(row)
            row += 1
        totals = PixelTotals(self.config.image_size, self.config.channels)
        totals.add(images[train])
        return _Chunk(start + len(items), images[:row], totals, skipped)

    def _write(self, chunk: _Chunk, images: IO[bytes], journal: IO[str]) -> None:
        images.write(chunk.images.data)
        images.flush()
        os.fsync(images.fileno())
        self.done = chunk.stop
        self.skipped += chunk.skipped
        self.totals.merge(chunk.totals)
        seconds = self.seconds_before + time.perf_counter() - self.start
        _append(journal, {"done": self.done, "skipped": chunk.skipped, "seconds": seconds})
        if len(self.skipped) > self.config.max_undecodable * len(self.items):
            raise UserError(
                f"{len(self.skipped)} of the first {self.done} of {len(self.items)} files in"
                f" {self.source.where} cannot be decoded, and"
                f" data.max_undecodable={self.config.max_undecodable} of all may fail:"
                f" {self._skipped_names()}; mend or remove them, or raise data.max_undecodable"
            )

    def finish(self) -> None:
        """Write what belongs to the images, and put everything on the disk."""
        kept = self._kept(len(self.items))
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
        with open(self.folder / "images.npy", "r+b") as file:
            _write_header(file, (len(items), *self.shape))
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
        seconds = self.seconds_before + time.perf_counter() - self.start
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
            "images": len(items),
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
        }

    def _kept(self, stop: int) -> list[int]:
        skipped = {index for index, _ in self.skipped}
        return [index for index in range(stop) if index not in skipped]

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


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; none if there is no journal."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _append(journal: IO[str], line: dict[str, Any]) -> None:
    journal.write(json.dumps(line) + "\n")
    journal.flush()
    os.fsync(journal.fileno())


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> int:
    """Write the .npy header; NumPy pads it so that the first dimension may change. Its length."""
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _replace(folder: Path, path: Path) -> None:
    """Rename the finished store to ``path``; a store there before steps aside and goes."""
    aside = path.with_name(path.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    os.replace(folder, path)
    _sync(path.parent)
    (path / _JOURNAL).unlink()  # not before: without it a kill here would waste the packing
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


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

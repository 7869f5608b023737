"""How memory and the time per batch grow with the number of images: ``make store-scale``.

Drawn stores of growing size are packed through the real packer, raw and JPEG, and read in a process
of their own: 128 images at a time, in the sampler's global order, decoded where encoded. Prints a
Markdown table; asserts nothing.
"""

import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.sampler import TrainSampler
from alexnet_exp.data.sources.source import Item, Source
from alexnet_exp.data.sources.split import Entry
from alexnet_exp.data.store.packing import pack
from alexnet_exp.data.store.store import Store

SIDE, BATCH, BATCHES, CLASSES = 48, 128, 500, 100


class Squares(Source):
    """Gradients in a color that the number of the image decides: cheap, and none like another."""

    def __init__(self, config: DataConfig, images: int) -> None:
        super().__init__(config, None, Path(), progress=False)
        self.images = images
        size = config.image_size
        self._ramp = np.add.outer(np.arange(size), np.arange(size)).astype(np.uint8)[:, :, None]

    @property
    def classes(self) -> list[str]:
        return [f"class {label:03d}" for label in range(CLASSES)]

    @property
    def entries(self) -> Sequence[Entry]:
        return [Entry(f"{i:08d}", i % CLASSES, "all", i) for i in range(self.images)]

    def identity(self) -> str:
        return f"{self.images} squares"

    def load(self, item: Item) -> Pixels:
        number = int(item.name)
        color = (np.array([number, number >> 8, number >> 16]) & 255).astype(np.uint8)
        square: Pixels = self._ramp * np.uint8(1 + number % 3) + color
        return square


def read(path: Path) -> str:
    """Open a store and read batches of it; what that took, as the end of a row (Linux)."""
    begin = time.perf_counter()
    store = Store.open(path)
    opened = time.perf_counter() - begin
    sampler = TrainSampler(store.indices("train"), BATCH, seed=0)
    out = np.empty((BATCH, *store.images.shape[1:]), np.uint8)
    seconds: list[float] = []
    while len(seconds) < BATCHES:
        for rows in islice(sampler, BATCHES - len(seconds)):
            begin = time.perf_counter()
            for row, image in zip(rows, out, strict=True):
                store.images.read(row, image)
            store.labels[rows]
            seconds.append(time.perf_counter() - begin)
        sampler.set_epoch(sampler.epoch + 1)
    quartiles = statistics.quantiles(seconds, n=4)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    private = int(status["RssAnon"].split()[0]) / 1024
    low, median, high = (f"{1e3 * quartile:.2f}" for quartile in quartiles)
    return f"{1e3 * opened:.1f} | {median} ({low} to {high}) | {private:.0f}"


def main() -> None:
    """Pack the stores and print a row for each."""
    print(f"{SIDE} pixels, batches of {BATCH}, {BATCHES} of each store")
    print("| store | images | open, ms | batch, ms: median (quartiles) | private memory, MiB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for encoding, images in product(Encoding, (10_000, 40_000, 160_000)):
            path = Path(name) / "store"
            config = DataConfig(image_size=SIDE, stores=name, encoding=encoding)
            pack(Squares(config, images), config, path, progress=False)
            with multiprocessing.get_context("spawn").Pool(1) as reader:
                print(f"| {encoding} | {images:,} | {reader.apply(read, [path])} |", flush=True)
            shutil.rmtree(path)


if __name__ == "__main__":
    main()

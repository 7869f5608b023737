"""From listed items to stored bytes, a chunk of them at a time, in one of several threads."""

from dataclasses import dataclass

import numpy as np

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import DecodeError, Pixels, decode, encode_jpeg, resize_and_crop
from alexnet_exp.data.sources.source import Source
from alexnet_exp.data.store.pixel_totals import PixelTotals


@dataclass(slots=True)
class Chunk:
    """A run of items as they are stored; images that cannot be decoded are left out.

    Attributes:
        stop: the item after the last one.
        content: the stored bytes of all images.
        sizes: bytes of each image.
        totals: over the training images.
        skipped: index and reason.
    """

    stop: int
    content: bytes | memoryview
    sizes: list[int]
    totals: PixelTotals
    skipped: list[tuple[int, str]]


def pack_chunk(source: Source, config: DataConfig, start: int, stop: int) -> Chunk:
    """Decode items ``start`` to ``stop`` of a source, and store and count them."""
    items = source.items[start:stop]
    images = np.empty((len(items), config.image_size, config.image_size, config.channels), np.uint8)
    files: list[bytes] = []
    skipped: list[tuple[int, str]] = []
    train: list[int] = []
    row = 0
    for index, item in enumerate(items, start):
        try:
            image = resize_and_crop(source.load(item), config.image_size)
        except DecodeError as error:
            skipped.append((index, error.reason))
            continue
        if config.encoding == Encoding.jpeg:
            files.append(encode_jpeg(image))
            if item.split == "train":
                image = stored_pixels(files[-1], config)
        images[row] = image
        if item.split == "train":
            train.append(row)
        row += 1
    totals = PixelTotals(config.image_size, config.channels)
    totals.add(images[:row] if len(train) == row else images[train])
    if config.encoding == Encoding.jpeg:
        sizes = [len(file) for file in files]
        return Chunk(start + len(items), b"".join(files), sizes, totals, skipped)
    sizes = [images[0].nbytes] * row
    return Chunk(start + len(items), images[:row].reshape(-1).data, sizes, totals, skipped)


def stored_pixels(stored: bytes, config: DataConfig) -> Pixels:
    """What a reader of the store will see, uint8 of shape (S, S, C)."""
    if config.encoding == Encoding.jpeg:
        return decode(stored, "a stored image", config.channels)
    shape = (config.image_size, config.image_size, config.channels)
    return np.frombuffer(stored, np.uint8).reshape(shape)

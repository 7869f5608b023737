"""The images that a checkpoint was trained and is tested on."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config import Config
from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.decode import Pixels, decode, encode_jpeg
from alexnet_exp.data.store.store import Store, prepare, read_meta, store_path
from alexnet_exp.errors import UserError
from alexnet_exp.training.checkpoint import load_checkpoint


def own_store(path: Path, config: Config, *, progress: bool = True) -> Store:
    """The packed data of a checkpoint or run folder; packed again where the store is gone.

    ``config`` is the checkpoint's, with changes such as ``data.root=...``.

    Raises:
        UserError: The data can't be had, or are other images or another split than those that it
            was trained on.
    """
    trained_on = load_checkpoint(path)["hyper_parameters"]["config"]["data"]
    store = prepare(config.data, progress=progress)
    fold = trained_on.get("fold", config.data.fold)
    if (config.data.fold, config.data.fingerprint) != (fold, store.meta["fingerprint"]):
        raise UserError(
            f"checkpoint {path} was trained on other images or another split than those of"
            f" {config.data.root or config.data.name}: its test images might be among those it"
            " learned from. Use the data and data.* settings of its run, or evaluate other photos"
            " with evaluate --photos"
        )
    return store


_ALIKE = 1
"""Mean difference of two images, of 255, below which they are one: libraries round otherwise."""

_FEW_BYTES = 2 * 10**9
"""Of pixels that are all compared: a second or two."""


def _digest(pixels: Pixels) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def learned_from(
    data: DataConfig, names: Sequence[str], pixels: Callable[[int], Pixels]
) -> NDArray[np.bool_] | None:
    """Which photos are among those that a run was trained with or chose its best epoch by.

    Those that have the name of such a file and look like it, and in stores of less than 2 GB all
    that are such an image to the last bit. Others that were renamed are not found.

    Args:
        data: Of the run.
        names: (I,) of files.
        pixels: The square (S, S, C) uint8 of one of them, as packing makes it.

    Returns:
        (I,); None where the store of the run is gone.
    """
    path = store_path(data)
    if read_meta(path) is None:
        return None
    store = Store.open(path, data.fold)
    called, exactly = defaultdict(list), set[bytes]()
    rows = (*store.indices("train"), *store.indices("val"))
    for row in rows:
        called[store.names[row].rpartition("/")[2]].append(row)
    if len(rows) * math.prod(store.images.shape[1:]) < _FEW_BYTES:
        exactly = {_digest(store.images[int(row)]) for row in rows}

    def is_one(place: int) -> bool:
        alike = called.get(PurePath(names[place]).name, ())
        if not alike and not exactly:
            return False
        own = pixels(place)
        if store.images.is_encoded:
            own = decode(encode_jpeg(own), names[place], own.shape[2])
        apart = (np.abs(own.astype(np.float32) - store.images[int(row)]).mean() for row in alike)
        return _digest(own) in exactly or any(mean < _ALIKE for mean in apart)

    return np.array([is_one(place) for place in range(len(names))])

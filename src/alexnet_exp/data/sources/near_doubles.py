"""Photos that are the same but for size, compression or tone, told by a perceptual hash."""

import io
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from alexnet_exp.console import Advance, say
from alexnet_exp.data.decode import decode
from alexnet_exp.data.sources.split import Entry

_SIDE = 16
"""Lowest frequencies of a photo's cosine transform in each direction: 256 bits, which of them lie
above their median."""

NEAR = 72
"""Bits in which near doubles may differ; two unlike photos differ in 128, give or take 8. Of 4,317
photos of flowers all 46 pairs up to here are one photo in two sizes, colors or frames, or two shots
of one flower in a row; the first pair of unlike photos, two dandelion clocks, differs in 76. Copies
of half the size, of JPEG quality 20, in gray, 1.4 times as bright or less 2 % at every border
differ in 56 at most. Mirrored copies, and those less 5 %, are not found."""

MOST = 100_000
"""Photos up to which all pairs are compared: a minute of a core."""

_ALIKE = 10  # photos; a larger group is no burst of shots if it is half of a class
_PAIRS = 100  # for each photo; if there are more, all are alike
_BLOCK = 1024
_DECODED = 128  # pixels at least of the shorter side that a JPEG is decoded to


def join_near_doubles(
    entries: Sequence[Entry],
    groups: Sequence[int],
    read: Callable[[str, int | None], bytes],
    advance: Advance,
    where: str,
) -> list[int]:
    """The groups of ``find_doubles``, joined where photos are near doubles.

    ``read`` gives the bytes of a name. Groups stay as they are where there are too many photos, or
    so like ones (scans, aligned faces) that a group would hold more than half of a class.
    """
    firsts = sorted(set(groups), key=lambda index: entries[index].name)
    reason = f"{len(firsts):,} photos are more than {MOST:,}"
    if len(firsts) <= MOST:
        joined = _joined(firsts, _hashes([entries[index].name for index in firsts], read, advance))
        found = [joined.get(group, group) for group in groups]
        if joined and not _half_a_class(entries, found):
            return found
        reason = "its photos are too much alike"
    say(f"{where}: {reason} to look for near doubles; only byte-identical ones are in one fold")
    return list(groups)


def _hashes(
    names: Sequence[str], read: Callable[[str, int | None], bytes], advance: Advance
) -> NDArray[np.float32]:
    """The bits of each photo as -1 and 1, (N, 256); zeros of one that can't be decoded."""
    import imagehash  # a third of a second that a store which is there need not wait

    def hashed(name: str) -> NDArray[np.float32]:
        with suppress(Exception):  # packing reports it
            data = read(name, None)
            with Image.open(io.BytesIO(data)) as image:
                is_jpeg = image.draft("L", (_DECODED, _DECODED)) is not None
                gray = image if is_jpeg else Image.fromarray(decode(data, name, 1)[:, :, 0])
                bits = imagehash.phash(gray, hash_size=_SIDE).hash
            return np.where(bits.ravel(), np.float32(1), np.float32(-1))
        return np.zeros(_SIDE**2, np.float32)

    rows = []
    with ThreadPoolExecutor() as threads:
        for row in threads.map(hashed, names):
            rows.append(row)
            advance(1)
    return np.stack(rows)


def _joined(firsts: Sequence[int], hashes: NDArray[np.float32]) -> dict[int, int]:
    """The first near double of each; empty where there are too many pairs to be true."""
    pairs: list[NDArray[np.int64]] = []
    for top in range(0, len(hashes), _BLOCK):
        for left in range(top, len(hashes), _BLOCK):
            agreed = hashes[top : top + _BLOCK] @ hashes[left : left + _BLOCK].T
            pairs.append(np.argwhere(agreed >= _SIDE**2 - 2 * NEAR) + np.array([top, left]))
            if sum(map(len, pairs)) > _PAIRS * len(hashes) + _BLOCK**2:
                return {}
    one, other = np.concatenate(pairs).T
    size = (len(hashes), len(hashes))
    _, labels = connected_components(coo_array((np.ones(len(one)), (one, other)), size))
    _, first = np.unique(labels, return_index=True)
    return {firsts[row]: firsts[first[label]] for row, label in enumerate(labels)}


def _half_a_class(entries: Sequence[Entry], groups: Sequence[int]) -> bool:
    """Whether a group, and no small one, holds more than half of the photos of a class."""
    classes = Counter(entry.label for entry in entries)
    shares = Counter((entry.label, group) for entry, group in zip(entries, groups, strict=True))
    return any(count > max(_ALIKE, classes[label] / 2) for (label, _), count in shares.items())

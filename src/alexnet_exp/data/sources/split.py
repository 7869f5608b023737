"""Which image is trained on, chosen from, tested on: decided by content, once and for all."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

from alexnet_exp.config.data import DataConfig
from alexnet_exp.console import Advance
from alexnet_exp.errors import UserError

SPLITS = ("train", "val", "test")
UNUSED = "unused"
"""Of an image in a fold: ``data.subset`` leaves it out."""
SIDES = (*SPLITS, UNUSED)

TAIL_BYTES = 4096
_BATCH = 64

Pool = Literal["all", "train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed image."""

    name: str
    """Unique, relative to the source's root."""
    label: int
    pool: Pool
    """The split its source puts it in, or ``all`` where the source has no splits."""
    size: int
    """Bytes in the file."""


def find_doubles(
    entries: Sequence[Entry], read: Callable[[str, int | None], bytes], advance: Advance
) -> list[int]:
    """Group images that are byte for byte the same.

    Reading all of ImageNet twice would double the time that packing takes, so only files of one
    size that also share their last 4 KiB (in a JPEG, the compressed data) are read whole.
    ``read`` gives the bytes of a name, or only its last n bytes; several threads call it. Returned
    is for each entry the index of the first one (by name) with the same bytes.
    """
    order = sorted(range(len(entries)), key=lambda index: entries[index].name)
    keys: dict[int, Hashable] = {index: entries[index].size for index in order}
    candidates = _shared(order, keys)
    advance(len(order) - len(candidates))

    def digests(batch: list[int], last: int | None) -> list[bytes]:
        contents = (read(entries[index].name, last) for index in batch)
        return [hashlib.blake2b(content, digest_size=16).digest() for content in contents]

    with ThreadPoolExecutor() as threads:
        for last in (TAIL_BYTES, None):
            # A future for every file would take longer than to read its tail.
            batches = [candidates[i : i + _BATCH] for i in range(0, len(candidates), _BATCH)]
            read_in_threads = threads.map(digests, batches, repeat(last))
            for batch, found in zip(batches, read_in_threads, strict=True):
                keys |= {i: (keys[i], digest) for i, digest in zip(batch, found, strict=True)}
                advance(len(batch) if last else 0)
            # Files no longer than the tail are settled by the first round.
            candidates = [i for i in _shared(candidates, keys) if entries[i].size > TAIL_BYTES]
    first: dict[Hashable, int] = {}
    first_of = {index: first.setdefault(keys[index], index) for index in order}
    return [first_of[index] for index in range(len(entries))]


def _shared(indices: Sequence[int], keys: dict[int, Hashable]) -> list[int]:
    """Those whose key another one has, too."""
    count = Counter(keys[index] for index in indices)
    return [index for index in indices if count[keys[index]] > 1]


def count_doubles(groups: Sequence[int], sides: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """How many images are copies of another one, the first not counted: in all, and in val or test
    with a copy in a split before theirs (where the source has its own splits, and no folds).
    """
    rank = [SIDES.index(of_folds[0]) for of_folds in sides]
    first_rank: dict[int, int] = {}
    for index, group in enumerate(groups):
        first_rank[group] = min(rank[index], first_rank.get(group, rank[index]))
    across = sum(rank[index] > first_rank[group] for index, group in enumerate(groups))
    return {"doubles": len(groups) - len(first_rank), "doubles_across_splits": across}


def assign_splits(
    entries: Sequence[Entry],
    groups: Sequence[int],
    classes: Sequence[str],
    config: DataConfig,
    where: str,
) -> list[str]:
    """Put every image on one side, each class in the same proportion.

    Where the source has no splits, every class is divided into train, val and test; where it has
    train and test, val is carved out of train; where it has all three they stay. Images with the
    same bytes (one of ``groups``, from ``find_doubles``) stay together. Within a class images
    follow the hash of ``split_seed`` and their name: the order of ``entries`` does not matter.

    Raises:
        UserError: a class has too few distinct images to have one on every side.
    """
    pools = {entry.pool for entry in entries}
    if "all" in pools:
        divided, shares = "all", {"test": config.test_fraction, "val": config.val_fraction}
    elif "val" in pools:
        return [entry.pool for entry in entries]
    else:
        divided, shares = "train", {"val": config.val_fraction}

    in_class: dict[int, set[int]] = {label: set() for label in range(len(classes))}
    for entry, group in zip(entries, groups, strict=True):
        if entry.pool == divided:
            in_class[entry.label].add(group)

    side: dict[int, str] = {}
    # The smallest class first: copies it shares with another class are placed for its sake.
    for label in sorted(in_class, key=lambda label: (len(in_class[label]), classes[label])):
        members = in_class[label]
        # Not `members - side.keys()`, which goes through all that are placed, for every class.
        free = sorted(
            (group for group in members if group not in side),
            key=lambda group: _rank(config.split_seed, entries[group].name),
        )
        placed = Counter(side[group] for group in members if group in side)
        for split, count in _counts(len(members), shares).items():
            take = max(0, count - placed[split])
            side.update(dict.fromkeys(free[:take], split))
            free = free[take:]
        side.update(dict.fromkeys(free, "train"))
        if {side[group] for group in members} != {"train", *shares}:
            raise UserError(
                f"class {classes[label]!r} in {where} has {len(members)} distinct images, too few"
                f" for one in each of {', '.join(('train', *reversed(shares)))}: add images, or"
                " remove the class folder"
            )
    return [
        side[group] if entry.pool == divided else entry.pool
        for entry, group in zip(entries, groups, strict=True)
    ]


def assign_folds(
    entries: Sequence[Entry],
    groups: Sequence[int],
    classes: Sequence[str],
    config: DataConfig,
    where: str,
) -> list[tuple[str, ...]]:
    """What every image is in each of ``data.folds`` folds: train, val, test or unused.

    The groups of a class lie on a circle in the order of their hash, as in ``assign_splits``. A
    fold tests its arc of the circle, holds out ``val_fraction`` of all behind it to choose by, and
    trains on the rest. So each image is a test image once, folds hold out other images as long as
    ``val_fraction`` is no more than a fold, and few combinations arise, however many images there
    are. ``data.subset`` takes the beginning of each arc but the tested one. A group that two
    classes share lies on the circle of the smaller one.

    Raises:
        UserError: a class has too few distinct images to have one on every side of every fold.
    """
    folds, share = config.folds or 1, config.subset
    in_class: dict[int, set[int]] = {label: set() for label in range(len(classes))}
    for entry, group in zip(entries, groups, strict=True):
        in_class[entry.label].add(group)
    sides: dict[int, list[str]] = {}
    dealt = 0  # as cards are, class after class: parts of a class, and of all, differ by one
    for label in sorted(in_class, key=lambda label: (len(in_class[label]), classes[label])):
        members = in_class[label]
        circle = sorted(
            (group for group in members if group not in sides),
            key=lambda group: _rank(config.split_seed, entries[group].name),
        )
        sides |= {group: [UNUSED] * folds for group in circle}
        start, wanted = 0, _share(len(circle), config.val_fraction)
        for fold in range(folds):
            stop = start + len(range((fold - dealt) % folds, len(circle), folds))
            tested, rest = circle[start:stop], circle[stop:] + circle[:start]
            last = max(1, min(wanted, len(rest) - 1))
            arcs = ("test", tested, 1.0), ("val", rest[:last], share), ("train", rest[last:], share)
            for side, arc, part in arcs:
                for group in arc[: _share(len(arc), part)]:
                    sides[group][fold] = side
            start = stop
        dealt += len(circle)
        found = ({sides[group][fold] for group in members} for fold in range(folds))
        if not all(each.issuperset(SPLITS) for each in found):
            raise UserError(
                f"class {classes[label]!r} in {where} has {len(members)} distinct images (near"
                " doubles count once), too few for one in each of train, val, test of every fold:"
                f" lower data.folds={folds}, add images, or remove the class folder"
            )
    return [tuple(sides[group]) for group in groups]


def choose_subset(
    entries: Sequence[Entry], groups: Sequence[int], splits: Sequence[str], share: float, seed: int
) -> list[int]:
    """A stratified share of the training images and of the validation images carved out of them.

    A smaller share is part of a larger one. Test images, and validation images that the source
    came with, stay whole, so that errors compare; copies in one class and split stay together.
    Returned are the indices of the chosen entries, ascending.
    """
    members: dict[tuple[int, str], set[int]] = defaultdict(set)
    for entry, group, split in zip(entries, groups, splits, strict=True):
        if split != "test" and entry.pool != "val":
            members[entry.label, split].add(group)
    chosen: dict[tuple[int, str], set[int]] = {}
    for side, found in members.items():
        order = sorted(found, key=lambda group: _rank(seed, entries[group].name))
        chosen[side] = set(order[: _share(len(order), share)])
    return [
        index
        for index, (entry, group, split) in enumerate(zip(entries, groups, splits, strict=True))
        if group in chosen.get((entry.label, split), (group,)) or entry.pool == "val"
    ]


def _share(total: int, share: float) -> int:
    return max(1, int(total * share + 0.5))


def _counts(total: int, shares: dict[str, float]) -> dict[str, int]:
    """Images for each held-out side: its share, rounded, but one at least."""
    counts = {split: _share(total, share) for split, share in shares.items()}
    while sum(counts.values()) >= total and max(counts.values()) > 1:
        counts[max(counts, key=lambda split: counts[split])] -= 1
    return counts


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

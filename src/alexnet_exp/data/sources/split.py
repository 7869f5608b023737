"""Which image is trained on, chosen from, tested on: decided by content, once and for all."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from alexnet_exp.console import Advance
from alexnet_exp.errors import UserError

SPLITS = ("train", "val", "test")
TAIL_BYTES = 4096
_BATCH = 64

Pool = Literal["all", "train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed image.

    Attributes:
        name: unique, relative to the source's root.
        label: index of its class.
        pool: the split its source puts it in, or ``all`` where the source has no splits.
        size: bytes in the file.
    """

    name: str
    label: int
    pool: Pool
    size: int


def find_doubles(
    entries: Sequence[Entry], read: Callable[[str, int | None], bytes], advance: Advance
) -> list[int]:
    """Group images that are byte for byte the same.

    Reading all of ImageNet twice would double the time that packing takes, so only files of one
    size that also share their last 4 KiB (in a JPEG, the compressed data) are read whole.

    Args:
        entries: the listed images.
        read: gives the bytes of a name, or only its last n bytes; called from several threads.
        advance: told of every entry that is done.

    Returns:
        For each entry the index of the first entry (by name) with the same bytes.
    """
    order = sorted(range(len(entries)), key=lambda index: entries[index].name)
    keys: dict[int, Hashable] = {index: entries[index].size for index in order}
    advance(len(order) - sum(map(len, _shared(order, keys))))
    for last in (TAIL_BYTES, None):
        # Files no longer than the tail are settled by the first round.
        candidates = [
            index
            for group in _shared(order, keys)
            for index in group
            if last is not None or entries[index].size > TAIL_BYTES
        ]

        def digests(batch: list[int], last: int | None = last) -> list[bytes]:
            return [
                hashlib.blake2b(read(entries[index].name, last), digest_size=16).digest()
                for index in batch
            ]

        # A future for every file would take longer than to read its tail.
        batches = [candidates[i : i + _BATCH] for i in range(0, len(candidates), _BATCH)]
        with ThreadPoolExecutor() as threads:
            for batch, found in zip(batches, threads.map(digests, batches), strict=True):
                for index, digest in zip(batch, found, strict=True):
                    keys[index] = (entries[index].size, last, digest)
                if last is not None:
                    advance(len(batch))
    group_of = list(range(len(entries)))
    for group in _shared(order, keys):
        for index in group:
            group_of[index] = group[0]
    return group_of


def _shared(order: Iterable[int], keys: dict[int, Hashable]) -> list[list[int]]:
    """The groups of two or more indices that have one key."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index in order:
        groups[keys[index]].append(index)
    return [group for group in groups.values() if len(group) > 1]


def count_doubles(groups: Sequence[int], splits: Sequence[str]) -> dict[str, int]:
    """How many images are copies of another one, the first not counted: in all, and in val or test
    with a copy in a split before theirs (where the source has its own splits).
    """
    rank = [SPLITS.index(split) for split in splits]
    first_rank: dict[int, int] = {}
    for index, group in enumerate(groups):
        first_rank[group] = min(rank[index], first_rank.get(group, rank[index]))
    across = sum(rank[index] > first_rank[group] for index, group in enumerate(groups))
    return {"doubles": len(groups) - len(first_rank), "doubles_across_splits": across}


def assign_splits(
    entries: Sequence[Entry],
    groups: Sequence[int],
    classes: Sequence[str],
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    where: str,
) -> list[str]:
    """Put every image on one side, each class in the same proportion.

    Where the source has no splits, every class is divided into train, val and test; where it has
    train and test, val is carved out of train; where it has all three they stay. Images with the
    same bytes stay together. Within a class images follow the hash of the seed and their name: the
    order of ``entries`` does not matter.

    Args:
        entries: the listed images.
        groups: from ``find_doubles``.
        classes: names by label.
        val_fraction, test_fraction: shares of what is divided; at least one image of every class.
        seed: another seed, another split.
        where: the folder or archive, for messages.

    Returns:
        ``train``, ``val`` or ``test`` for each entry.

    Raises:
        UserError: a class has too few distinct images to have one on every side.
    """
    pools = {entry.pool for entry in entries}
    if "all" in pools:
        divided, shares = "all", {"test": test_fraction, "val": val_fraction}
    elif "val" in pools:
        return [entry.pool for entry in entries]
    else:
        divided, shares = "train", {"val": val_fraction}

    names = {group: entries[group].name for group in groups}
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
            key=lambda group: _rank(seed, names[group]),
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


def choose_subset(
    entries: Sequence[Entry], groups: Sequence[int], splits: Sequence[str], share: float, seed: int
) -> list[int]:
    """A stratified share of the training images and of the validation images carved out of them.

    A smaller share is part of a larger one. Test images, and validation images that the source
    came with, stay whole, so that errors compare; copies in one class and split stay together.

    Args:
        entries, groups, splits: listed, from ``find_doubles`` and from ``assign_splits``.
        share: of every class and split, rounded, but one image at least; above 0, at most 1.
        seed: another seed, another choice.

    Returns:
        Indices of the chosen entries, ascending.
    """
    members: dict[tuple[int, str], set[int]] = defaultdict(set)
    for entry, group, split in zip(entries, groups, splits, strict=True):
        if split != "test" and entry.pool != "val":
            members[entry.label, split].add(group)
    chosen: dict[tuple[int, str], set[int]] = {}
    for side, found in members.items():
        order = sorted(found, key=lambda group: _rank(seed, entries[group].name))
        chosen[side] = set(order[: max(1, int(len(order) * share + 0.5))])
    return [
        index
        for index, (entry, group, split) in enumerate(zip(entries, groups, splits, strict=True))
        if group in chosen.get((entry.label, split), (group,)) or entry.pool == "val"
    ]


def _counts(total: int, shares: dict[str, float]) -> dict[str, int]:
    """Images for each held-out side: its share, rounded, but one at least."""
    counts = {split: max(1, int(total * share + 0.5)) for split, share in shares.items()}
    while sum(counts.values()) >= total and max(counts.values()) > 1:
        counts[max(counts, key=lambda split: counts[split])] -= 1
    return counts


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

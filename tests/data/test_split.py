import random
from collections import Counter
from itertools import pairwise

import pytest

from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.sources.split import Entry, Pool, assign_splits, choose_subset, find_doubles
from alexnet_exp.errors import UserError

CLASSES = ["daisy", "rose", "tulip"]
GOLDEN = ["daisy/0003", "daisy/0005", "rose/0000", "rose/0007", "tulip/0003", "tulip/0005"]


def entries_of(counts: tuple[int, ...], pool: Pool = "all") -> list[Entry]:
    return [
        Entry(f"{pool}/{CLASSES[label]}/{i:04d}.jpg", label, pool, 10)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def assigned(
    entries: list[Entry], groups: list[int] | None = None, seed: int = 0, val: float = 0.1
) -> list[str]:
    groups = list(range(len(entries))) if groups is None else groups
    config = DataConfig(val_fraction=val, test_fraction=0.2, split_seed=seed)
    return assign_splits(entries, groups, CLASSES, config, "flowers")


def test_every_class_is_divided_in_proportion() -> None:
    entries = entries_of((200, 50, 3))
    counted = Counter(
        (entry.label, split) for entry, split in zip(entries, assigned(entries), strict=True)
    )
    assert [counted[0, split] for split in ("train", "val", "test")] == [140, 20, 40]
    assert [counted[1, split] for split in ("train", "val", "test")] == [35, 5, 10]
    assert [counted[2, split] for split in ("train", "val", "test")] == [1, 1, 1]


def test_order_of_the_listing_does_not_matter_and_the_seed_does() -> None:
    entries = entries_of((40, 30, 20))
    expected = dict(zip((e.name for e in entries), assigned(entries), strict=True))
    shuffled = random.Random(1).sample(entries, len(entries))
    assert dict(zip((e.name for e in shuffled), assigned(shuffled), strict=True)) == expected
    other = dict(zip((e.name for e in entries), assigned(entries, seed=1), strict=True))
    assert other != expected
    assert Counter(other.values()) == Counter(expected.values())


def test_split_is_the_one_of_the_first_release() -> None:
    """Results are only comparable as long as this does not change."""
    entries = entries_of((10, 10, 10))
    splits = assigned(entries)
    tested = [e.name for e, split in zip(entries, splits, strict=True) if split == "test"]
    assert tested == [f"all/{name}.jpg" for name in GOLDEN]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_with_too_few_images_is_named(count: int) -> None:
    with pytest.raises(UserError, match=rf"'tulip' in flowers has {count} distinct images.*add"):
        assigned(entries_of((9, 9, count)))
    if count:  # a copy is no image of its own
        with pytest.raises(UserError, match=rf"'tulip' in flowers has {count} distinct images"):
            assigned(entries_of((9, 9, count + 1)), [*range(18 + count), 18])


def test_a_small_class_gets_every_side_though_it_shares_copies() -> None:
    for seed in range(30):
        entries = entries_of((20, 20, 3))
        splits = assigned(entries, [*range(40), 0, 1, 2], seed=seed)  # tulips that are daisies
        assert sorted(splits[40:]) == ["test", "train", "val"]


CONTENTS = {
    "a": b"x" * 9000,
    "b": b"y" + b"x" * 8999,  # as a, but for the first byte
    "c": b"x" * 9000,
    "d": b"x" * 8999,
    "e": b"short",
    "f": b"short",
    "g": b"shOrt",
}


def test_doubles_are_found_with_few_bytes_read() -> None:
    read: Counter[tuple[str, int | None]] = Counter()

    def read_content(name: str, last: int | None) -> bytes:
        read[name, last] += 1
        return CONTENTS[name] if last is None else CONTENTS[name][-last:]

    names = list("gfedcba")
    entries = [Entry(name, 0, "all", len(CONTENTS[name])) for name in names]
    steps: list[int] = []
    groups = find_doubles(entries, read_content, steps.append)
    first = {name: names[groups[i]] for i, name in enumerate(names)}
    assert first == {"a": "a", "b": "b", "c": "a", "d": "d", "e": "e", "f": "e", "g": "g"}
    assert {name for name, last in read if last is None} == {"a", "b", "c"}
    assert not any(name == "d" for name, _ in read)
    assert sum(steps) == 7


def chosen(entries: list[Entry], splits: list[str], share: float, seed: int = 0) -> set[str]:
    groups = list(range(len(entries)))
    return {entries[i].name for i in choose_subset(entries, groups, splits, share, seed)}


@pytest.mark.parametrize("pool", ["all", "train"])
def test_a_subset_is_a_share_of_every_class_and_split(pool: Pool) -> None:
    entries = entries_of((200, 50, 12), pool) + entries_of((7, 8, 9), "test") * (pool == "train")
    splits = assigned(entries)
    whole = Counter((e.label, split) for e, split in zip(entries, splits, strict=True))
    split_of = {e.name: (e.label, split) for e, split in zip(entries, splits, strict=True)}
    for share in (0.001, 0.1, 0.25, 0.999, 1.0):
        counted = Counter(split_of[name] for name in chosen(entries, splits, share))
        assert counted == {
            (label, split): count if split == "test" else max(1, int(count * share + 0.5))
            for (label, split), count in whole.items()
        }


def test_a_smaller_subset_lies_in_a_larger_one_and_the_seed_matters() -> None:
    entries = entries_of((200, 50, 12))
    splits = assigned(entries)
    subsets = [chosen(entries, splits, share) for share in (0.02, 0.1, 0.2, 0.5, 0.9, 1.0)]
    for smaller, larger in pairwise(subsets):
        assert smaller < larger
    shuffled = random.Random(1).sample(list(zip(entries, splits, strict=True)), len(entries))
    assert chosen([e for e, _ in shuffled], [s for _, s in shuffled], 0.2) == subsets[2]
    assert chosen(entries, splits, 0.2, seed=1) != subsets[2]


def test_given_validation_images_and_copies_stay_whole() -> None:
    entries = entries_of((30, 30, 30), "train") + entries_of((5, 5, 5), "val")
    entries += entries_of((4, 4, 4), "test")
    splits = [entry.pool for entry in entries]
    groups = list(range(len(entries)))
    groups[7] = groups[3] = 1
    for seed in range(20):
        found = choose_subset(entries, groups, splits, 0.1, seed)
        assert {1, 3, 7} <= set(found) or not {1, 3, 7} & set(found)
        counted = Counter((entries[i].label, entries[i].pool) for i in found)
        assert {counted[label, "val"] for label in range(3)} == {5}
        assert {counted[label, "test"] for label in range(3)} == {4}
        assert {counted[label, "train"] for label in (1, 2)} == {3}

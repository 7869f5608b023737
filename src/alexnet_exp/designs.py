"""Two-level designs: which factors and pairs of factors share a contrast, and what is a design.

A combination of factors is a number with a bit for each that is on, 0 the one without any. A
design is a group of them under exclusive or.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_LARGEST = 1024  # combinations of which a design is thought to lack some


def contrasts(levels: NDArray[np.int8]) -> list[list[tuple[int, ...]]]:
    """Which factors and pairs of factors share a contrast, up to its sign, by their columns.

    Args:
        levels: (N, k) of -1 and 1; the rows are a group under products with the first one.

    Returns:
        N - 1 lists; one without a factor or a pair holds the first product of three or more.
    """
    found: dict[bytes, list[tuple[int, ...]]] = {}
    factors = range(levels.shape[1])
    for size in (1 + factor for factor in factors):
        if size > 2 and len(found) == len(levels) - 1:
            break
        for chosen in combinations(factors, size):
            column = levels[:, chosen].prod(axis=1)
            sharing = found.setdefault((column * column[0]).tobytes(), [])
            if size <= 2 or not sharing:
                sharing.append(chosen)
    return list(found.values())


def contrast_name(terms: Sequence[Sequence[str]]) -> str:
    """``no_lrn``; of interactions ``no_crops by no_lrn + no_dropout by no_flips``."""
    sign = " - " if len(terms[0]) == 1 else " + "
    return sign.join(" by ".join(term) for term in terms)


def clear_ones(sharing: Iterable[Sequence[Sequence[object]]]) -> str:
    """Of contrasts: ``15 of 21 interactions of two changes are clear, the others share 3 sums``."""
    sharing = list(sharing)
    pairs = [terms for terms in sharing if len(terms[0]) == 2]
    number = sum(len(term) == 2 for terms in sharing for term in terms)
    clear = sum(len(terms) == 1 for terms in pairs)
    text = f"{clear} of {number} interactions of two changes are clear"
    if clear < len(pairs):
        text += f", the others share {len(pairs) - clear} sums"
    mixed = sum(len(terms) > 1 for terms in sharing if len(terms[0]) == 1)
    return f"{text}; {mixed} main effects share theirs with interactions" if mixed else text


def span(masks: Sequence[int]) -> set[int]:
    """All exclusive ors of some; no more than ``_LARGEST``."""
    group = {0}
    for mask in masks:
        if mask not in group and len(group) < _LARGEST:
            group |= {mask ^ other for other in group}
    return group


def largest_group(masks: Iterable[int]) -> list[int]:
    """The largest set of combinations that is a two-level design in two factors or more.

    With the baseline in it, its factors are balanced and orthogonal just where it holds, of any
    two, what is in one of them alone, and no two factors are always together.
    """
    present = {*masks}
    best = [0]

    def grow(group: list[int], rest: list[int]) -> None:
        nonlocal best
        if len(group) > len(best) and _tells_apart(group):
            best = group
        while rest and 1 << (len(group) + len(rest)).bit_length() - 1 > len(best):
            doubled = [rest[0] ^ mask for mask in group]
            rest = [mask for mask in rest if mask not in doubled]
            if present.issuperset(doubled):
                grow([*group, *doubled], rest)

    grow([0], sorted(present - {0}))
    return sorted(best) if len(best) > 2 else []


def _tells_apart(group: Sequence[int]) -> bool:
    """Whether no two factors are together in all members."""
    union = int(np.bitwise_or.reduce(group))
    columns = [
        tuple(mask >> i & 1 for mask in group) for i in range(union.bit_length()) if union >> i & 1
    ]
    return len({*columns}) == len(columns)

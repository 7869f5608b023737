"""Two-level factorial designs: which experiments are combined in which jobs."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config import Config
from alexnet_exp.designs import clear_ones, contrast_name, contrasts
from alexnet_exp.errors import UserError

_MOST = 100_000  # ways to choose the products, of which all are looked at: a second


def combinations(factors: Sequence[str], runs: int | None) -> list[str]:
    """Values of ``+experiment=``: ``baseline`` first, ``no_lrn``, ``[no_dropout,no_lrn]``, ...

    Raises:
        UserError: The factors are no factors, or can't be spread over so many ``runs``.
    """
    named = ",".join(factors)
    if not 2 <= len({*factors}) == len(factors) <= 15 or Config.experiment in factors:
        raise UserError(
            f"sweep.factors=[{named}] must name 2 to 15 experiments, each once, and not"
            f" {Config.experiment}"
        )
    chosen = (sorted(itertools.compress(factors, row > 0)) for row in levels(len(factors), runs))
    return [
        names[0] if len(names) == 1 else f"[{','.join(names)}]"
        for names in (one or [Config.experiment] for one in chosen)
    ]


def levels(factors: int, runs: int | None) -> NDArray[np.int8]:
    """(runs, factors) of -1, without the change, and 1, with it; the first row is all -1.

    ``runs`` is a power of 2; None: as many as pyDOE3 has for resolution IV, where no main effect
    shares its contrast with another or with an interaction of two, or all 2^factors where it has
    no such design. Of the designs with so many runs it is one of minimum aberration (Fries and
    Hunter 1980), whose interactions of two share fewest contrasts: pyDOE3's own for 5 factors in 16
    runs lets three pairs of interactions share one, this none.

    Raises:
        UserError: There is no such design, or none that is found within a second.
    """
    from pyDOE3 import ff2n, fracfact, fracfact_by_res  # with SciPy, which takes a second

    try:
        made = fracfact_by_res(factors, 4)
    except ValueError:
        made = ff2n(factors)
    runs = len(made) if runs is None else runs
    base = runs.bit_length() - 1
    if runs != 2**base or not factors < runs <= 2**factors:
        raise UserError(
            f"sweep.runs={runs} must be a power of 2, {2 ** factors.bit_length()} to {2**factors}"
            f" for {factors} factors"
        )
    if math.comb(runs - base - 1, factors - base) <= _MOST:
        made = fracfact(" ".join(_generators(factors, base)))
    elif runs != len(made):
        raise UserError(f"sweep.runs={runs} is not known for {factors} factors: leave it out")
    return (made * -made[0]).astype(np.int8)


def _generators(factors: int, base: int) -> list[str]:
    """The first ``base`` factors by a letter each, the others as products of these."""
    products = [word for word in range(2**base) if word.bit_count() > 1]

    def aberration(chosen: Sequence[int]) -> list[int]:
        """How many words of 3, 4, ... factors are constant over the runs."""
        words = [0]
        for place, product in enumerate(chosen, base):
            words += [word ^ product ^ 1 << place for word in words]
        lengths = Counter(map(int.bit_count, words))
        return [lengths[length] for length in range(3, factors + 1)]

    best = min(itertools.combinations(products, factors - base), key=aberration)
    chosen = (itertools.compress(ascii_lowercase, map(int, f"{word:b}"[::-1])) for word in best)
    return [*ascii_lowercase[:base], *map("".join, chosen)]


def describe(factors: Sequence[str], runs: int | None) -> str:
    """What such a design can tell, for the screen."""
    made = levels(len(factors), runs)
    sharing = contrasts(made)
    lines = [
        f"{len(made)} of {2 ** len(factors)} combinations of {len(factors)} experiments, each on in"
        f" {len(made) // 2}; {clear_ones(sharing)}"
    ]
    lines += [
        contrast_name([[factors[i] for i in term] for term in terms])
        for terms in sharing
        if len(terms) > 1
    ]
    return "\n  ".join(lines)

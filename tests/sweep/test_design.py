"""Factorial designs: balanced, orthogonal, and as clear as so many runs allow."""

from itertools import combinations

import numpy as np
import pytest

from alexnet_exp.config.compose import as_hydra
from alexnet_exp.designs import contrasts
from alexnet_exp.errors import UserError
from alexnet_exp.sweep import design
from alexnet_exp.sweep.design import describe, levels

SEVEN = [
    "no_lrn", "non_overlapping_pooling", "no_dropout", "no_color_noise", "no_crops", "no_flips",
    "no_tower_communication",
]  # fmt: skip


@pytest.mark.parametrize(
    ("factors", "runs", "expected", "clear"),
    [
        (2, None, 4, 1), (3, None, 8, 3), (4, None, 16, 6), (5, None, 16, 10), (6, None, 16, 0),
        (7, None, 16, 0), (7, 32, 32, 15), (7, 64, 64, 21), (7, 128, 128, 21), (8, 32, 32, 13),
        (11, None, 32, 0), (15, None, 32, 0),
    ],
)  # fmt: skip
def test_designs_are_orthogonal_and_tell_factors_from_pairs(
    factors: int, runs: int | None, expected: int, clear: int
) -> None:
    made = levels(factors, runs)
    assert made.shape == (expected, factors)
    assert (made[0] == -1).all(), "the baseline"
    assert len({row.tobytes() for row in made}) == expected
    columns = made.astype(int)
    assert (columns.T @ columns == expected * np.eye(factors)).all()
    assert (columns.sum(0) == 0).all()
    pairs = np.array([columns[:, pair].prod(1) for pair in combinations(range(factors), 2)])
    assert (pairs @ columns == 0).all(), "resolution IV"
    alone = (np.abs(pairs @ pairs.T) == expected).sum(0) == 1
    assert alone.sum() == clear


def test_a_small_design_says_what_it_mixes() -> None:
    """Seven factors in eight runs: each effect is one with three pairs."""
    sharing = contrasts(levels(7, 8))
    assert sorted(map(len, sharing)) == [4] * 7
    text = describe(SEVEN, 8)
    assert "0 of 21 interactions of two changes are clear; 7 main effects share theirs with" in text
    assert "\n  no_lrn - " in text


def test_combinations_are_values_of_experiment() -> None:
    found = design.combinations(["no_lrn", "no_crops", "tanh"], None)
    assert found == [
        "baseline", "tanh", "no_crops", "[no_crops,tanh]", "no_lrn", "[no_lrn,tanh]",
        "[no_crops,no_lrn]", "[no_crops,no_lrn,tanh]",
    ]  # fmt: skip
    assert len(design.combinations(SEVEN, None)) == 16
    text = describe(SEVEN, 32)
    assert text.startswith("32 of 128 combinations of 7 experiments, each on in 16; 15 of 21 ")
    assert text.endswith("the others share 3 sums\n" + "\n".join(text.splitlines()[1:]))
    assert len(text.splitlines()) == 4


def test_a_sweep_and_agents_of_wandb_give_a_combination_the_same_seed() -> None:
    names = ["no_crops", "no_dropout", "no_lrn"]
    made = design.combinations(names, 8)
    for number, value in enumerate(made):
        switches = [f"{name}={name in value}" for name in names]
        experiment = f"+experiment=[{value.strip('[]')}]"
        assert as_hydra([*switches, "seed=2"]) == [experiment, f"seed={2 * 8 + number}"]


@pytest.mark.parametrize(
    ("factors", "runs", "message"),
    [
        (SEVEN[:1], None, r"sweep.factors=\[no_lrn\] must name 2 to 15 experiments"),
        (["tanh", "tanh"], None, "each once"),
        (["tanh", "baseline"], None, "and not baseline"),
        ([f"a{i}" for i in range(16)], None, "2 to 15"),
        (SEVEN, 4, "sweep.runs=4 must be a power of 2, 8 to 128 for 7 factors"),
        (SEVEN, 24, "sweep.runs=24 must be a power of 2"),
        (SEVEN, 256, "8 to 128"),
        ([f"a{i}" for i in range(12)], 64, "sweep.runs=64 is not known for 12 factors: leave"),
    ],
)
def test_what_is_no_design_is_refused(factors: list[str], runs: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        design.combinations(factors, runs)

"""Factorial designs: found among runs, with effects, interactions and intervals as they are."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from alexnet_exp.report import factorial
from alexnet_exp.report.claims import Metric
from alexnet_exp.report.factorial import factorials
from alexnet_exp.report.findings import Direction, Factorial
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.results import Replicate
from alexnet_exp.sweep.design import levels
from tests.report import drawn_report as drawn

NAMES = tuple("abcdefg")
IMAGES = 480
EFFECTS = {"a": 24, "c": -18, "g": 6, "ab": 12, "cd": -6, "ef": 4}
"""Wrong images more with the change than without; of pairs, half of the difference of these."""


@pytest.fixture(autouse=True)
def _fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each experiment sets a field of its name, but for those in capitals, which nobody knows."""
    monkeypatch.setattr(
        factorial, "factor_fields", lambda name: {name: 0} if name.islower() else {}
    )


def cells_of(
    design: NDArray[np.int8],
    wrong: Sequence[NDArray[np.bool_]],
    names: Sequence[str] = NAMES,
    folds: int = 1,
) -> list[Cell]:
    """A cell for each row, with (S, I) wrong; seed s is of fold s % folds."""
    return [
        cell_of([name for name, level in zip(names, row, strict=True) if level > 0], errors, folds)
        for row, errors in zip(design, wrong, strict=True)
    ]


def cell_of(experiments: Sequence[str], wrong: NDArray[np.bool_], folds: int = 1) -> Cell:
    cell = drawn.cell("+".join(sorted(experiments)) or "baseline", 0, len(wrong), 1)
    cell.fields = {"optim.lr": 0.1, **dict.fromkeys(experiments, 1)}
    cell.runs = {
        Replicate(seed % folds, seed): replace(
            run,
            replicate=Replicate(seed % folds, seed),
            wrong={Metric.top1: wrong[seed]},
            index=np.arange(wrong.shape[1]) + 1000 * (seed % folds),
            labels=np.arange(wrong.shape[1]) % 5,
        )
        for seed, run in enumerate(cell.runs.values())
    }
    return cell


def wrong_in_expectation(design: NDArray[np.int8], seeds: int = 2) -> list[NDArray[np.bool_]]:
    """(S, I) of each row, with just as many wrong images as ``EFFECTS`` has it; seeds differ."""
    totals = []
    for row in design:
        level = dict(zip(NAMES, row, strict=False))
        parts = (size * np.prod([level[name] for name in key]) for key, size in EFFECTS.items())
        totals.append(120 + sum(parts) / 2)
    assert all(total == int(total) for total in totals)
    images = np.arange(IMAGES)
    return [
        np.array([(images + 7 * seed) % IMAGES < total for seed in range(seeds)])
        for total in totals
    ]


def points(design: Factorial) -> dict[str, float]:
    return {e.name: IMAGES * e.difference.estimate for e in (*design.effects, *design.interactions)}


@pytest.mark.parametrize(("runs", "clear", "sums"), [(16, 0, 7), (32, 15, 3), (128, 21, 0)])
def test_effects_and_interactions_are_those_of_the_runs(runs: int, clear: int, sums: int) -> None:
    design = levels(7, runs)
    cells = cells_of(design, wrong_in_expectation(design))
    alone = [cell_of([name], cells[0].first.wrong[Metric.top1][None]) for name in "abz"]
    order = np.random.default_rng(0).permutation(runs)
    given = [*alone[: 0 if runs == 128 else 2], *(cells[i] for i in order), alone[2]]
    (found,) = factorials(given)
    assert (found.factors, found.combinations) == (NAMES, runs)
    measured = points(found)
    assert {name: round(measured[name], 6) for name in NAMES} == {
        name: EFFECTS.get(name, 0) for name in NAMES
    }
    seen = [term for effect in found.interactions for term in effect.terms]
    assert sorted(seen) == list(combinations(NAMES, 2))
    for effect in found.interactions:
        expected = sum(EFFECTS.get("".join(term), 0) for term in effect.terms)
        assert IMAGES * effect.difference.estimate == pytest.approx(expected, abs=1e-3)
        columns = [design[:, [NAMES.index(name) for name in term]].prod(1) for term in effect.terms]
        assert all((column == columns[0]).all() for column in columns)
    sizes = [len(effect.terms) for effect in found.interactions]
    assert (sizes.count(1), len(sizes) - sizes.count(1)) == (clear, sums)
    assert len(found.others) == runs - 1 - 7 - len(sizes)
    text = " ".join(found.sentences)
    assert f"{clear} of 21 interactions of two changes are clear" in text
    assert (f"share {sums} sums" in text) == (sums > 0)
    assert found.interactions[0].name in text

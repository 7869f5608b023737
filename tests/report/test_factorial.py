"""Factorial designs: found among runs, with effects, interactions and intervals as they are."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from alexnet_exp.config.changes import factor_fields
from alexnet_exp.report import factorial
from alexnet_exp.report.__main__ import make_report, write
from alexnet_exp.report.claims import Metric, claim_about
from alexnet_exp.report.documents import write_csv
from alexnet_exp.report.factorial import factorials
from alexnet_exp.report.findings import Factorial, Finding, Report, Verdict
from alexnet_exp.report.forest import differences
from alexnet_exp.report.half_normal import half_normal
from alexnet_exp.report.pairing import Cell, cells
from alexnet_exp.report.power import seeds_needed
from alexnet_exp.report.prospects import commands, plan
from alexnet_exp.report.statistics import corrected_resampled
from alexnet_exp.runs.read import run_folders
from alexnet_exp.runs.results import Placement, Replicate, read_runs
from alexnet_exp.sweep.design import levels
from tests.report import drawn_report as drawn
from tests.report.test_figures import texts
from tests.report.test_tables import screen

NAMES = tuple("abcdefg")
IMAGES = 480
LONG = (pytest.mark.long, pytest.mark.timeout(1800))
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
    own_seeds: bool = False,
) -> list[Cell]:
    """A cell for each row, with (S, I) wrong; seed s is of fold s % folds."""
    return [
        cell_of(
            [name for name, level in zip(names, row, strict=False) if level > 0],
            errors,
            folds,
            seeds=range(place, 1000, len(design)) if own_seeds else range(1000),
        )
        for place, (row, errors) in enumerate(zip(design, wrong, strict=True))
    ]


def cell_of(
    experiments: Sequence[str],
    wrong: NDArray[np.bool_],
    folds: int = 1,
    margin: float | None = None,
    seeds: Sequence[int] = range(1000),
) -> Cell:
    """Runs with what a design reads of them."""
    runs: dict[Replicate, Any] = {
        Replicate(seed % folds, seed): SimpleNamespace(
            replicate=Replicate(seed % folds, seed),
            margin=margin,
            path=Path("+".join(experiments), f"seed_{seed}"),
            result={"data": "flowers", "synthetic": False},
            wrong={"top1": errors},
            index=np.arange(len(errors)) + 1000 * (seed % folds),
            labels=np.arange(len(errors)) % 5,
        )
        for seed, errors in zip(seeds, wrong, strict=False)
    }
    fields = {"optim.lr": 0.1, **dict.fromkeys(experiments, 1)}
    name = "+".join(sorted(experiments)) or "baseline"
    return Cell(name, fields, dict(sorted(runs.items())), {Placement(): runs})


def wrong_in_expectation(design: NDArray[np.int8], seeds: int = 2) -> list[NDArray[np.bool_]]:
    """(S, I) of each row, with just as many wrong images as ``EFFECTS`` has it; seeds differ."""
    totals = []
    for row in design:
        level = dict(zip(NAMES, row, strict=False))
        parts = (
            size * np.prod([level.get(name, -1) for name in key]) for key, size in EFFECTS.items()
        )
        totals.append(120 + sum(parts) / 2)
    assert all(total == int(total) for total in totals)
    images = np.arange(IMAGES)
    return [
        np.array([(images + 7 * seed) % IMAGES < total for seed in range(seeds)])
        for total in totals
    ]


def terms(interaction: Finding) -> list[tuple[str, ...]]:
    """Pairs that share its contrast."""
    return [tuple(pair.split(" by ")) for pair in interaction.claim.name.split(" + ")]


def points(design: Factorial) -> dict[str, float]:
    return {e.claim.name: IMAGES * e.difference for e in (*design.effects, *design.interactions)}


@pytest.mark.parametrize(("runs", "clear", "sums"), [(16, 0, 7), (32, 15, 3), (128, 21, 0)])
def test_effects_and_interactions_are_those_of_the_runs(runs: int, clear: int, sums: int) -> None:
    design = levels(7, runs)
    cells = cells_of(design, wrong_in_expectation(design))
    alone = [cell_of([name], cells[0].first.wrong["top1"][None]) for name in "abz"]
    order = np.random.default_rng(0).permutation(runs)
    given = [*alone[: 0 if runs == 128 else 2], *(cells[i] for i in order), alone[2]]
    (found,) = factorials(given)
    assert (found.factors, len(found.cells)) == (NAMES, runs)
    measured = points(found)
    assert {name: round(measured[name], 6) for name in NAMES} == {
        name: EFFECTS.get(name, 0) for name in NAMES
    }
    seen = [term for effect in found.interactions for term in terms(effect)]
    assert sorted(seen) == list(combinations(NAMES, 2))
    for effect in found.interactions:
        expected = sum(EFFECTS.get("".join(term), 0) for term in terms(effect))
        assert IMAGES * effect.difference == pytest.approx(expected, abs=1e-3)
        columns = [
            design[:, [NAMES.index(name) for name in term]].prod(1) for term in terms(effect)
        ]
        assert all((column == columns[0]).all() for column in columns)
    sizes = [len(terms(effect)) for effect in found.interactions]
    assert (sizes.count(1), len(sizes) - sizes.count(1)) == (clear, sums)
    assert len(found.others) == runs - 1 - 7 - len(sizes)
    text = " ".join(found.sentences)
    assert f"{clear} of 21 interactions of two changes are clear" in text
    assert (f"share {sums} sums" in text) == (sums > 0)
    sizes_of = [abs(effect.difference) for effect in found.interactions]
    assert sizes_of == sorted(sizes_of, reverse=True)


def test_run_folders_become_a_design(tmp_path, made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factorial, "factor_fields", factor_fields)
    fields = {
        "no_crops": "augmentation.crops=false",
        "no_dropout": "model.dropout=0.0",
        "no_lrn": "model.normalization=none",
    }
    design = levels(3, None)
    for row, wrong in zip(design, wrong_in_expectation(design), strict=True):
        on = [name for name, level in zip(fields, row, strict=True) if level > 0]
        name = "+".join(on) or "baseline"
        for seed, errors in enumerate(wrong):
            set_here = [fields[one] for one in on]
            made(name, *set_here, experiment=name, seed=seed, wrong=errors)
    (found,) = factorials(cells(read_runs(run_folders(tmp_path)).runs))
    assert (found.factors, len(found.cells)) == (tuple(fields), 8)
    assert points(found)["no_crops"] == pytest.approx(EFFECTS["a"])
    assert points(found)["no_crops by no_dropout"] == pytest.approx(EFFECTS["ab"])


@pytest.mark.parametrize("margin", [None, 0.04])
def test_a_plan_says_what_would_settle_main_effects(tmp_path, made, monkeypatch, margin) -> None:
    """Each has its own number of seeds, all have the command of the one that takes most."""
    monkeypatch.setattr(factorial, "factor_fields", factor_fields)
    recorded = [f"sweep.margin={margin}"] if margin else []
    generator, design = np.random.default_rng(3), levels(2, None)
    rows = noisy(design @ np.array([1.5, 1.0]), 3, generator)
    names = ("no_dropout", "no_lrn")
    for row, wrong in zip(design, rows, strict=True):
        on = [name for name, level in zip(names, row, strict=True) if level > 0]
        given = f"+experiment=[{','.join(on)}]" if on else "+experiment=baseline"
        for seed, errors in enumerate(wrong):
            made("+".join(on) or "b", given, *recorded, seed=seed, wrong=errors)
    report = make_report(tmp_path)
    (found,) = report.factorials
    steps = {step.idea: step for step in plan(report) if "2 ideas combined" in step.place}
    needed = {}
    for effect in found.effects:
        parts, freedom = effect.components, effect.freedom
        error = (effect.high - effect.low) / 2 / stats.t.ppf(0.975, freedom)
        assert parts.variance(3, 1) == pytest.approx(error**2)
        networks = min(effect.networks, freedom / 2)  # those of a network with three seeds
        known = effect.components, effect.difference, 1, networks, effect.share
        ways = [seeds_needed(*known), *([seeds_needed(*known, margin)] if margin else [])]
        needed[effect.claim.idea] = min(ways)
        step = steps[effect.claim.idea]
        assert step.needed == f"{min(ways)} seeds"
        within = "margin of 4 points" in step.wanted
        assert within == (len(ways) > 1 and ways[1] < ways[0])
        assert (step.now, bool(step.power)) == ("3 seeds", within), "none for what was seen"
        assert step.hours == pytest.approx(4 * (min(ways) - 3) * 11 / 3600)  # of 10, 11 and 12 s
    assert len({*needed.values()}) == len(steps) == 2
    assert min(needed.values()) > 3
    (line,) = {step.command for step in steps.values()}
    assert f"seed=range({max(needed.values())})" in line
    for word in ("baseline", "no_dropout", "no_lrn", "[no_dropout,no_lrn]"):
        assert word in line.partition("+experiment=")[2]
    labels = [
        f"{effect.claim.idea} ({steps[effect.claim.idea].needed})" for effect in found.effects
    ]
    assert commands(steps.values()) == {line: labels}


def test_main_effects_stand_beside_nothing_published_but_what_an_idea_does_by_itself() -> None:
    names = ("no_crops", "no_dropout", "no_lrn")
    wrong = wrong_in_expectation(levels(3, None))
    (found,) = factorials(cells_of(levels(3, None), wrong, names))
    single = Report("runs", "now", (), (), (found,))
    forest = differences(single, Metric.top1)
    assert not {"published", "by itself", "no figure"} & {*texts(forest.svg)}
    assert "Diamonds" not in forest.caption
    both = differences(replace(drawn.small(), factorials=(found,)), Metric.top1)
    assert {"published", "by itself", "+1.37"} <= {*texts(both.svg)}
    assert texts(both.svg).count("\N{WHITE UP-POINTING TRIANGLE} +1.4") == 1, (
        "beside LRN in the design"
    )
    assert "a triangle is the difference where only that idea" in both.caption


def test_a_run_of_single_changes_is_no_design() -> None:
    wrong = np.zeros((2, IMAGES), np.bool_)
    wrong[:, :100] = True
    single = [cell_of(names, wrong) for names in ([], ["a"], ["b"], ["c"])]
    assert factorials(single) == []
    assert factorials([*single[:2], cell_of(["a", "b"], wrong)]) == []
    (found,) = factorials([*single, cell_of(["a", "b"], wrong), cell_of(["a", "d"], wrong)])
    assert (found.factors, len(found.cells)) == (("a", "b"), 4)
    together = [cell_of(names, wrong) for names in ([], "ab", "cd", "abcd")]
    assert factorials(together) == [], "a and b can't be told apart"


def test_a_design_within_another_is_found_where_the_larger_has_gaps() -> None:
    """A half of all combinations with every seventh of the other half: the half is taken."""
    design = levels(7, 128)
    inside = design.prod(axis=1) == design[0].prod()
    kept = inside | (np.arange(128) % 7 == 0)
    (found,) = factorials(cells_of(design[kept], wrong_in_expectation(design[kept], 1)))
    assert (len(found.cells), found.factors) == (64, NAMES)
    assert all(len(terms(effect)) == 1 for effect in found.interactions)


def test_a_sweep_of_single_changes_costs_a_design_nothing() -> None:
    """Its baselines have seeds of other combinations, each of which counts once."""
    design = levels(7, 16)
    errors = noisy(design @ np.array([4.0, 1, 0, 0, 0, 0, 0]), 3, np.random.default_rng(6))
    members = cells_of(design, errors, own_seeds=True)
    (alone,) = factorials(members)
    base = members[0]
    more = {Replicate(0, seed): base.runs[Replicate(0, 0)] for seed in range(15)}
    base.runs.update({one: run for one, run in more.items() if one not in base.runs})
    (found,) = factorials(members)
    assert points(found) == points(alone)
    assert "3 runs of each with seeds of its own" in found.sentences[0]
    assert any(sentence.startswith("14 runs left out: ") for sentence in found.sentences)


def test_missing_runs_are_named() -> None:
    design = levels(7, 16)
    cells = cells_of(design, wrong_in_expectation(design, 3))
    whole = factorials(cells)[0]
    lost = next(cell for cell in cells if cell.experiment == "c+e+g")
    del lost.runs[Replicate(0, 1)]
    (found,) = factorials(cells)
    assert [one.seed for one in found.replicates] == [0, 2]
    assert "15 runs left out: another has the seed, or not all do." in found.sentences
    assert found.effects[0].verdict is Verdict.helps
    assert {name: round(size, 6) for name, size in points(found).items()} == {
        name: round(size, 6) for name, size in points(whole).items()
    }
    lost.diverged.add(Replicate(0, 1))
    (found,) = factorials(cells)
    reason = "1 of 3 seeds of c+e+g diverged, and the others by themselves would mislead"
    assert f"No effect is resolved: {reason}." in found.sentences
    assert {effect.verdict for effect in found.effects} == {Verdict.not_resolved}
    (found,) = factorials([cell for cell in cells if cell is not lost])
    assert found.effects == ()
    assert found.sentences == ("No design: of 16 combinations c+e+g have no finished run.",)
    lost.runs = {Replicate(0, 2): lost.runs[Replicate(0, 2)]}
    cells[0].runs.pop(Replicate(0, 2))
    (found,) = factorials(cells)
    assert found.sentences == (
        "No design: no seed in common to its 16 combinations, nor seeds of their own.",
    )


def test_seeds_of_their_own_give_all_contrasts_the_same_variance(tmp_path) -> None:
    """The mean over all networks, known far better than that of a contrast by itself."""
    design = levels(7, 16)
    errors = noisy(design @ np.array([4.0, 1, 0, 0, 0, 0, 0]), 3, np.random.default_rng(6))
    alone = cells_of(design, errors, own_seeds=True)
    (found,) = factorials(alone)
    every = (*found.effects, *found.interactions)
    assert "3 runs of each with seeds of its own" in found.sentences[0]
    (run,) = {round(effect.components.run, 12) for effect in every}
    between = np.mean([each.mean(1).var(ddof=1) for each in errors])
    assert run == pytest.approx(4 / 16 * between, rel=0.2), "no less than the residual's"
    assert min(effect.freedom for effect in every) > 10
    write_csv(Report("runs", "now", (), (), (found,)), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        rows = [(row["n_seeds"], row["seeds"].split()) for row in csv.DictReader(file)]
    assert rows == [("48", [str(seed) for seed in range(48)])] * len(every), "not the baseline's"
    common = factorials(cells_of(design, errors))[0]
    assert points(found) == pytest.approx(points(common))
    assert "of its own" not in common.sentences[0]

    for cell in alone:  # a sweep of one change at a time lies beside it
        if "+" not in cell.experiment:
            runs = list(cell.runs.values())
            cell.runs.update({Replicate(0, 500 + n): run for n, run in enumerate(runs)})
    assert points(factorials(alone)[0]) == points(found)
    lost = next(cell for cell in alone if cell.experiment.count("+") == 2)
    lost.runs.pop(max(lost.runs))
    (fewer,) = factorials(alone)
    assert len(fewer.replicates) == 3 * len(design) - 1 + 3, "all count, more of the baseline too"
    assert "2 to 6 runs of each with seeds of its own" in fewer.sentences[0]
    means = np.array([np.mean([r.wrong["top1"] for r in c.runs.values()]) for c in fewer.cells])
    for name in "abcdefg":
        without = np.array([name in cell.experiment.split("+") for cell in fewer.cells])
        by_hand = means[without].mean() - means[~without].mean()
        assert points(fewer)[name] == pytest.approx(IMAGES * by_hand)


def test_combinations_differ_in_their_factors_alone() -> None:
    design = levels(3, None)
    wrong = wrong_in_expectation(design)
    first, second = cells_of(design, wrong), cells_of(design, wrong)
    for cell in second:
        cell.fields["optim.lr"] = 0.2
    assert len(factorials([*first, *second])) == 2, "one for each learning rate"
    mixed = [first[0], *second[1:]]
    (found,) = factorials(mixed)
    assert found.sentences == ("No design: its combinations also differ in optim.lr (0.1, 0.2).",)
    with_c = [cell for cell in first if "c" in cell.experiment]
    for cell in with_c:
        cell.fields["optim.lr"] = 0.2
    assert "also differ in optim.lr" in factorials(first)[0].sentences[0], "c does not set it"
    for cell in first:
        cell.experiment = cell.experiment.replace("c", "C")
    assert factorials(first)[0].factors == ("C", "a", "b"), "an experiment of the user's own may"
    with_c[0].first.index[0] = 999
    assert "other test images in" in factorials(first)[0].sentences[0]


def test_networks_that_learned_nothing_settle_nothing() -> None:
    design = levels(3, None)
    wrong = wrong_in_expectation(design)
    wrong[5] = np.arange(2 * IMAGES).reshape(2, IMAGES) % 5 > 0
    (found,) = factorials(cells_of(design, wrong))
    assert found.sentences[0].startswith("No effect is resolved: not above chance: a+c (80.0 %);")
    assert min(effect.p_adjusted for effect in found.effects) < 0.05
    assert {effect.verdict for effect in found.effects} == {Verdict.not_resolved}


def test_a_margin_tells_a_small_effect_from_an_open_one() -> None:
    found: dict[float | None, list[Verdict]] = {}
    for margin in (None, 0.001, 0.9):
        rng = np.random.default_rng(3)
        levels = np.array(list(product((-1, 1), repeat=3)))
        cells = [
            cell_of([n for n, on in zip("abc", row, strict=True) if on > 0],
                    rng.random((4, IMAGES)) < (0.5 if row[0] > 0 else 0.2), margin=margin)
            for row in levels
        ]  # fmt: skip
        (design,) = factorials(cells)
        found[margin] = [effect.verdict for effect in design.effects]
        assert {pair.verdict for pair in design.interactions} == {Verdict.not_resolved}
    assert found[None] == found[0.001] == [Verdict.helps] + 2 * [Verdict.not_resolved]
    assert found[0.9] == [Verdict.helps] + 2 * [Verdict.below_margin]


def test_margins_that_differ_do_not_count() -> None:
    rng = np.random.default_rng(3)
    cells = [
        cell_of(names, rng.random((4, IMAGES)) < 0.3, margin=margin)
        for names, margin in (((), 0.03), (["a"], 0.03), (["b"], 0.05), (["a", "b"], 0.03))
    ]
    (design,) = factorials(cells)
    assert "The runs recorded margins of 3 and 5 points: none counts." in design.sentences
    assert {effect.margin for effect in design.effects} == {None}


def test_folds_are_joined() -> None:
    design = levels(3, None)
    (found,) = factorials(cells_of(design, wrong_in_expectation(design, 4), folds=2))
    assert found.images == 2 * IMAGES
    assert points(found)["a"] == pytest.approx(EFFECTS["a"])
    assert len(found.replicates) == 4
    assert found.effects[0].p_value is not None


def test_a_design_has_the_interval_over_folds_too() -> None:
    """For new training sets: each effect has a value in each fold."""
    design = levels(3, None)
    errors = noisy(design @ np.array([4.0, 1, 0]), 6, np.random.default_rng(2))
    members = cells_of(design, errors, folds=3)
    for cell in members:
        cell.fields |= {"data.folds": 3, "data.val_fraction": 0.1}
    (found,) = factorials(members)
    in_folds = np.array([[wrong[f::3].mean() for f in range(3)] for wrong in errors])
    for effect in found.effects:
        column = design[:, "abc".index(effect.claim.name)]
        each = in_folds[column > 0].mean(0) - in_folds[column < 0].mean(0)
        expected = corrected_resampled(each, (1 / 3) / (1 - 1 / 3 - 0.1))
        assert effect.resampled == pytest.approx(expected)


def test_tables_show_effects_beside_the_changes_by_themselves(tmp_path, monkeypatch) -> None:
    names = ("no_crops", "no_dropout", "no_lrn")
    design = levels(3, None)
    wrong = wrong_in_expectation(design)
    for each in wrong:
        each[:, -1] = np.arange(2) > 0  # one image that seeds differ in
    (found,) = factorials(cells_of(design, wrong, names))
    report = replace(drawn.small(), factorials=(found,))
    write(report, tmp_path)
    text = (tmp_path / "report.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| LRN | +1.37 | +1.4 [")]
    effect = next(effect for effect in found.effects if effect.claim.name == "no_lrn")
    half = (effect.high - effect.low) / 2
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (cells[3], cells[6]) == ("\N{MINUS SIGN}2.5", "hurts"), "12 fewer in 480"
    ends = f"[{100 * (-12 / 480 - half):+.1f}, {100 * (-12 / 480 + half):+.1f}]"
    assert cells[4] == ends.replace("-", "\N{MINUS SIGN}")
    assert cells[1:3] == ["+1.37", "+1.4 [+0.2, +2.6]"], "the idea's own row has the same"
    assert "| idea | published for it alone, on ImageNet | by itself | measured |" in text
    (pair,) = [line for line in text.splitlines() if line.startswith("| crops by dropout | +2.5 |")]
    assert pair.endswith("| above 0 |")
    narrow, wide = (screen(report, width, monkeypatch) for width in (80, 150))
    assert ("…" in narrow, "+1.4 [+0.2, +2.6]" in wide) == (False, True)
    answer = (
        "Of 3 ideas combined in 8 networks 2 have an answer on flowers (photos, 2 runs of each):"
        " crops helps; LRN hurts. Not resolved: dropout."
    )
    alone = "Of 1 idea left out by itself (compared with the paper) 1 has an answer on flowers"
    page = (tmp_path / "report.html").read_text()
    for place in (text, page):
        assert alone in place
        assert answer in place
        assert "3 of 3 interactions of two changes are clear." in place
    assert page.count('<b class="helps">') == 2, "the idea by itself, and crops"
    assert page.count('<b class="hurts">') == 1
    assert page.count("flowers: 3 ideas combined") > 2, "the picture has them, too"
    assert page.count('<span data-label="by itself">+1.4</span>') == 1
    assert page.count('<span data-label="published for it alone, on ImageNet">+1.37</span>') == 1
    assert page.count("480 test images") == text.count("480 test images") == 1, "not in each row"
    assert text.count("  - published: +1.37 on ILSVRC-2012 validation, ten views") == 2
    shown = texts(differences(report, Metric.top1).svg)
    for kind in ("published", "by itself"):  # in the legend, and over the numbers of its section
        assert shown.count(kind) == 2
    figure = half_normal(found, 0)
    assert figure.title in page
    assert "The largest, with their signs: 1: crops, +5.0; 2: LRN" in figure.caption


def noisy(
    effects: Sequence[float], seeds: int, generator: np.random.Generator, images: int = IMAGES
) -> list[NDArray[np.bool_]]:
    """(S, I) wrong of networks that differ so in points of error; seeds differ by 2 points."""
    difficulty = generator.uniform(0, 100, images)
    return [
        difficulty + generator.normal(0, 5, (seeds, images)) < 20 + effect + level
        for effect in effects
        for level in [generator.normal(0, 2, (seeds, 1))]
    ]


def test_one_seed_has_the_spread_of_small_contrasts() -> None:
    """Lenth's method, against his formula on the contrasts, and where it can't be had."""
    design = levels(7, 16)
    generator = np.random.default_rng(3)
    (found,) = factorials(cells_of(design, noisy(5 * design[:, 0], 1, generator)))
    sizes = np.abs([e.difference for e in (*found.effects, *found.interactions)])
    sizes = np.append(sizes, np.abs(found.others))
    assert len(sizes) == 15
    trimmed = sizes[sizes < 2.5 * 1.5 * np.median(sizes)]
    assert len(trimmed) < 15
    assert found.pseudo_error == pytest.approx(1.5 * np.median(trimmed))
    for e in found.effects:
        assert (e.high - e.low) / 2 / stats.t.ppf(0.975, e.freedom) >= found.pseudo_error
    assert all(e.freedom > 4.9 for e in found.effects)
    assert [e.verdict for e in found.effects] == [Verdict.helps] + 6 * [Verdict.not_resolved]
    assert "One seed: the spread of the smaller contrasts stands for that of seeds." in (
        found.sentences
    )
    small = levels(2, None)
    (found,) = factorials(cells_of(small, noisy(5 * small[:, 0], 1, generator)))
    assert found.effects[0].p_value is None
    assert "No intervals: they take two seeds, or eight combinations." in found.sentences


@pytest.mark.parametrize("own_seeds", [False, True])
@pytest.mark.parametrize(
    ("seeds", "trials"),
    [(1, 25), (3, 12), *(pytest.param(s, 600, marks=LONG) for s in (1, 2, 5))],
)
def test_no_effect_is_rarely_called_one(seeds: int, trials: int, own_seeds: bool) -> None:
    """Of the seven in any of so many designs; within the error of the trials (99.9 %)."""
    design, generator = levels(7, 16), np.random.default_rng(4)
    wrong = 0
    for _ in range(trials):
        made = noisy(16 * [0.0], seeds, generator)
        (found,) = factorials(cells_of(design, made, own_seeds=own_seeds))
        wrong += any(e.verdict is not Verdict.not_resolved for e in found.effects)
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)


@pytest.mark.parametrize("trials", [150, pytest.param(4000, marks=LONG)])
def test_variance_at_equal_numbers_of_runs(trials: int) -> None:
    """Seven changes in sixteen runs, as a factorial or one at a time with two seeds each.

    A difference of two seeds against two has the variance of one run, an effect of eight runs
    against eight a quarter of it: that holds just for what differs from run to run, on the same
    test images, whether runs of one seed are paired or not. Measured with 4,000
    trials: .244 (standard deviations of 1.07 and 2.18 points).
    Test images that are drawn anew add to both, as far as they take to a change.
    """
    design, generator = levels(7, 16), np.random.default_rng(5)
    combined, single = [], []
    for _ in range(trials):
        errors = np.array([each.mean() for each in noisy(16 * [0.0], 1, generator)])
        combined.append(design.T @ errors / 8)
        alone = np.array([each.mean() for each in noisy(8 * [0.0], 2, generator)])
        single.append(alone[1:] - alone[0])
    ratio = np.var(combined) / np.var(single)
    # Both variances are known to sqrt(2 / n) at least; those of one baseline hang together.
    assert abs(ratio / 0.25 - 1) < 4 * (2 / trials) ** 0.5


def test_no_name_in_a_row_of_an_effect_is_a_formula(tmp_path: Path) -> None:
    claim = replace(claim_about("=cmd()"), name="=cmd()")
    effect = Finding(claim, data="@flowers", context="+x", difference=0.1)
    design = Factorial("@flowers", "+x", False, ("=cmd()",), effects=(effect,))
    write_csv(Report("runs", "now", (), (), (design,)), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["claim"], row["data"], row["context"]) == ("'=cmd()", "'@flowers", "'+x")
    assert (row["changed_experiment"], row["kind"]) == ("'=cmd()", "effect")

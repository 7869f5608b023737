"""Verdicts, sizes and what would resolve a claim, from numbers that a test chooses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alexnet_exp.report.claims import CLAIMS, Metric
from alexnet_exp.report.findings import Finding, Size, Verdict
from alexnet_exp.report.measures import not_above_chance
from alexnet_exp.report.power import needed, seeds_for_ratio, seeds_for_width
from alexnet_exp.report.results import Replicate
from alexnet_exp.report.statistics import Components
from alexnet_exp.report.verdicts import judge
from alexnet_exp.runs.chance import chance_error

BY_NAME = {claim.name: claim for claim in CLAIMS}
KNOWN = Components(seed=1e-4, image=0.0, residual=0.1)


def judged(
    name: str, low: float | None, high: float | None, seeds: int = 5, **more: Any
) -> Finding:
    """With that interval; ``more`` are other fields of the finding."""
    given = {"p_value": 0.001, "images": 50_000, "components": KNOWN} | more
    given |= {"low": low, "high": high, "data": "flowers"}
    given.setdefault("difference", None if low is None else (low + high) / 2)
    (found,) = judge(
        [Finding(BY_NAME[name], replicates=tuple(Replicate(0, n) for n in range(seeds)), **given)]
    )
    return found


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict", "size"),
    [
        ("no_lrn/top1", 0.012, 0.015, Verdict.reproduced, None),
        ("no_lrn/top1", 0.001, 0.003, Verdict.reproduced, Size.smaller),
        ("no_lrn/top1", 0.020, 0.030, Verdict.reproduced, Size.larger),
        ("no_lrn/top1", -0.03, -0.01, Verdict.contradicted, None),
        ("no_color_noise/top1", 0.0015, 0.0023, Verdict.reproduced, Size.smaller),
        ("no_color_noise/top1", 0.02, 0.03, Verdict.reproduced, None),  # published as "> +1"
        ("no_conv3/top1", 0.03, 0.05, Verdict.reproduced, Size.larger),
        ("no_dropout/top1", 0.001, 0.002, Verdict.reproduced, None),
        ("no_crops_flips/top1", -0.03, -0.01, Verdict.contradicted, None),
        ("tanh/epochs", 1.1, 1.5, Verdict.reproduced, Size.smaller),
        ("tanh/epochs", 7.0, 9.0, Verdict.reproduced, Size.larger),
        ("tanh/epochs", 5.0, 7.0, Verdict.reproduced, None),
        ("one_gpu/time", 0.7, 0.9, Verdict.contradicted, None),
    ],
)
def test_the_sign_decides_and_the_size_is_said(name, low, high, verdict, size) -> None:
    found = judged(name, low, high)
    assert (found.verdict, found.size) == (verdict, size)
    assert ("the sign alone decides" in found.note) == (
        name in ("no_dropout/top1", "no_crops_flips/top1", "one_gpu/time")
    )


@pytest.mark.parametrize(
    ("low", "high", "where"),
    [(-0.01, -0.005, "above"), (-0.002, 0.002, "inside"), (0.001, 0.002, "below")],
)
def test_a_figure_with_another_cause_is_set_beside_the_interval_and_not_judged(
    low, high, where
) -> None:
    found = judged("no_norm2/top1", low, high)
    assert (found.verdict, found.size, found.p_holm) == (Verdict.not_judged, None, None)
    assert found.note.startswith(f"the published -0.18 lies {where} the interval; no verdict: ")
    assert "smooth schedule" in found.note
    assert "would resolve" not in found.note
    alone = judged("no_norm2/top1", None, None, difference=0.01, p_value=None, seeds=1)
    assert alone.verdict is Verdict.not_judged
    assert alone.note.startswith("one seed: no interval; run at least 3 seeds; no verdict: ")


def test_a_change_without_a_figure_says_which_experiment_has_it() -> None:
    found = judged("no_tower_communication/top1", 0.001, 0.002)
    assert (found.verdict, found.size) == (Verdict.not_judged, None)
    assert found.note.startswith("no verdict: the authors measured ")
    assert found.note.endswith(": towers_meet_last")
    dead = judged("no_tower_communication/top1", 0.001, 0.002, unfit=("not above chance",))
    assert "no verdict" not in dead.note
    figure = judged("non_overlapping_repadded/top1", 0.001, 0.006)
    assert (figure.verdict, figure.size) == (Verdict.reproduced, None)
    assert "inside the interval; by its notes run 147 kept color noise" in figure.note


def test_what_is_not_judged_costs_the_others_nothing() -> None:
    names = ("no_lrn/top1", "no_norm2/top1", "no_crops/top1", "no_conv3/top1")
    given = {"p_value": 0.02, "low": 0.01, "high": 0.02, "difference": 0.015}
    given["replicates"] = tuple(Replicate(0, seed) for seed in range(3))
    found = judge([Finding(BY_NAME[name], images=50_000, **given) for name in names])
    assert [finding.p_holm for finding in found] == [0.04, None, None, 0.04]
    assert found[0].verdict is Verdict.reproduced


def test_what_is_not_resolved_may_still_be_smaller() -> None:
    found = judged("no_lrn/top1", -0.001, 0.002, p_value=0.5)
    assert (found.verdict, found.size) == (Verdict.not_resolved, Size.smaller)
    found = judged("no_lrn/top1", -0.001, 0.02, p_value=0.1)
    assert (found.verdict, found.size) == (Verdict.not_resolved, None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.398, 0.416, Verdict.reproduced),
        (0.409, 0.416, Verdict.reproduced),  # within a point, if not on the figure
        (0.383, 0.517, Verdict.not_resolved),  # 45 % and 46 %
        (0.396, 0.410, Verdict.not_resolved),
        (0.410, 0.418, Verdict.not_resolved),
        (0.418, 0.430, Verdict.contradicted),
        (0.380, 0.396, Verdict.contradicted),
    ],
)
def test_levels_are_judged_by_a_band_of_one_point(low, high, verdict) -> None:
    found = judged("level_2012/top1", low, high, p_value=None)
    assert (found.verdict, found.size, found.p_holm) == (verdict, None, None)


def test_a_wide_level_says_how_many_seeds_would_settle_it() -> None:
    components = Components(seed=0.007**2, image=0.0, residual=0.2)
    found = judged("level_2012/top1", 0.383, 0.517, p_value=None, seeds=3, components=components)
    seeds = seeds_for_width(components, 0.45 - 0.417, 50_000)
    assert seeds is not None
    assert f"about {seeds} seeds on these images would settle it" in found.note
    assert "if the error stays 45.0 %" in found.note


def test_a_ratio_that_is_not_resolved_says_how_many_seeds_would() -> None:
    ratio = {"p_value": 0.4, "seeds": 3, "components": None}
    found = judged("tanh/epochs", 0.1, 9.0, log_deviation=1.9, **ratio)
    seeds = seeds_for_ratio(1.9, 6)
    assert found.verdict is Verdict.not_resolved
    assert f"about {seeds} seeds would resolve the published ratio of 6 (power 80%)" in found.note
    found = judged("tanh/epochs", 0.9, 1.2, log_deviation=0.1, **ratio)
    assert "these seeds would show the published ratio of 6" in found.note
    assert found.size is Size.smaller
    found = judged("one_gpu/time", 0.9, 1.3, log_deviation=0.1, **ratio)
    assert "would resolve the observed ratio of 1.1" in found.note


def test_numbers_that_would_resolve_are_rounded() -> None:
    by_image = Components(seed=0.0, image=0.05, residual=0.1)
    found = judged("no_lrn/top1", -0.01, 0.03, p_value=0.3, images=430, components=by_image)
    images = needed(by_image, 0.0137, 5, 430).images
    two_digits = f"{float(f'{images:.1e}'):,.0f}"
    assert two_digits == "3,400" != f"{images:,}"
    assert f"about {two_digits} test images with these seeds would resolve" in found.note
    assert "more seeds alone would not do" in found.note
    hopeless = Components(seed=0.3**2, image=0.3, residual=0.1)
    found = judged("no_lrn/top1", -0.5, 0.6, p_value=0.8, images=20, components=hopeless)
    assert "neither more seeds alone nor more images alone would resolve" in found.note


def test_two_seeds_make_it_a_rough_guess() -> None:
    by_seed = replace(KNOWN, seed=0.01**2)
    for seeds in (2, 3):
        found = judged("no_lrn/top1", -0.05, 0.08, p_value=0.3, seeds=seeds, components=by_seed)
        assert ("rough guess from two seeds" in found.note) == (seeds == 2)


# 400 images: 160 of class 0, 100 of class 1, and 28 of each of five more.
LABELS = np.repeat(np.arange(7), [160, 100, 28, 28, 28, 28, 28])


def test_chance_is_the_most_frequent_class() -> None:
    assert chance_error(LABELS) == pytest.approx(1 - 160 / 400)
    assert chance_error(LABELS, 5) == pytest.approx(1 - (160 + 100 + 3 * 28) / 400)


@pytest.mark.parametrize(("errors", "told"), [(221, True), (220, False), (240, True), (40, False)])
def test_two_standard_errors_below_chance_are_above_it(errors: int, told: bool) -> None:
    # 60 % of 400 images: a standard error of 2.449 points, 9.8 images.
    wrong = np.zeros((3, 400), bool)
    wrong[:, :errors] = True
    sides = {"tanh": wrong, "other": np.zeros((1, 400), bool)}
    text = "".join(not_above_chance(LABELS, Metric.top1, sides))
    assert bool(text) == told
    assert ("tanh" in text, "other" in text) == (told, False)

"""Verdicts, comparisons and what would resolve a claim, from numbers that a test chooses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alexnet_exp.report.claims import CLAIMS, Metric
from alexnet_exp.report.findings import Comparison, Finding, Verdict
from alexnet_exp.report.measures import not_above_chance
from alexnet_exp.report.power import power, seeds_for_width, seeds_needed
from alexnet_exp.report.statistics import Components
from alexnet_exp.report.verdicts import judge
from alexnet_exp.report.wording import details
from alexnet_exp.runs.chance import chance_error
from alexnet_exp.runs.results import Replicate

BY_NAME = {claim.name: claim for claim in CLAIMS}
KNOWN = Components(run=1e-4, image=0.0)
SAME, OPPOSITE = Comparison.same_sign, Comparison.opposite_sign
SMALLER, LARGER = Comparison.smaller, Comparison.larger


def measured(
    name: str, low: float | None, high: float | None, seeds: int = 5, **more: Any
) -> Finding:
    """With that interval, not yet judged; ``more`` are other fields of the finding."""
    ratio = BY_NAME[name].kind.is_ratio
    given: dict[str, Any] = {"images": 50_000, "components": KNOWN, "freedom": 8.0}
    given |= {"low": low, "high": high, "data": "flowers"} | more
    if low is not None and high is not None:
        given.setdefault("difference", (low * high) ** 0.5 if ratio else (low + high) / 2)
        outside = low > ratio or high < ratio
        given.setdefault("p_value", 0.001 if outside else 0.5)
    replicates = tuple(Replicate(0, n) for n in range(seeds))
    return Finding(BY_NAME[name], replicates=replicates, baseline_runs=seeds, **given)


def judged(*args: Any, **more: Any) -> Finding:
    (found,) = judge([measured(*args, **more)])
    return found


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict", "comparison"),
    [
        ("no_lrn/top1", 0.012, 0.015, Verdict.helps, [SAME]),
        ("no_lrn/top1", 0.001, 0.003, Verdict.helps, [SAME, SMALLER]),
        ("no_lrn/top1", 0.020, 0.030, Verdict.helps, [SAME, LARGER]),
        ("no_lrn/top1", -0.03, -0.01, Verdict.hurts, [OPPOSITE]),
        ("no_lrn/top1", -0.0010, 0.0020, Verdict.no_effect, []),
        ("no_lrn/top1", -0.0140, 0.0020, Verdict.not_resolved, [SMALLER]),
        ("no_lrn/top1", -0.03, 0.01, Verdict.not_resolved, [SMALLER]),
        ("no_lrn/top1", -0.001, 0.02, Verdict.not_resolved, []),
        ("no_color_noise/top1", 0.0015, 0.0023, Verdict.helps, [SAME, SMALLER]),
        ("no_color_noise/top1", 0.02, 0.03, Verdict.helps, [SAME]),  # published as "> +1"
        ("no_color_noise/top1", -0.009, 0.009, Verdict.no_effect, []),
        ("no_conv3/top1", 0.03, 0.05, Verdict.helps, [SAME, LARGER]),
        ("no_dropout/top1", 0.001, 0.002, Verdict.helps, [SAME]),  # no figure
        ("no_dropout/top1", -0.001, 0.001, Verdict.not_resolved, []),
        ("no_crops_flips/top1", -0.03, -0.01, Verdict.hurts, [OPPOSITE]),
        ("no_norm2/top1", 0.01, 0.02, Verdict.helps, []),  # the figure has another cause
        ("no_norm2/top1", -0.001, 0.001, Verdict.not_resolved, []),
        ("tanh/epochs", 1.1, 1.5, Verdict.helps, [SAME, SMALLER]),
        ("tanh/epochs", 7.0, 9.0, Verdict.helps, [SAME, LARGER]),
        ("tanh/epochs", 5.0, 7.0, Verdict.helps, [SAME]),
        ("tanh/epochs", 0.2, 5.0, Verdict.no_effect, []),
        ("tanh/epochs", 0.1, 5.0, Verdict.not_resolved, [SMALLER]),
        ("one_gpu/time", 0.7, 0.9, Verdict.hurts, [OPPOSITE]),
    ],
)
def test_an_idea_helps_hurts_or_has_no_effect_as_large(
    name, low, high, verdict, comparison
) -> None:
    found = judged(name, low, high)
    assert (found.verdict, [*found.comparison]) == (verdict, comparison)


def test_reproduced_and_contradicted_are_kept_for_the_data_of_the_claim() -> None:
    for ends, here, elsewhere in (
        ((0.012, 0.015), Comparison.reproduced, SAME),
        ((-0.03, -0.01), Comparison.contradicted, OPPOSITE),
    ):
        assert judged("no_lrn/top1", *ends, alike=True).comparison == (here,)
        assert judged("no_lrn/top1", *ends).comparison == (elsewhere,)
    small = judged("no_lrn/top1", 0.001, 0.003, alike=True)
    assert small.comparison == (Comparison.reproduced, SMALLER)
    there = judged("no_lrn/top1", 0.012, 0.015)  # what it was published for stands once in a row
    assert "ILSVRC" not in there.note
    assert dict(details(there))["published"].startswith("+1.37 on ILSVRC-2012 validation, ten")


def test_a_small_difference_with_a_narrow_interval_is_no_effect_as_large_as_published() -> None:
    found = judged("no_lrn/top1", -0.0010, 0.0020)
    assert found.verdict is Verdict.no_effect
    assert found.note.startswith("the corrected interval lies within 1.37 points of none; ")
    assert "the published +1.37 lies above the interval" in found.note
    wide = judged("no_lrn/top1", -0.03, 0.01)
    assert wide.verdict is Verdict.not_resolved
    speed = judged("tanh/epochs", 0.5, 3.0)
    assert speed.note.startswith("the corrected interval lies within a factor of 6 of none; ")


def test_no_effect_as_large_is_said_at_the_level_that_others_leave() -> None:
    """95 % of a [-.5, +1.1] become 99.76 % of +.3 +- 1.4 among 20 others."""
    one = measured("no_lrn/top1", -0.005, 0.011)
    t = stats.t(8)
    half = 0.008 * t.ppf(1 - 0.05 / 42) / t.ppf(0.975)
    assert one.interval(1 - 0.05 / 21) == pytest.approx((0.003 - half, 0.003 + half))
    assert 0.003 + half > 0.0137 > 0.011
    others = [measured("no_conv3/top1", -0.03, 0.03, context=str(n)) for n in range(20)]
    clear = [replace(other, p_value=1e-6, difference=0.03) for other in others]
    assert judge([one])[0].verdict is Verdict.no_effect
    alone, *_ = judge([one, *clear])  # which hand their share on
    assert (alone.verdict, alone.share) == (Verdict.no_effect, pytest.approx(1))
    among, *_ = judge([one, *others])
    assert (among.verdict, among.share) == (Verdict.not_resolved, pytest.approx(1 / 21))
    assert among.comparison == ()


def test_sizes_of_what_is_resolved_are_called_other_than_published_in_5_percent_of_reports() -> (
    None
):
    """14 effects of just the published size, each known to a third of it."""
    generator = np.random.default_rng(0)
    claims = [BY_NAME["no_lrn/top1"]] * 14
    error, wrong = 0.0137 / 6, 0
    for drawn in generator.normal(0.0137, error, (60, 14)):
        found = judge([
            Finding(
                claim, context=str(i), replicates=(Replicate(0, 0),), difference=x,
                low=x - 1.96 * error, high=x + 1.96 * error, p_value=2 * stats.norm.sf(x / error),
            )
            for i, (claim, x) in enumerate(zip(claims, drawn, strict=True))
        ])  # fmt: skip
        assert all(one.verdict is Verdict.helps for one in found)
        wrong += any({SMALLER, LARGER} & {*one.comparison} for one in found)
    assert wrong <= stats.binom.ppf(0.99, 60, 0.05)


def test_a_claim_without_a_figure_has_the_margin_that_the_runs_recorded() -> None:
    ends = -0.006, 0.008
    assert judged("no_dropout/top1", *ends).verdict is Verdict.not_resolved
    found = judged("no_dropout/top1", *ends, margin=0.01)
    assert found.verdict is Verdict.below_margin
    assert found.comparison == ()
    assert "within 1 point (the margin that the runs recorded) of none" in found.note
    assert judged("no_dropout/top1", *ends, margin=0.005).verdict is Verdict.not_resolved
    assert judged("no_norm2/top1", *ends, margin=0.01).verdict is Verdict.below_margin
    own = judged("no_lrn/top1", -0.012, 0.012, margin=0.001)  # what was published counts
    assert own.verdict is Verdict.no_effect


def test_a_figure_with_another_cause_is_set_beside_the_interval_and_not_compared() -> None:
    for low, high, where in (
        (-0.01, -0.005, "above"), (-0.002, 0.002, "inside"), (0.001, 0.002, "below"),
    ):  # fmt: skip
        found = judged("no_norm2/top1", low, high)
        assert found.comparison == ()
        assert f"the published -0.18 lies {where} the interval" in found.note
        assert "not compared with a figure: " in found.note
        assert "smooth schedule" in found.note
    without = judged("no_tower_communication/top1", 0.001, 0.002)
    assert (without.verdict, without.comparison) == (Verdict.helps, ())
    assert without.note.startswith("not compared with a figure: the authors measured ")
    figure = judged("non_overlapping_repadded/top1", 0.001, 0.006)
    assert figure.comparison == (SAME,)
    assert "inside the interval; by its notes run 147 kept color noise" in figure.note


def test_no_figure_leaves_the_sign() -> None:
    found = judged("no_dropout/top1", 0.001, 0.002)
    assert "no figure was published: the sign alone is compared" in found.note
    rough = judged("no_color_noise/top1", 0.0015, 0.0023)
    assert 'published "> +1": 1 point lies above the interval' in rough.note


TOP1, TOP5 = "no_lrn/top1", "no_lrn/top5"


def test_top5_is_tested_where_top1_was_resolved_and_costs_nothing_else() -> None:
    ends = {"low": 0.01, "high": 0.02}
    first = [measured(TOP1, **ends, p_value=0.02), measured("no_conv3/top1", **ends, p_value=0.2)]
    second = measured(TOP5, **ends, p_value=0.01)
    (alone, _), (one, _, five) = judge(first), judge([*first, second])
    assert alone.p_adjusted == one.p_adjusted == pytest.approx(0.04)
    assert (five.p_adjusted, five.verdict) == (pytest.approx(0.04), Verdict.helps)
    first[0] = replace(first[0], p_value=0.03)  # .06 of two
    one, _, five = judge([*first, second])
    assert {one.verdict, five.verdict} == {Verdict.not_resolved}
    assert (five.share, five.comparison) == (0, ())
    assert five.note.startswith("tested only where the top-1 error is resolved: ")
    elsewhere = replace(second, context="optim.lr=0.1")  # has no top-1 of its own
    assert judge([*first, elsewhere])[2].p_adjusted == pytest.approx(0.03)


def test_unfit_networks_cost_the_others_nothing() -> None:
    names = ("no_lrn/top1", "tanh/top1", "no_conv3/top1")
    dead = {"tanh/top1": {"unfit": ("not above chance: tanh",), "remarks": ("fold 2 missing",)}}
    found = judge([
        measured(name, 0.01, 0.02, p_value=0.02, **dead.get(name, {})) for name in names
    ])  # fmt: skip
    assert found[1].p_adjusted is None
    assert found[0].p_adjusted == found[2].p_adjusted == pytest.approx(0.04)
    assert [f.verdict for f in found] == [Verdict.helps, Verdict.not_resolved, Verdict.helps]
    assert found[1].note == "not above chance: tanh; fold 2 missing"
    assert found[1].comparison == ()


def test_what_is_resolved_by_itself_alone_says_so() -> None:
    first, _ = judge(
        [
            measured("no_lrn/top1", 0.001, 0.02, p_value=0.03),
            measured("no_conv3/top1", -0.02, 0.02, p_value=0.9),
        ]
    )
    assert first.verdict is Verdict.not_resolved
    assert first.note.startswith(
        "by itself the difference has p = 0.03, corrected for 2 comparisons 0.06; "
    )


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
    assert (found.verdict, found.comparison, found.p_adjusted) == (verdict, (), None)


def test_a_wide_level_says_how_many_seeds_would_settle_it() -> None:
    components = Components(run=0.007**2, image=4e-6)
    found = judged("level_2012/top1", 0.383, 0.517, p_value=None, seeds=3, components=components)
    seeds = seeds_for_width(components, 0.45 - 0.417)
    assert seeds is not None
    assert f"about {seeds} seeds on these images would settle it" in found.note
    assert "if the error stays 45.0 %" in found.note
    none = judged("level_2012/top1", 0.0, 0.9, p_value=None, components=None)  # all images alike
    assert "no number of seeds on these images would settle it" in none.note


def test_a_ratio_that_is_not_resolved_says_how_many_seeds_would() -> None:
    ratio = {"p_value": 0.4, "seeds": 3}
    wide, narrow = Components(1.9**2, 0.0), Components(0.1**2, 0.0)
    found = judged("tanh/epochs", 0.1, 9.0, components=wide, **ratio)
    seeds = seeds_needed(wide, np.log(6))
    assert found.verdict is Verdict.not_resolved
    assert f"about {seeds} seeds would resolve the published ratio of 6 (power 80 %)" in found.note
    chance = round(100 * power(wide, np.log(6), 3))
    assert f"; these do in {chance} %" in found.note
    found = judged("tanh/epochs", 0.05, 1.2, components=narrow, **ratio)
    assert "these seeds would show the published ratio of 6 in 80 % of cases or more" in found.note
    found = judged("one_gpu/time", 0.9, 1.3, components=narrow, **ratio)
    assert "would resolve the observed ratio of 1.08" in found.note
    assert "no number" not in judged("one_gpu/time", 1.0, 1.0, components=None, **ratio).note


def test_what_is_not_resolved_says_how_many_seeds_would_and_what_these_find() -> None:
    parts = Components(run=0.03**2, image=1e-6)
    found = judged("no_lrn/top1", -0.01, 0.03, components=parts, networks=4, freedom=16.0)
    seeds = seeds_needed(parts, 0.0137, 1, 4)
    assert seeds is not None
    assert seeds > 20
    chance = round(100 * power(parts, 0.0137, 5, 1, 4))
    text = f"about {seeds} seeds would resolve the published +1.37 points (power 80 %)"
    assert f"{text}; these do in {chance} %" in found.note
    own = judged("no_lrn/top1", -0.01, 0.03, components=parts, networks=4, freedom=6.0)
    chance = round(100 * power(parts, 0.0137, 5, 1, 1.5))  # of 4 degrees for each network
    assert own.note.startswith(f"about {seeds_needed(parts, 0.0137, 1, 1.5)} seeds would resolve")
    assert f"; these do in {chance} %" in own.note
    by_image = replace(parts, image=0.01**2)
    hopeless = judged("no_lrn/top1", -0.01, 0.03, components=by_image)
    assert "more seeds alone would not resolve the published +1.37 points" in hopeless.note
    margin = judged("no_dropout/top1", -0.015, 0.025, components=parts, margin=0.02)
    seeds = seeds_needed(parts, 0.005, margin=0.02)  # fewer than to tell half a point from none
    assert f"about {seeds} seeds would resolve an effect below the margin of 2 p" in margin.note
    nearly = judged("no_dropout/top1", -0.001, 0.038, components=parts, margin=0.02)
    assert "would resolve the observed +1.85 points" in nearly.note  # to lie within takes more
    beyond = judged("no_dropout/top1", -0.01, 0.07, components=parts, margin=0.02)
    assert "would resolve the observed +3.00 points" in beyond.note
    seen = judged("no_dropout/top1", -0.01, 0.03, components=parts)
    assert "would resolve the observed +1.00 points (power 80 %); no figure" in seen.note
    assert "these do in" in margin.note
    sure = judged("no_lrn/top1", -0.01, 0.03, components=Components(1e-5, 0.0))
    assert "these seeds would show the published +1.37 points in 80 % of cases" in sure.note
    many = judged("no_lrn/top1", -0.01, 0.03, components=replace(parts, run=0.06**2))
    needed = seeds_needed(replace(parts, run=0.06**2), 0.0137)
    assert 100 < needed < 1000
    assert f"about {round(needed, -1)} seeds would" in many.note  # two digits


def test_seeds_are_those_in_each_fold() -> None:
    parts = Components(run=0.05**2, image=1e-6, fold=1e-6)
    for each, word in ((1, "at least"), (2, "about")):
        replicates = tuple(Replicate(fold, 5 * n + fold) for fold in range(5) for n in range(each))
        one = replace(measured("no_lrn/top1", -0.01, 0.03, components=parts), replicates=replicates)
        seeds = seeds_needed(parts, 0.0137, 5)
        assert seeds is not None
        assert 2 < seeds < 100
        text = f"{word} {seeds} seeds in each of 5 folds would resolve"
        assert text in judge([one])[0].note


def test_two_seeds_make_it_a_rough_guess() -> None:
    parts = Components(run=0.02**2, image=0.0)
    for seeds in (2, 3):
        found = judged("no_lrn/top1", -0.05, 0.08, seeds=seeds, components=parts)
        assert ("rough guess from two seeds" in found.note) == (seeds == 2)


def test_one_seed_and_one_image_say_what_is_lacking() -> None:
    alone = judged("no_norm2/top1", None, None, difference=0.01, p_value=None, seeds=1)
    assert alone.verdict is Verdict.not_resolved
    assert alone.note.startswith("one seed: no interval; run at least 3 seeds; not compared")
    image = judged("no_lrn/top1", None, None, difference=0.01, p_value=None, seeds=3)
    assert image.note.startswith("one test image: no interval")


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
    sides = {"tanh": [wrong[:, :200], wrong[:, 200:]], "other": [np.zeros((1, 400), bool)]}
    text = "".join(not_above_chance(LABELS, Metric.top1, sides))
    assert bool(text) == told
    assert ("tanh" in text, "other" in text) == (told, False)

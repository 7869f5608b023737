"""From run folders to findings: numbers against direct computation, verdicts, the command."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from alexnet_exp.report.__main__ import main, make_report, write
from alexnet_exp.report.claims import CLAIMS
from alexnet_exp.report.findings import Comparison, Finding, Verdict
from alexnet_exp.report.power import seeds_needed
from alexnet_exp.report.prospects import plan
from alexnet_exp.report.statistics import (
    Components,
    Difference,
    against_baseline,
    corrected_resampled,
    paired,
)
from tests.report import drawn_report as drawn
from tests.report.made_runs import IMAGES, wrong_images

SEEDS = (0, 1, 2, 3, 4)


def base_wrong(seed):
    return wrong_images(seed, IMAGES, 0.3)


def worse(seed, share):
    """Wrong where the baseline is, and on a share of the rest."""
    return base_wrong(seed) | wrong_images(100 + seed, IMAGES, share)


def findings(folder, *names):
    found = make_report(folder).findings
    return [finding for name in names for finding in found if finding.claim.name == name]


def both(made, changed, *names, **more):
    """Five seeds of the baseline, and of each of these experiments with ``changed(seed)`` wrong."""
    for seed in SEEDS:
        made("baseline", seed=seed, **more)
        for name in names:
            made(name, f"+experiment={name}", seed=seed, wrong=changed(seed), **more)


def stacked(wrong):
    return np.stack([wrong(seed) for seed in SEEDS])


def ends(found: Finding) -> tuple[float, float, float]:
    return found.difference, found.low, found.high


def expected(direct: Difference) -> tuple[float, float, float]:
    half = direct.half_width()
    return direct.estimate, direct.estimate - half, direct.estimate + half


def test_a_difference_is_that_of_the_paired_images(tmp_path, made) -> None:
    both(made, lambda seed: worse(seed, 0.2), "no_lrn")
    base, changed = stacked(base_wrong), stacked(lambda seed: worse(seed, 0.2))
    found, top5 = findings(tmp_path, "no_lrn/top1", "no_lrn/top5")
    assert found.baseline == pytest.approx(np.mean(base))
    assert found.changed == pytest.approx(np.mean(changed))
    (direct,) = against_baseline({0: base}, [{0: changed}])
    assert ends(found) == pytest.approx(expected(direct))
    assert (found.p_value, found.freedom) == (direct.p_value, direct.freedom)
    assert (found.seeds, found.baseline_runs, found.images) == (SEEDS, 5, IMAGES)
    assert (found.networks, found.resampled, found.folds) == (2, None, 1)
    assert found.verdict is Verdict.helps
    assert found.low > 0.0137
    assert found.comparison == (Comparison.same_sign, Comparison.larger)
    assert "the published +1.37 lies below the interval" in found.note
    assert found.synthetic
    even = np.arange(IMAGES) % 2 == 0  # whose label is not among the five best either
    assert top5.difference == pytest.approx(np.mean(changed & even) - np.mean(base & even))
    assert top5.verdict is Verdict.helps


def test_what_is_not_resolved_says_what_would_resolve_it(tmp_path, made) -> None:
    changed = [base_wrong(seed) ^ wrong_images(50 + seed, IMAGES, 0.05) for seed in SEEDS]
    both(made, lambda seed: changed[seed], "no_lrn")
    found, top5 = findings(tmp_path, "no_lrn/top1", "no_lrn/top5")
    (direct,) = against_baseline({0: stacked(base_wrong)}, [{0: np.stack(changed)}])
    enough = seeds_needed(direct.components, 0.0137, networks=2)
    assert found.verdict is Verdict.not_resolved
    assert 10 < enough < 100
    assert f"about {enough} seeds would resolve the published +1.37 points" in found.note
    assert top5.note.startswith("tested only where the top-1 error is resolved")
    (step,) = plan(make_report(tmp_path))  # for the top-1 error alone
    assert step.needed == f"{enough} seeds"
    assert f"+experiment=baseline,no_lrn 'seed=range({enough})'" in step.command


def test_a_plan_for_one_seed_asks_for_an_interval_first(tmp_path, made) -> None:
    for seed in SEEDS:
        made("baseline", seed=seed)
    made("no_lrn", "+experiment=no_lrn", seed=4, worse=30)
    (step,) = [one for one in plan(make_report(tmp_path)) if one.idea == "LRN"]
    assert (step.now, step.wanted, step.needed) == ("1 seed", "an interval", "3 seeds")
    assert step.hours == pytest.approx(2 * 14 / 3600)  # the baseline has them all
    assert step.command.endswith("+experiment=baseline,no_lrn seed=0,1,4")


def test_a_plan_never_says_that_what_ran_would_do() -> None:
    """Not resolved, although such a difference is nearly always found."""
    cells = [drawn.cell(name, i) for i, name in enumerate(("baseline", "no_lrn"))]
    sure = {"components": Components(1e-5, 0.0), "verdict": Verdict.not_resolved}
    found = drawn.finding("no_lrn/top1", 0.0142, **sure)
    (step,) = plan(replace(drawn.small(), findings=(found,), cells=tuple(cells)))
    assert (step.now, step.power, step.needed) == ("5 seeds", "100 %", "6 seeds")
    assert step.command.endswith("'seed=range(6)'")


def test_the_variance_between_seeds_is_that_of_all_networks(tmp_path, made) -> None:
    """Of those that stand a comparison: not of one that lost a run, or learned nothing."""
    random = np.random.default_rng(0)
    drawn = {
        name: [wrong_images(random.integers(1 << 30), IMAGES, 0.3) for _ in SEEDS]
        for name in ("baseline", "no_lrn", "no_dropout", "no_flips", "no_conv3")
    }
    drawn["no_conv3"][:] = [np.ones(IMAGES, bool)] * 5
    for name, wrong in drawn.items():
        for seed in SEEDS:
            made(name, f"+experiment={name}", seed=seed, wrong=wrong[seed])
    diverge(tmp_path / "no_flips" / "seed_0")
    networks = [{0: np.stack(drawn[name])} for name in ("baseline", "no_lrn", "no_dropout")]
    direct = against_baseline(networks[0], networks[1:])
    report = make_report(tmp_path)
    names = ("no_lrn/top1", "no_dropout/top1", "no_conv3/top1")
    found = [next(f for f in report.findings if f.claim.name == name) for name in names]
    for finding, difference in zip(found, direct, strict=False):
        assert ends(finding) == pytest.approx(expected(difference))
        assert finding.networks == 3
    assert found[2].networks == 2
    assert found[2].note.startswith("not above chance: no_conv3 (100.0 %)")
    assert found[2].p_adjusted is None
    tested = [f for f in report.findings if f.p_adjusted is not None]
    assert [f.claim.name for f in tested] == ["no_lrn/top1", "no_lrn/top5", "no_dropout/top1"]
    alone = against_baseline(networks[0], [networks[1]])[0]
    assert direct[0].freedom > alone.freedom


def in_folds(made, name, wrong, seeds, *overrides):
    """Runs of five folds, each seed in the fold that it belongs to, with ``wrong(seed)``."""
    for seed in seeds:
        made(name, f"+experiment={name}", *overrides, folds=5, seed=seed, wrong=wrong(seed))


def by_fold(wrong, seeds):
    return {f: np.stack([wrong(seed) for seed in seeds if seed % 5 == f]) for f in range(5)}


def test_folds_are_joined_and_each_image_counts_once(tmp_path, made) -> None:
    seeds = range(10)
    in_folds(made, "baseline", base_wrong, seeds, "data.subset=.5")
    in_folds(made, "no_lrn", lambda seed: worse(seed, 0.1), seeds, "data.subset=.5")
    base = by_fold(base_wrong, seeds)
    changed = by_fold(lambda seed: worse(seed, 0.1), seeds)
    (found,) = findings(tmp_path, "no_lrn/top1")
    (direct,) = against_baseline(base, [changed])
    assert ends(found) == pytest.approx(expected(direct))
    assert found.freedom == direct.freedom
    assert found.freedom >= 5  # one of each fold
    assert (found.images, found.folds, found.baseline_runs) == (5 * IMAGES, 5, 10)
    assert [*found.seeds] == [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    differences = [changed[fold].mean() - base[fold].mean() for fold in range(5)]
    trained = (1 - 1 / 5 - 0.1) / 2  # less data.val_fraction, and of that data.subset
    assert found.resampled == pytest.approx(corrected_resampled(differences, 0.2 / trained))
    assert "missing" not in found.note
    assert "data.folds=5" in found.command


def test_one_seed_in_each_fold_has_an_interval(tmp_path, made) -> None:
    in_folds(made, "baseline", base_wrong, range(5))
    in_folds(made, "no_lrn", lambda seed: worse(seed, 0.15), range(5))
    (found,) = findings(tmp_path, "no_lrn/top1")
    assert found.freedom == pytest.approx(4)
    assert (found.verdict, found.images) == (Verdict.helps, 5 * IMAGES)


def test_missing_folds_are_said_and_their_images_do_not_count(tmp_path, made) -> None:
    in_folds(made, "baseline", base_wrong, range(10))
    in_folds(made, "no_lrn", lambda seed: worse(seed, 0.15), (0, 5, 2, 7))
    (found,) = findings(tmp_path, "no_lrn/top1")
    assert "folds 1, 3, 4 of 5 missing" in found.note
    assert (found.images, found.folds, found.baseline_runs) == (2 * IMAGES, 2, 4)
    assert found.resampled is None
    base = [base_wrong(seed) for seed in (0, 5, 2, 7)]
    assert found.baseline == pytest.approx(np.mean(base))
    in_folds(made, "no_dropout", lambda seed: worse(seed, 0.15), range(4))
    assert "fold 4 of 5 missing" in findings(tmp_path, "no_dropout/top1")[0].note


def test_views_in_folds_are_paired_in_each(tmp_path, made) -> None:
    def center(seed):
        return worse(seed, 0.1)

    for seed in range(10):
        made("baseline", folds=5, seed=seed, wrong=base_wrong(seed), center=center(seed))
    (found,) = findings(tmp_path, "views/top1")
    one, ten = by_fold(center, range(10)), by_fold(base_wrong, range(10))
    direct = paired({fold: one[fold].astype(int) - ten[fold] for fold in range(5)})
    assert ends(found) == pytest.approx(expected(direct))
    assert found.changed == pytest.approx(np.mean([*one.values()]))
    assert (found.images, found.verdict) == (5 * IMAGES, Verdict.helps)


def test_a_margin_is_what_all_runs_recorded_before_they_began(tmp_path, made) -> None:
    for seed in SEEDS:
        made("baseline", "sweep.margin=.1", seed=seed)
        made("no_dropout", "+experiment=no_dropout", "sweep.margin=.1", seed=seed, worse=1)
    (found,) = findings(tmp_path, "no_dropout/top1")
    assert found.margin == 0.1
    assert found.verdict is Verdict.below_margin
    made("no_dropout", "+experiment=no_dropout", seed=5, worse=1)
    (found,) = findings(tmp_path, "no_dropout/top1")
    assert (found.margin, found.verdict) == (None, Verdict.not_resolved)
    assert found.note.endswith("the runs recorded margins of 10 points or none: none counts")


def test_correction_is_over_all_differences_of_the_report(tmp_path, made) -> None:
    names = ("no_crops_flips", "no_conv2", "no_conv3", "no_dropout")  # without top-5 claims
    for seed in SEEDS:
        made("baseline", seed=seed)
        for experiment, share in zip(names, (0.05, 0.3, 0.01, 0.15), strict=True):
            wrong = worse(seed, share) ^ wrong_images(9 + seed, IMAGES, 0.02)
            made(experiment, f"+experiment={experiment}", seed=seed, wrong=wrong)
    tested = [f for f in make_report(tmp_path).findings if f.p_value is not None]
    assert {f.claim.name for f in tested} == {f"{name}/top1" for name in names}
    ordered = sorted(tested, key=lambda f: f.p_value)
    least = 0.0
    for place, found in enumerate(ordered):
        least = max(least, min(1.0, found.p_value * (len(ordered) - place)))
        assert found.p_adjusted == pytest.approx(least)
        assert (found.verdict is Verdict.helps) == (found.p_adjusted < 0.05)
    assert ordered[-1].p_adjusted > 0.05
    assert ordered[0].p_adjusted < 0.05


def test_one_seed_has_no_interval_and_seeds_need_not_agree(tmp_path, made) -> None:
    for seed in (0, 1, 2):
        made("baseline", seed=seed)
    for seed in (1, 2, 7):
        made("no_lrn", "+experiment=no_lrn", seed=seed)
    made("tanh", "+experiment=tanh", wrong=worse(0, 0.3))
    found, other = findings(tmp_path, "tanh/top1", "no_lrn/top1")
    assert found.difference == pytest.approx(
        worse(0, 0.3).mean() - np.mean([base_wrong(seed) for seed in (0, 1, 2)])
    )
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.verdict is Verdict.not_resolved
    assert found.note.startswith("one seed: no interval; run at least 3 seeds")
    assert other.seeds == (1, 2, 7)
    assert (other.baseline_runs, other.low is None) == (3, False)


def diverge(folder):
    (folder / "result.json").unlink()
    (folder / "diverged.json").write_text('{"message": "the loss became nan in epoch 3"}')


def test_seeds_that_diverged_leave_a_claim_unresolved(tmp_path, made) -> None:
    both(made, lambda seed: worse(seed, 0.2), "no_lrn", "no_crops_flips", "one_gpu")
    for seed in (1, 3):
        diverge(tmp_path / "no_lrn" / f"seed_{seed}")
    for seed in SEEDS:
        diverge(tmp_path / "one_gpu" / f"seed_{seed}")
    diverge(made("other", "+experiment=no_crops_flips", "optim.lr=0.5", seed=1))
    diverge(made("again", "+experiment=no_crops_flips", seed=1))  # which finished after all
    found, kept, lost = findings(tmp_path, "no_lrn/top1", "no_crops_flips/top1", "one_gpu/top1")
    assert (found.verdict, found.comparison) == (Verdict.not_resolved, ())
    assert found.p_value < 0.05  # by the survivors alone it would help
    assert found.p_adjusted is None
    assert found.note.startswith("2 of 5 seeds of no_lrn diverged")
    assert "interval" not in found.note
    assert kept.verdict is Verdict.helps
    assert lost.verdict is Verdict.not_run
    assert lost.note == "no finished run of one_gpu: 5 diverged"


def test_networks_at_chance_say_nothing_of_a_claim_and_five_classes_of_top5(tmp_path, made) -> None:
    wrong = np.arange(IMAGES) % 5 != 0  # as the runs are written: 80 % err with the same answer
    none = np.zeros(IMAGES, bool)
    same = {"classes": 5, "wrong": wrong, "wrong_top5": none, "center": wrong}
    for seed in SEEDS:
        made("baseline", seed=seed, **same)
        made("no_lrn", "+experiment=no_lrn", seed=seed, **same)
    found, top5, views = findings(tmp_path, "no_lrn/top1", "no_lrn/top5", "views/top1")
    assert (found.verdict, found.comparison) == (Verdict.not_resolved, ())
    assert found.note.startswith(
        "not above chance: baseline (80.0 %) and no_lrn (80.0 %); naming the most frequent class"
        " for every image errs in 80.0 %"
    )
    assert "interval" not in found.note
    assert views.note.startswith("not above chance: ten views")
    assert (top5.not_applicable, top5.verdict) == (True, Verdict.not_resolved)
    assert top5.p_value is None


def test_every_claim_is_answered(tmp_path, made) -> None:
    made("baseline")
    report = make_report(tmp_path)
    assert [f.claim.name for f in report.findings] == [claim.name for claim in CLAIMS]
    assert {f.verdict for f in report.findings} == {Verdict.not_run}
    notes = {f.claim.name: f.note for f in report.findings}
    assert notes["no_lrn/top1"] == "no run of no_lrn"
    assert notes["no_lrn_cifar10/top1"] == "no run of no_lrn with model=cifar_local_lrn"
    assert notes["tanh/epochs"] == "no run of tanh with model=cifar_small"
    assert notes["average_of_five/top1"].endswith("recorded no probabilities of all classes (of"
        " more than 10 no run does: python -m alexnet_exp.evaluate averages them)")  # fmt: skip
    assert notes["views/top1"].endswith("did not record the center view by itself")
    assert notes["level_2012/top1"] == "it was measured on ILSVRC-2012 validation, ten views"


def test_contexts_give_a_finding_each(tmp_path, made) -> None:
    for number, context in enumerate(("optim.lr=0.01", "optim.lr=0.02", "data=flowers")):
        made(f"baseline_{number}", context)
        made(f"no_lrn_{number}", "+experiment=no_lrn", context)
    found = findings(tmp_path, "no_lrn/top1")
    assert {(f.data, f.context, f.synthetic) for f in found} == {
        ("synthetic", "optim.lr=0.01", True),
        ("synthetic", "optim.lr=0.02", True),
        ("flowers", "", False),
    }


def test_refused_pairings_leave_a_claim_not_run(tmp_path, made) -> None:
    made("baseline")
    made("far", "optim.momentum=0.8", "optim.weight_decay=0", "optim.lr=0.7")
    made("no_lrn", "+experiment=no_lrn", "optim.lr=0.5")
    report = make_report(tmp_path)
    assert report.refused == (
        f"{tmp_path}/no_lrn/seed_0 against {tmp_path}/baseline/seed_0:"
        " also differ in optim.lr (0.5, 0.01)",
    )
    (found,) = (f for f in report.findings if f.claim.name == "no_lrn/top1")
    assert found.verdict is Verdict.not_run
    assert "refused pairings" in found.note


def test_views_compare_center_and_ten_views_of_the_same_runs(tmp_path, made) -> None:
    for seed in SEEDS:
        made("baseline", seed=seed, center=worse(seed, 0.1))
    (found,) = findings(tmp_path, "views/top1")
    center = np.mean([worse(seed, 0.1) for seed in SEEDS])
    assert found.baseline == pytest.approx(np.mean([base_wrong(seed) for seed in SEEDS]))
    assert found.changed == pytest.approx(center)
    assert found.verdict is Verdict.helps


def cifar(made, name, *overrides, rate, epochs):
    """Runs that reach 25 % training error after so many epochs; None: never."""
    for seed, count in enumerate(epochs):
        curve = [0.9] * ((count or 9) - 1) + [0.25 if count else 0.26, 0.1 if count else 0.3]
        made(
            f"{name}_{rate}", "data=cifar10", "model=cifar_small", *overrides, f"optim.lr={rate}",
            seed=seed, train_curve=curve,
        )  # fmt: skip


def test_speed_is_a_ratio_at_the_best_rate_of_each(tmp_path, made) -> None:
    cifar(made, "relu", rate="0.001", epochs=(8, 9, 10))
    cifar(made, "relu", rate="0.01", epochs=(5, 6, 7))
    cifar(made, "relu", rate="0.1", epochs=(2, 2, None))
    cifar(made, "tanh", "+experiment=tanh", rate="0.001", epochs=(31, 35, 43))
    cifar(made, "tanh", "+experiment=tanh", rate="0.01", epochs=(50, 60, 70))
    (found,) = findings(tmp_path, "tanh/epochs")
    assert (found.baseline, found.changed) == (pytest.approx(6), pytest.approx(109 / 3))
    ratios = np.log([31 / 5, 35 / 6, 43 / 7])
    assert found.difference == pytest.approx(np.exp(ratios.mean()))
    assert found.low < 6 < found.high
    assert found.verdict is Verdict.helps
    assert "the published about 6 lies inside the interval" in found.note
    assert "baseline at optim.lr=0.01, best of 3 learning rates" in found.note
    assert "tanh at optim.lr=0.001, best of 2 learning rates" in found.note
    assert "measured on" not in found.note
    assert found.context == ""
    assert found.command == (
        "python -m alexnet_exp.train -m data=cifar10 model=cifar_small optim.lr=0.01"
        " +experiment=baseline seed=0,1,2 && python -m alexnet_exp.train -m data=cifar10"
        " model=cifar_small optim.lr=0.001 +experiment=tanh seed=0,1,2"
    )


def test_speed_says_what_was_never_reached(tmp_path, made) -> None:
    cifar(made, "relu", rate="0.01", epochs=(5, 6))
    cifar(made, "tanh", "+experiment=tanh", rate="0.01", epochs=(40, None))
    (found,) = findings(tmp_path, "tanh/epochs")
    assert found.verdict is Verdict.not_resolved
    assert (found.baseline, found.changed, found.difference) == (5.5, None, None)
    assert "tanh never reached 25 % training error with all of its seeds" in found.note
    assert "nearest: 18.0 % at optim.lr=0.01" in found.note  # (10 % + 26 %) / 2
    least = ((40 / 5) * (10 / 6)) ** 0.5  # the second run of tanh ended after 10 epochs
    assert (
        f"tanh was run for up to 41 epochs, baseline took 5.5: the ratio is at least {least:.1f}"
    ) in found.note


def test_speed_of_a_baseline_that_never_gets_there_has_an_upper_bound(tmp_path, made) -> None:
    cifar(made, "relu", rate="0.01", epochs=(None, None))
    cifar(made, "relu", rate="0.02", epochs=(None, None))
    cifar(made, "tanh", "+experiment=tanh", rate="0.01", epochs=(4, 2))
    (found,) = findings(tmp_path, "tanh/epochs")
    most = ((4 / 10) * (2 / 10)) ** 0.5
    assert f"the ratio is at most {most:.1f}" in found.note
    assert found.verdict is Verdict.not_resolved
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "tanh_0.01" / f"seed_{seed}")
    cifar(made, "tanh", "+experiment=tanh", rate="0.01", epochs=(None, None))
    assert "the ratio is" not in findings(tmp_path, "tanh/epochs")[0].note


def test_a_rate_that_lost_a_seed_is_not_the_best_one(tmp_path, made) -> None:
    cifar(made, "relu", rate="0.01", epochs=(5, 6, 7))
    cifar(made, "tanh", "+experiment=tanh", rate="0.01", epochs=(40, 42, 44))
    cifar(made, "tanh", "+experiment=tanh", rate="0.1", epochs=(9, 9, 9))
    diverge(tmp_path / "tanh_0.1" / "seed_2")
    (found,) = findings(tmp_path, "tanh/epochs")
    assert "tanh at optim.lr=0.01, best of 2 learning rates" in found.note
    diverge(tmp_path / "tanh_0.01" / "seed_2")
    (found,) = findings(tmp_path, "tanh/epochs")
    assert found.difference is None  # no rate brought all seeds there
    assert found.verdict is Verdict.not_resolved


def test_small_and_large_networks_have_claims_of_their_own(tmp_path, made) -> None:
    cifar(made, "relu", rate="0.01", epochs=(5, 6))
    cifar(made, "no_norm", "+experiment=no_lrn", rate="0.01", epochs=(5, 6))
    names = ("no_lrn/top1", "no_lrn_cifar10/top1")
    # The norm within maps of cifar_small is not LRN: its loss is nobody's claim.
    assert {found.verdict for found in findings(tmp_path, *names)} == {Verdict.not_run}
    for seed in (0, 1):
        made("lrn", "data=cifar10", "model=cifar_local_lrn", seed=seed)
        made("no_lrn", "data=cifar10", "model=cifar_local_lrn", "+experiment=no_lrn", seed=seed)
    large, small = findings(tmp_path, *names)
    assert large.verdict is Verdict.not_run
    assert (small.data, small.seeds) == ("cifar10", (0, 1))


def test_levels_compare_on_the_published_data_alone(tmp_path, made) -> None:
    # The same number of images is wrong for every seed, so that the mean is known.
    images, error = 20_000, 0.407
    for seed in (0, 1, 2):
        wrong = np.zeros(images, bool)
        wrong[np.random.default_rng(seed).permutation(images)[: round(error * images)]] = True
        made("imagenet", "data=imagenet", seed=seed, wrong=wrong, classes=1000)
    made("hundred", "data=imagenet", "data.name=imagenet_100", classes=100)
    found, other = findings(tmp_path, "level_2012/top1", "level_2010_ten/top1")
    assert found.baseline == pytest.approx(error)
    assert found.verdict is Verdict.reproduced
    # No narrower than the images alone make it, each as wrong as the seeds' mean says.
    assert found.high - found.low > 2 * 1.96 * (error * (1 - error) / 3 / images) ** 0.5
    assert other.verdict is Verdict.not_run


def imagenet(tmp_path, made, word):
    """Whether the loss of LRN may reproduce the published one, and why the error may not."""
    given = "data=imagenet", *filter(None, [word])
    for name, change in (("baseline", ()), ("no_lrn", ["+experiment=no_lrn"])):
        made(name, *given, *change, classes=1000)
    lrn, level = findings(tmp_path, "no_lrn/top1", "level_2012/top1")
    return lrn.alike, level.note if level.difference is None else ""


@pytest.mark.parametrize("word", [
    "", "recipe=paper", "model=original", "data.encoding=jpeg", "trainer.accelerator=gpu",
    "speed=plain",
])  # fmt: skip
def test_what_trained_as_published_may_reproduce(tmp_path, made, word) -> None:
    assert imagenet(tmp_path, made, word) == (True, "")


@pytest.mark.parametrize("word", [
    "model.fc=[64,64]", "model.activation=tanh", "model.dropout=0.0", "model.towers=1",
    "model.width=0.5", "model=caffenet", "recipe=flowers", "augmentation=none", "optim=adam",
    "optim.lr=0.02", "evaluation.views=one", "data.subset=0.1", "data.image_size=240",
    "data.batch_size=64", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "callbacks=early_stopping", "+trainer.accumulate_grad_batches=2",
])  # fmt: skip
def test_what_trained_otherwise_reproduces_nothing(tmp_path, made, word) -> None:
    alike, note = imagenet(tmp_path, made, word)
    assert not alike
    assert note.startswith("it is about a training without ")
    assert word in note or not word.startswith(("model.", "optim.", "data.", "trainer."))


@pytest.mark.parametrize("name", ["d2l", "torchvision", "caffenet_notes"])
def test_a_network_of_others_is_compared_with_what_they_published(tmp_path, made, name) -> None:
    classes = 10 if name == "d2l" else 1000
    given = f"+experiment={name}"
    made("other", given, "optim.lr=0.02", classes=classes)
    (found,) = findings(tmp_path, f"{name}/top1")
    assert found.note == "it is about a training without optim.lr=0.02"
    for seed in (1, 2):
        made("same", given, seed=seed, classes=classes, worse=200)
    (found,) = findings(tmp_path, f"{name}/top1")
    assert (found.seeds, found.verdict) == ((1, 2), Verdict.contradicted)
    assert found.baseline == pytest.approx(0.5 + 0.5 * 0.3, abs=0.03)


def test_few_classes_reproduce_nothing(tmp_path, made) -> None:
    made("baseline", "data=imagenet", classes=100)
    (found,) = findings(tmp_path, "level_2012/top1")
    assert found.note == "it is about a training without model.classes=100"


def test_what_was_published_of_other_data_has_a_training_of_its_own(tmp_path, made) -> None:
    def alike(name, changed, *given, **told):
        made(f"{name}{given}", *given, **told)
        made(f"{name}{given}_changed", *given, f"+experiment={changed}", **told)
        return [found.alike for found in findings(tmp_path, name)]

    assert alike("no_lrn_cifar10/top1", "no_lrn", "+sweep=lrn_cifar") == [True]
    assert alike("tanh/epochs", "tanh", "data=cifar10", "model=cifar_small") == [False]
    tuned = "+sweep=relu_vs_tanh", "optim.lr=0.003"
    assert sorted(alike("tanh/epochs", "tanh", *tuned)) == [False, True]
    named, told = ("data=imagenet", "data.name=imagenet_2010"), {"classes": 1000}
    assert alike("one_gpu/top1", "one_gpu", *named, **told) == [True]
    ten, center = findings(tmp_path, "level_2010_ten/top1", "level_2010_center/top1")
    assert (ten.alike, center.verdict) == (True, Verdict.not_run)  # which no run recorded
    made("center", *named, "evaluation.views=one", **told)
    (center,) = findings(tmp_path, "level_2010_center/top1")
    assert center.alike


def test_several_ideas_off_at_once_and_own_experiments_are_listed(tmp_path, made) -> None:
    made("baseline")
    made("both", "+experiment=[no_dropout,no_lrn]", wrong=worse(0, 0.2))
    made("own", "model.width=0.5", experiment="my_small", wrong=worse(0, 0.3))
    found = make_report(tmp_path)
    assert {f.verdict for f in found.findings} == {Verdict.not_run}
    write(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    own = "my_small model.width=0.5"
    for name, wrong in (("no_dropout + no_lrn", worse(0, 0.2)), (own, worse(0, 0.3))):
        assert f"| {name} | 1 | {100 * wrong.mean():.1f} % |" in text
    assert "'+experiment=baseline,[no_dropout,no_lrn]' seed=0" in text


def test_the_command_writes_and_shows_and_needs_no_torch(tmp_path, made) -> None:
    for seed in (0, 1):
        made("baseline", seed=seed)
        made("no_lrn", "+experiment=no_lrn", seed=seed, wrong=worse(seed, 0.1))
    code = "import sys; from alexnet_exp.report.__main__ import main; main();"
    code += " print(sorted({'torch', 'lightning', 'torchvision'} & set(sys.modules)))"
    words = [sys.executable, "-c", code, f"runs={tmp_path}", f"output={tmp_path}/there"]
    run = subprocess.run(words, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1] == "[]"
    for name in ("report.md", "results.csv", "report.html"):
        assert (tmp_path / "there" / name).stat().st_size
        assert f"written: {tmp_path / 'there' / name}" in run.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs={}/none"], "there is no such folder"),
        (["runs={}/empty"], "no finished run in it"),
        (["runs={}", "output=/dev/null/there"], "set output=<another folder>"),
        (["rums=a"], "did you mean runs?"),
        (["runs=a", "runs=b"], "each once"),
        (["runs="], "have the form"),
    ],
)
def test_mistakes_end_with_one_message(tmp_path, made, monkeypatch, capsys, words, message) -> None:
    made("baseline")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["report", *(word.format(tmp_path) for word in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert shown.startswith("error: ")
    assert message in shown

"""From run folders to findings: numbers against direct computation, verdicts, the command."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from alexnet_exp.report.__main__ import main, make_report, write
from alexnet_exp.report.claims import CLAIMS
from alexnet_exp.report.findings import Size, Verdict
from alexnet_exp.report.power import needed
from alexnet_exp.report.statistics import paired_difference
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


def test_a_difference_is_that_of_the_paired_images(tmp_path, made) -> None:
    both(made, lambda seed: worse(seed, 0.1), "no_lrn")
    base = np.stack([base_wrong(seed) for seed in SEEDS])
    changed = np.stack([worse(seed, 0.1) for seed in SEEDS])
    found, top5 = findings(tmp_path, "no_lrn/top1", "no_lrn/top5")
    assert found.baseline == pytest.approx(np.mean(base))
    assert found.changed == pytest.approx(np.mean(changed))
    assert found.difference == pytest.approx(np.mean(changed) - np.mean(base))
    direct = paired_difference(base, changed)
    assert (found.low, found.high) == pytest.approx((direct.low, direct.high))
    assert (found.seeds, found.images) == (SEEDS, IMAGES)
    assert found.verdict is Verdict.reproduced
    assert found.low > 0.0137
    assert found.size is Size.larger
    assert "the published +1.37 lies below the interval" in found.note
    assert "published for ILSVRC-2012 validation, ten views, measured on synthetic" in found.note
    assert found.synthetic
    even = np.arange(IMAGES) % 2 == 0  # whose label is not among the five best either
    assert top5.difference == pytest.approx(np.mean(changed & even) - np.mean(base & even))


def test_what_is_not_resolved_says_what_would_resolve_it(tmp_path, made) -> None:
    changed = [base_wrong(seed) ^ wrong_images(50 + seed, IMAGES, 0.05) for seed in SEEDS]
    both(made, lambda seed: changed[seed], "no_lrn")
    (found,) = findings(tmp_path, "no_lrn/top1")
    direct = paired_difference(np.stack([base_wrong(s) for s in SEEDS]), np.stack(changed))
    tests = 2  # top-1 and top-5
    enough = needed(direct.components, 0.0137, len(SEEDS), IMAGES, 1 - 0.05 / tests)
    assert found.verdict is Verdict.not_resolved
    assert (enough.seeds > len(SEEDS), enough.images) == (True, None)  # seeds set the limit
    assert f"about {enough.seeds:,} seeds on these images" in found.note
    assert "+1.37 points (power 80%); more images alone would not do" in found.note


def test_holm_is_over_all_differences_of_the_report(tmp_path, made) -> None:
    for seed in SEEDS:
        made("baseline", seed=seed)
        for experiment, share in (("no_lrn", 0.02), ("no_crops_flips", 0.1), ("one_gpu", 0.01)):
            wrong = worse(seed, share) ^ wrong_images(9 + seed, IMAGES, 0.02)
            made(experiment, f"+experiment={experiment}", seed=seed, wrong=wrong)
    tested = [f for f in make_report(tmp_path).findings if f.p_value is not None]
    assert [f.claim.name for f in tested] == [
        "no_lrn/top1", "no_lrn/top5", "one_gpu/top1", "one_gpu/top5", "no_crops_flips/top1",
    ]  # fmt: skip
    ordered = sorted(tested, key=lambda f: f.p_value)
    least = 0.0
    for place, found in enumerate(ordered):
        least = max(least, min(1.0, found.p_value * (len(ordered) - place)))
        assert found.p_holm == pytest.approx(least)
        assert (found.verdict is Verdict.not_resolved) == (found.p_holm >= 0.05)


def test_one_seed_has_no_interval_and_lone_seeds_are_named(tmp_path, made) -> None:
    for seed in (0, 1, 2):
        made("baseline", seed=seed)
    for seed in (1, 2, 7):
        made("no_lrn", "+experiment=no_lrn", seed=seed)
    made("tanh", "+experiment=tanh", wrong=worse(0, 0.3))
    found, lone = findings(tmp_path, "tanh/top1", "no_lrn/top1")
    assert found.difference == pytest.approx(worse(0, 0.3).mean() - base_wrong(0).mean())
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.verdict is Verdict.not_resolved
    assert found.note.startswith("one seed: no interval; run at least 3 seeds")
    assert lone.seeds == (1, 2)
    assert "seed 0 only of baseline; seed 7 only of no_lrn" in lone.note


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
    assert (found.verdict, found.size) == (Verdict.not_resolved, None)
    assert found.p_holm < 0.05  # by the survivors alone it would be reproduced
    assert found.note.startswith("2 of 5 seeds of no_lrn diverged")
    assert "only of" not in found.note
    assert "interval" not in found.note
    assert kept.verdict is Verdict.reproduced
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
    assert (found.verdict, found.size) == (Verdict.not_resolved, None)
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
    assert notes["five_networks/top1"] == "no command averages several networks"
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
    assert found.verdict is Verdict.reproduced


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
    assert found.verdict is Verdict.reproduced
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


def test_several_ideas_off_at_once_and_own_experiments_are_listed(tmp_path, made) -> None:
    made("baseline")
    made("both", "+experiment=[no_dropout,no_lrn]", wrong=worse(0, 0.2))
    made("own", "model.width=0.5", experiment="my_small", wrong=worse(0, 0.3))
    found = make_report(tmp_path)
    assert {f.verdict for f in found.findings} == {Verdict.not_run}
    write(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    own = "my_small model.width=0.5"
    for name, wrong in (("no_dropout+no_lrn", worse(0, 0.2)), (own, worse(0, 0.3))):
        assert f"| {name} | 1 | {100 * wrong.mean():.1f} % |" in text
    assert "'+experiment=[no_dropout,no_lrn]' seed=0" in text


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

"""What averaging five networks buys, against plain loops and against a simulated truth."""

import math

import numpy as np
import pytest

from alexnet_exp.report.__main__ import make_report
from alexnet_exp.report.averages import influences
from alexnet_exp.report.findings import Finding, Verdict
from alexnet_exp.report.power import seeds_needed
from alexnet_exp.report.prospects import plan
from alexnet_exp.report.statistics import paired
from alexnet_exp.report.verdicts import judge
from tests.report import drawn_report

IMAGES, CLASSES, SEEDS = 300, 10, 5


def means(images: int, classes: int, seed: int) -> np.ndarray:
    """What all networks have in common: scores (I, C), mostly best for the label i modulo C."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1, (images, classes))
    scores[np.arange(images), np.arange(images) % classes] += 2.2
    return scores


def network(common: np.ndarray, seed: int, spread: float = 1.2) -> np.ndarray:
    """Probabilities (I, C) of one of them."""
    scores = np.exp(common + np.random.default_rng(seed).normal(0, spread, common.shape))
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32)


def error(probabilities: np.ndarray, named: int) -> float:
    """Share of images whose label is not among so many best, image by image."""
    wrong = 0
    for i, row in enumerate(probabilities.tolist()):
        label = i % len(row)
        wrong += sum(other > row[label] for other in row) >= named
    return wrong / len(probabilities)


def found(folder, name: str = "top1") -> Finding:
    (one,) = [f for f in make_report(folder).findings if f.claim.name == f"average_of_five/{name}"]
    return one


@pytest.mark.parametrize(("name", "named"), [("top1", 1), ("top5", 5)])
def test_the_gain_is_one_networks_error_less_that_of_the_mean_softmax(
    tmp_path, made, name: str, named: int
) -> None:
    common = means(IMAGES, CLASSES, 0)
    networks = [network(common, 10 + seed) for seed in range(7)]
    for seed in (3, 0, 6, 1, 5, 2, 4):
        made("baseline", seed=seed, probabilities=networks[seed])
    one = found(tmp_path, name)
    alone = np.mean([error(own, named) for own in networks[:SEEDS]])
    average = error(sum(networks[:SEEDS]) / SEEDS, named)
    assert one.seeds == (0, 1, 2, 3, 4), "a whole five counts, in ascending order"
    assert (one.changed, one.baseline) == pytest.approx((alone, average))
    assert one.difference == pytest.approx(alone - average)
    assert one.low < one.difference < one.high
    if name == "top1":
        assert one.verdict is Verdict.helps
        assert one.difference > 0.05


def gains(networks: list[np.ndarray]) -> np.ndarray:
    labels = np.arange(len(networks[0])) % networks[0].shape[1]
    alone = np.mean([own.argmax(1) != labels for own in networks], axis=0)
    return alone - (np.mean(networks, axis=0).argmax(1) != labels)


def test_the_interval_is_the_jackknifes_crossed_with_images(tmp_path, made) -> None:
    common = means(IMAGES, CLASSES, 1)
    networks = [network(common, 20 + seed) for seed in range(10)]
    for seed, own in enumerate(networks):
        made("baseline", seed=seed, probabilities=own)
    rows = []
    for five in (networks[:5], networks[5:]):
        without = [gains([own for own in five if own is not one]) for one in five]
        rows += [gains(five) + 4 * (np.mean(without, axis=0) - one) for one in without]
    direct = paired({0: np.array(rows)})
    half = direct.half_width()
    one = found(tmp_path)
    assert len(one.seeds) == 10
    ends = direct.estimate, direct.estimate - half, direct.estimate + half
    assert (one.difference, one.low, one.high) == pytest.approx(ends)


def test_networks_are_averaged_within_their_fold(tmp_path, made) -> None:
    networks = {}
    for fold in range(2):
        common = means(IMAGES + 50 * fold, 5, fold)
        for number in range(SEEDS):
            seed = 2 * number + fold
            networks[fold, seed] = network(common, 100 + seed)
            made("baseline", seed=seed, folds=2, probabilities=networks[fold, seed])
    one = found(tmp_path)
    images = {fold: IMAGES + 50 * fold for fold in range(2)}
    differences = {
        fold: np.mean([error(networks[at], 1) for at in networks if at[0] == fold])
        - error(sum(networks[at] for at in networks if at[0] == fold) / SEEDS, 1)
        for fold in images
    }
    assert one.folds == 2
    assert one.images == sum(images.values())
    expected = np.average([*differences.values()], weights=[*images.values()])
    assert one.difference == pytest.approx(expected)
    top5 = found(tmp_path, "top5")
    assert top5.not_applicable


def test_what_can_not_be_averaged_says_why_and_what_would_do(tmp_path, made) -> None:
    common = means(IMAGES, CLASSES, 2)
    given = ["data=flowers", "hydra.mode=RUN"]
    for seed in range(3):
        run = f"{tmp_path}/swept/baseline/seed_{seed}"
        made("swept/baseline", "data=flowers", seed=seed, probabilities=network(common, seed),
             recorded=[*given, f"hydra.run.dir={run}", f"seed={seed}"])  # fmt: skip
    few = found(tmp_path)
    assert few.verdict is Verdict.not_run
    assert few.note == "3 seeds of baseline, and 5 are averaged"
    assert few.command.endswith(f"hydra.sweep.dir={tmp_path}/swept +experiment=baseline"
                                " seed=0,1,2,3,4")  # fmt: skip


def test_what_would_settle_it_is_whole_fives(tmp_path, made) -> None:
    common = means(150, CLASSES, 3)
    for seed in range(SEEDS):
        made("baseline", "data=flowers", seed=seed, probabilities=network(common, seed, 0.4))
    report = make_report(tmp_path)
    one = found(tmp_path)
    exact = seeds_needed(one.components, 0.026, share=one.share)
    assert one.verdict is Verdict.not_resolved
    assert exact % 5, "else this shows nothing"
    (step,) = plan(report)
    whole = 5 * math.ceil(exact / 5)
    assert (step.idea, step.needed) == ("averaging five networks", f"{whole} seeds")
    assert step.command.endswith(f"'seed=range({whole})'")


def test_runs_without_probabilities_are_to_run_again_elsewhere(tmp_path, made) -> None:
    for seed in range(5):
        folder = f"{tmp_path}/swept/baseline/seed_{seed}"
        made("swept/baseline", "data=flowers", seed=seed,
             recorded=["data=flowers", "hydra.mode=RUN", f"hydra.run.dir={folder}"])  # fmt: skip
    older = found(tmp_path)
    assert "seed_0 recorded no probabilities of all classes" in older.note
    assert older.command.endswith(" sweep.name=average_of_five +experiment=baseline seed=0,1,2,3,4")


def test_a_thousand_classes_are_left_to_evaluate(tmp_path, made) -> None:
    for seed in range(5):
        made("many", "data=imagenet", seed=seed, classes=1000)
    many = found(tmp_path)
    assert many.note.endswith("of more than 10 no run does: python -m alexnet_exp.evaluate averages"
                              " them)")  # fmt: skip
    assert many.command == ""


def test_the_interval_holds_the_truth() -> None:
    """Of networks that differ much in how good they are, in 95 % or more of simulated fives."""

    class Made:
        def __init__(self, probabilities: np.ndarray) -> None:
            self.probabilities = probabilities
            self.labels = np.arange(len(probabilities)) % 5
            self.wrong = {"top1": probabilities.argmax(1) != self.labels}

    def five(images: int, seed: int) -> list[Made]:
        common, random = means(images, 5, seed), np.random.default_rng(seed)
        spreads = 1.2 * np.exp(random.normal(0, 0.2, 5))
        return [Made(network(common, 10 * seed + i, own)) for i, own in enumerate(spreads)]

    many = [influences(five(2000, 5000 + i), "top1").mean() for i in range(150)]
    truth, inside = np.mean(many), 0
    for trial in range(150):
        low, high = paired({0: influences(five(400, trial), "top1")}).ends
        inside += low <= truth <= high
    assert inside >= 0.95 * 150


def test_averages_cost_changes_none_of_the_level() -> None:
    """They change nothing in a network, so they are corrected by themselves."""
    changes = [
        drawn_report.finding(name, 0.03, p_value=p_value)
        for name, p_value in (("no_lrn/top1", 0.02), ("one_gpu/top1", 0.04))
    ]
    average = drawn_report.finding("average_of_five/top1", 0.03, p_value=0.03)
    assert [one.p_adjusted for one in judge(changes)] == [0.04, 0.04]
    assert [one.p_adjusted for one in judge([average, *changes])] == [0.03, 0.04, 0.04]

"""The claim that one tower loses its colors (section 6.1), counted over seeds."""

import numpy as np
import pytest
from scipy import stats

from alexnet_exp.network.first_layer import PERMUTATIONS, colorfulness, compare_towers
from alexnet_exp.report.__main__ import make_report, write
from alexnet_exp.report.findings import Finding, Verdict
from alexnet_exp.report.prospects import plan
from alexnet_exp.report.wording import answers, details

SEEDS = (0, 1, 2, 3)


def random_kernels(seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(24, channels, 5, 5)).astype(np.float16)


def specialized(seed: int) -> np.ndarray:
    """Of one half of the kernels, in some networks the second, the channels are nearly alike."""
    kernels = random_kernels(seed).astype(np.float64)
    half = kernels[:12] if seed % 2 else kernels[12:]
    half += (0.6 + 0.1 * seed) * (half.mean(1, keepdims=True) - half)
    return kernels.astype(np.float16)


def record(made, kernels, *overrides: str, seeds=SEEDS, name: str = "baseline") -> None:
    for seed in seeds:
        np.save(made(name, *overrides, seed=seed) / "kernels.npy", kernels(seed))


def the_finding(folder) -> Finding:
    [found] = [f for f in make_report(folder).findings if f.claim.name == "specialization"]
    return found


def test_the_difference_is_that_of_the_towers_and_its_interval_is_over_networks(
    tmp_path, made
) -> None:
    record(made, specialized)
    found = the_finding(tmp_path)
    sides = [
        sorted((colorfulness(k[:12]).mean(), colorfulness(k[12:]).mean()))
        for k in map(specialized, SEEDS)
    ]
    each = [high - low for low, high in sides]
    assert (found.baseline, found.changed) == pytest.approx(np.mean(sides, 0).tolist())
    runs = {s: compare_towers(specialized(s), (0, s)) for s in SEEDS}
    above = np.mean(each) - np.mean([run.by_chance for run in runs.values()])
    assert found.difference == pytest.approx(above)
    low, high = stats.t.interval(0.95, 3, above, stats.sem(each))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == 1 / (1 + PERMUTATIONS)
    assert (found.verdict, found.seeds) == (Verdict.differ, SEEDS)
    apart = sum(run.p_value < 0.05 for run in runs.values())
    assert f"in {apart} of 4 runs" in found.note
    assert apart >= 3


def test_random_kernels_show_no_difference(tmp_path, made) -> None:
    record(made, random_kernels)
    found = the_finding(tmp_path)
    assert found.verdict is Verdict.not_resolved
    assert found.p_value > 0.05
    assert found.low < 0 < found.high, "what chance makes is taken off"
    assert not [step for step in plan(make_report(tmp_path)) if "towers" in step.idea]


def test_it_takes_nothing_from_the_level_of_the_ideas(tmp_path, made) -> None:
    for seed in SEEDS:
        made("no_lrn", "+experiment=no_lrn", seed=seed, worse=12)
        made("baseline", seed=seed)
    before = make_report(tmp_path).findings
    for seed in SEEDS:
        np.save(tmp_path / "baseline" / f"seed_{seed}" / "kernels.npy", specialized(seed))
    after = make_report(tmp_path).findings
    others = [[f for f in found if f.claim.name != "specialization"] for found in (before, after)]
    assert others[0] == others[1]
    assert any(finding.p_adjusted is not None for finding in others[0])


def test_networks_without_two_towers_colors_or_kernels_do_not_count(tmp_path, made) -> None:
    made("none")
    assert "none/seed_0 holds no kernels.npy" in the_finding(tmp_path).note
    record(made, lambda seed: random_kernels(seed, 1), "data.channels=1", name="gray")
    record(made, specialized, "model.towers=1", name="one")
    found = the_finding(tmp_path)
    assert found.verdict is Verdict.not_run
    record(made, specialized, "optim.lr=.02", name="two", seeds=(0,))
    made("two", "optim.lr=.02", seed=1)
    found = the_finding(tmp_path)
    assert (found.seeds, found.low) == ((0,), None)
    assert "1 more hold no kernels.npy" in found.note


@pytest.mark.parametrize("overrides", [("model.towers=1",), ("data.channels=1",)])
def test_why_it_was_not_counted_is_said(tmp_path, made, overrides) -> None:
    channels = 1 if "channels" in overrides[0] else 3
    record(made, lambda seed: random_kernels(seed, channels), *overrides)
    reason = "saw gray images" if channels == 1 else "has no two towers"
    assert the_finding(tmp_path).note.endswith(reason)


def test_it_reads_well(tmp_path, made) -> None:
    record(made, specialized)
    report = make_report(tmp_path)
    [answer] = answers(report)
    assert answer == "specialized towers (% color): the towers differ."
    said = dict(details(the_finding(tmp_path)))
    assert "of conv1's energy is color; 4 seeds" in said["measured"]
    assert said["published"].startswith("in every run on ILSVRC-2010, figure 3; paper, section 6.1")
    for file in write(report, tmp_path / "out"):
        assert "the towers differ" in file.read_text()


@pytest.mark.parametrize(
    ("kernels", "reason"),
    [
        (np.ones((7, 3, 5, 5), np.float16), "7 kernels of 2 towers"),
        (np.full((8, 3, 5, 5), np.nan, np.float16), "not kernels of finite numbers"),
        (np.ones((8, 3, 5, 5), np.int8), "not kernels of finite numbers"),
        (np.ones((8, 3, 5), np.float16), "not kernels of finite numbers"),
        (None, ""),
    ],
)
def test_a_run_whose_kernels_are_damaged_is_left_out(tmp_path, made, kernels, reason) -> None:
    made("whole")
    file = made("baseline") / "kernels.npy"
    if kernels is None:
        file.write_bytes(b"\x93NUMPY no more")
    else:
        np.save(file, kernels)
    [skipped] = make_report(tmp_path).skipped
    assert "kernels.npy is damaged" in skipped
    assert reason in skipped

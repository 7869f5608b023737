"""Strategies in the report: one training however many devices, and the time that it took."""

import math
from statistics import fmean, stdev

import pytest
import yaml
from scipy import stats

from alexnet_exp.report.__main__ import make_report
from alexnet_exp.report.devices import STRATEGY_HEADINGS, strategy_sections
from alexnet_exp.report.findings import Verdict
from alexnet_exp.report.page import write_page
from alexnet_exp.report.pairing import cells
from alexnet_exp.report.placement import Placement, laid_over, placement_of
from alexnet_exp.report.results import read_runs, run_folders
from alexnet_exp.report.tables import show, write_markdown
from tests.report.made_runs import write_run, wrong_images

IMAGES = 400
SEEDS = (0, 1, 2)
TWO = ("strategy=ddp", "trainer.devices=2")
H200 = {"gpus": ["NVIDIA H200"] * 2}


@pytest.fixture
def made(tmp_path, compose_config):
    """``made(name, *overrides, seed)`` writes one run of error .3, and ``worse`` of more."""

    def make(name, *overrides, seed=0, worse=0, **more):
        wrong = wrong_images(seed, IMAGES, 0.3)
        wrong[:worse] = True
        write_run(
            tmp_path / name / f"seed_{seed}", compose_config, *overrides, wrong=wrong, seed=seed,
            **more,
        )  # fmt: skip
        return wrong.mean()

    return make


def cells_of(folder):
    found = read_runs(run_folders(folder), lambda: None)
    assert not found.skipped
    return cells(found.runs)


def test_a_seed_counts_once_however_it_was_laid(tmp_path, made) -> None:
    one = [made("single", seed=seed) for seed in SEEDS]
    two = [made("ddp", *TWO, seed=seed, worse=40) for seed in SEEDS[:2]]
    (cell,) = cells_of(tmp_path)
    assert [run.placement for run in cell.runs.values()] == [Placement()] * 3
    report = make_report(tmp_path)
    (group,) = report.groups
    assert group.top1 == pytest.approx(one)
    first, second = report.strategies
    assert (first.strategy, first.devices, first.seeds, first.counted) == (
        "single", 1, (0, 1, 2), (0, 1, 2),
    )  # fmt: skip
    assert (second.strategy, second.devices, second.seeds, second.counted) == (
        "ddp", 2, (0, 1), (),
    )  # fmt: skip
    assert second.top1 == pytest.approx(two)
    largest = max(abs(a - b) for a, b in zip(one, two, strict=False))
    assert first.difference == second.difference == pytest.approx(largest)
    assert largest > 0


def test_the_strategy_with_most_seeds_counts_and_others_lend_what_it_lacks(tmp_path, made) -> None:
    for seed in (1, 2, 3):
        made("ddp", *TWO, seed=seed)
    made("single", seed=0)
    made("single", seed=1)
    made("fsdp", "strategy=fsdp", "trainer.devices=2", seed=4)
    (cell,) = cells_of(tmp_path)
    used = {seed: run.placement.strategy for seed, run in cell.runs.items()}
    assert used == {0: "single", 1: "ddp", 2: "ddp", 3: "ddp", 4: "fsdp"}
    rows = {row.strategy: row for row in make_report(tmp_path).strategies}
    assert {name: row.counted for name, row in rows.items()} == {
        "ddp": (1, 2, 3), "single": (0,), "fsdp": (4,),
    }  # fmt: skip
    assert rows["fsdp"].difference is None
    assert rows["single"].difference == 0


def test_the_newer_of_two_runs_under_one_strategy_counts(tmp_path, made) -> None:
    made("old", *TWO, worse=200, written=1.0)
    newer = made("new", *TWO, written=2.0)
    report = make_report(tmp_path)
    assert report.groups[0].top1 == pytest.approx([newer])
    assert len(report.skipped) == 1
    assert not report.strategies, "all runs have the same strategy"


def test_the_table_stands_on_screen_page_and_in_markdown(tmp_path, made, capsys) -> None:
    made("single", "+experiment=no_lrn")
    made("four", "+experiment=no_lrn", "strategy=towers", "trainer.devices=2",
         "trainer.num_nodes=2", worse=60)  # fmt: skip
    report = make_report(tmp_path)
    (rows,) = strategy_sections(report).values()
    assert rows[1][:5] == ("no_lrn", "towers", "4 on 2 nodes", "1", "0")
    assert dict(zip(STRATEGY_HEADINGS, rows[1], strict=True))["images/s"] == "100"
    show(report)
    assert "strategies on synthetic" in capsys.readouterr().out
    write_markdown(report, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert f"| {' | '.join(rows[1])} |" in text
    assert "2 runs, 20 s of training in all" in text
    write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<h3>Strategies: synthetic" in page
    assert "<td>4 on 2 nodes</td>" in page


def test_one_strategy_has_no_table(tmp_path, made) -> None:
    made("a", *TWO, seed=0)
    made("b", *TWO, seed=1)
    report = make_report(tmp_path)
    assert not report.strategies
    write_markdown(report, tmp_path / "report.md")
    assert "Strategies" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("placement", "is_gpu", "shown"),
    [
        (Placement(), True, "H200"),
        (Placement("ddp", 1), True, "ddp, H200"),
        (Placement("towers", 2), True, "towers, 2 x H200"),
        (Placement("ddp", 8, 2), True, "ddp, 8 x H200 on 2 nodes"),
        (Placement("fsdp", 2), False, "fsdp, 2 processes on H200"),
    ],
)
def test_hardware_names_strategy_and_devices(placement, is_gpu, shown: str) -> None:
    assert laid_over(placement, "H200", is_gpu) == shown


def test_a_run_of_an_earlier_version_is_on_one_device(tmp_path, made) -> None:
    made("old", seed=0)
    made("new", *TWO, seed=1)
    file = tmp_path / "old" / "seed_0" / "config.yaml"
    content = yaml.safe_load(file.read_text())
    content["strategy"] = {"name": "single"}
    file.write_text(yaml.safe_dump(content))
    (cell,) = cells_of(tmp_path)
    assert list(cell.runs) == [0, 1]
    assert placement_of({}) == Placement("single", 1, 1)


def test_gradients_in_bf16_are_another_configuration(tmp_path, made) -> None:
    made("whole", *TWO)
    made("half", *TWO, "strategy.bf16_gradients=true")
    groups = make_report(tmp_path).groups
    assert {group.context for group in groups} == {
        "strategy.bf16_gradients=false", "strategy.bf16_gradients=true",
    }  # fmt: skip


def timed(made, seconds_two, seconds_one, one_device=H200):
    """Two towers on two devices and the one-GPU network, with the seconds of three epochs."""
    for seed, (two, one) in enumerate(zip(seconds_two, seconds_one, strict=True)):
        made("two", "+experiment=two_gpus", seed=seed, environment=H200,
             measured={"train_seconds": two})  # fmt: skip
        made("one", "+experiment=one_gpu", seed=seed, environment=one_device,
             measured={"train_seconds": one})  # fmt: skip


def time_finding(folder):
    (found,) = (f for f in make_report(folder).findings if f.claim.name == "one_gpu/time")
    return found


def test_time_is_the_ratio_of_seconds_per_epoch_paired_by_seed(tmp_path, made) -> None:
    two, one = (30.0, 33.0, 31.5), (36.0, 39.9, 37.5)
    timed(made, two, one)
    found = time_finding(tmp_path)
    logs = [math.log(b / a) for a, b in zip(two, one, strict=True)]
    half = stats.t.ppf(0.975, 2) * stdev(logs) / math.sqrt(3)
    assert found.difference == pytest.approx(math.exp(fmean(logs)))
    assert found.low == pytest.approx(math.exp(fmean(logs) - half), rel=1e-6)
    assert found.high == pytest.approx(math.exp(fmean(logs) + half), rel=1e-6)
    assert (found.baseline, found.changed) == pytest.approx((fmean(two) / 3, fmean(one) / 3))
    assert found.verdict is Verdict.reproduced
    assert found.note.startswith("no figure was published")
    assert "baseline: 101 images/s, 31.5 s in all for 3 epochs" in found.note
    assert found.seeds == SEEDS
    assert "+experiment=two_gpus,one_gpu" in found.command
    errors = [f for f in make_report(tmp_path).findings if f.claim.name == "one_gpu/top1"]
    assert errors[0].seeds == SEEDS


def test_two_towers_that_take_longer_contradict_it(tmp_path, made) -> None:
    timed(made, (36.0, 39.9, 37.5), (30.0, 33.0, 31.5))
    assert time_finding(tmp_path).verdict is Verdict.contradicted


def test_times_that_scatter_say_how_many_seeds_would_do(tmp_path, made) -> None:
    timed(made, (30.0, 33.0, 31.5), (28.0, 36.0, 34.0))
    found = time_finding(tmp_path)
    assert found.verdict is Verdict.not_resolved
    assert "seeds would resolve the observed ratio of 1.0" in found.note


@pytest.mark.parametrize(
    ("one_device", "note"),
    [
        ({"gpus": ["NVIDIA A100"]}, "ran on NVIDIA H200 and one_gpu on NVIDIA A100"),
        ({"gpus": []}, "ran on NVIDIA H200 and one_gpu on a processor"),
    ],
)
def test_other_devices_allow_no_comparison(tmp_path, made, one_device, note: str) -> None:
    timed(made, (30.0, 33.0, 31.5), (36.0, 39.9, 37.5), one_device)
    found = time_finding(tmp_path)
    assert (found.verdict, found.p_value, found.p_holm) == (Verdict.not_resolved, None, None)
    assert note in found.note
    assert found.difference > 1


def test_processes_of_one_cpu_are_not_two_gpus(tmp_path, made) -> None:
    for seed in SEEDS:
        made("two", "+experiment=two_gpus", seed=seed)
        made("one", "+experiment=one_gpu", seed=seed)
    found = time_finding(tmp_path)
    assert (found.verdict, found.p_value) == (Verdict.not_resolved, None)
    assert "towers, 2 processes on a processor share its cores" in found.note


@pytest.mark.parametrize(
    ("base", "changed", "note"),
    [
        ((), (), "no run of baseline under strategy=towers on 2 devices"),
        (("strategy=towers", "trainer.devices=4"), (), "no run of baseline under strategy=towers"),
        (("strategy=towers", "trainer.devices=2"), TWO, "no run of one_gpu under strategy=single"),
    ],
)
def test_times_need_both_sides_as_the_paper_had_them(tmp_path, made, base, changed, note) -> None:
    made("base", *base)
    made("changed", "+experiment=one_gpu", *changed)
    found = time_finding(tmp_path)
    assert found.verdict is Verdict.not_run
    assert found.note.startswith(note)
    assert found.command == "python -m alexnet_exp.train -m +sweep=parallel"


@pytest.mark.parametrize(
    ("experiment", "base", "changed"),
    [
        ("one_gpu", "strategy=towers trainer.devices=2 ", ""),
        ("no_lrn", "strategy=towers trainer.devices=2 ", "strategy=towers trainer.devices=4 "),
    ],
)
def test_commands_keep_the_strategies_of_their_runs(
    tmp_path, made, experiment: str, base: str, changed: str
) -> None:
    for seed in SEEDS[:2]:
        made("base", *base.split(), seed=seed)
        made("changed", f"+experiment={experiment}", *changed.split(), seed=seed)
    findings = make_report(tmp_path).findings
    found = next(f for f in findings if f.claim.name == f"{experiment}/top1")
    train = "python -m alexnet_exp.train -m"
    assert found.command == (
        f"{train} {base}+experiment=baseline seed=0,1"
        f" && {train} {changed}+experiment={experiment} seed=0,1"
    )


def test_what_is_missing_is_asked_for_on_devices_that_fit(tmp_path, made) -> None:
    made("base", "strategy=towers", "trainer.devices=2")
    commands = {f.claim.name: f.command for f in make_report(tmp_path).findings}
    train = "python -m alexnet_exp.train -m"
    assert commands["one_gpu/top1"] == f"{train} +experiment=baseline,one_gpu seed=0"
    assert commands["no_lrn/top1"] == (
        f"{train} strategy=towers trainer.devices=2 +experiment=baseline,no_lrn seed=0"
    )

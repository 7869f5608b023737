"""Strategies in the report: one training however many devices, and the time that it took."""

import math
from statistics import fmean, stdev

import pytest
from scipy import stats

from alexnet_exp.report.__main__ import make_report
from alexnet_exp.report.costs import largest_difference, strategies
from alexnet_exp.report.documents import write_markdown, write_page
from alexnet_exp.report.findings import Comparison, Verdict
from alexnet_exp.report.screen import show
from alexnet_exp.runs.results import Placement
from tests.report.made_runs import IMAGES, wrong_images

SEEDS = (0, 1, 2)
TWO = ("strategy=ddp", "trainer.devices=2")
H200 = {"gpus": ["NVIDIA H200"] * 2}


def errs(seed, worse=0):
    """Error of a run that ``made`` writes."""
    wrong = wrong_images(seed, IMAGES, 0.3)
    wrong[:worse] = True
    return wrong.mean()


def shown(report):
    """The rows of the only table, as dicts by their headings."""
    (table,) = strategies(report)
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def test_a_seed_counts_once_however_it_was_laid(tmp_path, made) -> None:
    for seed in SEEDS:
        made("single", seed=seed)
    for seed in SEEDS[:2]:
        made("ddp", *TWO, seed=seed, worse=40)
    report = make_report(tmp_path)
    assert not report.skipped
    (cell,) = report.cells
    assert [run.placement for run in cell.runs.values()] == [Placement()] * 3
    assert [run.top1_error for run in cell.runs.values()] == pytest.approx(list(map(errs, SEEDS)))
    largest = max(abs(errs(seed) - errs(seed, 40)) for seed in SEEDS[:2])
    assert largest > 0
    for placement in (Placement(), Placement("ddp", 2)):
        assert largest_difference(cell, placement) == pytest.approx(largest)
    assert [list(row.values())[1:7] for row in shown(report)] == [
        ["single", "1", "3", "3", f"{100 * fmean(map(errs, SEEDS)):.1f} %", f"{100 * largest:.2f}"],
        ["ddp", "2", "2", "0", f"{50 * (errs(0, 40) + errs(1, 40)):.1f} %", f"{100 * largest:.2f}"],
    ]


def test_the_strategy_with_most_seeds_counts_and_others_lend_what_it_lacks(tmp_path, made) -> None:
    for seed in (1, 2, 3):
        made("ddp", *TWO, seed=seed)
    made("single", seed=0)
    made("single", seed=1)
    made("fsdp", "strategy=fsdp", "trainer.devices=2", seed=4)
    report = make_report(tmp_path)
    (cell,) = report.cells
    used = {one.seed: run.placement.strategy for one, run in cell.runs.items()}
    assert used == {0: "single", 1: "ddp", 2: "ddp", 3: "ddp", 4: "fsdp"}
    counted = {row["strategy"]: (row["runs"], row["counted"]) for row in shown(report)}
    assert counted == {"ddp": ("3", "3"), "single": ("2", "1"), "fsdp": ("1", "1")}
    assert largest_difference(cell, Placement("fsdp", 2)) is None
    assert largest_difference(cell, Placement("single", 1)) == 0


def test_the_table_stands_on_screen_page_and_in_markdown(tmp_path, made, capsys) -> None:
    made("single", "+experiment=no_lrn")
    made("four", "+experiment=no_lrn", "strategy=towers", "trainer.devices=2",
         "trainer.num_nodes=2", worse=60)  # fmt: skip
    made("elsewhere", "data=flowers")
    report = make_report(tmp_path)
    row = shown(report)[1]
    cells = list(row.values())
    assert cells[:5] == ["no_lrn", "towers", "4 on 2 nodes", "1", "0"]
    assert "images/s" not in row  # nothing says what else ran
    show(report)
    assert "strategies on synthetic" in capsys.readouterr().out
    write_markdown(report, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert f"| {' | '.join(cells)} |" in text
    assert "3 runs, 30 s of training in all" in text
    write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<h3>Strategies on synthetic" in page
    assert '<td data-label="devices">4 on 2 nodes</td>' in page


def test_speeds_stand_beside_strategies_that_ran_beside_equal_loads(tmp_path, made) -> None:
    made("single", measured={"other_load": 0.1, "images_per_second": 812.4})
    made("ddp", *TWO, measured={"other_load": 0.2, "images_per_second": 1543.0})
    assert [row["images/s"] for row in shown(make_report(tmp_path))] == ["812", "1,543"]
    made("later", *TWO, seed=1, measured={"other_load": 0.9, "images_per_second": 1543.0})
    assert all("images/s" not in row for row in shown(make_report(tmp_path)))


def test_hardware_names_strategy_and_devices() -> None:
    assert Placement().over("H200", True) == "H200"
    assert Placement("ddp", 1).over("H200", True) == "ddp, H200"
    assert Placement("towers", 2).over("H200", True) == "towers, 2 x H200"
    assert Placement("ddp", 8, 2).over("H200", True) == "ddp, 8 x H200 on 2 nodes"
    assert Placement("fsdp", 2).over("H200", False) == "fsdp, 2 processes on H200"


def timed(made, seconds_two, seconds_one, one_device=H200, two_devices=H200):
    """Two towers on two devices and the one-GPU network, with the seconds of three epochs."""
    sides = (("two_gpus", seconds_two, two_devices), ("one_gpu", seconds_one, one_device))
    for name, times, device in sides:
        for seed, seconds in enumerate(times):
            measured = {"train_seconds": seconds}
            made(name, f"+experiment={name}", seed=seed, environment=device, measured=measured)


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
    assert (found.verdict, found.comparison) == (Verdict.helps, (Comparison.same_sign,))
    assert found.freedom == 2
    assert found.note.startswith("no figure was published")
    assert "baseline: 101 images/s, 31.5 s in all for 3 epochs" in found.note
    assert found.seeds == SEEDS
    assert "+experiment=two_gpus,one_gpu" in found.command
    errors = [f for f in make_report(tmp_path).findings if f.claim.name == "one_gpu/top1"]
    assert errors[0].seeds == SEEDS


@pytest.mark.parametrize(
    ("one_device", "two_devices", "note"),
    [
        ({"gpus": ["NVIDIA A100"]}, H200, "ran on NVIDIA H200 and one_gpu on NVIDIA A100"),
        ({}, {}, "towers, 2 processes on a processor share its cores"),
    ],
)
def test_other_devices_and_processes_of_one_cpu_allow_no_comparison(
    tmp_path, made, one_device, two_devices, note: str
) -> None:
    timed(made, (30.0, 33.0, 31.5), (36.0, 39.9, 37.5), one_device, two_devices)
    found = time_finding(tmp_path)
    assert (found.verdict, found.p_value, found.p_adjusted) == (Verdict.not_resolved, None, None)
    assert note in found.note
    assert found.difference > 1


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

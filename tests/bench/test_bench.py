import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from alexnet_exp.bench import __main__ as bench
from alexnet_exp.config import Config, conf_folder, to_config
from alexnet_exp.config.bench import BenchConfig, BenchRun, register_bench
from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.page import _composed, _job, page
from alexnet_exp.cost.pieces import STATED_LINKS, ceilings, same_for_all
from alexnet_exp.cost.step_time import fits, step_time
from alexnet_exp.errors import UserError

ROOT = Path(__file__).parents[2]

TINY = (
    "profile=cpu", "bench.rounds=2", "bench.seconds=0.05", "bench.batches=[8]", "model.width=0.02",
    "model.fc=[16,16]", "model.input_size=67", "data.image_size=72", "data.synthetic_images=60",
    "trainer.precision=32-true", "trainer.channels_last=true", "trainer.progress=false",
)  # fmt: skip
SHORT_RUN = {"peak_memory_bytes": 2**30, "first_step_seconds": None}

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """The command in an empty folder, but for the run of its own; gives exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alexnet_exp.bench.throughput.short_run", lambda *_: dict(SHORT_RUN))

    def run(*overrides: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["/somewhere/bench.py", *overrides])
        try:
            bench.main()
        except SystemExit as stop:
            return int(stop.code or 0), "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would wait for each other where the cores are busy
    yield run
    torch.set_num_threads(threads)


def test_throughput_is_recorded_and_the_other_part_kept(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    kept = json.loads((ROOT / "results/bench/epyc_2_cores/bench.json").read_text())["parallel"]
    earlier = {"model": "paper", "environment": {}, "parallel": kept}
    (folder / "bench.json").write_text(json.dumps(earlier))
    code, printed = command(
        *TINY, "bench.parts=[throughput]", f"hydra.run.dir={folder}",
        "bench.variants=[['trainer.channels_last=false']]",
    )  # fmt: skip
    assert code == 0, printed
    assert "batch 8, mapped: plain, round 2 of 2" in printed
    found = json.loads((folder / "bench.json").read_text())
    assert found["parallel"] == kept
    assert found["environment"]["command"][0] == "alexnet_exp.bench"
    assert "/somewhere" not in json.dumps(found)
    measured = found["throughput"]
    [case] = measured["cases"]
    _check_case(case)
    for name in ("model", "input", "end_to_end", "plain"):
        assert found[f"{name}_images_per_second"] == case[name]["median"]
    for name in ("end_to_end_over_plain", "end_to_end_over_model", "input_over_model"):
        assert found[name] == case[name]
    assert (case["batch"], case["store"]) == (8, "mapped")
    assert measured["classes"] == 1000
    assert measured["precision"] == "32-true"
    assert measured["ceilings"]["images_per_second"] == case["ceiling"]
    assert measured["fractions"]["model"] == case["model"]["median"] / case["ceiling"]
    assert {"flops_per_second", "fp32_flops_per_second", "bytes_per_second"} < set(
        measured["ceilings"]
    )
    assert SHORT_RUN.items() <= measured.items()
    _check_parts(measured)


def _check_case(case: dict[str, Any]) -> None:
    """Ratios are medians of those within a round."""
    rounds = {name: case[name]["rounds"] for name in ("model", "input", "end_to_end", "plain")}
    assert {len(values) for values in rounds.values()} == {2}
    for name, values in rounds.items():
        assert min(values) > 0
        assert case[name]["median"] == median(values)
        assert (case[name]["min"], case[name]["max"]) == (min(values), max(values))
    for ratio, (over, under) in {
        "end_to_end_over_plain": ("end_to_end", "plain"),
        "end_to_end_over_model": ("end_to_end", "model"),
        "input_over_model": ("input", "model"),
    }.items():
        within = [a / b for a, b in zip(rounds[over], rounds[under], strict=True)]
        assert case[ratio] == pytest.approx(median(within))


def _check_parts(measured: dict[str, Any]) -> None:
    [variant] = measured["variants"]
    assert variant["overrides"] == "trainer.channels_last=false"
    pairs = zip(
        variant["images_per_second"]["rounds"],
        variant["default_images_per_second"]["rounds"],
        strict=True,
    )
    assert variant["ratio"] == pytest.approx(median(a / b for a, b in pairs))
    stages = {stage["stage"]: stage for stage in measured["stages"]["network"]}
    assert {"conv1", "norm1", "pool5", "fc8", "loss", "optimizer", "whole step"} < set(stages)
    assert all(stages[name]["backward"] > 0 for name in ("conv1", "norm1", "fc8", "loss"))
    assert measured["optimizer_milliseconds"] == stages["optimizer"]["forward"]
    assert [stage["stage"] for stage in measured["stages"]["input"]] == ["loader", "augmentation"]
    kinds = [(norm["layer"], norm["dtype"], norm["memory_format"]) for norm in measured["lrn"]]
    assert kinds == [
        (layer, "float32", memory_format)
        for layer in ("norm1", "norm2")
        for memory_format in ("channels_last", "contiguous")
    ]
    for norm in measured["lrn"]:
        ours, torchs = (norm[name]["rounds"] for name in ("milliseconds", "torch_milliseconds"))
        within = [a / b for a, b in zip(ours, torchs, strict=True)]
        assert norm["ratio"] == pytest.approx(median(within))
        assert norm["path"]
    assert {views: len(rate["rounds"]) for views, rate in measured["evaluation"].items()} == {
        "one": 2, "ten": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bench.rounds=0", "bench.rounds=0 must be at least 1"),
        ("bench.seconds=0", "bench.seconds=0.0 must be greater than 0"),
        ("bench.batches=[]", "bench.batches=[] leaves nothing to measure"),
        ("bench.batches=[0]", "bench.batches=[0] must be sizes from 1 on"),
        ("bench.batches=[512]", "data.batch_size=512 is more than the"),
        ("bench.parts=[model]", "throughput, parallel"),
        ("bench.stores=[resident]", "resident is for a GPU; on a CPU leave mapped"),
        ("bench.round=1", "did you mean rounds"),
        ("profile=tpu", "did you mean"),
        ("bench.variants=[['model.droput=0']]", "bench.variants: model.droput=0 can't be composed"),
        ("bench.variants=[['model.dropout=2']]", "model.dropout=2.0 must lie in [0, 1)"),
        ("model=papper", "did you mean paper"),
    ],
)
def test_wrong_override(command: Command, override: str, message: str) -> None:
    code, printed = command(*TINY, override)
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(command: Command) -> None:
    code, printed = command(*TINY, "profile=gpu", "bench.batches=[8]", "bench.stores=[mapped]")
    assert code == 2
    assert "set profile=cpu" in printed


def test_a_record_of_another_network_is_left_alone(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text('{"model": "caffenet", "environment": {}, "throughput": {"cases": []}}')
    code, printed = command(*TINY, f"hydra.run.dir={tmp_path}")
    assert code == 2
    assert "bench.json is of model=caffenet: set hydra.run.dir" in printed
    assert json.loads(file.read_text())["model"] == "caffenet"


def test_help_explains_the_benchmark(command: Command) -> None:
    code, printed = command("--help")
    assert code == 0
    for item in fields(BenchConfig):
        assert item.name == "profile" or f"bench.{item.name} " in printed
    assert "profile=gpu" in printed


@pytest.mark.parametrize(
    "overrides",
    [(), ("data=flowers", "data.root=x"), ("model=original", "+experiment=no_lrn", "seed=3")],
)
def test_a_run_is_composed_as_train_composes_it(
    compose_config: Callable[..., Config], overrides: tuple[str, ...]
) -> None:
    expected = compose_config("trainer=cpu", *overrides)
    register_bench()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for profile in ("cpu", "gpu"):
            composed = to_config(compose("bench", overrides=[f"profile={profile}", *overrides]))
            assert isinstance(composed, BenchRun)
            assert composed.bench.profile == profile
            expected.trainer.accelerator = profile
            assert composed.run_config() == expected
            assert type(composed.run_config()) is Config


def test_the_page_is_what_the_code_computes() -> None:
    written = (ROOT / "docs" / "scaling.md").read_text()
    assert written == page(ROOT / "results" / "bench")


def test_what_the_page_says_of_gpus() -> None:
    """Its sentences under "What it says", read off the model."""
    job = _job(_composed("model=paper"))
    machine = ceilings(job.layers, job.towers)

    def best(link: str, batch: int, devices: int) -> tuple[str, float]:
        links = same_for_all(next(one for one in STATED_LINKS if one.name == link))
        alone = step_time(StrategyName.single, job, batch, 1, machine, links).total
        totals = {
            name: step_time(name, job, batch, devices, machine, links).total
            for name in StrategyName
            if fits(name, job, batch, devices)
        }
        name = min(totals, key=totals.__getitem__)
        return name, alone / totals[name]

    for link in STATED_LINKS:
        for batch in (128, 256):
            for devices in (2, 4, 8, 16):
                assert best(link.name, batch, devices)[0] == StrategyName.one_weird_trick
    for fast in ("InfiniBand 400 Gb/s", "NVLink 450 GB/s"):
        assert best(fast, 4096, 4)[0] == StrategyName.ddp
        assert best(fast, 4096, 64)[0] == StrategyName.towers
    for batch in (128, 256, 1024, 4096):
        for slow in ("Ethernet 1 Gb/s", "Ethernet 10 Gb/s"):
            assert best(slow, batch, 64)[1] < 1


def test_a_damaged_benchmark_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "bench.json"
    file.write_text("{}")
    with pytest.raises(UserError, match=r"mine/bench.json can't be read as a benchmark"):
        page(tmp_path)


@pytest.mark.long
def test_bench_measures_and_predicts(tmp_path: Path) -> None:
    """The command as a user runs it, with a small network."""
    command = [
        sys.executable, "-m", "alexnet_exp.bench", "model.width=.03125", "model.input_size=67",
        "model.classes=100", "data.batch_size=16", "profile=cpu", "bench.parts=[parallel]",
        f"hydra.run.dir={tmp_path / 'mine'}",
    ]  # fmt: skip
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"}
    )
    assert run.returncode == 0, run.stderr
    assert "Times faster than one such device" in run.stdout
    bench = json.loads((tmp_path / "mine" / "bench.json").read_text())
    machine = bench["parallel"]["machine"]
    assert machine["measured"]
    assert machine["optimizer"] > 0
    assert {(piece["part"], piece["share"]) for piece in machine["pieces"]} >= {
        ("conv", 1), ("conv", 2), ("fc", 1), ("fc", 64),
    }  # fmt: skip
    assert all(piece["forward"] > 0 and piece["backward"] > 0 for piece in machine["pieces"])
    if os.cpu_count() == 1:
        return
    assert all(link["bandwidth"] > 0 for link in machine["links"].values())
    seen = {one["strategy"]: one for one in bench["parallel"]["observed"]}
    assert set(seen) == set(StrategyName)
    assert seen["single"]["sent"] == 0
    assert seen["ddp"]["sent"] > seen["one_weird_trick"]["sent"] > 0

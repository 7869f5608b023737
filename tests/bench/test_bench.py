"""The command, with a small network; no test asserts a time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from alexnet_exp.bench import __main__ as bench
from alexnet_exp.bench import limits
from alexnet_exp.bench.clock import ratio
from alexnet_exp.bench.throughput import PATHS, case_record, headline
from alexnet_exp.config import Config, compose, composing, conf_folder, to_config
from alexnet_exp.config.bench import BenchConfig, BenchRun, register_bench
from alexnet_exp.config.training import StrategyName
from alexnet_exp.errors import UserError

TINY = (
    "profile=cpu", "bench.rounds=1", "bench.seconds=0.05", "bench.batches=[8]", "model.width=0.02",
    "model.fc=[16,16]", "model.input_size=67", "data.image_size=72", "data.synthetic_images=60",
    "trainer.precision=32-true", "trainer.channels_last=true", "trainer.progress=false",
)  # fmt: skip

VARIANT = "bench.parts=[options]; bench.variants=[['{}']]"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stores: Path,
    capsys: pytest.CaptureFixture[str],
) -> Command:  # fmt: skip
    """The command in an empty folder; gives exit code and output."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> tuple[int, str]:
        arguments = ["/somewhere/bench.py", f"data.stores={stores}", *overrides]
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            bench.main()
        except SystemExit as stop:
            return int(stop.code or 0), "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    return run


def test_parts_are_recorded_and_others_kept(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_SIDE", {"cpu": 64})
    monkeypatch.setattr(limits, "_COPIED", {"cpu": 2**20})
    earlier = {"model": "paper", "environment": {}, "parallel": {"observed": [1]}}
    (tmp_path / "bench.json").write_text(json.dumps(earlier))
    code, printed = command(
        *TINY, "bench.parts=[evaluation,options,throughput]", f"hydra.run.dir={tmp_path}",
        "bench.variants=[['trainer.channels_last=false']]",
    )  # fmt: skip
    assert code == 0, printed
    assert "batch 8, mapped: plain PyTorch, round 1 of 1 (" in printed
    assert printed.index("end to end / plain") < printed.index("Ceilings") < printed.index("norm1")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["parallel"] == earlier["parallel"]
    assert found["environment"]["command"][0] == "alexnet_exp.bench"
    assert "/somewhere" not in json.dumps(found)
    measured = found["throughput"]
    [case] = measured["cases"]
    rounds = {path: case[path]["rounds"] for path in PATHS}
    assert {len(values) for values in rounds.values()} == {1}
    assert min(min(values) for values in rounds.values()) > 0
    assert case_record(8, "mapped", rounds).items() <= case.items()
    assert headline(case).items() <= found.items()
    assert (measured["classes"], measured["precision"]) == (1000, "32-true")
    assert measured["ceilings"]["images_per_second"] == case["ceiling"]
    assert measured["fractions"]["model"] == case["model"]["median"] / case["ceiling"]
    norms = measured["lrn"]
    assert [(norm["layer"], norm["dtype"], norm["memory_format"]) for norm in norms] == [
        (layer, "float32", order) for layer in ("norm1", "norm2")
        for order in ("channels_last", "contiguous")
    ]  # fmt: skip
    [variant] = found["options"]["variants"]
    assert variant["overrides"] == "trainer.channels_last=false"
    for one, over, under in (
        *((norm, "milliseconds", "torch_milliseconds") for norm in norms),
        (variant, "images_per_second", "default_images_per_second"),
    ):
        assert one["ratio"] == ratio(one[over]["rounds"], one[under]["rounds"])
    assert [len(found["evaluation"][views]["rounds"]) for views in ("one", "ten")] == [1, 1]
    jpeg = measured["jpeg"]
    assert (jpeg["side"], jpeg["images"]) == (72, 45)
    assert 0 < jpeg["bytes_per_image"] < 72 * 72 * 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bench.rounds=0", "bench.rounds=0 must be greater than 0"),
        ("bench.batches=[]", "bench.batches=[] leaves nothing to measure"),
        ("bench.batches=[512]", "data.batch_size=512 is more than the"),
        ("bench.parts=[model]", "throughput, parallel, options, evaluation, kernels"),
        ("bench.stores=[resident]", "resident is for a GPU; on a CPU leave mapped"),
        (VARIANT.format("model.droput=0"), "bench.variants: model.droput=0 can't be composed"),
        (VARIANT.format("model.dropout=2"), "model.dropout=2.0 must lie in [0, 1)"),
        pytest.param("profile=gpu", "set profile=cpu", marks=NO_GPU),
        pytest.param("bench.parts=[kernels]", "kernels are for an NVIDIA GPU", marks=NO_GPU),
    ],
)
def test_wrong_override(command: Command, override: str, message: str) -> None:
    code, printed = command(*TINY, *override.split("; "))
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed


def test_a_record_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    for content, message in (
        ('{"model": "caffenet"}', "bench.json is of model=caffenet: set hydra.run.dir"),
        ("{}", "bench.json can't be read as a benchmark"),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            bench.recorded_bench(file, "paper")


def test_help_explains_the_benchmark() -> None:
    explained = OmegaConf.load(conf_folder() / "bench.yaml").hydra.help.template
    for item in fields(BenchConfig):
        assert item.name == "profile" or f"bench.{item.name} " in explained
    assert "profile=gpu" in explained


def test_a_run_is_composed_as_train_composes_it(compose_config: Callable[..., Config]) -> None:
    overrides = ("data=flowers", "data.root=x", "model=original", "+experiment=no_lrn", "seed=3")
    expected = compose_config("trainer=cpu", *overrides)
    register_bench()
    with composing():
        for profile in ("cpu", "gpu"):
            composed = to_config(compose([f"profile={profile}", *overrides], "bench"))
            assert isinstance(composed, BenchRun)
            assert composed.bench.profile == profile
            expected.trainer.accelerator = profile
            assert composed.run_config() == expected
            assert type(composed.run_config()) is Config


@pytest.mark.long
def test_parallel_as_a_user_runs_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "alexnet_exp.bench", "model.width=.03125", "model.input_size=67",
         "model.classes=100", "data.batch_size=16", "profile=cpu", "bench.parts=[parallel]",
         f"hydra.run.dir={tmp_path / 'mine'}"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "MB sent by each" in run.stdout
    found = json.loads((tmp_path / "mine" / "bench.json").read_text())["parallel"]["observed"]
    seen = {one["strategy"]: one for one in found}
    assert set(seen) == (set(StrategyName) if (os.cpu_count() or 1) > 1 else {"single"})

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.page import _composed, _job, page
from alexnet_exp.cost.pieces import STATED_LINKS, ceilings, same_for_all
from alexnet_exp.cost.step_time import fits, step_time
from alexnet_exp.errors import UserError

ROOT = Path(__file__).parents[1]


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
        "model.classes=100", "data.batch_size=16", "trainer.accelerator=cpu",
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

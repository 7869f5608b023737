"""90 epochs of ImageNet, against figures worked out by hand."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost import imagenet
from alexnet_exp.cost.imagenet import (
    costs,
    demands,
    gpu_basis,
    hours,
    images_per_second,
    jpeg_figures,
    on_cpus,
    section,
    stores,
)
from alexnet_exp.cost.pieces import STATED_LINKS, ceilings, read_bench, same_for_all
from alexnet_exp.cost.step_time import Job
from alexnet_exp.network.alexnet import plan
from tests.conftest import ComposeConfig

ROOT = Path(__file__).parents[1]
TOTAL = 1_281_167 * 90
NOTHING = same_for_all(STATED_LINKS[-1])


@pytest.fixture
def job(compose_config: ComposeConfig) -> Job:
    model = compose_config("model=paper", "model.classes=1000", "model.input_channels=3").model
    return Job(plan(model), 2)


def record(gpu: str | None = "H200", data: str = "flowers", size: float = 30e3) -> dict[str, Any]:
    """A throughput alone: 40,000 images/s end to end at batch 1024."""
    case = {"batch": 128, "end_to_end": {"median": 20_000.0}}
    return {
        "model": "paper",
        "environment": {"gpus": [gpu] if gpu else [], "cpu": "made up", "cpu_cores": 16},
        "throughput": {
            "data": data,
            "cases": [case, {"batch": 1024, "end_to_end": {"median": 40_000.0}}],
            "jpeg": {
                "side": 256, "bytes_per_image": size, "images_per_second_per_core": 2000.0,
                "decoder": "torchcodec",
            },
        },
    }  # fmt: skip


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_hours_of_the_papers_rate() -> None:
    assert hours(227) / 24 == pytest.approx(5.88, abs=0.01)  # 5 to 6 days


def test_without_a_gpu_it_is_half_of_the_ceilings(job: Job) -> None:
    basis = gpu_basis(job, {"cpu": record(gpu=None)})
    assert "**Not measured**" in basis.text
    rows = costs(job, basis).rows
    alone = {int(row[1]): row for row in rows if row[0] == "1"}
    for batch in (128, 1024):
        seconds = batch * (4.136e9 / 790e12 + 9.4e6 / 4.3e12) + 1.83e9 / 4.3e12
        rate = batch / seconds / 2
        assert number(alone[batch][4]) == pytest.approx(rate, rel=0.005)
        assert number(alone[batch][5]) == pytest.approx(TOTAL / rate / 3600, abs=0.01)
        assert number(alone[batch][6]) == pytest.approx(3 * TOTAL / rate / 3600, abs=0.02)


def test_dollars_count_every_gpu(job: Job) -> None:
    for row in costs(job, gpu_basis(job, {})).rows:
        taken = TOTAL / number(row[4]) / 3600
        assert number(row[6]) == pytest.approx(3 * int(row[0]) * taken, rel=1e-3, abs=0.01)


def test_a_measured_gpu_trains_as_fast_as_it_was_measured(job: Job) -> None:
    basis = gpu_basis(job, {"cpu": record(gpu=None), "mine": record()})
    assert "**Measured on one H200** (`mine`)" in basis.text
    rate = images_per_second(StrategyName.single, job, 1024, 1, basis.machine, basis.links)
    assert rate == pytest.approx(40_000)


def test_measured_pieces_and_links_count_where_there_are_any(job: Job) -> None:
    bench = record()
    machine = ceilings(job.layers, job.towers, flops=1e14, bandwidth=1e12).to_plain()
    link = {"name": "own", "bandwidth": 1e11, "latency": 1e-6}
    bench["parallel"] = {"machine": {**machine, "links": dict.fromkeys(NOTHING, link)}}
    basis = gpu_basis(job, {"mine": bench})
    assert next(iter(basis.links.values())).name == "own"
    rate = images_per_second(StrategyName.single, job, 1024, 1, basis.machine, NOTHING)
    assert rate == pytest.approx(40_000)
    alone = deepcopy(bench)
    del alone["throughput"]
    slower = gpu_basis(job, {"mine": alone}).machine
    whole = ceilings(job.layers, job.towers, flops=1e14, bandwidth=1e12)
    rates = [
        images_per_second(StrategyName.single, job, 128, 1, one, NOTHING) for one in (slower, whole)
    ]
    assert rates[0] / rates[1] == pytest.approx(imagenet.END_TO_END)


def test_jpeg_figures_are_those_of_photos_where_there_are_any() -> None:
    drawn, photos = record(data="synthetic", size=10e3), record(gpu=None, size=45e3)
    assert jpeg_figures({"a": drawn, "b": photos}).size == 45e3
    assert "drawn by the program" in jpeg_figures({"a": drawn}).text
    assert "assumed" in jpeg_figures({}).text
    small = record()
    small["throughput"]["jpeg"]["side"] = 72
    assert "assumed" in jpeg_figures({"small": small}).text


def test_what_the_input_delivers(job: Job) -> None:
    basis, jpeg = gpu_basis(job, {"mine": record()}), jpeg_figures({"mine": record()})
    rows = {(row[0], row[1]): row for row in demands(job, basis, jpeg).rows}
    one = rows["1", "1024"]
    assert number(one[2]) == pytest.approx(40_000, abs=1)
    assert number(one[3]) == pytest.approx(40_000 * 196_608 / 1e9, abs=0.05)
    assert number(one[4]) == pytest.approx(40_000 * 30e3 / 1e9, abs=0.005)
    assert (one[5], one[6]) == ("20", "16")
    of_eight_nodes = rows["64", "4096"]
    whole = next(row for row in costs(job, basis).rows if row[:2] == ["64", "4096"])
    assert number(of_eight_nodes[2]) == pytest.approx(number(whole[4]) / 8, abs=1)


def test_which_store_feeds_how_many_gpus(job: Job) -> None:
    basis, jpeg = gpu_basis(job, {"mine": record()}), jpeg_figures({"mine": record()})
    rows = {row[0]: row for row in stores(job, basis, jpeg).rows}
    assert rows["resident, 256 px"][1] == "252"
    assert rows["resident, 256 px"][4] == "0"
    assert (rows["resident, 128 px"][1], rows["resident, 128 px"][4]) == ("63", "8.0")
    in_ram = 200e9 / 3 / 196_608
    assert number(rows["mapped, in RAM"][2]) == pytest.approx(in_ram, abs=1)
    assert number(rows["mapped, in RAM"][4]) == pytest.approx(min(8, in_ram / 40_000), abs=0.05)
    assert number(rows["mapped, on disk"][4]) == pytest.approx(7e9 / 196_608 / 40_000, abs=0.05)
    # 128 cores at 2000 images/s, and the disk's 7 GB/s in images of 30 kB.
    assert rows["JPEG, in RAM"][2:4] == ["256,000", "decoding"]
    assert rows["JPEG, on disk"][2:4] == ["233,333", "disk"]
    assert number(rows["JPEG, in RAM"][1]) == pytest.approx(1_281_167 * 30e3 / 1e9, abs=0.5)


def test_a_cpu_is_said_to_be_absurd(job: Job) -> None:
    recorded = read_bench(ROOT / "results/bench/epyc_2_cores/bench.json")
    text = section(job, {"epyc_2_cores": recorded})
    assert "absurd" in text
    [line] = on_cpus(job, {"mine": record(gpu=None), "gpu": record()})
    assert f"{TOTAL / 20_000 / 3600:,.0f} hours" in line
    assert "20,000 images/s (measured end to end at batch 128)" in line

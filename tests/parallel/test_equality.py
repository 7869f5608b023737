"""Every strategy trains what one process trains: real processes on the CPU, in fp32; and on
GPUs, where there are any.

Dropout and augmentation are on, the learning rate falls by the plateau schedule, and neither the
10 validation nor the 25 test images divide by the processes, which also count bytes.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from alexnet_exp.bench import strategy_steps
from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.evaluate import evaluate
from alexnet_exp.network.plan import plan
from alexnet_exp.parallel.layout import PartOfDropout, Share
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.fit import train
from tests.parallel.by_hand import HEADER, IMAGES, payload_and_messages
from tests.parallel.together import TINY, Task, assert_same_curves, run_together, weights

Make = Callable[..., Config]
Find = Callable[[str], Path]

pytestmark = pytest.mark.timeout(600)  # the first test waits for all runs

CLOSE = 1e-5
BASE = (
    *TINY, "trainer.keep_last_checkpoint=true", "optim.schedule=plateau", "optim.patience=1",
    "optim.factor=2", "optim.drops=9", "trainer.max_epochs=5", "evaluation.batch_size=40",
    "evaluation.views=one", "optim.clip_norm=0.5", "optim.weight_decay=0.05",
    "optim.bias_lr_factor=2", "optim.decay_biases=false",
)  # fmt: skip

# Overrides of a run, by name; what each is compared with is the same on one device.
VARIANTS = {
    "base": ("evaluation.views=ten",),
    "original": ("model=original", "augmentation.min_scale=0.5", "optim.rule=torch"),
    "apart": ("+experiment=towers_meet_last", "model.fc=[640,320]", "trainer.channels_last=false"),
    # One process's variance in channels-last memory is off by 2e-5 in torch itself.
    "batch_norm": ("model.normalization=batch", "model.dropout_after=[conv5,fc6]",
                   "optim.lr=0.005", "trainer.channels_last=false", "model.dropout_scaling=train"),
    "blind": ("model.sees_both_towers=[conv3,fc7]", "data.resident=never", "data.workers=1",
              "model.dropout_scaling=train", "optim.layers.fc8.lr=0.002"),
    "fp64": ("trainer.precision=64-true",),
    # A larger eps: Adam would blow a rounding in the smallest gradients up to whole steps.
    "adam": ("optim=adamw", "+optim.eps=0.01", "optim.lr=0.01", "model.dropout_scaling=train"),
    "in_bf16": ("strategy.bf16_gradients=true",),
    "no_dropout": ("model.dropout=0",),
    "not_clipped": ("optim.clip_norm=null",),
    "bare": ("model.classes=10", "model.input_channels=3", "optim.clip_norm=null",
             "optim.schedule=constant", "trainer.channels_last=false"),
}  # fmt: skip

FOUR = ("ddp", "fsdp", "towers", "one_weird_trick")
LONG = pytest.mark.long

# Strategies and variants on so many processes; the first few are no long test.
RUNS = {
    "2": (*((strategy, "base") for strategy in FOUR), ("towers", "fp64")),
    "2 more": (
        *((strategy, "adam") for strategy in FOUR[1:]),
        *((strategy, "batch_norm") for strategy in ("ddp", "one_weird_trick")),
        *(("towers", variant) for variant in ("original", "apart", "blind")),
    ),
    "4": (
        ("towers", "base"),
        ("towers", "batch_norm"),
        ("one_weird_trick", "base"),
        ("one_weird_trick", "fp64"),
    ),
}
CASES = [
    pytest.param(which, *run, marks=LONG if which != "2" else ())
    for which, runs in RUNS.items()
    for run in runs
]


@pytest.fixture(scope="module")
def make(compose_config, stores: Path) -> Make:
    def composed(variant: str, strategy: str, devices: int) -> Config:
        chosen = (f"strategy.name={strategy}", f"trainer.devices={devices}")
        return compose_config(*BASE, *chosen, f"data.stores={stores}", *VARIANTS[variant])

    return composed


@pytest.fixture(scope="module")
def single(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """``single(variant)``: run folder of one process."""
    folder = tmp_path_factory.mktemp("single")

    @cache
    def trained(variant: str) -> Path:
        train(make(variant, "single", 1), folder / variant)
        return folder / variant

    return trained


@pytest.fixture(scope="module")
def several(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """``several(which)``: has folders ``<strategy>/<variant>`` of those of ``RUNS``.

    Of the first, ``stopped`` is one in its third epoch, and ``sent.json`` what steps send.
    """

    @cache
    def trained(which: str) -> Path:
        folder, wanted, tasks = tmp_path_factory.mktemp("several"), RUNS[which], []
        if which == "2":
            wanted = (*wanted, ("ddp", "in_bf16"))
            tasks.append(Task(make("base", "towers", 2), folder / "stopped", 2))
        for strategy, variant in wanted:
            config = make(variant, strategy, int(which[0]))
            tasks.append(Task(config, folder / strategy / variant))
        if which == "2":
            config = make("bare", "ddp", 2)
            config.trainer.precision = "bf16-mixed"
            tasks.append(Task(config, folder, run=strategy_steps.in_turns))
        sent = run_together(tasks, folder)
        (folder / "sent.json").write_text(json.dumps(sent))
        return folder

    return trained


def distance(ours: Path, theirs: Path) -> float:
    """Largest difference of a weight."""
    mine, other = weights(ours), weights(theirs)
    assert mine.keys() == other.keys()
    return max(
        float((mine[name] - other[name]).abs().max())
        for name in mine
        if name.endswith((".weight", ".bias"))
    )


@pytest.mark.parametrize(("which", "strategy", "variant"), CASES)
def test_losses_weights_and_counts_are_those_of_one_process(
    single: Find, several: Find, which: str, strategy: str, variant: str
) -> None:
    ours, theirs = several(which) / strategy / variant, single(variant)
    assert len(read_metrics(ours)) == len(read_metrics(theirs)) == 5
    assert_same_curves(ours, theirs)
    assert distance(ours, theirs) < CLOSE
    # The optimizer's state and the statistics of batch normalization are larger than 1.
    mine, other = weights(ours), weights(theirs)
    for name in mine:
        scale = max(1.0, float(other[name].abs().max()))
        assert float((mine[name] - other[name]).abs().max()) < CLOSE * scale, name
    counted, expected = np.load(ours / "predictions.npz"), np.load(theirs / "predictions.npz")
    for column in ("index", "label", "split", "top5", "center_top5"):
        assert np.array_equal(counted[column], expected[column]), column
    kernels = [np.load(folder / "kernels.npy") for folder in (ours, theirs)]
    np.testing.assert_allclose(*kernels, rtol=2e-3, atol=CLOSE)  # to a digit of float16


@pytest.mark.parametrize(
    ("strategy", "which"), [("towers", "2"), pytest.param("one_weird_trick", "4", marks=LONG)]
)
def test_in_fp64_nothing_but_rounding_is_left(
    single: Find, several: Find, strategy: str, which: str
) -> None:
    """In fp32 a rounding can tip a ReLU or a maximum, and the runs then differ by more."""
    assert distance(several(which) / strategy / "fp64", single("fp64")) < 1e-13


def test_runs_differ_where_anything_else_does(single: Find) -> None:
    """What the comparison above would not notice is not proved by it."""
    for variant in ("no_dropout", "not_clipped"):
        assert distance(single(variant), single("base")) > 100 * CLOSE, variant
    rates = {row["lr"] for row in read_metrics(single("base"))}
    assert len(rates) > 1, "the plateau schedule has not acted"


def test_gradients_sent_in_bf16_train_a_little_otherwise(several: Find) -> None:
    ours, theirs = (several("2") / "ddp" / variant for variant in ("in_bf16", "base"))
    first, expected = (read_metrics(folder)[0]["train/loss"] for folder in (ours, theirs))
    assert first == pytest.approx(expected, rel=1e-2)
    assert distance(ours, theirs) > 10 * CLOSE


@pytest.mark.parametrize(
    ("variant", "first", "second", "processes"),
    [
        ("base", "towers", "single", 1),
        pytest.param("base", "ddp", "towers", 4, marks=LONG),
        pytest.param("base", "fsdp", "one_weird_trick", 4, marks=LONG),
        pytest.param("adam", "fsdp", "towers", 4, marks=LONG),
    ],
)
def test_any_strategy_goes_on_where_another_stopped(
    single: Find, several: Find, make: Make, tmp_path: Path,
    variant: str, first: str, second: str, processes: int,
) -> None:  # fmt: skip
    """After two epochs, and ends where one process ends."""
    whole, config = single(variant), make(variant, second, processes)
    if processes == 1:
        path = several("2") / "stopped"
        train(config, path)
    else:
        path = tmp_path / "stopped"
        run_together([Task(make(variant, first, 2), path, 2)], tmp_path)
        run_together([Task(config, path)], tmp_path)
    rates = [[row["lr"] for row in read_metrics(folder)] for folder in (path, whole)]
    assert rates[0] == rates[1]
    assert distance(path, whole) < CLOSE
    assert read_result(path)["epochs"] == 5


@pytest.mark.parametrize("strategy", FOUR[1:])
def test_evaluate_reads_the_checkpoint_of_any_strategy(several: Find, strategy: str) -> None:
    folder = several("2") / strategy / "base"
    recorded = read_result(folder)
    assert (recorded["strategy"], recorded["devices"]) == (strategy, 2)
    assert evaluate(folder, progress=False).metrics == pytest.approx(recorded["metrics"])


@pytest.mark.parametrize(
    ("devices", "precision"), [(2, "bf16-mixed"), pytest.param(4, "32-true", marks=LONG)]
)
def test_steps_send_what_a_sum_by_hand_says(
    several: Find, make: Make, monkeypatch: pytest.MonkeyPatch, devices: int, precision: str
) -> None:
    """To the byte, as the kernel counts them."""
    config = make("bare", "single", 1)
    config.trainer.precision = precision
    if devices == 2:
        sent = json.loads((several("2") / "sent.json").read_text())
        monkeypatch.setattr(strategy_steps, "run_processes", lambda *_: sent)
    layers, size = plan(config.model), 2 if precision == "bf16-mixed" else 4
    found = {one["strategy"]: one for one in strategy_steps.observe(config, devices)}
    assert set(found) == {str(name) for name in StrategyName}
    single = found.pop("single")
    assert (single["sent"], single["devices"]) == (0, 1)
    for name, one in found.items():
        payload, messages = payload_and_messages(name, layers, devices, size)
        assert one["sent"] == payload + HEADER * messages, name
        assert (one["devices"], one["batch"]) == (devices, IMAGES)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_of_dropout_are_those_of_one_device(dtype: torch.dtype) -> None:
    x = torch.randn(128, 4096, device="cuda", dtype=dtype)
    torch.manual_seed(3)
    whole = F.dropout(x, 0.5)
    torch.manual_seed(3)
    part = PartOfDropout(0.5, Share(1, 2), Share(3, 4))
    assert torch.equal(part(x[64:, 3072:]), whole[64:, 3072:])


@pytest.mark.cuda
@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "towers", "one_weird_trick"])
def test_strategies_on_gpus_train_what_one_trains(
    compose_config, tmp_path: Path, strategy: str
) -> None:
    """Sums run in another order there, and cuDNN may choose another algorithm."""
    devices = min(2, torch.cuda.device_count())
    if devices == 1 and strategy in ("towers", "one_weird_trick"):
        pytest.skip("needs two GPUs")
    given = (*BASE, f"data.stores={tmp_path}", "trainer.accelerator=gpu", "trainer.max_epochs=1")
    train(compose_config(*given), tmp_path / "single")
    changed = (f"strategy={strategy}", f"trainer.devices={devices}")
    train(compose_config(*given, *changed), tmp_path / "several")
    first, second = (read_metrics(tmp_path / n)[0]["train/loss"] for n in ("single", "several"))
    assert first == pytest.approx(second, abs=1e-4)
    assert distance(tmp_path / "single", tmp_path / "several") < 1e-4

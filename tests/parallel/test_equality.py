"""Every strategy trains what one process trains: real processes on the CPU, in fp32.

Dropout and augmentation are on, the learning rate falls by the plateau schedule, and neither the
10 validation nor the 25 test images divide by the processes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet_exp.config import Config
from alexnet_exp.evaluate import evaluate
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.fit import train
from tests.parallel.together import Task, run_together, weights

Make = Callable[..., Config]

pytestmark = pytest.mark.timeout(600)  # the first test waits for all runs

CLOSE = 1e-5
BASE = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=120", "data.batch_size=16", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "trainer.progress=false", "trainer.keep_last_checkpoint=true",
    "model.init.scheme=he", "augmentation.scale=0.02", "optim.lr=0.05", "optim.warmup_steps=0",
    "optim.schedule=plateau", "optim.patience=1", "optim.factor=2", "optim.drops=9",
    "trainer.limit_train_batches=2", "trainer.max_epochs=5", "evaluation.batch_size=40",
)  # fmt: skip

# Overrides of a run, by name; what each is compared with is the same on one device.
VARIANTS = {
    "base": (),
    "clipped": ("optim.clip_norm=0.5", "optim.weight_decay=0.05", "optim.rule=torch",
                "optim.bias_lr_factor=2", "optim.decay_biases=false"),
    "original": ("model=original", "augmentation.min_scale=0.5"),
    "apart": ("+experiment=no_tower_communication", "trainer.channels_last=false"),
    # One process's variance in channels-last memory is off by 2e-5 in torch itself.
    "batch_norm": ("model.normalization=batch", "model.dropout_after=[conv5,fc6]",
                   "optim.lr=0.005", "trainer.channels_last=false"),
    "blind": ("model.sees_both_towers=[conv3,fc7]", "data.resident=never", "data.workers=1"),
    "fp64": ("trainer.precision=64-true",),
    # A larger eps: Adam would blow a rounding in the smallest gradients up to whole steps.
    "adam": ("optim=adamw", "+optim.eps=0.01", "optim.lr=0.01"),
    "in_bf16": ("strategy.bf16_gradients=true",),
    "no_dropout": ("model.dropout=0",),
    "no_flips": ("+experiment=no_flips",),
}  # fmt: skip

# Strategies and variants on each number of processes.
RUNS = {
    2: (
        *((strategy, "base") for strategy in ("ddp", "fsdp", "towers", "one_weird_trick")),
        *((strategy, "clipped") for strategy in ("ddp", "fsdp", "towers", "one_weird_trick")),
        *((strategy, "adam") for strategy in ("fsdp", "towers", "one_weird_trick")),
        ("towers", "fp64"),
        ("towers", "original"),
        ("towers", "apart"),
        ("towers", "blind"),
        ("ddp", "batch_norm"),
        ("one_weird_trick", "batch_norm"),
    ),
    4: (
        ("towers", "clipped"),
        ("towers", "batch_norm"),
        ("one_weird_trick", "base"),
        ("one_weird_trick", "fp64"),
    ),
}
CASES = [(processes, *run) for processes, runs in RUNS.items() for run in runs]
OTHERS = {2: (("ddp", "in_bf16"),), 4: ()}


@pytest.fixture(scope="module")
def make(compose_config, stores: Path) -> Make:
    def composed(variant: str, *overrides: str) -> Config:
        given = (*BASE, f"data.stores={stores}", *VARIANTS[variant], *overrides)
        config: Config = compose_config(*given)
        return config

    return composed


# Variants that change their strategy: two epochs on two devices, then on four, the last on one.
CHANGES = {
    "changed_a": ("base", "towers", "ddp"),
    "changed_b": ("base", "fsdp", "one_weird_trick"),
    "changed_c": ("base", "ddp", "towers", "single"),
    "changed_d": ("adam", "fsdp", "towers"),
}


@pytest.fixture(scope="module")
def runs(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``<strategy>/<variant>/<processes>`` of all runs, one after another."""
    folder = tmp_path_factory.mktemp("runs")
    for variant in VARIANTS.keys() - {"in_bf16"}:
        train(make(variant), folder / "single" / variant / "1")
    for processes, wanted in RUNS.items():
        tasks = [
            Task(
                make(variant, f"strategy={strategy}", f"trainer.devices={processes}"),
                folder / strategy / variant / str(processes),
            )
            for strategy, variant in (*wanted, *OTHERS[processes])
        ]
        place = (2, 4).index(processes)
        for name, (variant, *strategies) in CHANGES.items():
            config = make(variant, f"strategy={strategies[place]}", f"trainer.devices={processes}")
            to_the_end = place + 1 == len(strategies)
            stop_at = None if to_the_end else 2 * (place + 1)
            tasks.append(Task(config, folder / name, stop_at))
        run_together(tasks, folder)
    train(make("base"), folder / "changed_c")
    return folder


def distance(ours: Path, theirs: Path) -> float:
    """Largest difference of a weight."""
    mine, other = weights(ours), weights(theirs)
    assert mine.keys() == other.keys()
    return max(
        float((mine[name] - other[name]).abs().max())
        for name in mine
        if name.endswith((".weight", ".bias"))
    )


@pytest.mark.parametrize(("processes", "strategy", "variant"), CASES)
def test_losses_weights_and_counts_are_those_of_one_process(
    runs: Path, processes: int, strategy: str, variant: str
) -> None:
    ours = runs / strategy / variant / str(processes)
    theirs = runs / "single" / variant / "1"
    assert len(read_metrics(ours)) == len(read_metrics(theirs)) == 5
    for mine, other in zip(read_metrics(ours), read_metrics(theirs), strict=True):
        for column in ("epoch", "step", "lr", "train/top1_error", "val/top1_error"):
            assert mine[column] == other[column], column
        for column in ("train/loss", "val/loss"):
            assert mine[column] == pytest.approx(other[column], abs=CLOSE), column
    assert distance(ours, theirs) < CLOSE
    # The optimizer's state and the statistics of batch normalization are larger than 1.
    mine, other = weights(ours), weights(theirs)
    assert mine.keys() == other.keys()
    for name in mine:
        scale = float(other[name].abs().max()) + 1e-12
        assert float((mine[name] - other[name]).abs().max()) < CLOSE * max(1.0, scale), name
    counted, expected = np.load(ours / "predictions.npz"), np.load(theirs / "predictions.npz")
    for column in ("index", "label", "split", "top5", "center_top5"):
        assert np.array_equal(counted[column], expected[column]), column


@pytest.mark.parametrize(("strategy", "processes"), [("towers", 2), ("one_weird_trick", 4)])
def test_in_fp64_nothing_but_rounding_is_left(runs: Path, strategy: str, processes: int) -> None:
    """In fp32 a rounding can tip a ReLU or a maximum, and the runs then differ by more."""
    ours = runs / strategy / "fp64" / str(processes)
    assert distance(ours, runs / "single" / "fp64" / "1") < 1e-13


def test_runs_differ_where_anything_else_does(runs: Path) -> None:
    """What the comparison above would not notice is not proved by it."""
    base = runs / "single" / "base" / "1"
    for variant in ("no_dropout", "no_flips", "clipped"):
        assert distance(runs / "single" / variant / "1", base) > 100 * CLOSE, variant
    assert len({row["lr"] for row in read_metrics(base)}) > 1, "the plateau schedule has not acted"


def test_gradients_sent_in_bf16_train_a_little_otherwise(runs: Path) -> None:
    ours, theirs = runs / "ddp" / "in_bf16" / "2", runs / "ddp" / "base" / "2"
    first, expected = (read_metrics(folder)[0]["train/loss"] for folder in (ours, theirs))
    assert first == pytest.approx(expected, rel=1e-2)
    assert distance(ours, theirs) > 10 * CLOSE


@pytest.mark.parametrize("name", CHANGES)
def test_any_strategy_goes_on_where_another_stopped(runs: Path, name: str) -> None:
    """And ends where one process ends."""
    whole = runs / "single" / CHANGES[name][0] / "1"
    assert [row["lr"] for row in read_metrics(runs / name)] == [
        row["lr"] for row in read_metrics(whole)
    ]
    assert distance(runs / name, whole) < CLOSE
    result = read_result(runs / name)
    assert result is not None
    assert result["epochs"] == 5


@pytest.mark.parametrize("strategy", ["fsdp", "towers", "one_weird_trick"])
def test_evaluate_reads_the_checkpoint_of_any_strategy(runs: Path, strategy: str) -> None:
    folder = runs / strategy / "base" / "2"
    recorded = read_result(folder)
    assert recorded is not None
    assert recorded["strategy"] == strategy
    assert recorded["devices"] == 2
    assert evaluate(folder, [], progress=False)["metrics"] == pytest.approx(recorded["metrics"])

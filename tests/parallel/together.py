"""A tiny run, by its words; many of them by processes that are started once, or by a command."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from alexnet_exp.config import Config
from alexnet_exp.parallel.launch import run_processes
from alexnet_exp.runs.read import read_metrics
from alexnet_exp.sweep.process import child_environment
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train

TINY = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=120", "data.batch_size=16", "trainer.limit_train_batches=2",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.progress=false",
    "model.init.scheme=he", "augmentation.scale=0.02", "optim.lr=0.05", "optim.warmup_steps=0",
)  # fmt: skip
TWO = ("strategy=ddp", "trainer.devices=2")


@dataclass
class Task:
    """One run; all processes are interrupted in epoch ``stop_at``, counted from 0."""

    config: Config
    folder: Path
    stop_at: int | None = None
    run: Callable[[Config, Path], dict[str, Any]] = train


def run_together(tasks: list[Task], folder: Path) -> dict[str, Any]:
    """Run each task on as many processes as the first asks for; gives what the last returns."""
    (folder / "tasks").write_bytes(pickle.dumps(tasks))
    return run_processes(tasks[0].config, folder, run_all)


def run_all(config: Config, folder: Path) -> dict[str, Any]:
    """What each process does."""
    step, result = Classifier.training_step, {}
    for task in pickle.loads((folder / "tasks").read_bytes()):

        def stopping(self: Classifier, batch: Any, batch_idx: int, task: Task = task) -> Any:
            if task.stop_at is not None and self.current_epoch == task.stop_at:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        Classifier.training_step = stopping  # type: ignore[method-assign]
        try:
            result = task.run(task.config, task.folder)
        except KeyboardInterrupt:
            assert task.stop_at is not None
            dist.destroy_process_group()  # which a process that fails leaves to its end
    return result


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run's last epoch, with the optimizer's state."""
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return content["state_dict"] | {
        f"{name} {index}": value
        for index, state in content["optimizer_states"][0]["state"].items()
        for name, value in state.items()
    }


def start(
    *overrides: str, by: tuple[str, ...] = (sys.executable,), **variables: str
) -> "subprocess.Popen[str]":
    """A tiny run on one machine, or one machine's share of it."""
    return subprocess.Popen(
        [*by, "-m", "alexnet_exp.train", *TINY, *overrides],
        env={**child_environment(), "OMP_NUM_THREADS": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_same_curves(ours: Path, theirs: Path) -> None:
    """Losses of every epoch to 1e-5, steps, rates and counted errors exactly."""
    for mine, other in zip(read_metrics(ours), read_metrics(theirs), strict=True):
        for column in ("epoch", "step", "lr", "train/top1_error", "val/top1_error"):
            assert mine[column] == other[column], column
        for column in ("train/loss", "val/loss"):
            assert mine[column] == pytest.approx(other[column], abs=1e-5), column

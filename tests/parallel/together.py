"""Many runs made one after another by the same processes, which are started once."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from alexnet_exp.config import Config
from alexnet_exp.parallel.launch import run_processes
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train


@dataclass
class Task:
    """One run.

    Attributes:
        config: Of the run.
        folder: Of the run.
        stop_at: Epoch, counted from 0, in which all processes are interrupted; None: none.
    """

    config: Config
    folder: Path
    stop_at: int | None = None


def run_together(tasks: list[Task], folder: Path) -> None:
    """Run each task on as many processes as the first asks for.

    Args:
        tasks: The runs.
        folder: For the list of them.
    """
    (folder / "tasks").write_bytes(pickle.dumps(tasks))
    run_processes(tasks[0].config, folder, run_all)


def run_all(config: Config, folder: Path) -> dict[str, Any]:
    """What each process does."""
    step = Classifier.training_step
    for task in pickle.loads((folder / "tasks").read_bytes()):

        def stopping(self: Classifier, batch: Any, batch_idx: int, task: Task = task) -> Any:
            if task.stop_at is not None and self.current_epoch == task.stop_at:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        Classifier.training_step = stopping  # type: ignore[method-assign]
        try:
            train(task.config, task.folder)
        except KeyboardInterrupt:
            assert task.stop_at is not None
            dist.destroy_process_group()  # which a process that fails leaves to its end
    return {}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run's last epoch, with the optimizer's state."""
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return content["state_dict"] | {
        f"{name} {index}": value
        for index, state in content["optimizer_states"][0]["state"].items()
        for name, value in state.items()
    }

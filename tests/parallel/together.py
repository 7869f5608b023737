"""Runs made by several processes that stay together for many runs; also what each of them runs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch._C._distributed_c10d import TCPStore

from alexnet_exp.config import Config, to_config, to_plain
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


def run_together(processes: int, tasks: list[Task]) -> None:
    """Run each task on as many processes, on the CPU."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    plain = [
        {"config": to_plain(t.config), "folder": str(t.folder), "stop_at": t.stop_at} for t in tasks
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parallel.together"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ
            | {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
                "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(processes)
    ]  # fmt: skip
    for process in started:
        assert process.stdin is not None
        process.stdin.write(json.dumps(plain))
        process.stdin.close()
    outputs = [process.stdout.read() for process in started if process.stdout is not None]
    codes = [process.wait() for process in started]
    assert codes == [0] * processes, "\n".join(outputs)


def _main() -> None:
    step = Classifier.training_step
    for task in json.load(sys.stdin):

        def stopping(self: Classifier, batch: Any, batch_idx: int, task: Any = task) -> Any:
            if task["stop_at"] is not None and self.current_epoch == task["stop_at"]:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        Classifier.training_step = stopping  # type: ignore[method-assign]
        config = to_config(OmegaConf.merge(OmegaConf.structured(Config), task["config"]))
        try:
            train(config, Path(task["folder"]))
        except KeyboardInterrupt:
            assert task["stop_at"] is not None
            dist.destroy_process_group()  # which a process that fails leaves to its end


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run's last epoch, with the momentum."""
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    momentum = content["optimizer_states"][0]["state"]
    return content["state_dict"] | {
        f"momentum {i}": m["momentum_buffer"] for i, m in momentum.items()
    }


if __name__ == "__main__":
    _main()

"""A short run of the train command, for what only a process of its own can tell."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config
from alexnet_exp.console import say
from alexnet_exp.errors import UserError
from alexnet_exp.sweep.process import child_environment

STEPS = 4


def short_run(overrides: Sequence[str], config: Config) -> dict[str, Any]:
    """Start-up and memory of ``python -m alexnet_exp.train`` with the same overrides.

    Args:
        overrides: Those of the benchmark, without its own fields.
        config: As it was settled: batch size, store, classes, rate and accelerator.

    Returns:
        ``peak_memory_bytes``, and ``first_step_seconds`` from the command to the end of the first
        step; None where the run does not record it.

    Raises:
        UserError: The run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable, "-m", "alexnet_exp.train", *overrides,
            f"data.batch_size={config.data.batch_size}",
            f"data.resident={config.data.resident}",
            f"model.classes={config.model.classes}",
            f"optim.lr={config.optim.lr}",
            f"trainer.accelerator={config.trainer.accelerator}",
            "trainer.max_epochs=1", f"trainer.limit_train_batches={STEPS}",
            "evaluation.views=one", "logger=csv", f"hydra.run.dir={run}",
        ]  # fmt: skip
        say("start-up and memory: a run of its own")
        ended = subprocess.run(command, capture_output=True, text=True, env=child_environment())
        file = run / "result.json"
        if ended.returncode or not file.exists():
            raise UserError(f"python {' '.join(command[1:])} failed: {_message(ended.stderr)}")
        result = json.loads(file.read_text())
    return {name: result.get(name) for name in ("peak_memory_bytes", "first_step_seconds")}


def _message(printed: str) -> str:
    """What a command says at its end: its own message, or a traceback's last line."""
    _, error, message = printed.partition("error: ")
    if error:
        return " ".join(message.split())
    return (printed.strip().splitlines() or ["it said nothing"])[-1]

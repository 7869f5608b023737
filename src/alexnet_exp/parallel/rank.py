"""What ``supervisor`` starts: ``train`` as one process of several, told on its standard input."""

from alexnet_exp import startup  # isort: skip  # before Lightning

import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config import Config, to_config
from alexnet_exp.errors import FAILED, INTERRUPTED, DivergedError, UserError
from alexnet_exp.hardware import is_out_of_memory, keep_freed_memory
from alexnet_exp.parallel.heartbeat import report
from alexnet_exp.train import train

# What gloo and NCCL say of a process that has gone or does not answer.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Timed out")


def main() -> None:
    """Entry point."""
    startup.ctrl_c_raises()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    task = json.loads(sys.stdin.buffer.readline())
    sys.argv = task["command"]  # which environment.json records
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    keep_freed_memory()
    code = 0
    try:
        composed = OmegaConf.merge(OmegaConf.structured(Config), task["config"])
        assert isinstance(composed, DictConfig)
        train(to_config(composed), Path(task["folder"]))
    except BaseException as error:
        code = _explain(error)
    sys.stdout.flush()
    sys.stderr.flush()
    # A library's threads, or its clean-up, that wait for the others would hold up the end of all.
    os._exit(code)


def _explain(error: BaseException) -> int:
    """Report what happened; returns the exit code."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return INTERRUPTED
    kind = "failure"
    if isinstance(error, UserError):
        kind = "mistake"
    elif is_out_of_memory(error):
        kind = "memory"
    text = str(error)
    report(
        kind=kind,
        message=text if kind == "mistake" else _first_line(error),
        diverged=isinstance(error, DivergedError),
        lost=isinstance(error, dist.DistError) or any(word in text for word in _LOST),
        traceback="" if kind == "mistake" else traceback.format_exc(),
    )
    return FAILED


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _end_with_supervisor() -> None:
    """End when the supervisor has; its end of the pipe closes however that happened."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()

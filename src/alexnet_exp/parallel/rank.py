"""What ``supervisor`` starts: ``train`` as one process of several, told on its standard input."""

from alexnet_exp.parallel import stack  # isort: skip  # before all that may hang
from alexnet_exp import startup  # isort: skip  # before Lightning

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config import Config, to_config
from alexnet_exp.errors import FAILED, INTERRUPTED, DivergedError, UserError
from alexnet_exp.hardware import is_out_of_memory, keep_freed_memory
from alexnet_exp.parallel.heartbeat import Heartbeat, collectives_begun, report
from alexnet_exp.training.fit import train

_BETWEEN = 0.5  # seconds

# In what the backends say of a process that has gone or does not answer; gloo has no exception of
# its own.
_BACKENDS = ("gloo/", "NCCL")


# Seconds for what libraries do at the end, such as removing their temporary files.
_CLEAN_UP = 10.0


def main() -> None:
    """Entry point."""
    startup.ctrl_c_raises()
    task = json.loads(sys.stdin.buffer.readline())
    sys.argv = task["command"]  # which environment.json records
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    threading.Thread(target=_keep_in_touch, daemon=True).start()
    keep_freed_memory()
    code = 0
    try:
        composed = OmegaConf.merge(OmegaConf.structured(Config), task["config"])
        assert isinstance(composed, DictConfig)
        report(result=train(to_config(composed), Path(task["folder"])))
    except BaseException as error:
        code = _explain(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it has gone
            code = code or FAILED
    # A library's threads, or its clean-up, that wait for the others would hold up the end of all.
    if code:
        os._exit(code)
    end = threading.Timer(_CLEAN_UP, os._exit, (0,))
    end.daemon = True
    end.start()


def _explain(error: BaseException) -> int:
    """Report what happened; returns the exit code."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return INTERRUPTED
    kind = "failure"
    if isinstance(error, DivergedError):
        kind = "diverged"
    elif isinstance(error, UserError):
        kind = "mistake"
    elif is_out_of_memory(error):
        kind = "memory"
    report(
        kind=kind,
        message=str(error) if isinstance(error, UserError) else _first_line(error),
        lost=_is_lost(error),
        traceback="".join(traceback.format_exception(error)),
    )
    return FAILED


def _is_lost(error: BaseException | None) -> bool:
    """Whether it comes of another process that has gone or does not answer."""
    while error is not None:
        told = isinstance(error, RuntimeError) and any(name in str(error) for name in _BACKENDS)
        if told or isinstance(error, dist.DistError):
            return True
        error = error.__cause__
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _keep_in_touch() -> None:
    """Say how far this process has come, and stay ready to say where it stands."""
    last = None
    while True:
        progress = {"batches": Heartbeat.batches, "collectives": collectives_begun()}
        if progress != last and dist.is_initialized():
            report(**progress)
            last = progress
        stack.print_at_signal()
        time.sleep(_BETWEEN)


def _end_with_supervisor() -> None:
    """End when the supervisor has; its end of the pipe closes however that happened."""
    # Not sys.stdin, which would be locked for ever in a DataLoader's workers: they close it first.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()

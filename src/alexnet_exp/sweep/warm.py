"""Jobs that are forked off a process which has imported torch and Lightning, and nothing else.

Importing them takes several seconds, as long as a short run trains.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from typing import TextIO

from alexnet_exp.sweep.process import Child, ChildSpec, Process

# What a run imports at its start, and torch when the first optimizer is made.
IMPORTED = ["alexnet_exp.hydra_main", "alexnet_exp.training.fit", "torch._dynamo"]


class WarmChild(Child):
    """A job of ours forked off a warm process, on Linux; elsewhere, or any other, a new process."""

    def start(self, command: list[str], environment: dict[str, str], log: TextIO) -> Process:
        if self.spec.arguments[0] != "-m" or not sys.platform.startswith("linux"):
            return super().start(command, environment, log)
        return _Forked(self.spec, environment, log)


class _Forked:
    """A forked job; :mod:`multiprocessing` keeps the warm process, which ends with the sweep."""

    def __init__(self, spec: ChildSpec, environment: dict[str, str], log: TextIO) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._process = context.Process(target=_be_job, args=(spec, environment, log.name))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode


def _be_job(spec: ChildSpec, environment: dict[str, str], log: str) -> None:
    """Run what ``python`` with these arguments would run in a new process."""
    os.setsid()
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(os.devnull) as nothing, open(log, "a") as file:
        for number, stream in enumerate((nothing, file, file)):
            os.dup2(stream.fileno(), number)
    os.chdir(spec.cwd)
    os.environ.clear()
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:  # which is read when torch is imported
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.path.insert(0, spec.cwd)
    sys.argv = ["", *spec.arguments[2:]]
    try:
        runpy.run_module(spec.arguments[1], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()


def _end_with_sweep() -> None:
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    sweep.join()
    os.kill(os.getpid(), signal.SIGKILL)

"""Starts the processes of this machine for one run, by torch's elastic launcher."""

import contextlib
import json
import logging
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from alexnet_exp.config import Config
from alexnet_exp.errors import INTERRUPTED, DivergedError, RankError, UserError
from alexnet_exp.hardware import cores, describe
from alexnet_exp.parallel.placement import device_count
from alexnet_exp.parallel.rank import RESULT, TASK
from alexnet_exp.parallel.watch import STACKS
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import read_diverged

_SHOWN = 16_384  # bytes of what a process has printed
_GRACE = 8  # seconds that one may need to end after Ctrl-C
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_processes(
    config: Config, folder: Path, entry: Callable[[Config, Path], dict[str, Any]]
) -> dict[str, Any]:
    """Run ``entry(config, folder)`` in one process for each device of this machine, to the end.

    The first of them prints on the terminal; what the others print is shown if they fail.

    ``entry`` is a function at the top of a module; the first process's result is returned.

    Raises:
        UserError: A process found a mistake of the user's.
        RankError: A process failed; its traceback has been printed.
        MemoryError: A process had not enough memory.
    """
    size = device_count(config)
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or cores()) // size)
    heeded = [one.name for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    with _as_before(), tempfile.TemporaryDirectory(prefix="alexnet_exp_") as scratch:
        task = (entry.__module__, entry.__name__, (config, folder), sys.argv)
        Path(scratch, TASK).write_bytes(pickle.dumps(task))
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=size,
            run_id=folder.name,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=_GRACE,
            signals_to_handle=",".join(heeded),
            logs_specs=DefaultLogsSpecs(scratch, dict.fromkeys(range(1, size), Std.ALL)),
        )
        # Each process leads a session of its own, so Ctrl-C comes to this one alone.
        variables = (f"OMP_NUM_THREADS={threads}", f"{STACKS}={scratch}")
        command = (sys.executable, "-m", "alexnet_exp.parallel.rank", scratch, os.getpid())
        sys.stdout.flush()
        failures: Mapping[int, ProcessFailure] = {}
        try:
            elastic_launch(settings, "env")(*variables, *command)
        except ChildFailedError as failed:
            failures = failed.failures
        finally:
            if not RunFolder(folder).is_running():
                for pattern in ("*.partial*", "checkpoints/*.partial*"):
                    for partial in folder.glob(pattern):
                        partial.unlink(missing_ok=True)
        if failures:
            _explain(failures, size, Path(scratch), folder)
        result: dict[str, Any] = json.loads(Path(scratch, RESULT).read_text())
        return result
    raise KeyboardInterrupt


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Keep the launcher quiet, take back what it sets, let a signal end this process after all."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    disabled, told = logging.root.manager.disable, None
    logging.disable(logging.ERROR)
    try:
        yield
    except SignalException as asked:
        told = asked.sigval
    finally:
        logging.disable(disabled)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if told is not None:
        signal.raise_signal(told)


def _explain(
    failures: Mapping[int, ProcessFailure], size: int, scratch: Path, folder: Path
) -> NoReturn:
    """Say what went wrong, and raise it."""
    rank, hangs = to_blame(failures, scratch)
    failure = failures[rank]
    said = failure.error_file_data
    who, message, kind = f"process {rank} of {size}", failure.message, said.get("kind")
    run = RunFolder(folder)
    if kind == "diverged":
        if folder.exists() and read_diverged(folder) is None:  # else of another process
            run.record_divergence(message)
        raise DivergedError(message)
    if kind in ("mistake", "memory") and not run.is_running():
        run.withdraw()  # what it is told to change makes another run
    if kind == "mistake":
        raise UserError(message)
    if kind == "memory":
        raise MemoryError(f"{who}: {message}")
    logs = sorted(scratch.glob(f"*/attempt_0/{rank}/std*.log"))
    texts = [_end_of(file) for file in [*logs, scratch / f"{rank}.stack"]]
    texts = [text for text in [*texts, said.get("traceback", "").strip()] if text]
    if texts:
        print(f"{who} (pid {failure.pid}) said:", *texts, sep="\n", file=sys.stderr, flush=True)
    if hangs:
        raise RankError(
            f"{who} did not answer within strategy.timeout; above is where it stood. If it needs"
            " longer, set strategy.timeout=<more seconds>"
        )
    if kind is not None:
        raise RankError(f"{who} failed: {message}")
    if failure.exitcode == INTERRUPTED:
        raise RankError(f"{who} was interrupted, or nobody reads its output any more")
    raise RankError(f"{who} was ended: {describe(failure.exitcode)}")


def to_blame(failures: Mapping[int, ProcessFailure], scratch: Path) -> tuple[int, bool]:
    """The rank that failed, and whether it hangs: others fail because it is gone, or silent.

    A rank that has lost another waits before it ends, so one that was killed or raised comes first.
    Where nobody did, all have waited for one that has nothing to say, and that the launcher ended.
    """
    first = next(iter(failures))
    if not _is_lost(failures[first]):
        return first, False
    silent = [rank for rank, failure in failures.items() if "kind" not in failure.error_file_data]
    stood = [rank for rank in silent if _end_of(scratch / f"{rank}.stack")]
    for rank in stood or silent:
        if failures[rank].exitcode in (-signal.SIGTERM, -signal.SIGKILL):
            return rank, True
    return (silent or [first])[0], False


def _is_lost(failure: ProcessFailure) -> bool:
    """Whether it failed because another had gone; SIGABRT is how NCCL's watchdog says so."""
    kind = failure.error_file_data.get("kind")
    return kind == "lost" or (kind is None and failure.exitcode == -signal.SIGABRT)


def _end_of(file: Path) -> str:
    """The end of what a process has printed."""
    return file.read_bytes()[-_SHOWN:].decode(errors="replace").strip() if file.exists() else ""

"""One job of a sweep: a fresh process in its own session, started, watched and ended here."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from alexnet_exp.hardware import before_exec, describe

LOG = "log.txt"

# Seconds between SIGTERM and SIGKILL; more than a job gives its own processes.
GRACE = 12.0

_PAUSE = 0.05

# What a launcher of many processes, Lightning or W&B leaves behind for its own children: a job that
# sees one of these believes to be one rank of somebody else's run.
SCRUBBED = frozenset(
    {
        "LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE",
        "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
        "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE",
        "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEPID",
        "PL_GLOBAL_SEED", "PL_SEED_WORKERS", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SERVICE",
    }
)  # fmt: skip
_SCRUBBED_PREFIXES = ("TORCHELASTIC_", "SLURM_STEP_", "ALEXNET_EXP_")


@dataclass(frozen=True)
class ChildSpec:
    """What is needed to run one job, on this machine or another."""

    folder: Path
    """Run folder; the job's output goes to ``log.txt`` in it."""

    arguments: tuple[str, ...]
    """After ``python``."""

    timeout: float | None = None
    """Seconds after which the job counts as hanging and is ended."""

    cwd: str = field(default_factory=os.getcwd)

    def on_machine(
        self, number: int, machines: int, devices: int, address: str, port: int
    ) -> "ChildSpec":
        """The part that machine ``number`` has in a job: torchrun with the same command.

        They meet at machine 0's ``address`` and free ``port``; each runs ``devices`` processes.
        """
        torchrun = (
            "-m", "torch.distributed.run", f"--nnodes={machines}", f"--node-rank={number}",
            f"--nproc-per-node={devices}", f"--master-addr={address}", f"--master-port={port}",
        )  # fmt: skip
        return replace(self, arguments=(*torchrun, *self.arguments))


@dataclass(frozen=True)
class Ending:
    """How a job's process ended."""

    returncode: int | None
    """Exit status, negative for a signal; None where nobody saw its end."""

    seconds: float
    reason: str = ""
    """In words, where the process did not end by itself with 0."""


def child_environment() -> dict[str, str]:
    """This process's environment without what would make a job one rank of another run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }


class Child:
    """A job that runs here.

    Its output is appended to ``log.txt`` of its folder. It is ended when this process ends, however
    that happens (on Linux; elsewhere unless this process is killed).
    """

    def __init__(self, spec: ChildSpec, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self.has_ended = False
        self._started = time.monotonic()
        self._stopping: float | None = None
        self._reason = ""
        self.process: subprocess.Popen[bytes] | None = None
        command = [sys.executable, *spec.arguments]
        try:
            spec.folder.mkdir(parents=True, exist_ok=True)
            with (spec.folder / LOG).open("a") as log:
                log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
                log.flush()
                self.process = subprocess.Popen(
                    command,
                    cwd=spec.cwd,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=before_exec(),
                )
        except OSError as error:  # no memory for another process, no room in its folder
            self._reason = f"could not be started: {error}"

    def poll(self) -> Ending | None:
        """How the job ended, or None while it runs; ends a job that hangs or was told to stop."""
        code = self.process.poll() if self.process else None
        now = time.monotonic()
        if code is not None or self.process is None:
            self.has_ended = True
            self.signal_all(signal.SIGKILL)  # processes that it has left behind
            reason = self._reason or describe(code) if code else self._reason
            return Ending(code, now - self._started, reason)
        timeout = self.spec.timeout
        if self._stopping is None and timeout is not None and now - self._started > timeout:
            self.stop(f"ran longer than sweep.job_timeout={timeout:g} s and was ended")
        if self._stopping is not None and now - self._stopping > GRACE:
            self.signal_all(signal.SIGKILL)
        return None

    def stop(self, reason: str = "stopped with the sweep") -> None:
        """Ask the job to end; ``poll`` kills it if it has not done so some seconds later."""
        if self._stopping is None:
            self._stopping, self._reason = time.monotonic(), self._reason or reason
            self.signal_all(signal.SIGTERM)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the job and its children."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def run_child(
    spec: ChildSpec, environment: Mapping[str, str], stop: threading.Event | None = None
) -> Ending:
    """Run a job to its end; whatever stops this function ends the job first."""
    child = Child(spec, environment)
    try:
        while (ending := child.poll()) is None:
            if stop is not None and stop.is_set():
                child.stop()
            time.sleep(_PAUSE)
        return ending
    except BaseException:
        child.stop()
        try:
            while child.poll() is None:
                time.sleep(_PAUSE)
        finally:
            child.signal_all(signal.SIGKILL)
        raise


def last_lines(folder: Path, start: int) -> list[str]:
    """The last lines that a job wrote to its log after ``start`` bytes, without empty ones."""
    try:
        with (folder / LOG).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - 16_384))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return [line[:400] for line in lines[-12:]]


def log_size(folder: Path) -> int:
    """Bytes in a job's log so far."""
    try:
        return (folder / LOG).stat().st_size
    except OSError:
        return 0

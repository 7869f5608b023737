"""Starts the processes of this machine for one run, watches them, and ends all when one fails."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistNetworkError

from alexnet_exp.config import Config, to_plain
from alexnet_exp.errors import DivergedError, RankError, UserError
from alexnet_exp.parallel.heartbeat import CHANNEL
from alexnet_exp.sweep.child import before_exec, child_environment, describe

# Seconds: between two looks, that a process has for its last words, that a stopped one (SIGSTOP,
# a debugger) has to come back, that one may need to end after it was asked to.
_BETWEEN, _LAST_WORDS, _STOPPED, _GRACE = 0.1, 3.0, 30.0, 8.0

# Batches that another process has begun meanwhile, for one to count as hanging.
_AHEAD = 3


def run_processes(config: Config, folder: Path) -> dict[str, Any]:
    """Run ``train`` in one process for each device of this machine, to the end.

    With more than one machine the same command runs on each, with NODE_RANK, MASTER_ADDR and
    MASTER_PORT set.

    Args:
        config: Settled configuration.
        folder: Run folder.

    Returns:
        What ``result.json`` holds.

    Raises:
        UserError: A process found a mistake of the user's.
        RankError: A process failed; its traceback has been printed.
        MemoryError: A process had not enough memory.
    """
    node, address, port = _machine(config)
    store: TCPStore | None = None
    if node == 0:
        store = _open_store(port)
        port = store.port
    with tempfile.TemporaryDirectory(prefix="alexnet_exp_") as scratch:
        team = _Processes(config, folder, Path(scratch))
        try:
            team.start(node, address, port)
            failed = team.watch()
        except BaseException as error:
            team.end(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            raise
        if failed is not None:
            team.explain(failed)
    del store
    return dict(json.loads((folder / "result.json").read_text()))


def _machine(config: Config) -> tuple[int, str, int]:
    """Number of this machine, and where the processes meet."""
    if config.trainer.num_nodes == 1:
        return 0, "127.0.0.1", 0
    names = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise UserError(
            f"trainer.num_nodes={config.trainer.num_nodes}: start the command on every machine with"
            f" torchrun or srun, or with {', '.join(names)} set ({', '.join(missing)} missing)"
        )
    try:
        node, port = int(os.environ["NODE_RANK"]), int(os.environ["MASTER_PORT"])
    except ValueError as error:
        raise UserError(f"NODE_RANK and MASTER_PORT must be whole numbers: {error}") from error
    if not 0 <= node < config.trainer.num_nodes:
        raise UserError(
            f"NODE_RANK={node} must lie between 0 and trainer.num_nodes - 1 ="
            f" {config.trainer.num_nodes - 1}"
        )
    return node, os.environ["MASTER_ADDR"], port


def _open_store(port: int) -> TCPStore:
    """The meeting place; 0: at a port that is free."""
    try:
        return TCPStore(
            "0.0.0.0" if port else "127.0.0.1",
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=60),
        )
    except DistNetworkError as error:
        raise UserError(f"MASTER_PORT={port} is taken; choose another ({error})") from error


@dataclass
class _Process:
    """One process of the run.

    Attributes:
        rank: Among all of the run.
        popen: It.
        output: What it prints, where the terminal is not its to print on.
        reports: Where it writes what it has to say to this process.
        batches: That it has begun.
        last: When it began the last one.
        failure: What it said went wrong.
    """

    rank: int
    popen: "subprocess.Popen[bytes]"
    output: IO[bytes] | None
    reports: IO[bytes]
    batches: int = 0
    last: float = field(default_factory=time.monotonic)
    failure: dict[str, Any] | None = None
    stopped_since: float | None = None

    def listen(self) -> None:
        """Take in what it reports, until it ends."""
        for line in self.reports:
            said = json.loads(line)
            if "batches" in said:
                self.batches, self.last = said["batches"], time.monotonic()
            else:
                self.failure = {**said, "at": time.monotonic()}

    def printed(self) -> str:
        """What it has printed so far, the end of it."""
        if self.output is None:
            return ""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")[-16_384:].strip()


class _Processes:
    """All processes of the run on this machine.

    Args:
        config: Settled configuration.
        folder: Run folder.
        scratch: For what those print that the terminal does not show.
    """

    def __init__(self, config: Config, folder: Path, scratch: Path) -> None:
        self._config, self._folder, self._scratch = config, folder, scratch
        self._all: list[_Process] = []
        self._listeners: list[threading.Thread] = []

    def start(self, node: int, address: str, port: int) -> None:
        """Start them."""
        devices = self._config.trainer.devices
        told = {
            "config": to_plain(self._config), "folder": str(self._folder), "command": sys.argv,
        }  # fmt: skip
        task = json.dumps(told).encode()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        cores = int(os.environ.get("OMP_NUM_THREADS", cores))
        environment = child_environment(max(1, cores // devices))
        for local_rank in range(devices):
            rank = node * devices + local_rank
            read, write = os.pipe()
            environment |= {
                CHANNEL: str(write), "RANK": str(rank), "LOCAL_RANK": str(local_rank),
                "WORLD_SIZE": str(devices * self._config.trainer.num_nodes),
                "GROUP_RANK": str(node), "MASTER_ADDR": address, "MASTER_PORT": str(port),
            }  # fmt: skip
            output = None
            if rank > 0:
                output = (self._scratch / f"rank_{rank}.txt").open("w+b")
            popen = subprocess.Popen(
                [sys.executable, "-m", "alexnet_exp.parallel.rank"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[write],
                start_new_session=True,
                preexec_fn=before_exec(),
            )
            os.close(write)
            process = _Process(rank, popen, output, os.fdopen(read, "rb"))
            self._all.append(process)
            listener = threading.Thread(target=process.listen, daemon=True)
            listener.start()
            self._listeners.append(listener)
            assert popen.stdin is not None
            popen.stdin.write(task + b"\n")
            popen.stdin.flush()  # left open: its end tells them that this process is gone

    def watch(self) -> _Process | None:
        """Wait until all have ended well, or one has failed; returns that one."""
        while True:
            codes = [process.popen.poll() for process in self._all]
            failed = [p for p, code in zip(self._all, codes, strict=True) if code]
            if failed:
                return self._first_to_fail(failed)
            if all(code == 0 for code in codes):
                return None
            for process, code in zip(self._all, codes, strict=True):
                if code is None and self._hangs(process):
                    return process
            time.sleep(_BETWEEN)

    def _hangs(self, process: _Process) -> bool:
        """Whether a process stands still while others go on."""
        now = time.monotonic()
        if _state(process.popen.pid) in ("T", "t"):
            process.stopped_since = process.stopped_since or now
            return now - process.stopped_since > min(_STOPPED, self._config.strategy.timeout)
        process.stopped_since = None
        ahead = max(other.batches for other in self._all) - process.batches
        return ahead >= _AHEAD and now - process.last > self._config.strategy.timeout

    def _first_to_fail(self, failed: list[_Process]) -> _Process:
        """The one to blame: what the others say is often that it is gone, or does not answer."""
        deadline = time.monotonic() + _LAST_WORDS
        while time.monotonic() < deadline and any(p.popen.poll() is None for p in self._all):
            time.sleep(_BETWEEN)
        failed = [process for process in self._all if process.popen.poll()]
        silent = [process for process in self._all if process.popen.poll() is None]
        own = [p for p in failed if p.failure is None or not p.failure["lost"]]
        if own:
            return min(own, key=lambda p: p.failure["at"] if p.failure else 0.0)
        return (silent or failed)[0]

    def explain(self, failed: _Process) -> None:
        """End all, say what went wrong, and raise it."""
        who = f"process {failed.rank} of {self._size} (pid {failed.popen.pid})"
        code = failed.popen.poll()
        if code is None:
            if _state(failed.popen.pid) in ("T", "t"):
                reason = "was stopped (SIGSTOP) and does not go on"
            else:
                reason = (
                    f"did not answer for {self._config.strategy.timeout:g} s, and the others wait;"
                    " above is where it stands. If it needs that long, set strategy.timeout=<more>"
                )
                self._ask_where(failed)
        elif failed.failure is None:
            reason = f"was ended: {describe(code)}"
        else:
            reason = f"failed: {failed.failure['message']}"
        self.end(signal.SIGTERM)
        for listener in self._listeners:
            listener.join(1.0)
        failure = failed.failure or {}
        if failure.get("kind") == "mistake":
            raise (DivergedError if failure["diverged"] else UserError)(failure["message"])
        words = [failed.printed(), failure.get("traceback", "").strip()]
        print(*(f"{who}:\n{text}" for text in words if text), sep="\n", file=sys.stderr)
        if failure.get("kind") == "memory":
            raise MemoryError(f"{who}: {failure['message']}")
        raise RankError(f"{who} {reason}")

    @property
    def _size(self) -> int:
        return self._config.trainer.devices * self._config.trainer.num_nodes

    def _ask_where(self, process: _Process) -> None:
        """Have a process print where it stands."""
        process.popen.send_signal(signal.SIGUSR1)
        time.sleep(1.0)

    def end(self, first: signal.Signals) -> None:
        """End all that still run, with everything that they have started."""
        running = [process for process in self._all if process.popen.poll() is None]
        for process in running:
            process.popen.send_signal(first)
            process.popen.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline and any(p.popen.poll() is None for p in running):
            time.sleep(_BETWEEN)
        for process in self._all:
            try:
                os.killpg(process.popen.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        for process in self._all:
            process.popen.wait()
        for partial in self._folder.glob("**/*.partial"):
            partial.unlink(missing_ok=True)


def _state(pid: int) -> str:
    """The kernel's letter for what a process does; empty where it can't be asked."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""

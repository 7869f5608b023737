"""Starts the processes of this machine for one run, watches them, and ends all when one fails."""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistNetworkError

from alexnet_exp.config import Config, to_plain
from alexnet_exp.console import say
from alexnet_exp.errors import DivergedError, RankError, UserError
from alexnet_exp.parallel.member import Member
from alexnet_exp.parallel.team import WANDB_PATIENCE
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep.process import child_environment

# Seconds: between two looks, that processes have for their last words, that a stopped one (SIGSTOP,
# a debugger) has to come back, that one may need to end after Ctrl-C.
_BETWEEN, _LAST_WORDS, _STOPPED, _GRACE = 0.1, 3.0, 30.0, 8.0


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
    store = _open_store(port) if node == 0 else None
    team = _Team(config, folder)
    if config.trainer.num_nodes > 1 and config.trainer.progress:
        say(f"machine {node} of {config.trainer.num_nodes}: meeting the others at {address}:{port}")
    try:
        with _signals_raise():
            team.start(node, address, store.port if store else port)
            failed = team.watch()
            if failed is not None:
                team.explain(failed)
            return team.result()
    except _Signal as told:
        team.end()
        signal.signal(told.number, signal.SIG_DFL)
        os.kill(os.getpid(), told.number)
        raise
    except KeyboardInterrupt:
        team.end(interrupt=True)
        raise
    finally:
        team.end()
        del store  # closes the port, also while an exception keeps this frame


class _Signal(BaseException):
    """A signal that asks to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Have what would end this process at once raise in the block, as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Signal(number)

    caught = []
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGTERM, signal.SIGHUP)
        caught = [one for one in numbers if signal.getsignal(one) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


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
    address = os.environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(address, port)
    except socket.gaierror as error:
        raise UserError(f"MASTER_ADDR={address} is not known on this machine: {error}") from error
    return node, address, port


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


class _Team:
    """All processes of the run on this machine.

    Args:
        config: Settled configuration.
        folder: Run folder.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._timeout = self._patience = config.strategy.timeout
        if config.logger.wandb:
            self._patience += WANDB_PATIENCE
        self._size = config.trainer.devices * config.trainer.num_nodes
        self._members: list[Member] = []
        self._has_ended = False

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
        sys.stdout.flush()
        for local_rank in range(devices):
            rank = node * devices + local_rank
            environment |= {
                "RANK": str(rank), "LOCAL_RANK": str(local_rank), "WORLD_SIZE": str(self._size),
                "GROUP_RANK": str(node), "MASTER_ADDR": address, "MASTER_PORT": str(port),
            }  # fmt: skip
            self._members.append(Member(rank, task, environment, shown=rank == 0))

    def watch(self) -> Member | None:
        """Wait until all have ended well, or one has failed; returns that one."""
        while True:
            self._look()
            if any(one.failed for one in self._members):
                return self._first_to_fail()
            if not self._running():
                return None
            hanging = [one for one in self._running() if self._hangs(one)]
            if hanging:
                return min(hanging, key=lambda one: one.collectives)
            time.sleep(_BETWEEN)

    def result(self) -> dict[str, Any]:
        """What the first of them says has come out."""
        result = self._members[0].result
        assert result is not None
        return result

    def _look(self) -> None:
        for one in self._members:
            one.look()

    def _wait_for_ends(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._running():
            time.sleep(_BETWEEN)
            self._look()

    def _running(self) -> list[Member]:
        return [one for one in self._members if one.code is None]

    def _hangs(self, one: Member) -> bool:
        """Whether a process has stood still for too long while others go on, or wait for it."""
        now = time.monotonic()
        one.stopped_since = (one.stopped_since or now) if one.is_stopped() else None
        if one.stopped_since is not None:
            return now - one.stopped_since > min(_STOPPED, self._timeout)
        if not any(other.is_ahead_of(one) for other in self._members):
            one.behind_since = None
        elif one.behind_since is None or one.heard > one.behind_since:
            one.behind_since = now
        return one.behind_since is not None and now - one.behind_since > self._patience

    def _first_to_fail(self) -> Member:
        """The one to blame: others fail because it is gone, or does not answer."""
        self._wait_for_ends(_LAST_WORDS)
        failed = sorted((one for one in self._members if one.failed), key=lambda one: one.failed_at)
        by_itself = [one for one in failed if not one.lost_others]
        if by_itself:
            return by_itself[0]
        # The others waited for the whole timeout, so it has done nothing for as long.
        since = time.monotonic() - self._timeout / 2
        silent = [one for one in self._running() if one.heard < since]
        if silent:
            return min(silent, key=lambda one: one.collectives)
        return min(failed, key=lambda one: one.failure is not None)  # crashed rather than told

    def explain(self, failed: Member) -> NoReturn:
        """Say what went wrong with one of them, end all, and raise it.

        Raises:
            UserError: It found a mistake of the user's.
            RankError: It failed.
            MemoryError: It had not enough memory.
        """
        who = f"process {failed.rank} of {self._size}"
        if failed.code is None:
            self._show(failed, f"{who} (pid {failed.popen.pid}) does not answer:")
            if failed.stopped_since is not None:
                raise RankError(f"{who} was stopped (SIGSTOP or a debugger) and did not go on")
            raise RankError(
                f"{who} did not answer for {self._timeout:g} s; above is where it stood. If it"
                " needs that long, set strategy.timeout=<more>"
            )
        failure = failed.failure or {"kind": "failure", "traceback": ""}
        self.end()
        run = RunFolder(self._folder)
        if failure["kind"] == "diverged":
            if self._folder.exists() and run.divergence() is None:  # else of another machine
                run.record_divergence(failure["message"])
            raise DivergedError(failure["message"])
        if failure["kind"] in ("mistake", "memory") and not run.is_running():
            run.withdraw()  # what it is told to change makes another run
        if failure["kind"] == "mistake":
            raise UserError(failure["message"])
        if failure["kind"] == "memory":
            raise MemoryError(f"{who}: {failure['message']}")
        self._show(failed, f"{who} (pid {failed.popen.pid}) said:", failure["traceback"])
        raise RankError(f"{who} {failed.ending}")

    def _show(self, one: Member, title: str, traceback: str = "") -> None:
        """Print what a process has to say; one that still runs, where it stands."""
        if one.code is None and one.stopped_since is None:
            print(title, file=sys.stderr, flush=True)
            one.print_stack()  # the first process's own comes on the terminal
            title = ""
        texts = [text for text in (one.printed(), traceback.strip()) if text]
        if texts:
            print(*filter(None, [title, *texts]), sep="\n", file=sys.stderr, flush=True)

    def end(self, interrupt: bool = False) -> None:
        """End all that still run, with everything that they have started.

        Args:
            interrupt: Let them do first what they do at Ctrl-C.
        """
        if self._has_ended:
            return
        self._look()
        if interrupt:
            for one in self._running():
                one.popen.send_signal(signal.SIGINT)
            self._wait_for_ends(_GRACE)
        for one in self._members:
            one.kill()
        self._has_ended = True
        here = any(one.rank == 0 for one in self._members)  # who writes there
        if here and not RunFolder(self._folder).is_running():
            for pattern in ("*.partial*", "checkpoints/*.partial*"):
                for partial in self._folder.glob(pattern):
                    partial.unlink(missing_ok=True)

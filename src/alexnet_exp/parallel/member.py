"""One process of a run, as the supervisor that started it sees it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from alexnet_exp.errors import INTERRUPTED
from alexnet_exp.parallel.heartbeat import CHANNEL
from alexnet_exp.sweep.process import before_exec, describe

_SHOWN = 16_384  # bytes of what it has printed
_STACK = 2.0  # seconds to print a stack
_AHEAD = 3  # batches; less may be a different number of images


class Member:
    """Starts it, and listens to it.

    Attributes:
        rank: Among all of the run.
        popen: The process, which leads a session of its own.
        code: Exit status as of the last look; None while it runs.
        heard: When it last got further, in seconds of ``time.monotonic``.
        batches: That it has begun.
        collectives: Operations with others that it has begun; -1 before it came to meet them.
        stopped_since: When it was first seen stopped, by a signal or a debugger.
        behind_since: When another was first seen ahead of it while it got no further.
        result: What it said has come out.
        failure: What it said went wrong.

    Args:
        rank: Among all of the run.
        task: Its standard input, which stays open: its end says that the supervisor is gone.
        environment: Environment variables.
        shown: Whether it prints on the terminal; else into a file that ``printed`` reads.
    """

    def __init__(self, rank: int, task: bytes, environment: Mapping[str, str], shown: bool) -> None:
        self.rank = rank
        self.code: int | None = None
        self.heard = time.monotonic()
        self.batches, self.collectives = 0, -1
        self.stopped_since: float | None = None
        self.behind_since: float | None = None
        self.result: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self._ended = 0.0
        self._unread = b""
        self._output = None if shown else tempfile.TemporaryFile()  # noqa: SIM115
        self._reports, channel = os.pipe()
        os.set_blocking(self._reports, False)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "alexnet_exp.parallel.rank"],
            bufsize=0,
            env={**environment, CHANNEL: str(channel)},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[channel],
            start_new_session=True,
            preexec_fn=before_exec(),
        )
        os.close(channel)
        assert self.popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.popen.stdin.write(task + b"\n")

    def look(self) -> None:
        """Take in whether it has ended, and what it has reported."""
        ended = self.popen.poll()  # first: after its end there is nothing more to come
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._reports, 65_536):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._take_in(json.loads(line))
        if self.code is None and ended is not None:
            self.code, self._ended = ended, time.monotonic()

    def _take_in(self, said: dict[str, Any]) -> None:
        if "kind" in said:
            self.failure = said
        elif "result" in said:
            self.result = said["result"]
        else:
            self.heard = said["at"]
            self.collectives = said["collectives"]
            self.batches = said["batches"]

    def is_ahead_of(self, other: "Member") -> bool:
        """Whether it waits for the other, or will when it has done what needs no other."""
        return (
            self.code == 0
            or self.collectives > other.collectives
            or self.batches >= other.batches + _AHEAD
        )

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not well."""
        return self.code is not None and (self.code != 0 or self.result is None)

    @property
    def failed_at(self) -> float:
        """When, in seconds of ``time.monotonic``."""
        return float(self.failure["at"]) if self.failure else self._ended

    @property
    def lost_others(self) -> bool:
        """Whether it failed because another process had gone or did not answer."""
        if self.failure is None:
            return self.code == -signal.SIGABRT  # so ends NCCL's watchdog; a crash perhaps
        return bool(self.failure["lost"])

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        assert self.code is not None
        if self.failure is not None:
            return f"failed: {self.failure['message']}"
        if self.code == INTERRUPTED:
            return "was interrupted, or nobody reads its output any more"
        return f"was ended: {describe(self.code)}"

    def is_stopped(self) -> bool:
        """Whether a signal or a debugger has stopped it; false where the kernel can't be asked."""
        try:
            with open(f"/proc/{self.popen.pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] in ("T", "t")
        except (OSError, IndexError):
            return False

    def print_stack(self) -> None:
        """Have it print where it stands, into what ``printed`` reads or on the terminal."""
        before = self._size()
        self.popen.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + _STACK
        while time.monotonic() < deadline and self._size() == before:
            time.sleep(0.1)
        time.sleep(0.2)  # for all of its lines

    def printed(self) -> str:
        """The end of what it has printed elsewhere than on the terminal."""
        if self._output is None:
            return ""
        start = max(0, self._size() - _SHOWN)
        # Not read(): the process writes at the position that it would move.
        text = os.pread(self._output.fileno(), _SHOWN, start).decode(errors="replace")
        return (text.partition("\n")[2] if start else text).strip()

    def _size(self) -> int:
        return os.fstat(self._output.fileno()).st_size if self._output else 0

    def kill(self) -> None:
        """End it with everything that it has started, and let go of what belonged to it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.look()
        os.close(self._reports)
        assert self.popen.stdin is not None
        self.popen.stdin.close()

"""The loop of a sweep: starts jobs where there is room, watches them, and says how each ended."""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from alexnet_exp.errors import MISTAKE, OtherRunError, SweepStoppedError, UserError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep.jobs import Job, Outcome, State
from alexnet_exp.sweep.process import GRACE, Ending, last_lines, log_size
from alexnet_exp.sweep.table import SweepScreen, show_outcomes

_PAUSE = 0.1
_ELSEWHERE = "another process is at work in its folder"

# Not started: done, in other hands, or beyond help.
LEFT_ALONE = (State.skipped, State.left_out, State.diverged, State.elsewhere, State.failed)


class Handle(Protocol):
    """A job that was handed to a backend."""

    def poll(self) -> Ending | None:
        """How the job ended, or None while it waits or runs."""

    def stop(self) -> None:
        """Ask the job to end; ``poll`` says when it has."""


class Backend(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int | None:
        """Jobs at once; None where the backend keeps its own queue."""

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError if one of these jobs can't run here, before any is started."""

    def start(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """Run jobs now, or queue them."""

    def close(self) -> None:
        """Give back what the backend holds, after the last job ended."""


def run_sweep(jobs: Sequence[Job], backend: Backend, show: bool, folder: Path) -> list[Outcome]:
    """Run every job that is not finished; none takes another along.

    Args:
        jobs: In order.
        backend: Where they run.
        show: Show a live screen, or lines where there is no terminal.
        folder: Of the sweep, for the screen.

    Returns:
        What became of each job, in order.

    Raises:
        SweepStoppedError: After Ctrl-C, SIGTERM or SIGHUP, when all jobs have ended.
    """
    outcomes: dict[int, Outcome] = {}
    for job in jobs:
        if job.state in LEFT_ALONE:
            outcomes[job.number] = _before(job)
    waiting = deque(job for job in jobs if job.number not in outcomes)
    running: list[_Running] = []
    screen = SweepScreen(len(jobs), folder, show)

    def close(outcome: Outcome) -> None:
        outcomes[outcome.job.number] = outcome
        screen.ended(outcome)

    with _signals() as caught, screen:
        screen.left_out(list(outcomes.values()))
        try:
            while (waiting or running) and not caught:
                slots = backend.slots
                room = len(waiting) if slots is None else slots - len(running)
                batch = [waiting.popleft() for _ in range(min(room, len(waiting)))]
                for outcome in [taken for job in batch if (taken := _taken_meanwhile(job))]:
                    batch.remove(outcome.job)
                    close(outcome)
                logs = [log_size(job.folder) for job in batch]
                handles = backend.start(batch) if batch else ()
                running += map(_Running, batch, handles, logs)
                for item in list(running):
                    ended = item.poll()
                    if ended is not None:
                        running.remove(item)
                        close(ended)
                screen.show(
                    [(item.job, item.started) for item in running if item.has_started()],
                    len(waiting) + sum(not item.has_started() for item in running),
                )
                time.sleep(_PAUSE)
            if caught:
                screen.note(f"{caught[0].name}: ending {len(running)} jobs")
        finally:
            left = _end(running, close)
            backend.close()
    if caught:
        for job in waiting:
            outcomes[job.number] = Outcome(job, job.state)
        for item in left:
            outcomes[item.job.number] = Outcome(item.job, State.stopped)
        show_outcomes([outcomes[job.number] for job in jobs], folder)
        raise SweepStoppedError(caught[0], len(left))
    return [outcomes[job.number] for job in jobs]


class _Running:
    """A job in the hands of a backend.

    Args:
        job: The job.
        handle: The backend's.
        log_start: Size of its log before it was started.
    """

    def __init__(self, job: Job, handle: Handle, log_start: int) -> None:
        self.job, self._handle, self._log_start = job, handle, log_start
        self._begun: float | None = None
        self._stopped = False

    @property
    def started(self) -> float:
        """When the job began to run, on the monotonic clock."""
        return self._begun or time.monotonic()

    def has_started(self) -> bool:
        """Whether it runs, rather than waits in the backend's queue."""
        if self._begun is None and log_size(self.job.folder) > self._log_start:
            self._begun = time.monotonic()
        return self._begun is not None

    def poll(self) -> Outcome | None:
        """What became of the job, or None while it waits or runs."""
        self.has_started()
        ending = self._handle.poll()
        return None if ending is None else self._outcome(ending)

    def stop(self) -> None:
        """Ask the job to end."""
        self._stopped = True
        self._handle.stop()

    def _outcome(self, ending: Ending) -> Outcome:
        """The run folder decides, not the exit code: what is recorded there is whole."""
        run, reason = RunFolder(self.job.folder), ending.reason
        try:
            result = run.finished()
            message = run.divergence()
        except UserError as error:
            result, message, reason = None, None, str(error)
        if result is not None:
            resumed = self.job.state == State.half_done
            state = State.resumed if resumed else State.finished
            return Outcome(self.job, state, ending.seconds, result=result)
        if message is not None:
            return Outcome(self.job, State.diverged, ending.seconds, message)
        if self._stopped:
            return Outcome(self.job, State.stopped, ending.seconds, "with the sweep")
        if ending.returncode == MISTAKE and run.is_running():  # another sweep was faster
            return Outcome(self.job, State.elsewhere, ending.seconds, _ELSEWHERE)
        lines = tuple(last_lines(self.job.folder, start=self._log_start))
        reason = reason or "ended without a result"
        return Outcome(self.job, State.failed, ending.seconds, reason, lines)


def _before(job: Job) -> Outcome:
    """For a job that is left alone."""
    run = RunFolder(job.folder)
    if job.state in (State.failed, State.left_out):
        return Outcome(job, job.state, reason=job.reason)
    if job.state == State.diverged:
        return Outcome(job, job.state, reason=run.divergence() or "")
    if job.state == State.elsewhere:
        return Outcome(job, job.state, reason=_ELSEWHERE)
    return Outcome(job, job.state, result=run.finished())


def _taken_meanwhile(job: Job) -> Outcome | None:
    """For a job that another sweep has begun or done since this one was planned."""
    try:
        job.refresh()
    except OtherRunError as error:
        job.state, job.reason = State.failed, str(error)
    return _before(job) if job.state in LEFT_ALONE else None


def _end(running: Sequence[_Running], close: Callable[[Outcome], None]) -> list[_Running]:
    """Stop all jobs at once and wait for them; gives those that did not answer."""
    for item in running:
        item.stop()
    left = list(running)
    deadline = time.monotonic() + 2 * GRACE
    while left and time.monotonic() < deadline:
        for item in list(left):
            outcome = item.poll()
            if outcome is not None:
                left.remove(item)
                close(outcome)
        time.sleep(_PAUSE / 2)
    return left


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """Collect signals that ask to end, rather than be torn out of whatever is being done."""
    caught: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The loop of a sweep: starts jobs where there is room, watches them, and says how each ended."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from alexnet_exp.errors import MISTAKE, SweepStoppedError, UserError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import read_diverged, read_result
from alexnet_exp.sweep.jobs import ELSEWHERE, LEFT_ALONE, Job, Outcome, State
from alexnet_exp.sweep.process import GRACE, Ending, last_lines, log_size
from alexnet_exp.sweep.table import SweepScreen, show_sweep

_PAUSE = 0.1


class Handle(Protocol):
    """A job that was handed to a backend."""

    def poll(self) -> Ending | None:
        """How the job ended, or None while it waits or runs."""

    def stop(self) -> None:
        """Ask the job to end; ``poll`` says when it has."""


class Backend:
    """Where jobs run; this one, in a queue of its own."""

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError if one of these jobs can't run here, before any is started."""

    def room(self, waiting: Sequence[Job]) -> Sequence[Job]:
        """Which of these can be started now: all, as the backend keeps its own queue."""
        return list(waiting)

    def start(self, jobs: Sequence[Job]) -> Sequence[Handle]:
        """Run jobs now, or queue them."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the backend holds, after the last job ended."""


def run_sweep(jobs: Sequence[Job], backend: Backend, show: bool, folder: Path) -> list[Outcome]:
    """Run every job that is not finished; none takes another along.

    Args:
        show: Whether to show a live screen, or lines where there is no terminal.
        folder: Of the sweep.

    Returns:
        What became of each job, in order.

    Raises:
        SweepStoppedError: After Ctrl-C, SIGTERM or SIGHUP, when all jobs have ended.
    """
    outcomes = {job.number: job.as_found() for job in jobs if job.state in LEFT_ALONE}
    waiting = [job for job in jobs if job.number not in outcomes]
    running: list[_Running] = []
    screen = SweepScreen(len(jobs), folder, show)

    def close(outcome: Outcome) -> None:
        outcomes[outcome.job.number] = outcome
        screen.ended(outcome)

    def collect() -> None:
        for item in list(running):
            outcome = item.poll()
            if outcome is not None:
                running.remove(item)
                close(outcome)
        time.sleep(_PAUSE)

    with _signals() as caught, screen.drawing:
        screen.left_out(list(outcomes.values()))
        try:
            while (waiting or running) and not caught:
                batch = []
                for job in backend.room(waiting):
                    waiting.remove(job)
                    job.look()  # another sweep may have begun or done it
                    if job.state in LEFT_ALONE:
                        close(job.as_found())
                    else:
                        batch.append(job)
                if batch:
                    logs = [log_size(job.folder) for job in batch]
                    running += map(_Running, batch, backend.start(batch), logs)
                begun = [(item.job, item.begun) for item in running if item.begun is not None]
                screen.show(begun, len(waiting) + len(running) - len(begun))
                collect()
            if caught:
                screen.note(f"{caught[0].name}: ending {len(running)} jobs")
        finally:
            for item in running:
                item.stop()
            deadline = time.monotonic() + 2 * GRACE
            while running and time.monotonic() < deadline:
                collect()
            backend.close()
    if caught:
        outcomes |= {job.number: Outcome(job, job.state) for job in waiting}
        outcomes |= {item.job.number: Outcome(item.job, State.stopped) for item in running}
        show_sweep([outcomes[job.number] for job in jobs], folder)
        raise SweepStoppedError(caught[0], len(running))
    return [outcomes[job.number] for job in jobs]


class _Running:
    """A job in the hands of a backend; its log had ``log_start`` bytes before."""

    def __init__(self, job: Job, handle: Handle, log_start: int) -> None:
        self.job, self._handle, self._log_start = job, handle, log_start
        self.begun: float | None = None  # on the monotonic clock; None: waits in a queue
        self._stopped = False

    def poll(self) -> Outcome | None:
        if self.begun is None and log_size(self.job.folder) > self._log_start:
            self.begun = time.monotonic()
        ending = self._handle.poll()
        return None if ending is None else self._outcome(ending)

    def stop(self) -> None:
        self._stopped = True
        self._handle.stop()

    def _outcome(self, ending: Ending) -> Outcome:
        """The run folder decides, not the exit code: what is recorded there is whole."""
        job, reason = self.job, ending.reason
        result = message = None
        try:
            result, message = read_result(job.folder), read_diverged(job.folder)
        except UserError as error:
            reason = str(error)
        if result is not None:
            resumed = job.state == State.half_done
            state = State.resumed if resumed else State.finished
            return Outcome(job, state, ending.seconds, result=result)
        if message is not None:
            return Outcome(job, State.diverged, ending.seconds, message)
        if self._stopped:
            return Outcome(job, State.stopped, ending.seconds, "with the sweep")
        if ending.returncode == MISTAKE and RunFolder(job.folder).is_running():
            return Outcome(job, State.elsewhere, ending.seconds, ELSEWHERE)  # it was faster
        lines = tuple(last_lines(job.folder, start=self._log_start))
        return Outcome(job, State.failed, ending.seconds, reason or "ended without a result", lines)


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """Collect signals that ask to end, rather than be torn out of whatever is being done."""
    caught: list[signal.Signals] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(
                    number, lambda n, _: caught.append(signal.Signals(n))
                )
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What a sweep shows: one live screen while it runs, a table at its end."""

import csv
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from alexnet_exp.console import console, percent
from alexnet_exp.sweep.jobs import Job, Outcome, State, reasons_left_out

_REFRESH = 0.5
_DONE = (State.finished, State.resumed, State.skipped)
_SPLITS = ("train", "val")
_AGAIN = (State.failed, State.stopped, State.new, State.half_done, State.elsewhere)
_COLORS = {State.failed: "red", State.diverged: "yellow", State.elsewhere: "yellow"}


class SweepScreen:
    """Jobs done of all, running ones with epoch and error, time left.

    On a terminal a screen that is drawn anew; elsewhere one line per job that ended.

    Args:
        total: Number of jobs.
        folder: Of the sweep.
        enabled: Whether anything is shown.
    """

    def __init__(self, total: int, folder: Path, enabled: bool) -> None:
        self.total, self.folder, self.enabled = total, folder, enabled
        self.counts: Counter[State] = Counter()
        self.durations: list[float] = []
        self._start = time.monotonic()
        self._drawn = 0.0
        self._done = 0
        self._bar = Progress(
            TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total)
        self._live: Live | None = None
        if enabled and console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "SweepScreen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def left_out(self, outcomes: Sequence[Outcome]) -> None:
        """Say which jobs need not run."""
        self.counts.update(outcome.state for outcome in outcomes)
        self._done += len(outcomes)
        parts = [f"{count} {state}" for state, count in self.counts.items()]
        left = self.total - len(outcomes)
        noun = "job" if self.total == 1 else "jobs"
        self.note(f"{self.total} {noun}, {', '.join([*parts, f'{left} to run'])}: {self.folder}")

    def ended(self, outcome: Outcome) -> None:
        """Count a job that ended and say how."""
        self.counts[outcome.state] += 1
        self._done += 1
        if outcome.state in (State.finished, State.resumed):
            self.durations.append(outcome.seconds)
        what = _error(outcome.result) if outcome.result else outcome.reason
        self.note(
            f"[{self._done}/{self.total}] {outcome.state} {outcome.job.name}"
            f" ({_duration(outcome.seconds)}): {what}"
        )

    def note(self, line: str) -> None:
        """Print a line above the screen."""
        if self.enabled:
            console.print(line, soft_wrap=True, markup=False)

    def show(self, running: Sequence[tuple[Job, float]], waiting: int) -> None:
        """Draw the screen anew.

        Args:
            running: Jobs that run, with their start on the monotonic clock.
            waiting: Number of jobs that have not begun.
        """
        now = time.monotonic()
        if self._live is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        table = Table(box=None, pad_edge=False)
        for heading in ("running", "epoch", "train error", "val error", "time"):
            table.add_column(heading, justify="left" if heading == "running" else "right")
        fractions = []
        for job, started in running:
            row, most = last_epoch(job.folder), job.config.trainer.max_epochs
            fractions.append((int(row["epoch"]) if row else 0) / most)
            figures = [percent(float(row[f"{s}/top1_error"])) if row else "" for s in _SPLITS]
            epoch = f"{row['epoch'] if row else 0}/{most}"
            table.add_row(job.name, epoch, *figures, _duration(now - started))
        self._bar.update(self._task, completed=self._done)
        self._bar.update(self._task, description=self._status(fractions, waiting))
        self._live.update(Group(self._bar, table), refresh=True)

    def _status(self, fractions: Sequence[float], waiting: int) -> str:
        parts = [f"{len(fractions)} running"]
        if waiting:
            parts.append(f"{waiting} waiting")
        parts += [f"{count} {state}" for state, count in self.counts.items()]
        parts.append(_duration(time.monotonic() - self._start))
        if self.durations:
            mean = sum(self.durations) / len(self.durations)
            left = mean * (waiting + sum(1 - fraction for fraction in fractions))
            parts.append(f"about {_duration(left / max(1, len(fractions)))} left")
        return ", ".join(parts)


def show_outcomes(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Print the table at the end of a sweep, with the last log lines of what failed."""
    table = Table(title=f"sweep in {folder}", title_justify="left")
    table.add_column("job", overflow="fold")
    table.add_column("state", no_wrap=True)
    for heading in ("val error", "test error", "epochs", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        result = outcome.result
        figures = ["", "", ""]
        if result is not None:
            errors = [percent(result["metrics"][f"{s}/top1_error"]) for s in ("val", "test")]
            figures = [*errors, str(result["epochs"])]
        color = _COLORS.get(outcome.state, "")
        state = f"[{color}]{outcome.state}[/{color}]" if color else str(outcome.state)
        seconds = _duration(outcome.seconds) if outcome.seconds else ""
        table.add_row(outcome.job.name, state, *figures, seconds)
    console.print(table)
    for outcome in outcomes:
        if outcome.state == State.failed:
            console.print(
                f"\nfailed: {outcome.job.name}: {outcome.reason}", style="red", soft_wrap=True,
                markup=False,
            )  # fmt: skip
            for line in outcome.lines:
                console.print(f"  {line}", soft_wrap=True, markup=False)
            console.print(f"  log: {outcome.job.folder / 'log.txt'}", soft_wrap=True, markup=False)
        elif outcome.state in (State.diverged, State.elsewhere):
            console.print(
                f"\n{outcome.state}: {outcome.job.name}: {outcome.reason}", soft_wrap=True,
                markup=False,
            )  # fmt: skip
    for line in reasons_left_out([outcome.job for outcome in outcomes]):
        console.print(f"\nleft out: {line}", soft_wrap=True, markup=False)
    counts = Counter(outcome.state for outcome in outcomes)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    noun = "job" if len(outcomes) == 1 else "jobs"
    console.print(f"\n{len(outcomes)} {noun}: {summary}", style="bold", soft_wrap=True)
    if any(counts[state] for state in _AGAIN):
        console.print("the same command runs what is not done and leaves the others")


def last_epoch(folder: Path) -> dict[str, str] | None:
    """The last row of a run's metrics.csv, or None before the first epoch."""
    try:
        with (folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return None
    whole = [row for row in rows if row.get("val/top1_error") and row.get("train/top1_error")]
    return whole[-1] if whole else None


def _error(result: dict[str, Any]) -> str:
    return f"test error {percent(result['metrics']['test/top1_error'])}"


def _duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"

"""What a sweep shows: one live screen while it runs, a table at its end."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import nan
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, duration, percent
from alexnet_exp.errors import UserError
from alexnet_exp.runs.read import read_metrics
from alexnet_exp.sweep.jobs import LEFT_ALONE, Job, Outcome, State, counted, reasons_left_out
from alexnet_exp.sweep.process import LOG

_REFRESH = 0.5
_SPLITS = ("train", "val")
_AGAIN = (State.failed, State.stopped, State.new, State.half_done, State.elsewhere)
_COLORS = {State.failed: "red", State.diverged: "yellow", State.elsewhere: "yellow"}


class SweepScreen:
    """Jobs done of all, running ones with epoch and error, time left.

    On a terminal a screen that is drawn anew; elsewhere one line per job that ended.
    """

    def __init__(self, total: int, folder: Path, enabled: bool) -> None:
        self.total, self.folder, self.enabled = total, folder, enabled
        self.counts: Counter[State] = Counter()
        self.durations: list[float] = []
        self._start = time.monotonic()
        self._drawn = 0.0
        self._bar = Progress(
            TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total)
        self._live: Live | None = None
        if enabled and console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self.drawing: AbstractContextManager[object] = self._live or nullcontext()

    def left_out(self, outcomes: Sequence[Outcome]) -> None:
        self.counts.update(outcome.state for outcome in outcomes)
        parts = [f"{count} {state}" for state, count in self.counts.items()]
        left = self.total - len(outcomes)
        self.note(f"{counted(self.total)}, {', '.join([*parts, f'{left} to run'])}: {self.folder}")

    def ended(self, outcome: Outcome) -> None:
        self.counts[outcome.state] += 1
        if outcome.state in (State.finished, State.resumed):
            self.durations.append(outcome.seconds)
        what, result = outcome.reason, outcome.result
        if result is not None:
            what = f"test error {percent(result['metrics']['test/top1_error'])}"
        self.note(
            f"[{self.counts.total()}/{self.total}] {outcome.state} {outcome.job.name}"
            f" ({duration(outcome.seconds)}): {what}"
        )

    def note(self, line: str) -> None:
        if self.enabled:
            _line(line)

    def show(self, running: Sequence[tuple[Job, float]], waiting: int) -> None:
        """Draw the screen anew: running jobs, with their start on the monotonic clock."""
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
            done = row["epoch"] if row else 0
            fractions.append(done / most)
            figures = [percent(row[f"{split}/top1_error"]) if row else "" for split in _SPLITS]
            table.add_row(Text(job.name), f"{done}/{most}", *figures, duration(now - started))
        status = self._status(fractions, waiting)
        self._bar.update(self._task, completed=self.counts.total(), description=status)
        self._live.update(Group(self._bar, table), refresh=True)

    def _status(self, fractions: Sequence[float], waiting: int) -> str:
        parts = [f"{len(fractions)} running"]
        if waiting:
            parts.append(f"{waiting} waiting")
        parts += [f"{count} {state}" for state, count in self.counts.items()]
        parts.append(duration(time.monotonic() - self._start))
        if self.durations:
            mean = sum(self.durations) / len(self.durations)
            left = mean * (waiting + sum(1 - fraction for fraction in fractions))
            parts.append(f"about {duration(left / max(1, len(fractions)))} left")
        return ", ".join(parts)


def show_sweep(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Print the table at the end of a sweep, with the last log lines of what failed."""
    _show(outcomes, folder)
    if any(outcome.state in _AGAIN for outcome in outcomes):
        _line("the same command runs what is not done and leaves the others")


def show_plan(jobs: Sequence[Job], folder: Path, at_once: Callable[[Job], int] | None) -> None:
    """Print what a sweep would do, and its cost by the jobs that have finished.

    ``at_once`` says how many jobs like one run side by side; None: nobody knows.
    """
    found = [job.as_found() for job in jobs]
    for outcome in found:
        if outcome.result is not None:
            outcome.seconds = outcome.result["train_seconds"]
    whole = [outcome.seconds for outcome in found if outcome.result is not None]
    left = [outcome for outcome in found if outcome.state not in LEFT_ALONE]
    for outcome in left:
        row = last_epoch(outcome.job.folder)
        share = 1 - (row["epoch"] if row else 0) / outcome.job.config.trainer.max_epochs
        outcome.seconds = max(0.0, share) * sum(whole) / max(1, len(whole))
    _show(found, folder)
    cost = "unknown: no job of this sweep has finished"
    if whole:
        total = sum(each.seconds / (at_once(each.job) if at_once else 1) for each in left)
        total = max([total, *(each.seconds for each in left)])
        cost = f"about {duration(total)} of training, by the {counted(len(whole))} that finished"
    how = "one after the other"
    if at_once is not None and left:
        numbers = sorted({at_once(each.job) for each in left})
        how = f"{' or '.join(map(str, numbers))} at once"
    _line(f"{counted(len(left))} to run, {how}; cost {cost}; nothing was started (sweep.dry_run)")


def _show(outcomes: Sequence[Outcome], folder: Path) -> None:
    _line(f"sweep in {folder}")
    table = Table()
    table.add_column("job", overflow="fold")
    table.add_column("state", no_wrap=True)
    columns = {name: [""] * len(outcomes) for name in ("val error", "test error", "epochs", "time")}
    for place, outcome in enumerate(outcomes):
        if (result := outcome.result) is not None:
            for split in ("val", "test"):
                columns[f"{split} error"][place] = percent(result["metrics"][f"{split}/top1_error"])
            columns["epochs"][place] = str(result["epochs"])
        columns["time"][place] = duration(outcome.seconds) if outcome.seconds else ""
    columns = {heading: column for heading, column in columns.items() if any(column)}
    for heading in columns:  # long names need the room
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome, *figures in zip(outcomes, *columns.values(), strict=True):
        state = Text(outcome.state, _COLORS.get(outcome.state, ""))
        table.add_row(Text(outcome.job.name), state, *figures)
    console.print(table)
    for outcome in outcomes:
        if outcome.state in _COLORS:
            color = _COLORS[outcome.state]
            _line(f"\n{outcome.state}: {outcome.job.name}: {outcome.reason}", color)
        if outcome.state == State.failed:
            for line in [*outcome.lines, f"log: {outcome.job.folder / LOG}"]:
                _line(f"  {line}")
    for line in reasons_left_out([outcome.job for outcome in outcomes]):
        _line(f"\nleft out: {line}")
    counts = Counter(outcome.state for outcome in outcomes)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    _line(f"\n{counted(len(outcomes))}: {summary}", "bold")


def last_epoch(folder: Path) -> dict[str, float] | None:
    """The last row of a run's metrics.csv with both errors, or None before the first epoch."""
    try:
        rows = read_metrics(folder)
    except UserError:  # its job will say so
        return None
    named = [f"{split}/top1_error" for split in _SPLITS]
    whole = [row for row in rows if all(row.get(name, nan) >= 0 for name in named)]
    return whole[-1] if whole else None


def _line(text: str, style: str | None = None) -> None:
    console.print(text, style=style, soft_wrap=True)

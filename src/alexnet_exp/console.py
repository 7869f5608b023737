"""What every command shows: one console, lines, bars; imports no torch."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

console = Console(highlight=False, markup=False)  # [a,b] of a command is no style


def percent(error: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * error:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def visible(text: str) -> str:
    """The text with what a terminal obeys or can't show as escapes: newlines too, as ``\\n``."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def some_of(names: Sequence[str]) -> str:
    """Names in a message: all of six, else the first six and how many there are."""
    shown = ", ".join(names[:6])
    return f"{shown}, ... ({len(names):,})" if len(names) > 6 else shown


Advance = Callable[[int], None]

_EVERY = 60  # seconds between lines where there is no terminal


def say(line: str) -> None:
    """Print one line for the user, apart from whatever a command writes on stdout."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress_bar(
    what: str, total: int, *, unit: Literal["images", "bytes"], show: bool, before: int = 0
) -> Iterator[Advance]:
    """Show how far a piece of work is; yields the function that moves it on.

    ``what``, such as ``packing flowers``, stands before the bar. ``before`` counts what an earlier
    attempt has done, which does not count in the rate.
    """
    screen = Console(stderr=True)
    if not show:
        yield lambda step: None
        return
    if screen.is_terminal:
        numbers: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), _ImagesPerSecond())
        if unit == "bytes":
            numbers = (DownloadColumn(), TransferSpeedColumn())
        columns = (TextColumn("{task.description}"), BarColumn(), *numbers, TimeRemainingColumn())
        with Progress(*columns, console=screen) as bar:
            task = bar.add_task(what, total=total, completed=before)
            yield lambda step: bar.advance(task, step)
        return
    done, said = 0, 0.0

    def count(step: int) -> None:
        nonlocal done, said
        done += step
        seconds = time.perf_counter() - start
        if seconds >= said + _EVERY:
            said = seconds
            left = (total - before - done) * seconds / max(done, 1)
            say(
                f"{what}: {before + done:,} of {total:,} {unit}, {done / seconds:,.0f} {unit}/s,"
                f" {left / 60:.0f} min left"
            )

    say(f"{what}: {total:,} {unit}")
    start = time.perf_counter()
    yield count
    seconds = time.perf_counter() - start
    say(f"{what}: done, {done / max(seconds, 1e-9):,.0f} {unit}/s, {seconds:.1f} s")


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s")

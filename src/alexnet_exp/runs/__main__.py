"""List runs and what came out of them: ``python -m alexnet_exp.runs [folder]``."""

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text

from alexnet_exp.console import console, duration, percent, say, visible
from alexnet_exp.errors import answering
from alexnet_exp.runs.glance import COLUMNS, NUMBERS, Glance, chosen, glances, ordered, unmatched
from alexnet_exp.words import parted

# From the most telling column to the least.
_RANK = (
    "experiment", "test", "state", "seed", "val", "epochs", "time", "data", "fold", "test5",
    "finished", "source", "folder", "model", "recipe", "val5", "views", "precision",
)  # fmt: skip
_GAP = "  "
_COLORS = {"running": "green", "diverged": "yellow", "damaged": "red"}
_USAGE = """%(prog)s [folder ...] [column=value ...]
                                  [--sort COLUMN] [-r] [--csv]"""
_HELP = """\
column=value lists the runs of which it is true, column=value,other also those of
another value, column=null those without one.

columns:

  experiment, data, model, recipe, precision, seed, fold
  source            of the data; synthetic: drawn by the program
  state             finished, running, unfinished, diverged or damaged
  val, test         top-1 errors; val5, test5: top-5, of more than 5 classes
  views             that these errors are of: ten or one
  epochs, time      that training took (--csv: seconds)
  finished          when, in local time (--csv: UTC)
  folder

examples:

  python -m alexnet_exp.runs runs/flowers --sort test
  python -m alexnet_exp.runs seed=0,1 state=finished --sort finished -r
  python -m alexnet_exp.runs runs/flowers --csv > runs.csv

A narrow screen shows the most telling columns, COLUMNS=200 before it more.
"""


def cell(row: Glance, name: str) -> str:
    """A value as the table shows it."""
    value = getattr(row, name)
    if value is None:
        return ""
    if name in ("val", "test", "val5", "test5"):
        return percent(value)
    if name == "epochs" and row.state != "finished" and row.most_epochs is not None:
        return f"{value}/{row.most_epochs}"
    if name == "time":
        return duration(value)
    if name == "finished":
        return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}"
    return visible(str(value))


def show(rows: Sequence[Glance], every: int) -> None:
    """Print a table that is as wide as the screen at most, and how many there are of ``every``."""
    cells = {name: [cell(row, name) for row in rows] for name in COLUMNS}
    widths = {
        name: max(map(cell_len, (name, *cells[name]))) for name in COLUMNS if any(cells[name])
    }
    alike = {name: cells[name][0] for name in widths if len({*cells[name]}) == 1}
    names = _fitting(widths, alike)
    heading = _line([(name, widths[name], name in NUMBERS) for name in names])
    table = Text().append(heading, "bold")
    for place, row in enumerate(rows):
        line = [(cells[name][place], widths[name], name in NUMBERS) for name in names]
        table.append(f"\n{_line(line)}", _COLORS.get(row.state))
    if rows:
        console.print(table, soft_wrap=True)
    for row in rows:
        if row.reason:
            _say(f"{row.state}: {row.folder}: {row.reason}", _COLORS[row.state])
    hidden = [name for name in widths if name not in names]
    if told := [f"{name}={alike[name]}" for name in hidden if name in alike]:
        _say(f"in common: {', '.join(told)}")
    if left := [name for name in hidden if name not in alike]:
        wide = sum(widths.values()) + len(_GAP) * (len(widths) - 1)
        _say(f"not shown: {', '.join(left)} (COLUMNS={wide} shows all)")
    states = Counter(row.state for row in rows)
    number = f"{len(rows):,}" if len(rows) == every else f"{len(rows):,} of {every:,}"
    counts = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    _say(f"{number} run{'s' * (every != 1)}{counts and f': {counts}'}", "bold")


def write_csv(rows: Iterable[Glance]) -> None:
    """All columns on stdout: errors as fractions, seconds, UTC, and nothing where there is none."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (getattr(row, name) for name in COLUMNS)
        writer.writerow(visible(v) if isinstance(v, str) else v for v in values)
    sys.stdout.flush()


def _fitting(widths: dict[str, int], alike: dict[str, str]) -> list[str]:
    """The most telling columns that the screen is wide enough for, in their order; the
    experiment always. What is alike for all runs tells least.
    """
    kept, left = [], console.width
    for name in sorted(filter(widths.__contains__, _RANK), key=alike.__contains__):
        if widths[name] <= left or name == "experiment":
            kept.append(name)
            left -= widths[name] + len(_GAP)
    return sorted(kept, key=COLUMNS.index)


def _line(cells: Sequence[tuple[str, int, bool]]) -> str:
    """Text, width and whether it stands at the right, of each cell."""
    spaces = [(text, " " * (width - cell_len(text)), right) for text, width, right in cells]
    return _GAP.join(fill + text if right else text + fill for text, fill, right in spaces).rstrip()


def _say(text: str, style: str = "") -> None:
    console.print(Text(visible(text), style), soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.runs",
        description="List runs and what came out of them.",
        usage=_USAGE,
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words", nargs="*", default=[], metavar="folder", help="where runs lie (default: runs)"
    )
    parser.add_argument("--sort", metavar="COLUMN", default="folder", help="default: folder")
    parser.add_argument("-r", "--reverse", action="store_true", help="from high to low")
    parser.add_argument("--csv", action="store_true", help="print CSV: fractions, all digits")
    given = parser.parse_intermixed_args()
    folders, filters = parted(given.words)
    roots = list(map(Path, folders)) or [Path("runs")]
    with answering("nothing was changed"):
        ordered(chosen([], filters), given.sort)  # a mistake is told before all is read
        every = list(glances(roots))
        rows = ordered(chosen(every, filters), given.sort, given.reverse)
        for line in unmatched(every, filters):
            say(line)
        if not given.csv:
            show(rows, len(every))
            return
        try:
            write_csv(rows)
        except BrokenPipeError:  # head has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

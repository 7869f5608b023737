"""Every run in tables: errors and spread by experiment, strategies side by side, cost, commands."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from alexnet_exp.console import percent
from alexnet_exp.report.commands import command
from alexnet_exp.report.factors import grouped
from alexnet_exp.report.findings import Report
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.statistics import mean_over_seeds
from alexnet_exp.report.wording import NOTHING, ONE_SEED, SENTENCES, count, lean, place, was_not_run
from alexnet_exp.runs.chance import FEW_CLASSES
from alexnet_exp.runs.results import Placement, Replicate, Run

SPEEDS = ("images/s", "training")
RUN_HEADINGS = (
    "experiment", "runs", "top-1 error", "sd", "95 % interval", "top-5 error", "epochs",
    *SPEEDS, "peak GiB",
)  # fmt: skip
STRATEGY_HEADINGS = (
    "experiment", "strategy", "devices", "runs", "counted", "top-1 error", "largest difference",
    *SPEEDS,
)  # fmt: skip
LOAD_BAND = 0.25
"""Cores: runs beside other processes that kept so much more or less busy are still comparable."""


def ordered_cells(report: Report) -> list[Cell]:
    """By data set and base configuration, the baseline first in each."""
    order = sorted(report.cells, key=lambda cell: cell.experiment != "baseline")
    places = grouped(report.cells, lambda cell: (cell.data, cell.context))
    return sorted(order, key=lambda cell: [*places].index((cell.data, cell.context)))


@dataclass(frozen=True)
class Table:
    """Rows under headings; of runs on one data set with one base configuration."""

    name: str
    hardware: str
    headings: list[str]
    rows: list[list[str]]

    @property
    def remark(self) -> str:
        return "" if set(SPEEDS) <= {*self.headings} else SENTENCES["no_speeds"]


def _table(
    name: str, cells: Sequence[Cell], headings: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> Table:
    """Speeds stand in it only where all ran beside the same load."""
    loads: list[Any] = [run.result.get("other_load") for run in _all_runs(cells)]
    alike = None not in loads and max(loads) - min(loads) <= LOAD_BAND
    shown = [i for i, heading in enumerate(headings) if alike or heading not in SPEEDS]
    hardware = "; ".join(dict.fromkeys(cell.hardware for cell in cells))
    fewer = lean([headings[i] for i in shown], [[row[i] for i in shown] for row in rows])
    return Table(name, hardware, *fewer)


def sections(report: Report) -> list[Table]:
    """Tables of runs, one for each data set and base configuration.

    Base configurations with one experiment each, such as the learning rates of a sweep, share
    one table of their data set.
    """
    sizes = Counter((cell.data, cell.context) for cell in report.cells)
    tables = []
    for cells in grouped(
        ordered_cells(report),
        lambda cell: (cell.data, sizes[cell.data, cell.context] > 1 and cell.context),
    ).values():
        several = len({cell.context for cell in cells}) > 1
        name = place(replace(cells[0], words=()) if several else cells[0])
        rows = [_run_row(cell, several) for cell in cells]
        tables.append(_table(name, cells, RUN_HEADINGS, rows))
    return tables


def _run_row(cell: Cell, with_context: bool) -> tuple[str, ...]:
    """The row of one experiment under :data:`RUN_HEADINGS`; costs are means over seeds."""
    errors = [run.top1_error for run in cell.runs.values()]
    spread, interval = "", ONE_SEED
    if ends := mean_over_seeds(errors).ends:
        spread = f"{100 * stdev(errors):.1f}"
        # Student's interval knows of no least and largest error.
        interval = f"[{100 * max(0.0, ends[0]):.1f}, {100 * min(1.0, ends[1]):.1f}]"
    peak = max(cell.each("peak_memory_bytes")) / 2**30
    top5 = fmean(run.result["metrics"]["test/top5_error"] for run in cell.runs.values())
    parts = (cell.experiment.replace("+", " + "), *cell.apart, cell.context * with_context)
    name = " ".join(filter(None, parts))
    return (
        name,
        str(len(cell.runs)),
        percent(fmean(errors)),
        spread,
        interval,
        NOTHING if cell.first.result["classes"] <= FEW_CLASSES else percent(top5),
        f"{fmean(cell.each('epochs')):.0f}",
        f"{fmean(cell.each('images_per_second')):,.0f}",
        _duration(fmean(cell.each("train_seconds"))),
        f"{peak:.2f}" if peak < 1 else f"{peak:.1f}",
    )


def _duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is short to read."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def strategies(report: Report) -> list[Table]:
    """One row for each experiment, strategy and number of devices; none where all are alike."""
    tables = []
    for name, cells in grouped(report.cells, place).items():
        if len({placement for cell in cells for placement in cell.placed}) > 1:
            rows = [_strategy_row(cell, *one) for cell in cells for one in cell.placed.items()]
            tables.append(_table(name, cells, STRATEGY_HEADINGS, rows))
    return tables


def _strategy_row(
    cell: Cell, placement: Placement, runs: Mapping[Replicate, Run]
) -> tuple[str, ...]:
    difference = largest_difference(cell, placement)
    rate, seconds = (
        fmean(run.result[name] for run in runs.values())
        for name in ("images_per_second", "train_seconds")
    )
    return (
        cell.name,
        placement.strategy,
        f"{placement.devices}{f' on {placement.nodes} nodes' if placement.nodes > 1 else ''}",
        str(len(runs)),
        str(sum(cell.runs[seed] is run for seed, run in runs.items())),
        percent(fmean(run.top1_error for run in runs.values())),
        "" if difference is None else f"{100 * difference:.2f}",
        f"{rate:,.0f}",
        _duration(seconds),
    )


def largest_difference(cell: Cell, placement: Placement) -> float | None:
    """Of the test error of a seed to that of the same seed elsewhere, fraction."""
    differences = [
        abs(run.top1_error - runs[seed].top1_error)
        for other, runs in cell.placed.items()
        for seed, run in cell.placed[placement].items()
        if other != placement and seed in runs
    ]
    return max(differences, default=None)


def total_cost(report: Report) -> str:
    """Number of runs and their training time together."""
    seconds = [run.result["train_seconds"] for run in _all_runs(report.cells)]
    return f"{count(len(seconds), 'run')}, {_duration(sum(seconds))} of training in all"


def _all_runs(cells: Iterable[Cell]) -> list[Run]:
    return [run for cell in cells for own in cell.placed.values() for run in own.values()]


def commands(report: Report) -> dict[str, list[str]]:
    """By what they are for: what repeats all runs on some data, what makes those still lacking."""
    lines = {
        f"repeats the runs on {name}": [
            command([run for cell in cells for run in cell.runs.values()])
        ]
        for name, cells in grouped(ordered_cells(report), place).items()
    }
    lines["makes what was not run"] = [finding.command for finding in was_not_run(report)]
    return {title: found for title, parts in lines.items() if (found := merged(parts))}


def merged(lines: Iterable[str]) -> list[str]:
    """Commands, those that differ in their experiments alone as one."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for part in (part for line in lines for part in line.split(" && ") if part):
        before, chosen, rest = part.partition(" +experiment=")
        names, _, after = rest.partition(" ")
        found.setdefault((before + chosen, after), {}).update(dict.fromkeys(names.split(",")))
    return [
        f"{before}{','.join(names)} {after}".strip() for (before, after), names in found.items()
    ]

"""The same networks under several strategies: what each costs, and whether they agree."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from alexnet_exp.console import percent
from alexnet_exp.report.findings import Report, StrategyRow
from alexnet_exp.report.groups import hardware
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.placement import Placement
from alexnet_exp.report.wording import duration, place

STRATEGY_HEADINGS = (
    "experiment",
    "strategy",
    "devices",
    "seeds",
    "counted",
    "top-1 error",
    "largest difference",
    "images/s",
    "training",
)

EXPLAINED = (
    "Strategy and devices have no bearing on what is computed, so runs that differ in nothing else"
    " are one configuration, and one run of each seed is counted above. Largest difference: of the"
    " test error, to the same seed under another strategy or on other devices, in points. images/s"
    " and training time are means over seeds."
)


def strategy_rows(cells: Sequence[Cell], words: Mapping[Cell, Sequence[str]]) -> list[StrategyRow]:
    """One row for each experiment, strategy and number of devices; none where all are alike.

    Args:
        cells: All of the report.
        words: What tells the configuration of each from others.
    """
    if len({placement for cell in cells for placement in cell.placed}) < 2:
        return []
    return [
        _row(cell, placement, ", ".join(words[cell])) for cell in cells for placement in cell.placed
    ]


def _row(cell: Cell, placement: Placement, context: str) -> StrategyRow:
    runs = cell.placed[placement]
    return StrategyRow(
        experiment=cell.experiment,
        data=cell.data,
        context=context,
        synthetic=bool(cell.first.result["synthetic"]),
        strategy=placement.strategy,
        devices=placement.devices,
        nodes=placement.nodes,
        seeds=tuple(runs),
        counted=tuple(seed for seed, run in runs.items() if cell.runs[seed] is run),
        top1=tuple(run.top1_error for run in runs.values()),
        difference=_largest_difference(cell, placement),
        images_per_second=tuple(float(run.result["images_per_second"]) for run in runs.values()),
        train_seconds=tuple(float(run.result["train_seconds"]) for run in runs.values()),
        hardware=" / ".join(dict.fromkeys(map(hardware, runs.values()))),
    )


def _largest_difference(cell: Cell, placement: Placement) -> float | None:
    """Of the test error of a seed to that of the same seed elsewhere, fraction."""
    differences = [
        abs(run.top1_error - runs[seed].top1_error)
        for other, runs in cell.placed.items()
        for seed, run in cell.placed[placement].items()
        if other != placement and seed in runs
    ]
    return max(differences, default=None)


def strategy_sections(report: Report) -> dict[str, list[tuple[str, ...]]]:
    """Cells under :data:`STRATEGY_HEADINGS`, by data set and base configuration."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for row in report.strategies:
        found.setdefault(place(row), []).append(_cells(row))
    return found


def _cells(row: StrategyRow) -> tuple[str, ...]:
    nodes = f" on {row.nodes} nodes" if row.nodes > 1 else ""
    return (
        row.experiment,
        row.strategy,
        f"{row.devices}{nodes}",
        str(len(row.seeds)),
        str(len(row.counted)),
        percent(fmean(row.top1)),
        "" if row.difference is None else f"{100 * row.difference:.2f}",
        f"{fmean(row.images_per_second):,.0f}",
        duration(fmean(row.train_seconds)),
    )

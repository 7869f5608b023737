"""One row for all seeds of one experiment: errors, curves, cost."""

from alexnet_exp.report.commands import command
from alexnet_exp.report.findings import Group
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.placement import device_name, laid_over
from alexnet_exp.report.results import Run
from alexnet_exp.report.statistics import mean_interval


def group(cell: Cell, words: tuple[str, ...]) -> Group:
    """What the seeds of a cell came to.

    Args:
        cell: Runs of one experiment and configuration.
        words: Overrides that tell it from others.
    """
    runs = list(cell.runs.values())
    first = cell.first
    top1 = tuple(run.top1_error for run in runs)
    spread = mean_interval(top1)
    return Group(
        experiment=cell.experiment,
        data=cell.data,
        context=", ".join(words),
        synthetic=bool(first.result["synthetic"]),
        classes=first.classes,
        test_images=len(first.index),
        views=str(first.result["views"]),
        seeds=tuple(cell.runs),
        top1=top1,
        top5=tuple(float(run.result["metrics"]["test/top5_error"]) for run in runs),
        images_per_second=tuple(float(run.result["images_per_second"]) for run in runs),
        train_seconds=tuple(float(run.result["train_seconds"]) for run in runs),
        peak_memory_bytes=tuple(int(run.result["peak_memory_bytes"]) for run in runs),
        epochs=tuple(int(run.result["epochs"]) for run in runs),
        train_curves=tuple(run.train_curve for run in runs),
        val_curves=tuple(run.val_curve for run in runs),
        hardware=" / ".join(dict.fromkeys(map(hardware, runs))),
        command=command(runs),
        mean=spread.mean,
        deviation=spread.deviation,
        low=spread.low,
        high=spread.high,
        overrides=words,
    )


def hardware(run: Run) -> str:
    """Strategy, number and name of processors or GPUs that trained it, and the precision."""
    device, is_gpu = device_name(run.environment, str(run.fields.get("trainer.accelerator")))
    name = laid_over(run.placement, device, is_gpu)
    return f"{name}, {run.fields.get('trainer.precision')}"

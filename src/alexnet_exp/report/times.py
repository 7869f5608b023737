"""Training time of two towers on two devices beside that of the one-GPU network (section 3.2)."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

from alexnet_exp.report.commands import command
from alexnet_exp.report.findings import Claim
from alexnet_exp.report.measures import Measured, heading
from alexnet_exp.report.pairing import Cell, Pair
from alexnet_exp.report.placement import Placement, device_name, laid_over
from alexnet_exp.report.results import Run
from alexnet_exp.report.statistics import ratio_interval

TWO_GPUS = Placement("towers", 2)
ONE_GPU = Placement("single", 1)

# Of seconds per epoch: result.json holds milliseconds, and a run has at least one epoch.
_ROUNDING_VARIANCE = 1e-3**2 / 12


def measure_time(claim: Claim, pair: Pair, context: str) -> Measured | str:
    """Ratio of seconds per epoch, paired by seed; or why there is none.

    Args:
        claim: Its baseline has two towers, its changed network fits one device.
        pair: Of them.
        context: What tells their configuration from others.
    """
    sides = [
        cell.placed.get(placement, {})
        for cell, placement in ((pair.baseline, TWO_GPUS), (pair.changed, ONE_GPU))
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return _lacking(pair.baseline, pair.changed)
    one, two = ([side[seed] for seed in seeds] for side in sides)
    before, after = list(map(seconds_per_epoch, one)), list(map(seconds_per_epoch, two))
    ratio = ratio_interval(before, after, rounding_variance=_ROUNDING_VARIANCE)
    unfit = _unfit(claim, one, two)
    finding = replace(
        heading(claim, one, context, command([*one, *two])),
        baseline=fmean(before),
        changed=fmean(after),
        difference=ratio.estimate,
        low=ratio.low,
        high=ratio.high,
        # Decided by the hardware, before any figure: what can't be judged corrects nothing.
        p_value=None if unfit else ratio.p_value,
    )
    remarks = f"{_cost(claim.baseline, one)}; {_cost(claim.changed, two)}"
    return Measured(finding, log_deviation=ratio.deviation, remarks=(remarks,), unfit=unfit)


def seconds_per_epoch(run: Run) -> float:
    """Training and validation: a schedule that waits for a plateau gives runs other lengths."""
    return float(run.result["train_seconds"]) / int(run.result["epochs"])


def _lacking(baseline: Cell, changed: Cell) -> str:
    if TWO_GPUS not in baseline.placed:
        return f"no run of {baseline.experiment} under strategy=towers on 2 devices"
    if ONE_GPU not in changed.placed:
        return f"no run of {changed.experiment} under strategy=single on one device"
    return f"no seed in common of {baseline.experiment} on 2 devices and {changed.experiment} on 1"


def _unfit(claim: Claim, one: Iterable[Run], two: Iterable[Run]) -> tuple[str, ...]:
    """Why the times of these devices can't be compared."""
    names, changed = ({_device(run) for run in side} for side in (one, two))
    if len(names | changed) > 1:
        return (
            f"{claim.baseline} ran on {_listed(names)} and {claim.changed} on {_listed(changed)}:"
            " times on other devices can't be compared",
        )
    ((name, is_gpu),) = names
    if is_gpu:
        return ()
    return (
        f"{laid_over(TWO_GPUS, name, is_gpu)} share its cores, and one process has them all: this"
        " says nothing about two GPUs",
    )


def _device(run: Run) -> tuple[str, bool]:
    return device_name(run.environment, str(run.fields.get("trainer.accelerator")))


def _listed(devices: Iterable[tuple[str, bool]]) -> str:
    return " / ".join(sorted(name for name, _ in devices))


def _cost(name: str, runs: Iterable[Run]) -> str:
    results = [run.result for run in runs]
    rate, seconds, epochs = (
        fmean(float(result[key]) for result in results)
        for key in ("images_per_second", "train_seconds", "epochs")
    )
    return f"{name}: {rate:,.0f} images/s, {seconds:,.1f} s in all for {epochs:.3g} epochs"

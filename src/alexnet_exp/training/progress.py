"""What a run shows on the screen: tables, a progress bar, one line per epoch."""

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import ProgressBar
from numpy.typing import NDArray
from rich import progress
from rich.table import Table

from alexnet_exp.config import Config
from alexnet_exp.config.training import OptimConfig, Schedule, StrategyName
from alexnet_exp.console import console, percent
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.layer_table import layer_table
from alexnet_exp.network.plan import LayerPlan
from alexnet_exp.parallel.placement import device_count
from alexnet_exp.runs.chance import FEW_CLASSES, chance_error, clearly_below
from alexnet_exp.training.compute import describe


def announce(
    config: Config, layers: list[LayerPlan], counts: dict[str, int], folder: Path, resuming: bool
) -> None:
    """Say what is about to run: the network's layers, the data, the recipe, the folder."""
    if not config.trainer.progress:
        return
    optim, data, trainer, strategy = config.optim, config.data, config.trainer, config.strategy
    scale = config.augmentation.scale
    drawn = " (drawn by the program, not photos)" if data.source == "synthetic" else ""
    fold = f"  fold={data.fold} (of {data.folds}, from 0)" if data.folds else ""
    placement = []
    if strategy.name != StrategyName.single:
        processes = device_count(config)
        count = f"{processes} process{'es' if processes > 1 else ''}"
        machines = f" on each of {trainer.num_nodes} machines" if trainer.num_nodes > 1 else ""
        sent = ", gradients sent in bf16" if strategy.bf16_gradients else ""
        placement = [f"strategy={strategy.name}: {count}{machines}{sent}"]
    size = activation_dtype(trainer.precision).itemsize
    console.print(layer_table(config.model.name, layers, size))
    lines = (
        f"experiment={config.experiment}  data={data.name}{drawn}  seed={config.seed}{fold}",
        f"images: {counts['train']:,} train, {counts['val']:,} val, {counts['test']:,} test;"
        f" {config.model.classes} classes",
        f"recipe={config.recipe}: lr {optim.lr:g}, {optim.schedule} schedule, batch"
        f" {data.batch_size}, at most {trainer.max_epochs} epochs",
        f"optim={optim.name}: {_optimizer(optim)}" + f"; pixels times {scale:g}" * (scale != 1),
        describe(config, layers),
        *placement,
        f"run folder: {folder}{' (going on from its last checkpoint)' if resuming else ''}",
    )
    console.print("\n".join(lines), soft_wrap=True)


def _optimizer(optim: OptimConfig) -> str:
    """What it does with weights, biases and single layers."""
    if optim._target_ is not None:
        parts = [optim._target_.rpartition(".")[2]]
    else:
        parts = [f"SGD by {optim.rule}'s rule", f"momentum {optim.momentum:g}"]
    decay = optim.weight_decay if optim.decay else 0.0
    parts.append(f"weight decay {decay:g}")
    if optim.bias_lr_factor != 1:
        parts.append(f"biases at {optim.bias_lr_factor:g} times the rate")
    if not optim.bias_lr_drops and optim.schedule in (Schedule.plateau, Schedule.steps):
        parts.append("biases keep their rate")
    if decay and not optim.decay_biases:
        parts.append("no decay of biases")
    for layer, own in optim.layers.items():
        heeded = {name: v for name, v in own.items() if optim.decay or name != "weight_decay"}
        if heeded:
            parts.append(f"{layer} {' '.join(f'{name}={v:g}' for name, v in heeded.items())}")
    return ", ".join(parts)


def show_errors(result: dict[str, Any], title: str) -> None:
    """Print a table of errors: those of validation and test images, or of photos."""
    views = "1 view" if result["views"] == "one" else "10 views"
    if result["synthetic"]:
        views += ", drawn images"
    console.print(f"\n{title}, {views}", style="bold", soft_wrap=True)
    table = Table("split")
    for heading in ("images", "top-1 error", "top-5 error"):
        table.add_column(heading, justify="right")
    metrics = result["metrics"]
    for split in (split for split in result["images"] if f"{split}/top1_error" in metrics):
        top5 = percent(metrics[f"{split}/top5_error"])
        if result["classes"] <= FEW_CLASSES:
            top5 = f"n/a with {result['classes']} classes"
        images = f"{result['images'][split]:,}"
        table.add_row(split, images, percent(metrics[f"{split}/top1_error"]), top5)
    console.print(table)


def show_result(result: dict[str, Any], folder: Path, notes: Sequence[str] = ()) -> None:
    """Print the errors of a finished run, its cost and where it lies."""
    show_errors(
        result,
        f"{result['experiment']} on {result['data']}, seed {result['seed']}, best epoch"
        f" {result['best_epoch']} of {result['epochs']}",
    )
    lines = (
        f"{result['images_per_second']:,.0f} images/s, {result['train_seconds']:,.0f} s of"
        f" training, peak memory {result['peak_memory_bytes'] / 2**30:.1f} GiB",
        *notes,
        f"run folder: {folder}",
    )
    console.print("\n".join(lines), soft_wrap=True)


def chance_note(best_error: float, labels: NDArray[np.int64]) -> list[str]:
    """A line for a run whose best epoch does not stand out from chance; none for others.

    ``best_error`` is the lowest validation error of all epochs, infinite without any; ``labels``
    (I,) those of the validation images.
    """
    chance = chance_error(labels)
    if chance == 0 or not clearly_below(chance, len(labels)) < best_error < math.inf:
        return []
    words = ["..."]  # as this run's, which Python composed
    if Path(sys.argv[0]).stem in ("train", "alexnet-train"):
        theirs = ("hydra", "sweep", "logger")
        words = [word for word in sys.argv[1:] if not word.lstrip("+").startswith(theirs)]
    return [
        f"never clearly better than chance: the best validation error is {percent(best_error)},"
        f" and one answer for all {len(labels):,} images errs in {percent(chance)}; if more epochs"
        " do not help, choose another recipe=, and see how the network starts:"
        f" {shlex.join(['python', '-m', 'alexnet_exp.diagnose', *words])}"
    ]


class EpochProgress(ProgressBar):
    """A bar over training and one over evaluation on a terminal; one line per epoch everywhere.

    For images/s it takes the global batch size.
    """

    def __init__(self, batch_size: int, enabled: bool = True) -> None:
        super().__init__()
        self.batch_size, self.enabled = batch_size, enabled
        self.progress: progress.Progress | None = None
        self.task = progress.TaskID(0)

    def disable(self) -> None:
        """Show nothing (Lightning calls this on all ranks but the first)."""
        self.enabled = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the step where the run stands."""
        self._open("training", int(trainer.estimated_stepping_batches), trainer.global_step)

    def _open(self, description: str, total: int, completed: int = 0) -> None:
        if not self.enabled:
            return
        self.progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("{task.fields[status]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.progress.start()
        self.task = self.progress.add_task(description, total=total, completed=completed, status="")

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        if self.progress is None:
            return
        task = self.progress.tasks[0]
        speed = (task.speed or 0.0) * self.batch_size
        metrics = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}"]
        if speed:
            parts.append(f"{speed:,.0f} images/s")
        for split in ("train", "val"):
            if f"{split}/top1_error" in metrics:
                parts.append(f"{split} error {percent(float(metrics[f'{split}/top1_error']))}")
        self.progress.update(self.task, advance=1, status="  ".join(parts))

    def epoch_line(self, row: dict[str, Any], max_epochs: int) -> None:
        if not self.enabled:
            return
        val_error = row.get("val/top1_error")
        line = (
            f"epoch {row['epoch']:>3}/{max_epochs}  loss {row['train/loss']:.3f}"
            f"  train error {percent(row['train/top1_error'])}"
            f"  val error {'-' if val_error is None else percent(val_error)}  lr {row['lr']:.2g}"
            f"  {row['images_per_second']:,.0f} images/s"
        )
        console.print(line, soft_wrap=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say why the bar stands still."""
        if self.progress is not None:
            self.progress.update(self.task, status="validating")

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.enabled and not console.is_terminal:
            what = "photos" if len(trainer.num_test_batches) == 1 else "val and test images"
            console.print(f"evaluating {what}")
        self._open("evaluating", sum(int(count) for count in trainer.num_test_batches))

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        if self.progress is not None:
            self.progress.update(self.task, advance=1)

    def close(self, *_: Any, **__: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    on_train_end = on_test_end = on_exception = close

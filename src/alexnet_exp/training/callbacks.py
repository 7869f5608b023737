"""What happens around training steps: seeds, time, one row of metrics per epoch, checkpoints."""

import csv
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from alexnet_exp.errors import UserError
from alexnet_exp.hardware import busy_seconds, seconds_since_start
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import read_metrics
from alexnet_exp.training.progress import EpochProgress

COLUMNS = (
    "epoch", "step", "lr", "train/loss", "train/top1_error", "train/top5_error",
    "val/loss", "val/top1_error", "val/top5_error", "images_per_second", "seconds",
)  # fmt: skip
_COUNTED = (
    "train_seconds", "step_seconds", "images", "best_epoch", "best_error", "all_busy", "own_busy",
)  # fmt: skip


class StepSeed(Callback):
    """Seeds torch anew for every batch: dropout after a resume is what it would have been."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed by run and number of the batch, which is not the step where gradients add up."""
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx
        # Mixed, because torch's CPU generator keeps only the lower 32 bits of its seed.
        key = int(np.random.SeedSequence([self.seed, done, 0]).generate_state(1)[0])
        # As torch.manual_seed, which asks after every kind of device: a millisecond.
        torch.default_generator.manual_seed(key)
        device = pl_module.device
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(key)
        elif device.type == "mps":
            torch.mps.manual_seed(key)


class Epochs(Callback):
    """Times every epoch and writes its row to metrics.csv and the screen, its rate to the logger.

    Without a run folder it writes no file.
    """

    def __init__(self, folder: Path | None, progress: EpochProgress) -> None:
        self.folder, self.progress = folder, progress
        self.train_seconds = self.step_seconds = 0.0
        self.all_busy = self.own_busy = 0.0  # CPU seconds of the machine, of this process
        self.images = self.best_epoch = 0
        self.best_error = math.inf
        self.first_step_seconds: float | None = None  # from the start of this process
        self._epoch_start = self._steps_end = 0.0
        self._batches = 0  # of this epoch

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drop the rows of epochs that will be run again."""
        if self.folder is None or not trainer.is_global_zero:
            return
        # Replaced whole: a job killed here would lose the epochs that it need not run again.
        partial = self.folder / "metrics.csv.partial"
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for row in read_metrics(self.folder):
                if row["epoch"] <= trainer.current_epoch:
                    known = {name: value for name, value in row.items() if not math.isnan(value)}
                    writer.writerow(known)
        os.replace(partial, self.folder / "metrics.csv")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._busy_start = busy_seconds()
        self._epoch_start = self._steps_end = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note when the first and the last step ended."""
        if self.first_step_seconds is None:
            _wait_for(pl_module.device)
            self.first_step_seconds = seconds_since_start()
        self._batches = batch_idx + 1
        if self._batches == trainer.num_training_batches or trainer.should_stop:
            _wait_for(pl_module.device)
        self._steps_end = time.perf_counter()

    def finish_epoch(self, trainer: L.Trainer) -> None:
        """Write the row of the epoch that has just ended, with its validation."""
        steps = self._steps_end - self._epoch_start
        images = self._batches * self.progress.batch_size
        seconds = time.perf_counter() - self._epoch_start
        self.step_seconds += steps
        self.train_seconds += seconds
        before, now = self._busy_start, busy_seconds()
        self.all_busy += now[0] - before[0]
        self.own_busy += now[1] - before[1]
        self.images += images
        # Lightning keeps float32: seven digits are what they hold.
        metrics = {k: float(f"{float(v):.7g}") for k, v in trainer.callback_metrics.items()}
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "images_per_second": round(images / max(steps, 1e-9), 1),
            "seconds": round(seconds, 3),
        }
        row |= {name: metrics[name] for name in COLUMNS if name in metrics}
        if self.folder is not None and trainer.is_global_zero:
            with (self.folder / "metrics.csv").open("a", newline="") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
        for logger in trainer.loggers:
            speed = {"images_per_second": row["images_per_second"]}
            logger.log_metrics(speed, step=trainer.global_step - 1)  # as Lightning counts
        # No validation error: steps ran out within the epoch.
        if row.get("val/top1_error", math.inf) < self.best_error:
            self.best_error, self.best_epoch = row["val/top1_error"], row["epoch"]
        self.progress.epoch_line(row, trainer.max_epochs or 0)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _COUNTED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in _COUNTED:
            setattr(self, name, state_dict[name])


class MovableCheckpoint(ModelCheckpoint):
    """Goes on also where the run folder was moved; Lightning would forget the best score."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore, with every path in the folder as it is now."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = state_dict | {name: here(state_dict[name]) for name in paths}
        scores = state_dict["best_k_models"].items()
        moved["best_k_models"] = {here(path): score for path, score in scores}
        super().load_state_dict(moved | {"dirpath": self.dirpath})


class Checkpoints(MovableCheckpoint):
    """``last.ckpt`` every few epochs, after everything else of the epoch is done."""

    def __init__(self, folder: RunFolder, every: int, epochs: Epochs) -> None:
        super().__init__(
            dirpath=folder.checkpoints,
            filename="last",
            every_n_epochs=every,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self._epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the epoch's row, then save."""
        self._epochs.finish_epoch(trainer)
        super().on_train_epoch_end(trainer, pl_module)


def best_checkpoint(folder: RunFolder) -> ModelCheckpoint:
    """``best.ckpt``: the weights with the lowest validation error, the earlier of equals."""
    return MovableCheckpoint(
        dirpath=folder.checkpoints,
        filename="best",
        monitor="val/top1_error",
        mode="min",
        save_weights_only=True,
        enable_version_counter=False,
    )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes straight to disk under another name and renames.

    Lightning's own builds the whole file in memory first, half a gigabyte for AlexNet.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save ``checkpoint`` at ``path``.

        Raises:
            UserError: The disk is full or the folder is gone; the last checkpoint stays.
        """
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, partial)
            os.replace(partial, path)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if not isinstance(error, OSError | RuntimeError):  # the latter: torch.save's, disk full
                raise
            free = shutil.disk_usage(path.parent).free / 2**30
            raise UserError(
                f"can't write {path} ({free:.1f} GiB free): {error}. Make room, and the same"
                f" command with hydra.run.dir={path.parents[1]} goes on"
            ) from error


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""What a process of a run tells the supervisor that started it."""

import json
import os
import signal
import threading
import time
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback

CHANNEL = "ALEXNET_EXP_REPORTS"
"""Environment variable with the number of the file descriptor that reports go to."""

_BETWEEN = 0.5

_writing = threading.Lock()  # a pipe takes no more than 4 KiB at once


def report(**said: Any) -> None:
    """Tell the supervisor; nothing where there is none, or none any more."""
    channel = os.environ.get(CHANNEL)
    if channel is None:
        return
    line = json.dumps({"at": time.monotonic(), **said}).encode() + b"\n"
    try:
        with _writing:
            os.write(int(channel), line)
    except OSError:
        return


def report_progress() -> None:
    """Report twice a second how far this process has come, for ever: for a thread."""
    last = None
    while True:
        progress = {"batches": Heartbeat.batches, "collectives": collectives_begun()}
        if progress != last and dist.is_initialized():
            report(**progress)
            last = progress
        time.sleep(_BETWEEN)


def collectives_begun() -> int:
    """Operations among processes that this one has begun, in all groups.

    All processes begin the same ones in the same order, so one that the others wait for has begun
    fewer than they have.
    """
    if not dist.is_initialized():
        return 0
    groups = list(dist.distributed_c10d._world.pg_map)
    return sum(group._get_sequence_number_for_group() for group in groups)  # type: ignore[attr-defined]


class Heartbeat(Callback):
    """Counts the batches that this process has begun, and lets SIGTERM end it.

    At SIGTERM Lightning would have the process ask all others to stop, which waits for ever where
    one does not answer. It also has them ask each other before every step, and goes on without a
    word if there is no answer.
    """

    batches = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has set its handlers up."""
        if trainer.world_size > 1:
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _ask_nobody  # type: ignore[method-assign]
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has set its handlers up."""
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch of training."""
        Heartbeat.batches += 1

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of validation."""
        Heartbeat.batches += 1

    def on_test_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of a test."""
        Heartbeat.batches += 1


def _ask_nobody() -> None:
    """In the place of what Lightning does before every step."""

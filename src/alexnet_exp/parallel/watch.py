"""Where a rank stands when it has begun nothing for too long, and how it ends when told to."""

import faulthandler
import os
import signal
import sys
from functools import cache
from typing import IO, Any

import lightning as L
from lightning.pytorch.callbacks import Callback

STACKS = "ALEXNET_EXP_STACKS"
"""Environment variable: the folder into which ranks print where they stand; unset: stderr."""


def expect_progress(seconds: float) -> None:
    """Print the stack of every thread unless this is called again within ``seconds``."""
    if os.environ.get(STACKS):
        os.ftruncate(_stacks().fileno(), 0)  # that was slow, not a hang
    faulthandler.dump_traceback_later(seconds, file=_stacks())


@cache
def _stacks() -> IO[Any]:
    folder = os.environ.get(STACKS)
    return open(f"{folder}/{os.environ['RANK']}.stack", "a") if folder else sys.__stderr__  # type: ignore[return-value]


class Watch(Callback):
    """Says where this rank stands when it begins no batch for ``timeout`` seconds.

    At SIGTERM Lightning would have it ask all others to stop, which waits for ever where one does
    not answer; it simply ends.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Undo what Lightning has set up."""
        # Else it would have all ranks ask each other before every step, and go on without a word
        # where one does not answer. Private; waits for an option of the Trainer:
        # https://github.com/Lightning-AI/pytorch-lightning/issues/21487
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has set its handlers up."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _begin(self, *_: Any) -> None:
        expect_progress(self._timeout)

    on_train_batch_start = on_validation_batch_start = on_test_batch_start = _begin  # type: ignore[assignment]

    def teardown(self, *_: Any, **__: Any) -> None:
        """What comes now is no step."""
        faulthandler.cancel_dump_traceback_later()

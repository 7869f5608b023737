"""Training steps on batches that already lie on the device."""

from itertools import cycle
from typing import Any

import lightning as L
import torch
from torch import Tensor

from alexnet_exp.bench.window import Window
from alexnet_exp.bench.within_trainer import at_first_step
from alexnet_exp.config import Config
from alexnet_exp.data.datamodule import Batch
from alexnet_exp.errors import DivergedError
from alexnet_exp.training.classifier import Classifier


def measure_model(
    config: Config, classifier: Classifier, batches: list[Batch], window: Window
) -> float:
    """Images/s of forward, loss, backward and optimizer, with nothing else around them.

    Raises:
        DivergedError: The loss is not finite.
    """

    def run(trainer: L.Trainer, module: Classifier) -> float:
        for number, batch in enumerate(cycle(batches)):
            loss = step(trainer, module, batch, number)
            if window.tick(len(batch["labels"])):
                break
        if not torch.isfinite(loss):
            raise DivergedError(f"the loss of a benchmark's step is {float(loss)}")
        return window.images_per_second

    return at_first_step(config, classifier, batches, run)


def step(trainer: L.Trainer, module: Classifier, batch: Batch, number: int) -> Tensor:
    """One step of the classifier in the trainer's precision, in the order that Lightning has.

    Returns:
        The loss.
    """
    precision: Any = trainer.precision_plugin
    module.on_train_batch_start(batch, number)
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    with precision.train_step_context():
        loss = module.training_step(batch, number)
    optimizer.zero_grad()
    scaler = getattr(precision, "scaler", None)
    (loss if scaler is None else scaler.scale(loss)).backward()
    if trainer.gradient_clip_val is not None:
        if scaler is not None:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(module.parameters(), trainer.gradient_clip_val)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    return loss.detach()

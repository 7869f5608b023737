"""Measurements within Lightning's own Trainer, so that they see what training sees."""

import gc
import math
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from alexnet_exp.bench.window import Window
from alexnet_exp.config import Config
from alexnet_exp.data.datamodule import Batch, StoreDataModule
from alexnet_exp.data.store.store import Store
from alexnet_exp.parallel.team import Place, Team
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import build_trainer
from alexnet_exp.training.loggers import Logging
from alexnet_exp.training.settle import make_trainer

T = TypeVar("T")

_EPOCH = 1_000_000
"""Images of an epoch, about ImageNet's: a few thousand would measure how an epoch begins."""


class EndlessStore(Store):
    """A store whose splits name their images again and again, for one long epoch."""

    @classmethod
    def of(cls, store: Store) -> "EndlessStore":
        """The same images."""
        return cls(**{item.name: getattr(store, item.name) for item in fields(store)})

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of the split, repeated; int64, at least a million."""
        once = super().indices(split)
        return np.tile(once, math.ceil(_EPOCH / len(once)))


class _EnoughError(Exception):
    """Ends a fit or a test from within; no failure."""


class _Clock(Callback):
    """Ends training, or a test, when its window is over or the data is.

    Args:
        window: Told of every step.
    """

    def __init__(self, window: Window) -> None:
        self.window = window

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a step."""
        if self.window.tick(len(batch["labels"])):
            raise _EnoughError

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """An epoch has ended."""
        self.window.close()
        raise _EnoughError

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self.window.tick(len(batch["labels"])):
            raise _EnoughError


class _AtFirstStep(Callback):
    """Does something in the place of the first step, and ends training.

    Args:
        work: Given trainer and module, as they are when training has been set up.
    """

    def __init__(self, work: Callable[[L.Trainer, Any], object]) -> None:
        self.work = work
        self.found: Any = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Do it."""
        self.found = self.work(trainer, pl_module)
        raise _EnoughError


class _Keep(Callback):
    """Keeps the first batches as a network would have got them.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.batches: list[Batch] = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep one."""
        self.batches.append({name: part.clone() for name, part in batch.items()})
        if len(self.batches) == self.count:
            raise _EnoughError


class _NoNetwork(L.LightningModule):
    """Takes batches and does nothing with them."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Nothing."""

    def configure_optimizers(self) -> None:
        """None."""


def device_of(config: Config) -> torch.device:
    """Where training runs.

    Raises:
        UserError: This machine lacks it.
    """
    device: torch.device = _bare_trainer(config, []).strategy.root_device
    return device


def augmented_batches(config: Config, store: Store, count: int) -> list[Batch]:
    """The first batches of training, on the device, as the network receives them."""
    keep = _Keep(count)
    _fit(_bare_trainer(config, [keep]), _NoNetwork(), StoreDataModule(config, store))
    return keep.batches


def measure_input(config: Config, store: Store, window: Window) -> float:
    """Images/s of the data module: store to augmented batch on the device, with no network."""
    _fit(_bare_trainer(config, [_Clock(window)]), _NoNetwork(), StoreDataModule(config, store))
    window.close()
    return window.images_per_second


def measure_end_to_end(
    config: Config, store: Store, classifier: Classifier, window: Window
) -> float:
    """Images/s of training with all that ``alexnet_exp.train`` gives its Trainer.

    No validation and no checkpoint fall into the window.
    """
    with tempfile.TemporaryDirectory() as folder:
        L.seed_everything(config.seed, workers=True, verbose=False)
        run = RunFolder(Path(folder))
        _, trainer = build_trainer(config, run, Logging(), classifier, Team(Place()))
        trainer.callbacks.append(_Clock(window))  # type: ignore[attr-defined]
        _fit(trainer, classifier, StoreDataModule(config, store))
    return window.images_per_second


def measure_evaluation(
    config: Config, store: Store, classifier: Classifier, window: Window
) -> float:
    """Images/s of the test that ends a run, with ``evaluation.views`` views of each."""
    trainer = _bare_trainer(config, [_Clock(window)])
    with suppress(_EnoughError):
        trainer.test(classifier, datamodule=StoreDataModule(config, store), verbose=False)
    return window.images_per_second


def with_input(
    config: Config, store: Store, work: Callable[[StoreDataModule, torch.device], T]
) -> T:
    """Let Lightning set up the input, and do ``work(data module, device)`` with it."""
    module = StoreDataModule(config, store)
    instead = _AtFirstStep(lambda trainer, _: work(module, trainer.strategy.root_device))
    _fit(_bare_trainer(config, [instead]), _NoNetwork(), module)
    found: T = instead.found
    return found


def at_first_step(
    config: Config,
    classifier: Classifier,
    batches: list[Batch],
    work: Callable[[L.Trainer, Classifier], T],
) -> T:
    """Let Lightning set up training, and do ``work(trainer, classifier)`` instead of it.

    Device, precision, optimizer and every hook are as in training.
    """
    instead = _AtFirstStep(work)
    loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer = _bare_trainer(config, [instead], gradient_clip_val=config.optim.clip_norm)
    _fit(trainer, classifier, loader)
    found: T = instead.found
    return found


def _bare_trainer(config: Config, callbacks: list[Callback], **settings: Any) -> L.Trainer:
    for message in ("returned `None`, this fit", "have no `val(idation_step|_dataloader)`"):
        warnings.filterwarnings("ignore", message=f".*{message}.*")
    return make_trainer(
        config,
        max_epochs=1,
        limit_val_batches=0,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        **settings,
    )


def _fit(trainer: L.Trainer, module: L.LightningModule, data: Any) -> None:
    """Train until a callback has enough."""
    with suppress(_EnoughError):
        if isinstance(data, L.LightningDataModule):
            trainer.fit(module, datamodule=data)
        else:
            trainer.fit(module, data)
    gc.collect()  # the trainer and its optimizer refer to each other

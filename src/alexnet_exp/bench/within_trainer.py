"""Measurements within Lightning's own Trainer, so that they see what training sees."""

import gc
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from torch import Tensor
from torch.utils.data import DataLoader

from alexnet_exp.bench.clock import Window
from alexnet_exp.bench.subject import Subject
from alexnet_exp.config import Config
from alexnet_exp.config.training import Views
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.errors import DivergedError
from alexnet_exp.parallel.team import Place, Team
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import build_trainer
from alexnet_exp.training.loggers import Logging
from alexnet_exp.training.settle import make_trainer

T = TypeVar("T")
Batch = tuple[Tensor, Tensor]
Work = Callable[[L.Trainer, Classifier], T]

_BATCHES = 2  # that lie on the device for steps of the network alone


class _EnoughError(Exception):
    """Ends a fit or a test from within; no failure."""


def first_batches(subject: Subject) -> list[Batch]:
    """The first batches of training, on the device, as the network receives them; kept there."""

    def take(trainer: L.Trainer, module: Classifier) -> list[Batch]:
        loader = iter(trainer.train_dataloader)
        return [next(loader) for _ in range(_BATCHES)]

    if not subject.batches:
        subject.batches = instead_of_training(subject, take)
    return subject.batches


def measure_network(subject: Subject, seconds: float) -> float:
    """Images/s of forward, loss, backward and optimizer, on batches that lie on the device.

    Raises:
        DivergedError: The loss is not finite.
    """
    batches = first_batches(subject)

    def run(trainer: L.Trainer, module: Classifier) -> float:
        window = Window(seconds, subject.device)
        for number, batch in enumerate(cycle(batches)):
            loss = step(trainer, module, batch, number)
            if window.tick(len(batch[1])):
                break
        if not torch.isfinite(loss):
            raise DivergedError(f"the loss of a benchmark's step is {float(loss)}")
        return window.images_per_second

    return instead_of_training(subject, run, batches)


def measure_input(subject: Subject, seconds: float) -> float:
    """Images/s of the data module: store to augmented batch on the device, with no network."""

    def run(trainer: L.Trainer, module: Classifier) -> float:
        window = Window(seconds, subject.device)
        for _, labels in trainer.train_dataloader:
            if window.tick(len(labels)):
                break
        return window.images_per_second

    return instead_of_training(subject, run)


def measure_end_to_end(subject: Subject, seconds: float) -> float:
    """Images/s of training with all that ``alexnet_exp.train`` gives its Trainer.

    No validation and no checkpoint fall into the window.
    """
    window = Window(seconds, subject.device)
    with tempfile.TemporaryDirectory() as folder:
        L.seed_everything(subject.config.seed, workers=True, verbose=False)
        run = RunFolder(Path(folder))
        _, trainer = build_trainer(
            subject.config, run, Logging(), subject.classifier, Team(Place())
        )
        trainer.callbacks.append(_until(window))  # type: ignore[attr-defined]
        with _enough():
            module = StoreDataModule(subject.config, subject.store)
            trainer.fit(subject.classifier, datamodule=module)
    return window.images_per_second


def measure_evaluation(subject: Subject, views: Views, seconds: float) -> float:
    """Images/s of the test that ends a run, with ``evaluation.views`` views of each."""
    config = deepcopy(subject.config)
    config.evaluation.views = views
    window = Window(seconds, subject.device)
    with _enough():
        module = StoreDataModule(config, subject.store)
        trainer = _bare_trainer(config, _until(window))
        trainer.test(subject.classifier, datamodule=module, verbose=False)
    return window.images_per_second


def instead_of_training(subject: Subject, work: Work[T], batches: list[Batch] | None = None) -> T:
    """Let Lightning set up training, and do ``work(trainer, classifier)`` instead of it.

    Device, precision, optimizer and every hook are as in training.

    Args:
        subject: What would be trained.
        work: Done in the place of the first step.
        batches: For the trainer; else it gets those of the store.
    """
    found: list[T] = []

    def do(trainer: L.Trainer, module: Any, *_: object) -> None:
        found.append(work(trainer, module))
        raise _EnoughError

    trainer = _bare_trainer(subject.config, LambdaCallback(on_train_batch_start=do))
    with _enough():
        if batches is None:
            module = StoreDataModule(subject.config, subject.store)
            trainer.fit(subject.classifier, datamodule=module)
        else:
            loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
            trainer.fit(subject.classifier, loader)
    return found[0]


def step(trainer: L.Trainer, module: Classifier, batch: Batch, number: int) -> Tensor:
    """One step of the classifier in the trainer's precision, in the order that Lightning has.

    Returns:
        The loss.
    """
    precision: Any = trainer.precision_plugin
    scaler = getattr(precision, "scaler", None) or torch.amp.GradScaler(enabled=False)
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    with precision.train_step_context():
        loss = module.training_step(batch, number)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    if trainer.gradient_clip_val is not None:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(module.parameters(), trainer.gradient_clip_val)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def _until(window: Window) -> Callback:
    """Ends training, or a test, when its window is over."""

    def after(
        trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        if window.tick(len(batch[1])):
            raise _EnoughError

    return LambdaCallback(on_train_batch_end=after, on_test_batch_end=after)


@contextmanager
def _enough() -> Iterator[None]:
    """Until a callback has enough."""
    with suppress(_EnoughError):
        yield
    gc.collect()  # the trainer and its optimizer refer to each other


def _bare_trainer(config: Config, callback: Callback) -> L.Trainer:
    warnings.filterwarnings("ignore", message=".*have no `val(idation_step|_dataloader)`.*")
    return make_trainer(
        config,
        max_epochs=1,
        limit_val_batches=0,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )

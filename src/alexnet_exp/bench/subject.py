"""What is measured, and measurements of it within Lightning's own Trainer, as training sees it."""

import gc
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import fields
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from alexnet_exp.bench.clock import Window
from alexnet_exp.config import Config
from alexnet_exp.config.bench import StoreKind
from alexnet_exp.config.data import Encoding
from alexnet_exp.config.training import Schedule, StrategyConfig, Views
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from alexnet_exp.parallel.team import Place
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import build_trainer
from alexnet_exp.training.loggers import Logging
from alexnet_exp.training.settle import make_trainer, settle, settle_hardware

T = TypeVar("T")
Batch = tuple[Tensor, Tensor]

IMAGENET_CLASSES = 1000
_EPOCH = 1_000_000  # images, about ImageNet's: a few thousand would measure how an epoch begins
_LEARNING_RATE = 1e-5  # time does not depend on it, and the loss stays finite
_BATCHES = 2  # that lie on the device for steps of the network alone


class EndlessStore(Store):
    """A store whose splits name their images again and again, for one long epoch."""

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of the split, repeated; int64, at least a million."""
        once = super().indices(split)
        return np.tile(once, math.ceil(_EPOCH / len(once)))


class Subject:
    """A network that trains on one device, on batches of one size from one kind of store.

    Attributes:
        config: Settled, with a small learning rate, and ImageNet's classes if it names none.
        once, store: The packed images; ``store`` does not end.

    Raises:
        UserError: The network does not fit the data, or this machine lacks the device.
    """

    def __init__(self, config: Config, batch: int, kind: StoreKind) -> None:
        self.config = config = deepcopy(config)
        self.batch, self.kind, self.name = batch, kind, f"batch {batch}, {kind}"
        config.strategy = StrategyConfig()
        config.trainer.devices = config.trainer.num_nodes = 1
        config.trainer.limit_train_batches = None
        config.model.classes = config.model.classes or IMAGENET_CLASSES
        config.optim.lr, config.optim.schedule = _LEARNING_RATE, Schedule.constant
        config.data.batch_size = batch
        settle_hardware(config)
        self.device: torch.device = _trainer(config).strategy.root_device
        on_gpu = self.device.type == "cuda"
        if kind == StoreKind.resident and not on_gpu:
            raise UserError("bench.stores: resident is for a GPU; on a CPU leave mapped")
        # On a CPU the memory map is what ``auto`` reads.
        mapped = "never" if on_gpu else "auto"
        config.data.resident = {"resident": "always", "mapped": mapped, "jpeg": "never"}[kind]
        if kind == StoreKind.jpeg:
            config.data.encoding = Encoding.jpeg
        self.once = prepare(config.data, progress=config.trainer.progress)
        self.layers = settle(config, self.once)
        parts = {item.name: getattr(self.once, item.name) for item in fields(self.once)}
        self.store = EndlessStore(**parts)

    @cached_property
    def classifier(self) -> Classifier:
        """The network."""
        return Classifier(self.config, self.once.classes, self.once.mean, self.once.covariance)

    @cached_property
    def batches(self) -> list[Batch]:
        """The first batches of training, on the device, as the network receives them."""

        def take(trainer: L.Trainer, _: Classifier) -> list[Batch]:
            loader = iter(trainer.train_dataloader)  # type: ignore[arg-type]
            return [next(loader) for _ in range(_BATCHES)]

        return instead_of_training(self, take)

    def forget(self) -> None:
        """Give memory back, also a GPU's."""
        for name in ("batches", "classifier"):
            self.__dict__.pop(name, None)


def measure_network(subject: Subject, seconds: float) -> float:
    """Images/s of forward, loss, backward and optimizer, on batches that lie on the device."""

    def run(trainer: L.Trainer, module: Classifier) -> float:
        window = Window(seconds, subject.device)
        for number, batch in enumerate(cycle(subject.batches)):
            loss = step(trainer, module, batch, number)
            if window.tick(len(batch[1])):
                break
        assert torch.isfinite(loss), "steps of a network that diverged are no measure"
        return window.images_per_second

    return instead_of_training(subject, run, subject.batches)


def measure_input(subject: Subject, seconds: float) -> float:
    """Images/s of the data module: store to augmented batch on the device, with no network."""

    def run(trainer: L.Trainer, _: Classifier) -> float:
        window = Window(seconds, subject.device)
        for _, labels in trainer.train_dataloader:  # type: ignore[union-attr]
            if window.tick(len(labels)):
                break
        return window.images_per_second

    return instead_of_training(subject, run)


def measure_end_to_end(subject: Subject, seconds: float) -> float:
    """Images/s of training with all that ``alexnet_exp.train`` gives its Trainer.

    No validation and no checkpoint fall into the window.
    """
    config, window = subject.config, Window(seconds, subject.device)
    with tempfile.TemporaryDirectory() as folder:
        L.seed_everything(config.seed, workers=True, verbose=False)
        run = RunFolder(Path(folder))
        _, trainer = build_trainer(config, run, Logging(), subject.classifier, Place())
        trainer.callbacks.append(_until(window))  # type: ignore[attr-defined]
        with _enough():
            module = StoreDataModule(config, subject.store)
            trainer.fit(subject.classifier, datamodule=module)
    return window.images_per_second


def measure_evaluation(subject: Subject, views: Views, seconds: float) -> float:
    """Images/s of the test that ends a run, with ``evaluation.views`` views of each."""
    config, window = deepcopy(subject.config), Window(seconds, subject.device)
    config.evaluation.views = views
    with _enough():
        module, trainer = StoreDataModule(config, subject.store), _trainer(config, _until(window))
        trainer.test(subject.classifier, datamodule=module, verbose=False)
    return window.images_per_second


def instead_of_training(
    subject: Subject,
    work: Callable[[L.Trainer, Classifier], T],
    batches: list[Batch] | None = None,
) -> T:
    """Let Lightning set up training, and do ``work(trainer, classifier)`` instead of it.

    Device, precision, optimizer and every hook are as in training; without ``batches`` the trainer
    gets those of the store.
    """
    found: list[T] = []

    def do(trainer: L.Trainer, module: Any, *_: object) -> None:
        found.append(work(trainer, module))
        raise _EnoughError

    data: Any = DataLoader(batches, batch_size=None) if batches else None  # type: ignore[arg-type]
    module = None if batches else StoreDataModule(subject.config, subject.store)
    trainer = _trainer(subject.config, LambdaCallback(on_train_batch_start=do))
    with _enough():
        trainer.fit(subject.classifier, data, datamodule=module)
    return found[0]


def step(trainer: L.Trainer, module: Classifier, batch: Batch, number: int) -> Tensor:
    """One step in the trainer's precision, in the order that Lightning has; gives the loss."""
    precision: Any = trainer.precision_plugin
    scaler = getattr(precision, "scaler", None) or torch.amp.GradScaler(enabled=False)
    optimizer: Any = module.optimizers(use_pl_optimizer=False)
    with precision.train_step_context():
        loss = module.training_step(batch, number)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    if module.config.optim.clip_norm is not None:
        scaler.unscale_(optimizer)
        module.configure_gradient_clipping(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


class _EnoughError(Exception):
    """Ends a fit or a test from within; no failure."""


def _until(window: Window) -> Callback:
    """Ends training, or a test, when its window is over."""

    def after(trainer: Any, module: Any, outputs: Any, batch: Batch, *_: object) -> None:
        if window.tick(len(batch[1])):
            raise _EnoughError

    return LambdaCallback(on_train_batch_end=after, on_test_batch_end=after)


@contextmanager
def _enough() -> Iterator[None]:
    with suppress(_EnoughError):
        yield
    gc.collect()  # the trainer and its optimizer refer to each other


def _trainer(config: Config, *callbacks: Callback) -> L.Trainer:
    warnings.filterwarnings("ignore", message=".*have no `val(idation_step|_dataloader)`.*")
    return make_trainer(
        config, max_epochs=1, limit_val_batches=0,
        callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, num_sanity_val_steps=0,
    )  # fmt: skip

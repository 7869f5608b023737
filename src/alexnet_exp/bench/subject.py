"""What is measured: one network on one device, and images that do not end."""

import math
from copy import deepcopy
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_exp.bench.plain import jpeg_folder
from alexnet_exp.config import Config
from alexnet_exp.config.bench import StoreKind
from alexnet_exp.config.data import Encoding
from alexnet_exp.config.training import Schedule, StrategyConfig
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.settle import make_trainer, settle, settle_hardware

IMAGENET_CLASSES = 1000
_EPOCH = 1_000_000  # images, about ImageNet's: a few thousand would measure how an epoch begins
_LEARNING_RATE = 1e-5  # time does not depend on it, and the loss stays finite


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


class Subject:
    """A network that trains on one device, on batches of one size from one kind of store.

    Args:
        config: Of a run; strategy and number of devices are left aside.
        batch: Images of a step.
        kind: Where the images lie.

    Attributes:
        config: Settled, with a small learning rate, and ImageNet's classes if it names none.
        name: For the screen and bench.json.
        batches: The first ones, on the device, once somebody has put them here.

    Raises:
        UserError: The network does not fit the data, or this machine lacks the device.
    """

    def __init__(self, config: Config, batch: int, kind: StoreKind) -> None:
        self.config = config = deepcopy(config)
        self.batch, self.kind = batch, kind
        self.batches: list[tuple[Tensor, Tensor]] = []
        config.strategy = StrategyConfig()
        config.trainer.devices = config.trainer.num_nodes = 1
        config.trainer.limit_train_batches = None
        config.model.classes = config.model.classes or IMAGENET_CLASSES
        config.optim.lr, config.optim.schedule = _LEARNING_RATE, Schedule.constant
        config.data.batch_size = batch
        settle_hardware(config)
        self.device: torch.device = make_trainer(config, logger=False).strategy.root_device
        on_gpu = self.device.type == "cuda"
        if kind == StoreKind.resident and not on_gpu:
            raise UserError("bench.stores: resident is for a GPU; on a CPU leave mapped")
        # On a CPU the memory map is what ``auto`` reads.
        config.data.resident = "auto" if kind == StoreKind.mapped and not on_gpu else "never"
        if kind == StoreKind.resident:
            config.data.resident = "always"
        if kind == StoreKind.jpeg:
            config.data.encoding = Encoding.jpeg
        self.once = prepare(config.data, progress=config.trainer.progress)
        self.layers = settle(config, self.once)
        self.store = EndlessStore.of(self.once)

    @cached_property
    def jpegs(self) -> Path:
        """Folder with the images as files, for plain PyTorch."""
        stores = Path(self.config.data.stores).expanduser()
        return jpeg_folder(self.once, stores, self.config.trainer.progress)

    @property
    def name(self) -> str:
        """Batch size and store."""
        return f"batch {self.batch}, {self.kind}"

    @cached_property
    def classifier(self) -> Classifier:
        """Built when it is needed."""
        return Classifier(self.config, self.once.classes, self.once.mean, self.once.covariance)

    def forget(self) -> None:
        """Give memory back, also a GPU's: weights and batches."""
        self.batches = []
        self.__dict__.pop("classifier", None)

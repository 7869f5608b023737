"""The LightningDataModule: finished batches of a packed store."""

from functools import cached_property

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_exp.config import Config
from alexnet_exp.config.training import Views
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.loader import Loader
from alexnet_exp.data.pixels import Mapped, Pixels, put_on
from alexnet_exp.data.sampler import TrainSampler
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.data.stream import Stream
from alexnet_exp.hardware import activation_dtype, cores, memory_bytes

_MOST_THREADS = 16


class StoreDataModule(L.LightningDataModule):
    """Batches ``(images, labels)`` of one store, for any LightningModule or loop.

    They lie on the trainer's device, or on the CPU without a trainer. Images are (N, C, s, s),
    augmented to train on; (N, V, C, s, s) for testing and prediction with ten views
    (``evaluation.views``). They are float32, or bfloat16 under a trainer whose precision is that.
    Labels are (N,) int64. Without a ``store`` it packs or opens what ``config.data`` asks for when
    that is first needed.
    """

    def __init__(self, config: Config, store: Store | None = None) -> None:
        super().__init__()
        self.config = config
        self._in_place: Pixels | None = None
        if store is not None:
            self.store = store

    @cached_property
    def store(self) -> Store:
        return prepare(self.config.data, progress=self.config.trainer.progress)

    @cached_property
    def augmentation(self) -> Augmentation:
        """What turns stored pixels into the network's input."""
        return Augmentation(
            self.config.augmentation,
            torch.from_numpy(np.array(self.store.mean)),
            torch.from_numpy(np.array(self.store.covariance)),
            self.config.model.input_size,
            self.config.seed,
            self.config.data.upscale_to,
            self.config.speed.kernels,
        )

    def prepare_data(self) -> None:
        """Pack the images, in one process of a machine."""
        self.store  # noqa: B018

    def train_dataloader(self) -> Loader:
        """Augmented batches; another permutation in every epoch that the sampler is told."""
        share = (self.trainer and self.trainer.distributed_sampler_kwargs) or {}
        sampler = TrainSampler(
            self.store.indices("train"),
            self.config.data.batch_size,
            self.config.seed,
            share.get("rank", 0),
            share.get("num_replicas", 1),
        )
        return self._loader(sampler)

    def val_dataloader(self) -> Loader:
        """Every validation image once, the center of it."""
        return self.evaluation_loader("val", Views.one)

    def test_dataloader(self) -> list[Loader]:
        """Every validation image once, and every test image: ``dataloader_idx`` is 0 and 1."""
        views = self.config.evaluation.views
        return [self.evaluation_loader(split, views) for split in ("val", "test")]

    def predict_dataloader(self) -> Loader:
        """Every test image once."""
        return self.evaluation_loader("test", self.config.evaluation.views)

    def evaluation_loader(self, split: str, views: Views) -> Loader:
        """Every image of train, val or test once over all processes, in the order of ``rows``."""
        count = max(1, self.config.evaluation.batch_size // self.augmentation.view_count(views))
        rows = self.rows(split)
        batches = [rows[start : start + count] for start in range(0, len(rows), count)]
        return self._loader(batches, views)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of train, val or test that this process evaluates, in the order of its loader."""
        rank, world_size = 0, 1
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        return self.store.indices(split)[rank::world_size]

    def _loader(
        self, sampler: TrainSampler | list[NDArray[np.int64]], views: Views = Views.one
    ) -> Loader:
        device, precision = torch.device("cpu"), "32-true"
        if self.trainer is not None:
            device, precision = self.trainer.strategy.root_device, str(self.trainer.precision)
        is_bf16 = activation_dtype(precision) == torch.bfloat16
        dtype = torch.bfloat16 if is_bf16 else torch.float32
        labels, pixels = torch.from_numpy(self.store.labels), self._pixels(device)
        return Loader(sampler, labels, pixels, self.augmentation, views, dtype)

    def _pixels(self, device: torch.device) -> Pixels | Stream:
        """All of them where they are augmented, or what reads them ahead."""
        images = self.store.images
        if self._in_place is not None and self._in_place.device == device:
            return self._in_place
        if not self._lies_in_place(device):
            return Stream(images, device, self._threads(), self.config.speed.prefetch)
        mapped = device.type == "cpu" and not images.is_encoded
        self._in_place = Mapped(images) if mapped else put_on(images, device, self._threads())
        return self._in_place

    def _lies_in_place(self, device: torch.device) -> bool:
        """Whether all images are kept where they are augmented; a CPU maps raw ones."""
        images, wanted = self.store.images, self.config.data.resident
        if wanted != "auto":
            return wanted == "always"
        if device.type == "cuda":
            return images.nbytes < torch.cuda.mem_get_info(device)[0] / 2
        return not images.is_encoded and images.nbytes < memory_bytes() / 2

    def _threads(self) -> int:
        """Threads that read, of one process."""
        if self.config.data.workers is not None:
            return self.config.data.workers
        devices = 1 if self.trainer is None else self.trainer.num_devices
        return max(1, min(_MOST_THREADS, cores() // devices))

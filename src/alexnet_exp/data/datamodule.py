"""The LightningDataModule: a packed store, batches of it, and their augmentation."""

from typing import Any

import lightning as L
import numpy as np
import torch

from alexnet_exp.config import Config
from alexnet_exp.config.training import Views
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.loader import Loader
from alexnet_exp.data.pixels import InMemory, Mapped, Pixels, put_on
from alexnet_exp.data.sampler import EvaluationSampler, TrainSampler
from alexnet_exp.data.store.store import Store
from alexnet_exp.data.stream import Stream
from alexnet_exp.hardware import activation_dtype, cores, memory_bytes

Batch = dict[str, Any]
_MOST_THREADS = 16


class StoreDataModule(L.LightningDataModule):
    """Train, validation and test batches of one store.

    What the network receives is ``images`` (N, C, s, s) when training and (N, V, C, s, s) when
    evaluating, float32 or what autocast would make of it, ``labels`` (N,) int64 and ``index`` (N,)
    int64.

    Args:
        config: Resolved configuration of the run.
        store: The packed images.
    """

    def __init__(self, config: Config, store: Store) -> None:
        super().__init__()
        self.config, self.store = config, store
        self.augmentation = Augmentation(
            config.augmentation,
            torch.from_numpy(np.array(store.mean)),
            torch.from_numpy(np.array(store.covariance)),
            config.model.input_size,
            config.seed,
            config.data.upscale_to,
            torch.bfloat16
            if activation_dtype(config.trainer.precision) == torch.bfloat16
            else torch.float32,
            config.speed.kernels,
        )
        self.test_views = config.evaluation.views
        self._labels = torch.from_numpy(store.labels.astype(np.int64))
        self._in_place: Pixels | None = None

    def train_dataloader(self) -> Loader:
        """Batches of the epoch that the trainer is at, also after a resume."""
        share = (self.trainer and self.trainer.distributed_sampler_kwargs) or {}
        sampler = TrainSampler(
            self.store.indices("train"),
            self.config.data.batch_size,
            self.config.seed,
            share.get("rank", 0),
            share.get("num_replicas", 1),
        )
        # Lightning opens the iterator of a resumed run before it tells the sampler its epoch, and
        # `current_epoch` then still counts the epoch whose end wrote the checkpoint.
        if self.trainer is not None:
            progress = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)  # type: ignore[attr-defined]
        return self._loader(sampler)

    def val_dataloader(self) -> Loader:
        """Every validation image once; one view while training."""
        return self.evaluation_loader("val", Views.one)

    def test_dataloader(self) -> list[Loader]:
        """Validation and test images, with the views that ``evaluation.views`` says."""
        return [self.evaluation_loader(split, self.test_views) for split in ("val", "test")]

    def evaluation_loader(self, split: str, views: Views) -> Loader:
        """Every image of ``split`` once over all processes, in store order."""
        rank, world_size = 0, 1
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        count = self.augmentation.view_count(views)
        images = max(1, self.config.evaluation.batch_size // count)
        indices = self.store.indices(split)
        return self._loader(EvaluationSampler(indices, images, rank, world_size))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment, or cut views, on the device."""
        assert self.trainer is not None
        views = self.test_views if self.trainer.testing else Views.one
        return self.finish(batch, views)

    def finish(self, batch: Batch, views: Views) -> Batch:
        """What the network receives, from what a loader gives.

        Args:
            batch: Augmented where it has ``draws``.
            views: Cut where it has none.
        """
        rows, pixels = batch["index"], self._in_place
        if "pixels" in batch:
            pixels = InMemory(batch["pixels"])
            rows = torch.arange(len(rows), device=rows.device)
        assert pixels is not None
        if "draws" in batch:
            images = self.augmentation.train(pixels, rows, batch["draws"])
        else:
            images = self.augmentation.views(pixels.gather(rows), views)
        return {"images": images, "labels": batch["labels"], "index": batch["index"]}

    def _loader(self, sampler: TrainSampler | EvaluationSampler) -> Loader:
        device = torch.device("cpu")
        if self.trainer is not None:
            device = self.trainer.strategy.root_device
        stream = None
        if self._in_place is None and self._lies_in_place(device):
            mapped = device.type == "cpu" and not self.store.images.is_encoded
            images = self.store.images
            self._in_place = Mapped(images) if mapped else put_on(images, device, self._threads())
        if self._in_place is None:
            ahead = self.config.speed.prefetch
            stream = Stream(self.store.images, device, self._threads(), ahead)
        draw = self.augmentation.draw if isinstance(sampler, TrainSampler) else None
        return Loader(sampler, self._labels, device, draw, stream)

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
        return max(1, min(_MOST_THREADS, cores() // self.config.trainer.devices))

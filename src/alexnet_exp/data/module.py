"""The LightningDataModule: a packed store, batches of it, and their augmentation."""

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alexnet_exp.config import Config
from alexnet_exp.config.training import Views
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.sampler import EvaluationSampler, TrainSampler
from alexnet_exp.data.store import Store

Batch = dict[str, Tensor]
_COPIED_BYTES = 256 << 20


class StoreDataset(Dataset[Batch]):
    """A store, read a whole batch at a time.

    Args:
        store: The packed images.
        with_images: Read the pixels too; false where they already lie on the device.
    """

    def __init__(self, store: Store, with_images: bool) -> None:
        self.store, self.with_images = store, with_images

    def __getitem__(self, indices: list[int]) -> Batch:
        """``images`` (N, S, S, C) uint8, ``labels`` (N,) int64 and ``index`` (N,) int64."""
        index = np.asarray(indices, dtype=np.int64)
        batch = {
            "labels": torch.from_numpy(self.store.labels[index].astype(np.int64)),
            "index": torch.from_numpy(index),
        }
        if self.with_images:
            batch["images"] = torch.from_numpy(np.ascontiguousarray(self.store.images[index]))
        return batch


class StoreDataModule(L.LightningDataModule):
    """Train, validation and test batches of one store.

    What the network receives is ``images`` (N, C, s, s) float32 when training and
    (N, V, C, s, s) when evaluating, ``labels`` (N,) int64 and ``index`` (N,) int64.

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
        )
        self.test_views = config.evaluation.views
        self._resident: Tensor | None = None

    def train_dataloader(self) -> DataLoader[Batch]:
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

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once; one view while training."""
        return self.evaluation_loader("val", Views.one)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Validation and test images, with the views that ``evaluation.views`` says."""
        return [self.evaluation_loader(split, self.test_views) for split in ("val", "test")]

    def evaluation_loader(self, split: str, views: Views) -> DataLoader[Batch]:
        """Every image of ``split`` once over all processes, in store order."""
        rank, world_size = 0, 1
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        count = self.augmentation.view_count(views)
        images = max(1, self.config.evaluation.batch_size // count)
        indices = self.store.indices(split)
        return self._loader(EvaluationSampler(indices, images, rank, world_size))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Gather resident images, and augment or cut views, on the device."""
        assert self.trainer is not None
        index = batch["index"]
        images = batch.get("images")
        if images is None:
            images = self._resident_images(index.device)[index]
        if self.trainer.training:
            pixels = self.augmentation.train(images, index, self.trainer.current_epoch)
        else:
            views = self.test_views if self.trainer.testing else Views.one
            pixels = self.augmentation.views(images, views)
        return {"images": pixels, "labels": batch["labels"], "index": index}

    def _loader(self, sampler: TrainSampler | EvaluationSampler) -> DataLoader[Batch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        resident = self._fits(on_gpu)
        # A batch copied from the memory map takes 3 ms on a CPU: workers would only cost memory.
        streamed = (on_gpu and not resident) or self.config.data.resident == "never"
        workers = self.config.data.workers if streamed else 0
        return DataLoader(
            StoreDataset(self.store, with_images=not resident),
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            pin_memory=on_gpu,
            persistent_workers=False,
        )

    def _fits(self, on_gpu: bool) -> bool:
        """Whether the images lie in the device's memory; on a CPU the memory map is as good."""
        if self._resident is not None or self.config.data.resident != "auto":
            return self._resident is not None or self.config.data.resident == "always"
        return on_gpu and self.store.images.nbytes < torch.cuda.mem_get_info()[0] / 2

    def _resident_images(self, device: torch.device) -> Tensor:
        """All images (N, S, S, C) uint8 on the device, copied piece by piece at first use."""
        if self._resident is None:
            images = self.store.images
            resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
            rows = max(1, _COPIED_BYTES // images[0].nbytes)
            for start in range(0, len(images), rows):
                piece = np.array(images[start : start + rows])
                resident[start : start + rows].copy_(torch.from_numpy(piece))
            self._resident = resident
        return self._resident

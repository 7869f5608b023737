"""Batches of the datamodule: finished, the right ones, for anybody's LightningModule."""

from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.store.store import Store
from tests.conftest import ComposeConfig
from tests.test_doors import quiet_trainer


def expected_train(module: StoreDataModule, epoch: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """By the slow way: the permutation of the epoch, torch's operations."""
    store, config = module.store, module.config
    order = np.random.default_rng([config.seed, epoch]).permutation(store.indices("train"))
    batches = []
    for rows in np.split(order[: count * 8], count):
        index = torch.from_numpy(rows)
        draws = module.augmentation.draw(index, epoch)
        pixels = torch.from_numpy(store.images[rows])
        images = module.augmentation._train_in_torch(pixels, draws, False, torch.float32)
        batches.append((images, torch.from_numpy(store.labels[rows])))
    return batches


@pytest.mark.parametrize("resident", ["auto", "always", "never"])
def test_batches_are_finished_wherever_pixels_lie(
    config: Any, store: Store, resident: str, monkeypatch
) -> None:
    monkeypatch.setattr(config.data, "resident", resident)
    monkeypatch.setattr("alexnet_exp.data.loader.DRAWN_AT_ONCE", 4)
    module = StoreDataModule(config, store)
    loader = module.train_dataloader()
    assert len(loader) == len(list(loader)) == store.counts["train"] // 8
    for epoch in (0, 3):
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        expected = expected_train(module, epoch, len(loader))
        for (images, labels), (its_images, its_labels) in zip(loader, expected, strict=True):
            assert images.dtype == torch.float32
            assert labels.dtype == torch.int64
            assert torch.equal(images, its_images)
            assert torch.equal(labels, its_labels)


def test_epoch_counts_when_the_first_batch_is_drawn(config: Any, store: Store) -> None:
    module = StoreDataModule(config, store)
    loader = module.train_dataloader()
    batches = iter(loader)
    loader.sampler.set_epoch(2)  # type: ignore[union-attr]
    (expected, _), *_ = expected_train(module, 2, 1)
    assert torch.equal(next(batches)[0], expected)


def test_every_evaluated_image_once_and_rows_say_which(config: Any, store: Store) -> None:
    module = StoreDataModule(config, store)
    val, test = module.test_dataloader()
    center = module.val_dataloader()
    predict = module.predict_dataloader()
    assert next(iter(center))[0].shape == (store.counts["val"], 3, 32, 32)
    for loader, split in ((val, "val"), (test, "test"), (predict, "test")):
        rows = module.rows(split)
        assert rows.tolist() == store.indices(split).tolist()
        batches = list(loader)
        assert {len(labels) for _, labels in batches[:-1]} <= {2}  # 20 views at once
        assert torch.cat([labels for _, labels in batches]).tolist() == store.labels[rows].tolist()
        images = torch.cat([images for images, _ in batches])
        assert images.shape == (len(rows), 10, 3, 32, 32)
        middle = store.images[rows][:, 4:36, 4:36].astype(np.float32) - store.mean[4:36, 4:36]
        assert np.array_equal(images[:, 0].permute(0, 2, 3, 1).numpy(), middle)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_processes_share_images_out(
    config: Any, store: Store, world_size: int, monkeypatch
) -> None:
    module = StoreDataModule(config, store)
    shares = []
    for rank in range(world_size):
        ranked = type("Ranked", (), {"global_rank": rank, "world_size": world_size})()
        monkeypatch.setattr(module, "trainer", ranked)
        shares.append(module.rows("train").tolist())
    assert sorted(row for share in shares for row in share) == store.indices("train").tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Somebodys(L.LightningModule):
    """A module that knows nothing of this program, as Lightning's own examples have it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[tuple[torch.Size, torch.dtype]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.validation_step(batch, batch_idx)
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen.append((batch[0].shape, batch[0].dtype))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, _ = batch
        return self.model(images.flatten(0, 1)).unflatten(0, images.shape[:2]).mean(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches == 2
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.parametrize("augmentation", ["crops_flips", "none"])
def test_anybodys_module_trains_on_a_store(sixty: ComposeConfig, augmentation: str) -> None:
    module = Somebodys(resnet18(num_classes=5))
    data = StoreDataModule(sixty(f"augmentation={augmentation}"))
    trainer = quiet_trainer(max_steps=2, limit_val_batches=1)
    trainer.fit(module, datamodule=data)
    counts = data.store.counts
    train, val = torch.Size((8, 3, 32, 32)), torch.Size((counts["val"], 3, 32, 32))
    assert module.seen.count((train, torch.float32)) == 2
    assert set(module.seen) <= {(train, torch.float32), (val, torch.float32)}
    module.seen.clear()
    trainer.test(module, datamodule=data, verbose=False)
    assert {shape[1:] for shape, _ in module.seen} == {(10, 3, 32, 32)}
    predicted = torch.cat(trainer.predict(module, datamodule=data))  # type: ignore[arg-type]
    assert predicted.shape == (counts["test"], 5)


def test_bf16_reaches_a_trainer_of_that_precision_alone(sixty: ComposeConfig) -> None:
    data = StoreDataModule(sixty("trainer.precision=bf16-mixed"))
    assert next(iter(data.train_dataloader()))[0].dtype == torch.float32
    module = Somebodys(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)))
    trainer = quiet_trainer(max_steps=2, limit_val_batches=0, precision="bf16-mixed")
    trainer.fit(module, datamodule=data)
    assert {dtype for _, dtype in module.seen} == {torch.bfloat16}


def test_no_images_are_no_batch(config: Any, store: Store, monkeypatch) -> None:
    data = StoreDataModule(config, store)
    monkeypatch.setattr(data, "rows", lambda split: np.zeros(0, np.int64))
    assert len(data.val_dataloader()) == len(list(data.val_dataloader())) == 0

"""A whole run on a GPU, where there is one: every way to feed it and to compute on it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.pixels import InMemory, put_on
from alexnet_exp.data.store.store import prepare
from alexnet_exp.data.stream import Stream
from alexnet_exp.runs.read import read_metrics
from alexnet_exp.training.fit import train

pytestmark = pytest.mark.cuda

# Maps of a tower are multiples of eight, as the kernels want them.
BASE = (
    "model.width=.5", "model.fc=[320,320]", "model.dropout=.5", "model.input_size=96",
    "data.image_size=104", "data.synthetic_images=200", "data.batch_size=32",
    "trainer.accelerator=gpu", "trainer.max_epochs=2", "trainer.progress=false", "recipe=synthetic",
)  # fmt: skip


def losses(folder: Path) -> list[float]:
    return [row["train/loss"] for row in read_metrics(folder)]


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_streamed_batches_are_those_that_lie_on_the_gpu(
    compose_config, tmp_path: Path, encoding: str
) -> None:
    config = compose_config(*BASE, f"data.stores={tmp_path}", f"data.encoding={encoding}")
    device, images = torch.device("cuda", 0), prepare(config.data, progress=False).images
    rows = [np.random.default_rng(seed).permutation(len(images))[:64] for seed in range(30)]
    busy = torch.randn(4096, 4096, device=device)
    for batch, pixels in zip(rows, Stream(images, device, 4, 2).batches(rows), strict=True):
        for _ in range(5):
            busy = busy @ busy / 64  # the copy of the next batch runs beside this
        assert np.array_equal(pixels.cpu().numpy(), images[batch])
    if encoding == "jpeg":
        whole = put_on(images, device, 4)
        assert np.array_equal(whole.images.cpu().numpy(), images[np.arange(len(images))])


def test_draws_and_crops_are_those_of_a_cpu(compose_config, tmp_path: Path) -> None:
    config = compose_config(*BASE, f"data.stores={tmp_path}", "trainer.precision=32-true")
    store = prepare(config.data, progress=False)
    rows = torch.arange(100)
    found = []
    for device in ("cpu", "cuda"):
        augmentation = StoreDataModule(config, store).augmentation
        there = rows.to(device)
        draws = augmentation.draw(there, epoch=3)
        pixels = InMemory(torch.from_numpy(store.images[np.arange(100)]).to(device))
        found.append(augmentation.train(pixels, there, draws).cpu())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "way",
    [
        ("data.resident=never",), ("data.resident=never", "data.workers=0"),
        ("speed.compile=none",), ("speed.compile=network",), ("speed.kernels=false",),
        ("speed.fuse=false",), ("speed.fused_optimizer=false",),
    ],
)  # fmt: skip
def test_every_way_trains_the_same(compose_config, tmp_path: Path, way: tuple[str, ...]) -> None:
    base = (*BASE, f"data.stores={tmp_path / 'stores'}", "trainer.precision=bf16-mixed")
    train(compose_config(*base, "speed.compile=graphs", "data.resident=always"), tmp_path / "base")
    train(compose_config(*base, *way), tmp_path / "other")
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "base"), rel=2e-2)


def test_fp32_agrees_with_plain(compose_config, tmp_path: Path) -> None:
    base = (*BASE, f"data.stores={tmp_path / 'stores'}")
    train(compose_config(*base, "trainer.precision=32-true"), tmp_path / "fast")
    train(compose_config(*base, "speed=plain"), tmp_path / "plain")
    assert losses(tmp_path / "fast") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)

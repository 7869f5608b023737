"""The same on GPUs, where there are any."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from alexnet_exp.parallel.layout import PartOfDropout, Share
from alexnet_exp.runs.read import read_metrics
from alexnet_exp.training.fit import train
from tests.parallel.test_equality import BASE, distance

GPUS = torch.cuda.device_count()
pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_of_dropout_are_those_of_one_device(dtype: torch.dtype) -> None:
    x = torch.randn(128, 4096, device="cuda", dtype=dtype)
    torch.manual_seed(3)
    whole = F.dropout(x, 0.5)
    torch.manual_seed(3)
    part = PartOfDropout(0.5, Share(1, 2), Share(3, 4))
    assert torch.equal(part(x[64:, 3072:]), whole[64:, 3072:])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "towers", "one_weird_trick"])
def test_strategies_train_what_one_gpu_trains(
    compose_config, tmp_path: Path, strategy: str
) -> None:
    """Sums run in another order there, and cuDNN may choose another algorithm."""
    devices = 2 if GPUS > 1 else 1
    if devices == 1 and strategy in ("towers", "one_weird_trick"):
        pytest.skip("needs two GPUs")
    given = (*BASE, f"data.stores={tmp_path}", "trainer.accelerator=gpu", "trainer.max_epochs=1")
    train(compose_config(*given), tmp_path / "single")
    changed = (f"strategy={strategy}", f"trainer.devices={devices}")
    train(compose_config(*given, *changed), tmp_path / "several")
    first, second = (
        float(read_metrics(tmp_path / n)[0]["train/loss"]) for n in ("single", "several")
    )
    assert first == pytest.approx(second, abs=1e-4)
    assert distance(tmp_path / "single", tmp_path / "several") < 1e-4

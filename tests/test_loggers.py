"""W&B offline and TensorBoard: what is written and what the user is told."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alexnet_exp.errors import UserError
from alexnet_exp.train import train

TINY = (
    "model.width=0.02",
    "model.fc=[16,16]",
    "model.input_size=64",
    "data.image_size=64",
    "data.synthetic_images=60",
    "data.batch_size=8",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
)


def test_tensorboard_holds_every_epoch_and_the_final_errors(
    compose_config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = f"data.stores={tmp_path / 'stores'}"
    result = train(compose_config(*TINY, stores, "logger=tensorboard"), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert len(events.Scalars("val/top1_error")) == 2
    final = events.Scalars("final/test/top1_error")[-1].value
    assert final == pytest.approx(result["metrics"]["test/top1_error"], abs=1e-6)
    assert "tensorboard --logdir" in capsys.readouterr().out


def test_wandb_offline_names_the_finished_folder(
    compose_config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    stores = f"data.stores={tmp_path / 'stores'}"
    overrides = (*TINY, stores, "logger=wandb", "logger.mode=offline")
    train(compose_config(*overrides), tmp_path / "run")
    printed = capsys.readouterr().out
    folder = next((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert f"wandb sync {folder}" in printed.replace("\n", "")
    log = next(folder.glob("*.wandb")).read_bytes()
    for name in (b"val/top1_error", b"final/", b"baseline", b"images_per_second"):
        assert name in log


def test_wandb_without_a_key_says_what_to_do(
    compose_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    stores = f"data.stores={tmp_path / 'stores'}"
    with pytest.raises(UserError, match=r"logger\.mode=offline"):
        train(compose_config(*TINY, stores, "logger=wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()

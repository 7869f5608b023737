"""Runs that go on where they were stopped, or after their end; and those that must not."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch

from alexnet_exp.config import Config
from alexnet_exp.errors import UserError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.callbacks import Epochs
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train
from alexnet_exp.training.progress import EpochProgress


def same(one: Path, other: Path, checkpoint: str) -> bool:
    """Whether two runs have the same weights, bit for bit."""
    ours, theirs = (
        torch.load(folder / "checkpoints" / checkpoint, weights_only=True)["state_dict"]
        for folder in (one, other)
    )
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def stop(config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch, epoch: int = 2) -> None:
    """Train, and press Ctrl-C in the middle of an epoch, counted from 0."""
    step = Classifier.training_step

    def stopping(self: Classifier, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, 2):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Classifier, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt) as _pressed:  # holds what the run had in its hands
            train(config, folder)
        assert not RunFolder(folder).is_running(), "a notebook could not go on"


@pytest.mark.parametrize(
    "way",
    [
        ("optim.schedule=plateau", "data.resident=never", "trainer.precision=64-true"),
        ("optim=adam", "optim.schedule=cosine", "+trainer.accumulate_grad_batches=2"),
    ],
)
def test_stopped_run_goes_on_bit_for_bit(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    overrides = (*way, "optim.patience=1", "optim.warmup_steps=3", "model.dropout=.5",
                 "trainer.keep_last_checkpoint=true")  # fmt: skip
    train(tiny(*overrides), tmp_path / "whole")
    stop(tiny(*overrides), tmp_path / "stopped", monkeypatch)
    assert not (tmp_path / "stopped" / "result.json").exists()
    assert len(read_metrics(tmp_path / "stopped")) == 2
    train(tiny(*overrides), tmp_path / "stopped")
    assert same(tmp_path / "whole", tmp_path / "stopped", "last.ckpt")
    rows = (read_metrics(tmp_path / name) for name in ("whole", "stopped"))
    for ours, theirs in zip(*rows, strict=True):
        for column in ("epoch", "step", "lr", "train/loss", "val/loss", "val/top1_error"):
            assert ours[column] == theirs[column], column
    first, second = (read_result(tmp_path / name) for name in ("whole", "stopped"))
    assert first["metrics"] == second["metrics"]


def test_stopped_run_goes_on_in_another_place(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best epoch is the first, as nothing is learned: it must not be forgotten."""
    overrides = ("optim.lr=1e-9", "optim.warmup_steps=0")
    stop(tiny(*overrides), tmp_path / "here", monkeypatch)
    shutil.copytree(tmp_path / "here", tmp_path / "kept")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert train(tiny(*overrides), tmp_path / "there")["best_epoch"] == 1
    assert same(tmp_path / "kept", tmp_path / "there", "best.ckpt")
    assert not (tmp_path / "here").exists()


def test_plateau_that_had_ended_does_not_train_on(tiny, tmp_path: Path) -> None:
    """Stopped between the last epoch and the evaluation, the run goes on with the latter."""
    overrides = ("optim.schedule=plateau", "optim.patience=1", "optim.drops=0", "optim.lr=1e-9",
                 "optim.warmup_steps=0")  # fmt: skip
    interrupt = patch.object(Classifier, "on_test_start", side_effect=KeyboardInterrupt)
    with interrupt, pytest.raises(KeyboardInterrupt):
        train(tiny(*overrides), tmp_path)
    done = len(read_metrics(tmp_path))
    assert done == 2, "the first epoch is the best, the second ends the only plateau"
    result = train(tiny(*overrides), tmp_path)
    assert result["epochs"] == done
    assert len(read_metrics(tmp_path)) == done


def test_a_job_killed_while_it_drops_rows_keeps_the_old_ones(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.csv"
    shutil.copy(trained_run.folder / "metrics.csv", file)
    before = file.read_text().splitlines()
    epochs = Epochs(tmp_path, EpochProgress(8))
    trainer: Any = SimpleNamespace(current_epoch=1, is_global_zero=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writerow", killed)
        with pytest.raises(KeyboardInterrupt):
            epochs.on_train_start(trainer, trainer)
    assert file.read_text().splitlines() == before
    epochs.on_train_start(trainer, trainer)
    assert file.read_text().splitlines() == before[:2]
    assert not list(tmp_path.glob("*.partial"))


def test_finished_run_goes_on_with_more_epochs(tiny, tmp_path: Path) -> None:
    """As if it had been asked for them at once, where the schedule does not depend on them."""
    kept = ("trainer.keep_last_checkpoint=true", "optim.schedule=plateau", "optim.patience=1")
    train(tiny(*kept), tmp_path / "whole")
    assert train(tiny(*kept, "trainer.max_epochs=2"), tmp_path / "two")["epochs"] == 2
    assert train(tiny(*kept), tmp_path / "two")["epochs"] == 4
    assert same(tmp_path / "whole", tmp_path / "two", "last.ckpt")
    recorded = [read_result(tmp_path / name) for name in ("whole", "two")]
    for field in ("metrics", "config_hash", "best_epoch", "steps"):
        assert recorded[0][field] == recorded[1][field], field


@pytest.mark.parametrize(
    "overrides",
    [
        ("optim.schedule=cosine", "trainer.keep_last_checkpoint=true"),
        ("optim.schedule=plateau", "trainer.keep_last_checkpoint=false"),
    ],
)
def test_other_finished_runs_do_not(tiny, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    first = train(tiny("trainer.max_epochs=1", *overrides), tmp_path)
    written = (tmp_path / "result.json").stat().st_mtime_ns
    with pytest.raises(UserError, match=r"trainer\.max_epochs was 1, is 2"):
        train(tiny("trainer.max_epochs=2", *overrides), tmp_path)
    assert train(tiny("trainer.max_epochs=1", *overrides), tmp_path) == first
    assert (tmp_path / "result.json").stat().st_mtime_ns == written

"""A whole run: what it records, that it repeats, that it goes on where it stopped."""

import csv
import json
import logging
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from alexnet_exp.config import Config
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.pixels import InMemory
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.runs.identity import config_hash
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.callbacks import Epochs
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train
from alexnet_exp.training.progress import EpochProgress


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def test_run_folder_holds_what_its_readers_rely_on(trained_run: SimpleNamespace) -> None:
    folder = trained_run.folder
    result = read_result(folder)
    expected = {
        "experiment": "baseline", "data": "synthetic", "synthetic": True, "seed": 0,
        "status": "finished", "config_hash": config_hash(trained_run.config), "epochs": 2,
        "steps": 2 * (85 // 16), "images": {"train": 85, "val": 10, "test": 25},
    }  # fmt: skip
    assert result | expected == result
    assert 0 < result["first_step_seconds"] < 3600
    assert result["train_seconds"] > 0
    assert result["images_per_second"] > 0
    assert {f"{s}/top{k}_error" for s in ("val", "test") for k in (1, 5)} <= set(result["metrics"])
    for name in ("config.yaml", "environment.json", "metrics.csv", "checkpoints/best.ckpt"):
        assert (folder / name).is_file(), name
    assert not (folder / "checkpoints" / "last.ckpt").exists()
    assert not list(folder.rglob("*partial*"))
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    rows = read_metrics(folder)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert result["best_epoch"] == min(rows, key=lambda row: row["val/top1_error"])["epoch"]


def test_predictions_name_every_evaluated_image(trained_run: SimpleNamespace) -> None:
    store = trained_run.store
    saved = np.load(trained_run.folder / "predictions.npz")
    assert sorted(saved["index"]) == sorted([*store.indices("val"), *store.indices("test")])
    assert np.array_equal(saved["label"], store.labels[saved["index"]])
    assert saved["name"].tolist() == [store.names[index] for index in saved["index"]]


@pytest.mark.parametrize("views", ["ten", "one"])
def test_evaluation_is_the_mean_softmax_over_views(
    trained_run: SimpleNamespace, tmp_path: Path, views: str
) -> None:
    folder, store = trained_run.folder, trained_run.store
    expected = _mean_softmax(trained_run.config, store, folder, views).topk(5)
    found = evaluate(folder, [f"evaluation.views={views}", "evaluation.batch_size=50"])
    right = torch.from_numpy(store.labels[store.indices("test")]) == expected.indices[:, 0]
    error = 1 - right.double().mean().item()
    assert found["metrics"]["test/top1_error"] == pytest.approx(error, abs=1e-7)
    if views == "one":
        return
    assert found["metrics"] == trained_run.result["metrics"]
    saved = np.load(folder / "predictions.npz")
    mine = saved["split"] == "test"
    assert np.array_equal(saved["index"][mine], store.indices("test"))
    assert np.allclose(saved["top5_probability"][mine], expected.values.numpy(), atol=1e-6)


def _mean_softmax(config: Config, store: Store, folder: Path, views: str) -> torch.Tensor:
    """Ten views written out: corners, center and mirrors of the image less the mean image."""
    network = AlexNet(config.model).eval()
    state = weights(folder / "checkpoints" / "best.ckpt").items()
    own = {k.removeprefix("network."): v for k, v in state if k.startswith("network.")}
    network.load_state_dict(own)
    pixels = torch.from_numpy(store.images[store.indices("test")]).float()
    centered = (pixels - torch.from_numpy(store.mean)).permute(0, 3, 1, 2)
    total = torch.zeros(len(pixels), len(store.classes))
    places = [(4, 4), (0, 0), (0, 8), (8, 0), (8, 8)] if views == "ten" else [(4, 4)]
    with torch.no_grad():
        for y, x in places:
            cut = centered[:, :, y : y + 64, x : x + 64]
            for view in (cut, cut.flip(3)) if views == "ten" else (cut,):
                total += network(view).softmax(1)
    return total / (10 if views == "ten" else 1)


def same(one: Path, other: Path, checkpoint: str) -> bool:
    """Whether two runs have the same weights, bit for bit."""
    ours, theirs = (weights(folder / "checkpoints" / checkpoint) for folder in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_same_seed_repeats_from_anywhere_and_another_does_not(
    tiny, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    for place in ("always", "never"):
        folder = tmp_path / place
        train(tiny("trainer.max_epochs=2", f"data.resident={place}"), folder)
        assert same(trained_run.folder, folder, "best.ckpt")
    train(tiny("trainer.max_epochs=1", "seed=1"), tmp_path / "other")
    first, again, other = (
        read_metrics(folder)[0]["train/loss"]
        for folder in (trained_run.folder, tmp_path / "never", tmp_path / "other")
    )
    assert first == again != other


@pytest.mark.parametrize(
    "way",
    [
        ("optim.schedule=plateau", "data.resident=never"),
        ("optim=adam", "optim.schedule=cosine", "+trainer.accumulate_grad_batches=2"),
    ],
)
def test_stopped_run_goes_on_bit_for_bit(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    overrides = (*way, "optim.patience=1", "optim.warmup_steps=3", "model.dropout=.5",
                 "trainer.keep_last_checkpoint=true")  # fmt: skip
    train(tiny(*overrides), tmp_path / "whole")
    _stop_at_epoch(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(*overrides), tmp_path / "stopped")
    monkeypatch.undo()
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
    _stop_at_epoch(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(*overrides), tmp_path / "here")
    monkeypatch.undo()
    shutil.copytree(tmp_path / "here", tmp_path / "kept")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert train(tiny(*overrides), tmp_path / "there")["best_epoch"] == 1
    assert same(tmp_path / "kept", tmp_path / "there", "best.ckpt")
    assert not (tmp_path / "here").exists()


def _stop_at_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Press Ctrl-C in the middle of an epoch (counted from 0)."""
    step = Classifier.training_step

    def stopping(self: Classifier, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == epoch and batch_idx == 2:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", stopping)


def test_plateau_that_had_ended_does_not_train_on(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the last epoch and the evaluation, the run goes on with the latter."""
    overrides = ("optim.schedule=plateau", "optim.patience=1", "optim.drops=0", "optim.lr=1e-9",
                 "optim.warmup_steps=0")  # fmt: skip

    def interrupt(self: Classifier) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "on_test_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(*overrides), tmp_path)
    monkeypatch.undo()
    done = len(read_metrics(tmp_path))
    assert done == 2, "the first epoch is the best, the second ends the only plateau"
    result = train(tiny(*overrides), tmp_path)
    assert result["epochs"] == done
    assert len(read_metrics(tmp_path)) == done


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "auto"])
def test_other_precisions_train_and_clip_and_are_recorded(
    tiny, tmp_path: Path, precision: str
) -> None:
    config = tiny(f"trainer.precision={precision}", "optim.clip_norm=1", "trainer.max_epochs=1",
                  "trainer.limit_train_batches=2")  # fmt: skip
    result = train(config, tmp_path)
    ran = ("bf16-mixed", "32-true") if precision == "auto" else (precision,)
    assert result["precision"] in ran
    assert f"precision: {result['precision']}" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format_is_that_of_the_maps(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels_last: bool
) -> None:
    seen = set()
    forward = Classifier.forward

    def watched(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            maps = self.network.features.conv1(images.contiguous(memory_format=self.memory_format))
        for tensor in (maps, self.network.features.conv1.weight):
            seen.add(tensor.is_contiguous(memory_format=torch.channels_last))
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", watched)
    few = ("trainer.max_epochs=1", "trainer.limit_train_batches=1")
    train(tiny(f"trainer.channels_last={channels_last}", *few), tmp_path)
    assert seen == {channels_last}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_errors_and_losses_are_those_of_single_images(tiny, tmp_path: Path, precision: str) -> None:
    """Batches of 3 leave a smaller last one; in bf16 probabilities tie."""
    result = train(
        tiny("trainer.max_epochs=1", f"trainer.precision={precision}", "evaluation.views=one",
             "evaluation.batch_size=3", "optim.lr=0.05"), tmp_path
    )  # fmt: skip
    saved = np.load(tmp_path / "predictions.npz")
    for split in ("val", "test"):
        mine = saved["split"] == split
        assert mine.sum() % 3 == 1
        right = saved["top5"][mine] == saved["label"][mine][:, None]
        loss = -np.log(saved["top5_probability"][mine][right]).mean()
        assert result["metrics"][f"{split}/loss"] == pytest.approx(loss, rel=1e-6)
        error = 1 - right[:, 0].mean()
        assert result["metrics"][f"{split}/top1_error"] == pytest.approx(error, abs=1e-7)


def test_first_losses_are_those_of_a_plain_loop(tiny, tmp_path: Path) -> None:
    """Three steps of the whole machinery against the same arithmetic written out."""
    config = tiny("trainer.max_epochs=1", "trainer.limit_train_batches=3", "model.dropout=0",
                  "optim.schedule=constant", "optim.warmup_steps=0")  # fmt: skip
    train(config, tmp_path)
    store = prepare(config.data, progress=False)
    augmentation = Augmentation(
        config.augmentation, torch.from_numpy(np.array(store.mean)),
        torch.from_numpy(store.covariance), config.model.input_size, config.seed,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    network = AlexNet(config.model)
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    order = np.random.default_rng([config.seed, 0]).permutation(store.indices("train"))
    losses = []
    for step in range(3):
        index = torch.from_numpy(order[16 * step : 16 * step + 16])
        stored = InMemory(torch.from_numpy(store.images[index.numpy()]))
        images = augmentation.train(stored, torch.arange(16), augmentation.draw(index, 0))
        loss = F.cross_entropy(network(images), torch.from_numpy(store.labels[index.numpy()]))
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, v, g in zip(network.parameters(), velocity, gradients, strict=True):
                decay = config.optim.weight_decay
                v.mul_(config.optim.momentum).sub_(config.optim.lr * (g + decay * p))
                p.add_(v)
        losses.append(loss.item())
    (row,) = read_metrics(tmp_path)
    assert row["train/loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_evaluate_refuses_another_network_and_other_classes(
    trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    for override, message in (
        ("model.activation=tanh", r"holds another network: model\.activation is tanh"),
        ("data.split_seed=1", "another split"),
        ("evaluation.viws=one", "viws"),
        ("data=imagenet", r"^data=\.\.\.: a checkpoint keeps its options"),
        ("data.root=[", r"^data\.root=\[: "),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(trained_run.folder, [override])
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"weights": torch.zeros(3)}, foreign)
    with pytest.raises(UserError, match=r"foreign\.ckpt is damaged or not one of alexnet_exp's"):
        evaluate(foreign, [])
    with pytest.raises(UserError, match="does not exist"):
        evaluate(tmp_path / "nowhere.ckpt", [])


def test_gradients_of_two_batches_add_up_to_those_of_one(tiny, tmp_path: Path) -> None:
    whole = ("model.dropout=0", "trainer.max_epochs=2", "optim.schedule=cosine")
    halves = (*whole, "data.batch_size=8", "+trainer.accumulate_grad_batches=2")
    results = [train(tiny(*way), tmp_path / str(len(way))) for way in (whole, halves)]
    assert [result["steps"] for result in results] == [10, 10]
    rows = [read_metrics(tmp_path / str(len(way))) for way in (whole, halves)]
    for one, two in zip(*rows, strict=True):
        assert one["lr"] == two["lr"]
        for name in ("train/loss", "val/loss"):
            assert one[name] == pytest.approx(two[name], rel=1e-5)


def test_a_trial_runs_everything_and_records_nothing(
    tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(tiny("+trainer.fast_dev_run=true", "logger=tensorboard"), tmp_path / "run")
    assert result["steps"] == 1
    assert "nothing is recorded" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_arguments_of_the_trainer_reach_it(
    tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that run out before the first validation leave no best epoch: the last state counts."""
    reports = logging.getLogger("lightning.pytorch.profilers.profiler")
    monkeypatch.setattr(reports, "handlers", [caplog.handler])
    # Hydra's main turns loggers off that are there before it; a command imports Lightning later.
    monkeypatch.setattr(reports, "disabled", False)
    result = train(tiny("+trainer.profiler=simple", "+trainer.max_steps=3"), tmp_path / "profiled")
    assert (result["steps"], result["best_epoch"]) == (3, 0)
    assert 0 < result["images_per_second"] < 1e6
    assert "Profiler Report" in caplog.text
    assert np.isnan(read_metrics(tmp_path / "profiled")[0]["val/loss"])
    few = tiny("+trainer.limit_val_batches=1", "evaluation.batch_size=4", "trainer.max_epochs=1")
    train(few, tmp_path / "few")
    error = 4 * read_metrics(tmp_path / "few")[0]["val/top1_error"]
    assert error == round(error), "an error among four images"
    with pytest.raises(UserError, match=r"limit_val_batches=0 leaves no validation error"):
        train(tiny("+trainer.limit_val_batches=0"), tmp_path / "none")


def test_a_job_killed_while_it_drops_rows_keeps_the_old_ones(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.csv"
    shutil.copy(trained_run.folder / "metrics.csv", file)
    before = file.read_text().splitlines()
    epochs = Epochs(tmp_path, EpochProgress(8))
    trainer: Any = SimpleNamespace(current_epoch=1, is_global_zero=True)
    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writerow", lambda *_: os.kill(os.getpid(), signal.SIGINT))
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

"""A whole run: what it records, that it repeats, what its arguments change."""

import json
import logging
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from alexnet_exp.hardware import busy_seconds
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.identity import config_hash
from alexnet_exp.runs.read import read_config, read_metrics, read_result
from alexnet_exp.training import callbacks
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train
from tests.conftest import ComposeConfig
from tests.training.test_continued import same


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
    assert result["other_load"] >= 0
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


def test_a_run_of_a_fold_is_tested_on_the_images_of_its_fold(
    tiny: ComposeConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = ("data.folds=2", "seed=3", "data.synthetic_images=60", "trainer.max_epochs=1")
    config = tiny(*given)
    result = train(config, folder)
    store, other = (prepare(replace(config.data, fold=fold)) for fold in (1, 0))
    saved = np.load(folder / "predictions.npz")
    tested = saved["index"][saved["split"] == "test"]
    assert sorted(tested) == store.indices("test").tolist()
    assert sorted([*tested, *other.indices("test")]) == list(range(60))
    assert saved["name"].tolist() == [store.names[index] for index in saved["index"]]
    classifier = Classifier.load(folder)
    np.testing.assert_array_equal(classifier.statistics["mean"].numpy(), store.mean)
    assert not np.array_equal(store.mean, other.mean)
    assert read_config(folder)["data"]["fold"] == 1  # type: ignore[index]
    found = evaluate(folder, [])
    counts = {split: store.counts[split] for split in ("val", "test")}
    assert (found.metrics, found.images) == (result["metrics"], counts)
    for changed in ("data.fold=0", "data.folds=3"):
        with pytest.raises(UserError, match="trained on other images or another split"):
            evaluate(folder, [changed])
    run = RunFolder(folder)
    assert run.result(config) == result
    with pytest.raises(UserError, match=r"data\.fold was 1, is 0"):
        run.result(tiny(*given, "data.fold=0"))


@pytest.mark.parametrize("views", ["ten", "one"])
def test_evaluation_is_the_mean_softmax_over_views(
    trained_run: SimpleNamespace, views: str
) -> None:
    """Corners, center and mirrors of the image less the mean image, cut out by hand."""
    folder, store = trained_run.folder, trained_run.store
    network = AlexNet(trained_run.config.model).eval()
    network.load_state_dict(Classifier.load(folder).network.state_dict())
    pixels = torch.from_numpy(store.images[store.indices("test")]).float()
    centered = (pixels - torch.from_numpy(store.mean)).permute(0, 3, 1, 2)
    places = [(4, 4)] if views == "one" else [(4, 4), (0, 0), (0, 8), (8, 0), (8, 8)]
    cuts = [centered[:, :, y : y + 64, x : x + 64] for y, x in places]
    if views == "ten":
        cuts += [cut.flip(3) for cut in cuts]
    with torch.no_grad():
        expected = torch.stack([network(cut).softmax(1) for cut in cuts]).mean(0).topk(5)
    found = evaluate(folder, [f"evaluation.views={views}", "evaluation.batch_size=50"])
    right = torch.from_numpy(store.labels[store.indices("test")]) == expected.indices[:, 0]
    error = 1 - right.double().mean().item()
    assert found.metrics["test/top1_error"] == pytest.approx(error, abs=1e-7)
    if views == "one":
        return
    for name, recorded in trained_run.result["metrics"].items():  # losses of larger batches
        tolerance = 1e-6 * recorded if name.endswith("loss") else 0
        assert abs(found.metrics[name] - recorded) <= tolerance, name
    saved = np.load(folder / "predictions.npz")
    mine = saved["split"] == "test"
    assert np.array_equal(saved["index"][mine], store.indices("test"))
    recorded = np.take_along_axis(saved["probabilities"], saved["top5"], 1)[mine]
    assert np.allclose(recorded, expected.values.numpy(), atol=1e-6)
    kernels = np.load(folder / "kernels.npy")
    assert kernels.dtype == np.float16
    assert np.array_equal(kernels, network.features.conv1.weight.detach().half().numpy())


def test_same_seed_repeats_from_anywhere_and_another_does_not(
    tiny, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    for place in ("always", "never"):
        folder = tmp_path / place
        train(tiny("trainer.max_epochs=2", f"data.resident={place}"), folder)
        assert same(trained_run.folder, folder, "best.ckpt")
    train(tiny("trainer.max_epochs=1", "seed=1"), tmp_path / "other")
    first, other = (read_metrics(path)[0]["train/loss"] for path in (folder, tmp_path / "other"))
    assert first != other


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
    forward = nn.Conv2d.forward

    def watched(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        maps = forward(self, x)
        for tensor in (maps, self.weight):
            seen.add(tensor.is_contiguous(memory_format=torch.channels_last))
        return maps

    monkeypatch.setattr(nn.Conv2d, "forward", watched)
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
        labels = saved["label"][mine]
        right = saved["top5"][mine] == labels[:, None]
        loss = -np.log(saved["probabilities"][mine][range(len(labels)), labels]).mean()
        assert result["metrics"][f"{split}/loss"] == pytest.approx(loss, rel=1e-6)
        error = 1 - right[:, 0].mean()
        assert result["metrics"][f"{split}/top1_error"] == pytest.approx(error, abs=1e-7)


def test_evaluate_refuses_another_network_and_other_classes(
    trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    for override, message in (
        ("model.activation=tanh", r"holds another network: model\.activation is tanh"),
        ("data.split_seed=1", "another split"),
        ("evaluation.viws=one", "viws"),
        ("data=imagenet", r"^data=\.\.\.: that was chosen in training"),
        ("data.root=[", r"^data\.root=\[: "),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(trained_run.folder, [override])
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"weights": torch.zeros(3)}, foreign)
    with pytest.raises(UserError, match=r"foreign\.ckpt is no checkpoint of alexnet_exp"):
        evaluate(foreign, [])
    with pytest.raises(UserError, match="does not exist"):
        evaluate(tmp_path / "nowhere.ckpt", [])


def test_gradients_of_two_batches_add_up_to_those_of_one(tiny, tmp_path: Path) -> None:
    whole = ("model.dropout=0", "trainer.max_epochs=2", "optim.schedule=cosine")
    halves = (*whole, "data.batch_size=8", "+trainer.accumulate_grad_batches=2")
    for name, way in (("whole", whole), ("halves", halves)):
        assert train(tiny(*way), tmp_path / name)["steps"] == 10
    rows = (read_metrics(tmp_path / name) for name in ("whole", "halves"))
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


@pytest.mark.parametrize("machine", [30, 0.9, math.nan])
def test_load_of_other_processes_is_recorded(machine, tiny, tmp_path, monkeypatch) -> None:
    """Of 30 seconds that the machine's cores were busy in an epoch, one was this run's."""
    times = zip(count(0, machine), count(0, 1), strict=True)
    monkeypatch.setattr(callbacks, "busy_seconds", lambda: next(times))
    result = train(tiny("trainer.max_epochs=2", "trainer.limit_train_batches=2"), tmp_path / "run")
    if machine > 0:
        others = result["other_load"] * result["train_seconds"]
        assert others == pytest.approx(2 * max(0, machine - 1), rel=0.02)
    else:
        assert result["other_load"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else has /proc/stat")
def test_busy_seconds_are_of_all_processes_and_of_this_one() -> None:
    burn = "import time\nwhile time.process_time() < .5: pass"
    before = busy_seconds()
    other = subprocess.Popen([sys.executable, "-c", burn])
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet this one's child
    between = busy_seconds()
    other.wait()
    after = busy_seconds()
    assert between[0] - before[0] > 0.4
    assert between[1] - before[1] < 0.4
    assert after[1] - before[1] > 0.4

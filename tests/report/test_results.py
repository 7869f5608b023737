"""What is read back from run folders, and what is left out."""

import csv
import json
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alexnet_exp.report.figure1 import epochs_to_target
from alexnet_exp.report.findings import Metric
from alexnet_exp.report.results import UnusableRunError, read_run, read_runs, run_folders
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.training.callbacks import Epochs
from alexnet_exp.training.progress import EpochProgress
from tests.report.made_runs import write_run, wrong_images

IMAGES = 40


def read(folder):
    return read_runs(run_folders(folder), lambda: None)


def test_errors_are_by_image_in_store_order(tmp_path, compose_config) -> None:
    wrong, center = wrong_images(0, IMAGES, 0.4), wrong_images(1, IMAGES, 0.5)
    top5 = wrong & wrong_images(2, IMAGES, 0.5)
    run = read_run(
        write_run(tmp_path / "a", compose_config, wrong=wrong, wrong_top5=top5, center=center)
    )
    assert run.index.tolist() == list(range(3, IMAGES + 3))
    assert run.labels.tolist() == [i % 10 for i in range(IMAGES)]
    assert run.wrong[Metric.top1].tolist() == wrong.tolist()
    assert run.wrong[Metric.top5].tolist() == top5.tolist()
    assert run.center_wrong[Metric.top1].tolist() == center.tolist()
    assert not run.center_wrong[Metric.top5].any()
    assert run.train_curve == (0.9, 0.5, 0.2)


def test_fields_are_those_that_bear_on_the_result(tmp_path, compose_config) -> None:
    fields = read_run(
        write_run(tmp_path / "a", compose_config, "logger=tensorboard", wrong=np.ones(9, bool))
    ).fields
    assert fields["optim.lr"] == 0.002
    assert fields["model.conv.conv1.channels"] == 96
    assert not {"seed", "experiment", "config_hash", "data.root", "logger.name"} & fields.keys()


def test_curves_go_by_the_column_of_epochs(tmp_path, compose_config) -> None:
    folder = write_run(
        tmp_path / "a", compose_config, wrong=np.ones(9, bool), train_curve=(0.9, 0.6, 0.4, 0.2)
    )
    file = folder / "metrics.csv"
    heading, first, _, third, last = file.read_text().splitlines()
    again = third.replace("0.4", "0.3")  # of an epoch that was run twice the later row counts
    file.write_text("\n".join([heading, last, third, first, again]) + "\n")
    run = read_run(folder)
    assert run.train_curve == pytest.approx((0.9, np.nan, 0.3, 0.2), nan_ok=True)
    assert run.val_curve == pytest.approx((0.9, np.nan, 0.3, 0.2), nan_ok=True)
    assert epochs_to_target(run) == 4
    file.write_text("\n".join([heading, first.replace("1,", "0,", 1)]) + "\n")
    with pytest.raises(UnusableRunError, match=r"damaged: metrics\.csv .*count from 1"):
        read_run(folder)


def test_a_job_killed_while_it_drops_rows_keeps_the_old_ones(
    tmp_path, compose_config, monkeypatch
) -> None:
    folder = write_run(tmp_path / "a", compose_config, wrong=np.ones(9, bool))
    file = folder / "metrics.csv"
    before = file.read_text()
    epochs = Epochs(RunFolder(folder), 8, EpochProgress.__new__(EpochProgress))
    trainer: Any = SimpleNamespace(current_epoch=2, is_global_zero=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writerows", killed)
        with pytest.raises(KeyboardInterrupt):
            epochs.on_train_start(trainer, None)
    assert file.read_text() == before
    epochs.on_train_start(trainer, None)
    assert file.read_text().splitlines() == before.splitlines()[:3]
    assert not list(folder.glob("*.partial"))


def test_a_folder_may_itself_be_a_run(tmp_path, compose_config) -> None:
    run = write_run(tmp_path / "a", compose_config, wrong=np.ones(9, bool))
    (run / "wandb" / "files").mkdir(parents=True)
    (run / "wandb" / "files" / "config.yaml").write_text("{}")
    assert run_folders(run) == [run]
    assert run_folders(tmp_path) == [run]


def test_the_newer_of_two_runs_of_one_seed_counts(tmp_path, compose_config) -> None:
    wrong = wrong_images(0, IMAGES, 0.4)
    for name, written in (("a", 2000.0), ("b", 1000.0), ("c", 3000.0)):
        write_run(tmp_path / name, compose_config, wrong=wrong, written=written)
    other = write_run(tmp_path / "d", compose_config, "optim.lr=0.1", wrong=wrong, written=1.0)
    found = read(tmp_path)
    assert [run.path for run in found.runs] == [tmp_path / "c", other]
    assert found.skipped == (
        f"{tmp_path / 'b'}: older than {tmp_path / 'a'}, of the same configuration and seed",
        f"{tmp_path / 'a'}: older than {tmp_path / 'c'}, of the same configuration and seed",
    )


def test_unfinished_diverged_and_damaged_runs_are_named(tmp_path, compose_config) -> None:
    wrong = wrong_images(0, IMAGES, 0.4)
    names = (
        "whole", "unfinished", "diverged", "half_result", "other_result", "no_config", "bad_config",
        "half_npz", "text_npz", "empty_npz", "no_npz", "no_column", "other_npz", "no_csv", "list",
    )  # fmt: skip
    run = {name: write_run(tmp_path / name, compose_config, wrong=wrong) for name in names}
    (run["unfinished"] / "result.json").unlink()
    (run["diverged"] / "result.json").unlink()
    (run["diverged"] / "diverged.json").write_text('{"message": "diverged: train loss is nan"}')
    text = (run["half_result"] / "result.json").read_text()
    (run["half_result"] / "result.json").write_text(text[:50])
    (run["other_result"] / "result.json").write_text('{"score": 1}')
    (run["no_config"] / "config.yaml").unlink()
    (run["bad_config"] / "config.yaml").write_text("a: [1,\nb: {")
    whole = (run["half_npz"] / "predictions.npz").read_bytes()
    (run["half_npz"] / "predictions.npz").write_bytes(whole[: len(whole) // 2])
    (run["text_npz"] / "predictions.npz").write_text("not an archive")
    (run["empty_npz"] / "predictions.npz").write_bytes(b"")
    (run["no_npz"] / "predictions.npz").unlink()
    np.savez_compressed(run["no_column"] / "predictions.npz", index=np.arange(3))
    result = json.loads((run["other_npz"] / "result.json").read_text())
    result["metrics"]["test/top1_error"] += 1 / IMAGES
    (run["other_npz"] / "result.json").write_text(json.dumps(result))
    (run["no_csv"] / "metrics.csv").unlink()
    (run["list"] / "environment.json").write_text("[]")

    found = read(tmp_path)
    assert [run.path.name for run in found.runs] == ["whole"]
    reasons = {os.path.basename(s.split(": ")[0]): s.partition(": ")[2] for s in found.skipped}
    assert reasons.keys() == set(names) - {"whole"}
    assert reasons["unfinished"] == "unfinished"
    assert reasons["diverged"] == "diverged: train loss is nan"
    assert reasons["other_result"].startswith("result.json is not of a run: it lacks experiment")
    for name in ("half_npz", "text_npz", "empty_npz", "no_column"):
        assert reasons[name] == "predictions.npz is damaged"
    damaged = {
        "half_result": "result.json", "no_config": "config.yaml", "bad_config": "config.yaml",
        "no_npz": "predictions.npz",
        "no_csv": "metrics.csv", "list": "environment.json", "other_npz": "predictions.npz",
    }  # fmt: skip
    for name, file in damaged.items():
        assert reasons[name].startswith("damaged: ")
        assert file in reasons[name]


def test_five_classes_have_no_top5_error(tmp_path, compose_config) -> None:
    wrong = wrong_images(0, IMAGES, 0.4)
    none = np.zeros_like(wrong)
    folder = write_run(tmp_path / "a", compose_config, wrong=wrong, wrong_top5=none, classes=5)
    run = read_run(folder)
    assert run.classes == 5
    assert not run.wrong[Metric.top5].any()


def test_overrides_are_recorded_or_those_of_the_command(tmp_path, compose_config) -> None:
    wrong = np.ones(9, bool)
    folder = write_run(tmp_path / "a", compose_config, "optim.lr=0.1", wrong=wrong, seed=3)
    assert read_run(folder).overrides == ["optim.lr=0.1", "seed=3"]
    known = json.loads((folder / "environment.json").read_text())
    del known["overrides"]
    known["command"] = ["train.py", "-m", "seed=3", "optim.lr=0.2"]
    (folder / "environment.json").write_text(json.dumps(known))
    assert read_run(folder).overrides == ["seed=3", "optim.lr=0.2"]


@pytest.mark.parametrize("name", ["events.json", "multirun.yaml", "config.yaml"])
def test_other_files_make_no_run(tmp_path, name) -> None:
    (tmp_path / name).write_text("{}")
    assert run_folders(tmp_path) == []

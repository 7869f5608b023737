"""The committed results are what their runs say, and nothing else."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import lightning as L
import numpy as np
import pytest

from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.runs.read import read_environment, run_folders
from alexnet_exp.training.classifier import Classifier

ROOT = Path(__file__).resolve().parents[1]


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(file: Path) -> list[list[str | float]]:
    with file.open(newline="") as opened:
        return [[number(cell) for cell in row] for row in csv.reader(opened)]


def number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def test_every_table_and_figure_is_made_of_the_committed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    script("results/results.py").main(tmp_path)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) > 1
    for path in made:
        committed = ROOT / path.relative_to(tmp_path)
        if path.suffix == ".csv":  # all digits, of which processors round the last otherwise
            assert cells(path) == [pytest.approx(row, rel=1e-9) for row in cells(committed)]
        else:
            assert path.read_text() == committed.read_text(), f"{committed}: run `make results`"


def test_what_is_committed_of_a_run_can_be_passed_on() -> None:
    """No picture, no weights but conv1's, no path of the machine."""
    folders = run_folders(ROOT / "results")
    assert folders
    for folder in folders:
        committed = {path.name for path in folder.iterdir()} - {"checkpoints", "log.txt", ".lock"}
        assert committed <= {
            "config.yaml", "environment.json", "metrics.csv", "predictions.npz", "kernels.npy",
            "result.json", "diverged.json",
        }  # fmt: skip
        words = (read_environment(folder) or {})["command"]
        assert not [word for word in words if word.startswith("/") or "=/" in word], folder


def test_a_planted_change_shuffles_labels_to_train_on(tiny, trained_run, tmp_path: Path) -> None:
    planted = script("results/flowers/planted.py").ShuffledLabels(0.5)
    store, config = trained_run.store, tiny("trainer.max_epochs=1", "seed=3")
    data = StoreDataModule(config, store)
    classifier = Classifier(config, store.classes, store.mean, store.covariance)
    trainer = L.Trainer(
        max_epochs=1, limit_train_batches=1, callbacks=[planted], logger=False,
        accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(classifier, datamodule=data)
    changed = data.store.labels != store.labels
    train = store.indices("train")
    assert 0.25 < changed[train].mean() < 0.5, "a few fall on their own class again"
    assert changed.sum() == changed[train].sum()
    assert np.array_equal(np.sort(data.store.labels[train]), np.sort(store.labels[train]))

"""What a user of Lightning takes home: the network, the module, the data; into a notebook."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from alexnet_exp import AlexNet, Classifier, StoreDataModule, predict
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from tests.training.test_loggers import Kept


def quiet_trainer(logger: Logger | bool = False, **options: Any) -> L.Trainer:
    """A plain one of Lightning's that writes nothing unless it is asked to."""
    return L.Trainer(
        accelerator="cpu", logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def moved(trained_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run in another place; its configuration names a folder of stores that's gone."""
    folder = tmp_path_factory.mktemp("elsewhere") / "run"
    shutil.copytree(trained_run.folder, folder)
    file = folder / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"]["config"]["data"]["stores"] = str(folder.parent / "gone")
    torch.save(content, file)
    return folder


@pytest.fixture(scope="module")
def photos(trained_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images as PNG files in class folders; the names are the rows of the store."""
    folder, store = tmp_path_factory.mktemp("photos"), trained_run.store
    for row in store.indices("test"):
        place = folder / store.classes[store.labels[row]]
        place.mkdir(exist_ok=True)
        Image.fromarray(store.images[np.array([row])][0]).save(place / f"{row}.png")
    return folder


# Checkpoints


def test_a_checkpoint_is_a_classifier(trained_run: SimpleNamespace) -> None:
    best = trained_run.folder / "checkpoints" / "best.ckpt"
    loaded = Classifier.load_from_checkpoint(best)
    store = trained_run.store
    assert isinstance(loaded.network, AlexNet)
    assert loaded.class_names == store.classes
    assert np.array_equal(loaded.statistics["mean"].numpy(), store.mean)
    assert np.array_equal(loaded.statistics["covariance"].numpy(), store.covariance)
    images = torch.randn(4, 3, 64, 64)
    logits = loaded.eval()(images)
    assert logits.shape == (4, 5)
    assert torch.equal(Classifier.load(trained_run.folder)(images), logits)
    assert torch.equal(loaded.probabilities(images), logits.softmax(1))


def test_a_plain_trainer_predicts_probabilities(trained_run: SimpleNamespace) -> None:
    classifier = Classifier.load(trained_run.folder)
    module = StoreDataModule(classifier.config, trained_run.store)
    found = quiet_trainer().predict(classifier, datamodule=module)
    assert found is not None
    saved = np.load(trained_run.folder / "predictions.npz")
    expected = saved["probabilities"][saved["split"] == "test"]
    np.testing.assert_allclose(torch.cat(found).numpy(), expected, atol=1e-6)  # type: ignore[arg-type]


def test_a_run_is_evaluated_without_its_store(moved: Path, trained_run: SimpleNamespace) -> None:
    """It is packed again from the source that the checkpoint names."""
    assert evaluate(moved, progress=False).metrics == trained_run.result["metrics"]
    shutil.rmtree(moved.parent / "gone")


def test_photos_are_predicted_as_the_evaluation_had_them(
    moved: Path, photos: Path, trained_run: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    saved = np.load(trained_run.folder / "predictions.npz")
    one = next(photos.glob("*/*.png"))
    monkeypatch.setattr("sys.argv", ["predict", str(moved), str(one), str(photos), "--json"])
    predict.main()
    found = json.loads(capsys.readouterr().out)
    assert len(found) == len(trained_run.store.indices("test")), "each once"
    for photo in found:
        (known,) = np.flatnonzero(saved["index"] == int(Path(photo["photo"]).stem))
        names = [trained_run.store.classes[label] for label in saved["top5"][known]]
        assert [item["name"] for item in photo["classes"]] == names
        probabilities = [item["probability"] for item in photo["classes"]]
        recorded = saved["probabilities"][known, saved["top5"][known]]
        np.testing.assert_allclose(probabilities, recorded, atol=1e-6)
    assert not (moved.parent / "gone").exists()
    monkeypatch.setattr("sys.argv", ["predict", str(moved), str(one)])
    predict.main()
    assert f"{names[0]} " in capsys.readouterr().out
    with pytest.raises(UserError, match=r"nowhere\.jpg does not exist"):
        predict.predict(moved, [photos / "nowhere.jpg"])
    classifier = Classifier.load(moved, "evaluation.views=one")
    assert torch.equal(classifier.read(str(one)), classifier.read([one]))
    with pytest.raises(UserError, match=r"can't read .*none\.png.*leave it out"):
        classifier.read(photos / "none.png")


def test_other_photos_are_evaluated_by_the_names_of_their_folders(
    moved: Path, photos: Path, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    found = evaluate(moved, ["evaluation.batch_size=40"], photos, progress=False)
    expected = trained_run.result["metrics"]
    for name in ("loss", "top1_error", "top5_error"):
        assert found.metrics[f"photos/{name}"] == pytest.approx(expected[f"test/{name}"])
    assert found.images == {"photos": 25}
    # Two classes of five: labels are the checkpoint's, not positions in the folder.
    for name in ("rose", "tulip"):
        shutil.copytree(photos / name, tmp_path / "two" / name)
    two = evaluate(moved, [], tmp_path / "two", progress=False)
    saved = np.load(trained_run.folder / "predictions.npz")
    names = np.array(trained_run.store.classes)[saved["label"]]
    mine = (saved["split"] == "test") & np.isin(names, ["rose", "tulip"])
    wrong = saved["top5"][mine, 0] != saved["label"][mine]
    assert two.images == {"photos": mine.sum()}
    assert two.metrics["photos/top1_error"] == pytest.approx(wrong.mean(), abs=1e-6)
    (tmp_path / "two" / "tulip").rename(tmp_path / "two" / "cactus")
    with pytest.raises(
        UserError, match="called as no class of the network is: cactus; its classes are dais"
    ):
        evaluate(moved, [], tmp_path / "two", progress=False)
    (tmp_path / "two" / "rose" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "two" / "cactus").rename(tmp_path / "two" / "tulip")
    with pytest.raises(UserError, match=r"can't read .*broken\.png"):
        evaluate(moved, [], tmp_path / "two", progress=False)


# Training under a Trainer of one's own


def test_images_and_labels_of_any_loader_train_a_classifier(compose_config, tmp_path) -> None:
    config = compose_config(
        "model=cifar_small", "model.width=.1", "optim.schedule=cosine", "optim.lr=.01",
        "optim.warmup_steps=3",
    )  # fmt: skip
    images, labels = torch.randn(24, 3, 32, 32), torch.arange(24) % 3
    loader = DataLoader([*zip(images, labels, strict=True)], batch_size=4)
    torch.manual_seed(0)
    classifier, logger = Classifier(config, ["a", "b", "c"]), Kept("here")
    monitor = LearningRateMonitor("step")
    fit = quiet_trainer(logger, max_epochs=2, log_every_n_steps=1, callbacks=[monitor])
    fit.fit(classifier, loader)
    rates = [row["lr-PaperSGD/pg1"] for row in logger.rows if "lr-PaperSGD/pg1" in row]
    expected = [.005 * (1 + math.cos(math.pi * step / 12)) * min(1, (step + 1) / 3)
                for step in range(12)]  # fmt: skip
    assert rates == pytest.approx(expected, rel=1e-12)
    (tested,) = quiet_trainer().test(classifier, loader, verbose=False)
    logits = classifier.eval()(images)
    error = (logits.argmax(1) != labels).float().mean().item()
    assert tested["test/top1_error"] == pytest.approx(error, abs=1e-6)
    fit.save_checkpoint(tmp_path / "small.ckpt")  # with fewer convolutions than the paper's
    for load in (Classifier.load, Classifier.load_from_checkpoint):
        assert torch.equal(load(tmp_path / "small.ckpt").eval()(images), logits)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("own", [True, False])
def test_a_validated_classifier_trains_and_clips(compose_config, precision: Any, own: bool) -> None:
    config = compose_config(
        "model=cifar_small", "model.width=.1", "optim=paper", "optim.lr=1", "optim.weight_decay=0",
        "optim.schedule=constant",
    )  # fmt: skip
    config.optim.clip_norm = 1e-3 if own else None
    clipping = {} if own else {"gradient_clip_val": 1e-3}
    loader = DataLoader([(torch.randn(3, 32, 32), i % 3) for i in range(8)], batch_size=8)
    classifier = Classifier(config, ["a", "b", "c"])
    quiet_trainer(precision=precision).validate(classifier, loader, verbose=False)
    before = nn.utils.parameters_to_vector(classifier.parameters()).double()
    quiet_trainer(max_steps=1, precision=precision, **clipping).fit(classifier, loader, loader)
    moved = nn.utils.parameters_to_vector(classifier.parameters()).double() - before
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_subclass_may_have_an_optimizer_of_its_own(compose_config) -> None:
    class Own(Classifier):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    config = compose_config("model=cifar_small", "model.width=.1", "optim.schedule=plateau")
    loader = DataLoader([(torch.randn(3, 32, 32), i % 3) for i in range(8)], batch_size=8)
    for kind, best in ((Own, None), (Classifier, math.inf)):
        trainer, classifier = quiet_trainer(max_steps=1, limit_val_batches=0), kind(config, "abc")
        trainer.fit(classifier, loader, loader)
        assert trainer.global_step == 1
        assert getattr(classifier.schedule, "best", None) == best, "a sanity check is no epoch"


def test_a_plain_trainer_goes_on_from_a_checkpoint(compose_config, tmp_path: Path) -> None:
    """The schedule's state is Lightning's ``lr_schedulers``."""
    config = compose_config(
        "model=cifar_small", "model.width=.1", "optim.schedule=plateau", "optim.patience=1",
        "optim.drops=1",
    )  # fmt: skip
    torch.manual_seed(0)
    loader = DataLoader([(torch.randn(3, 32, 32), i % 3) for i in range(12)], batch_size=4)
    config.optim.lr = 1e-12  # nothing is learned: the second epoch ends the plateau
    classifier = Classifier(config, ["a", "b", "c"])
    first = quiet_trainer(max_epochs=2)
    first.fit(classifier, loader, loader)
    first.save_checkpoint(tmp_path / "two.ckpt")
    state = torch.load(tmp_path / "two.ckpt", weights_only=True)["lr_schedulers"]
    assert [one["drops"] for one in state] == [1]
    assert state[0]["last_epoch"] == 6
    second = quiet_trainer(max_epochs=9)
    second.fit(Classifier(config, ["a", "b", "c"]), loader, loader, ckpt_path=tmp_path / "two.ckpt")
    assert second.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-13)
    assert second.current_epoch == 3, "the third epoch is no better: the last plateau ends the run"

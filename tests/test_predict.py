"""What is said of photos: as evaluation has it, of files of any kind, and of weights of others."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from alexnet_exp import Classifier, StoreDataModule, prepare
from alexnet_exp import predict as command
from alexnet_exp.console import console
from alexnet_exp.data.sources.imagenet import wnids
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.predict import photo_files, predict, sheet_of
from tests.data.drawn import TURNED, encoded, picture
from tests.test_evaluate import altered


@pytest.fixture(scope="module")
def run(trained_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose network answers otherwise for other photos."""
    return altered(trained_run, tmp_path_factory.mktemp("run") / "seed_0", 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with files of many kinds."""
    root = tmp_path_factory.mktemp("photos")
    deep = (np.arange(90 * 80, dtype=np.uint16).reshape(90, 80) * 9).astype(np.uint16)
    content = {
        "daisy/plain.jpg": encoded(picture(1, (90, 120, 3)), "JPEG"),
        "daisy/lossless.webp": encoded(picture(2, (80, 100, 3)), "WEBP", lossless=True),
        "daisy/turned.jpg": encoded(picture(3, (90, 120, 3)), "JPEG", exif=TURNED),
        "rose/alpha.png": encoded(picture(4, (80, 80, 4))),
        "rose/cmyk.jpg": encoded(Image.fromarray(picture(5, (90, 80, 3))).convert("CMYK"), "JPEG"),
        "rose/plain.tiff": encoded(picture(6, (80, 90, 3)), "TIFF"),
        "rose/deep.tif": encoded(deep, "TIFF"),
        "rose/deep.png": encoded(deep),
    }
    for name, data in content.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    return root


def said(found: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Probabilities by class by the file's name."""
    return {Path(row["photo"]).name: {c["name"]: c["probability"] for c in row["classes"]}
            for row in found}  # fmt: skip


def test_photos_of_any_kind_have_the_probabilities_of_a_packed_store(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    """Predicted from the files, and through packing, by a Trainer of the user's own."""
    found = predict(run, [photos])
    classifier = Classifier.load(run)
    given = {"source": "imagefolder", "name": "imagefolder", "root": str(photos)}
    data = replace(classifier.config.data, **given, stores=str(tmp_path))
    store = prepare(data, progress=False)
    store = replace(store, mean=classifier.statistics["mean"].numpy())
    module = StoreDataModule(replace(classifier.config, data=data), store)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False,
                        enable_model_summary=False)  # fmt: skip
    packed = {}
    for split in ("train", "val", "test"):
        loader = module.evaluation_loader(split, classifier.config.evaluation.views)
        own = torch.cat(trainer.predict(classifier, loader)).numpy()  # type: ignore[arg-type]
        names = [Path(store.names[row]).name for row in module.rows(split)]
        packed |= dict(zip(names, own, strict=True))
    files = photo_files([photos])
    loader = DataLoader(files, batch_size=3, collate_fn=classifier.read)  # type: ignore[arg-type]
    direct = torch.cat(trainer.predict(classifier, loader)).numpy()  # type: ignore[arg-type]
    assert len(found) == len(packed) == len(direct) == 8
    for file, row, own in zip(files, found, direct, strict=True):
        assert row["photo"] == str(file)
        probabilities = {c["name"]: c["probability"] for c in row["classes"]}
        in_order = [probabilities[name] for name in classifier.class_names]
        np.testing.assert_allclose(in_order, packed[file.name], atol=1e-6)
        np.testing.assert_allclose(in_order, own, atol=1e-6)
        best = [c["probability"] for c in row["classes"]]
        assert best == sorted(best, reverse=True)
        assert sum(best) == pytest.approx(1, abs=1e-5)
    assert len({row["classes"][0]["probability"] for row in found}) > 5, "photos that differ"
    tested = evaluate(run, photos=photos, progress=False).outcomes
    for name, best in zip(tested.names, tested.confidence, strict=True):
        assert max(said(found)[Path(name).name].values()) == pytest.approx(float(best), abs=1e-6)


def test_files_folders_and_globs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    odd = photos / "odd[1].png"
    odd.write_bytes((photos / "rose/alpha.png").read_bytes())
    names = [str(path) for path in photo_files(["rose/*.tif*", "odd[1].png", "daisy"])]
    assert names == ["rose/deep.tif", "rose/plain.tiff", "odd[1].png", "daisy/lossless.webp",
                     "daisy/plain.jpg", "daisy/turned.jpg"]  # fmt: skip
    assert len(photo_files(["**/*.png"])) == 3
    assert len(photo_files(["**", "**/*.png"])) == len(photo_files(["."])), "each once"
    odd.unlink()


def test_the_command_prints_a_table_json_and_a_sheet(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(console, "width", 200)
    shutil.copy(photos / "rose/plain.tiff", tmp_path / "own.tiff")
    words = ["evaluation.views=one", str(run), str(photos / "rose/alpha.png"), f"{tmp_path}/*.tiff"]
    monkeypatch.setattr("sys.argv", ["predict", *words, str(photos / "daisy/turned.jpg"), "--json"])
    command.main()
    assert "as in training: 1 photos have one" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["predict", *words, "--json"])
    command.main()
    found = json.loads(capsys.readouterr().out)
    assert [Path(row["photo"]).name for row in found] == ["alpha.png", "own.tiff"]
    classifier = Classifier.load(run, "evaluation.views=one")
    with torch.no_grad():
        probabilities = classifier.probabilities(classifier.read([r["photo"] for r in found]))
    assert found[0]["classes"][0]["probability"] == pytest.approx(float(probabilities[0].max()))
    sheet = tmp_path / "sheet.svg"
    monkeypatch.setattr("sys.argv", ["predict", *words, "--sheet", str(sheet)])
    command.main()
    printed, told = capsys.readouterr()
    lines = [line.split() for line in printed.splitlines()[1:]]
    assert [line[-3:] for line in lines] == [
        [item["name"], f"{100 * item['probability']:.1f}", "%"]
        for row in found
        for item in row["classes"]
    ]
    assert told.endswith(f"written: {sheet}\n")
    figure = sheet_of(found, classifier)
    texts = {text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))}
    assert {"rose", "alpha.png", "own.tiff", "\N{CHECK MARK} rose"} <= texts
    assert "<svg" in sheet.read_text()


def test_weights_of_others_have_the_classes_of_imagenet_or_of_data(
    photos: Path, tmp_path: Path, compose_config: Any
) -> None:
    small = ["model=torchvision", "model.width=.02", "model.fc=[16,16]", "trainer.accelerator=cpu",
             "trainer.precision=32-true", "evaluation.views=one"]  # fmt: skip
    config, file = compose_config(*small, "recipe=paper"), tmp_path / "alexnet.pth"
    theirs = ("features.0", "features.3", "features.6", "features.8", "features.10",
              "classifier.1", "classifier.4", "classifier.6")  # fmt: skip

    def save(classes: int) -> list[str]:
        torch.manual_seed(classes)
        model = replace(config.model, classes=classes, input_channels=3)
        ours = [*AlexNet(model).state_dict().values()]
        keys = [f"{layer}.{part}" for layer in theirs for part in ("weight", "bias")]
        torch.save(dict(zip(keys, ours, strict=True)), file)
        return [*small, f"model.weights={file}"]

    (row,) = predict(None, [photos / "rose/alpha.png"], save(1000))
    from torchvision.models import AlexNet_Weights

    categories = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    classifier = command.trained.for_photos(save(1000))
    assert classifier.class_names == [*wnids()]
    assert classifier.output_names == categories
    assert (categories[0], len(row["classes"])) == ("tench", 5)
    with torch.no_grad():
        probabilities = classifier.probabilities(classifier.read(photos / "rose/alpha.png"))[0]
    assert row["classes"][0]["name"] == categories[int(probabilities.argmax())]
    assert row["classes"][0]["probability"] == pytest.approx(float(probabilities.max()))
    # Photos of some of the classes, in folders called by wnids or by what they mean.
    some = tmp_path / "some"
    for name in ("n02086240", "tench"):
        (some / name).mkdir(parents=True)
        shutil.copy(photos / "rose/alpha.png", some / name)
    found = evaluate((), save(1000), some, progress=False)
    assert found.outcomes.labels.tolist() == [155, 0]
    assert found.class_names == categories
    assert found.learned is None
    np.testing.assert_allclose(found.outcomes.label_probability, probabilities[[155, 0]], rtol=1e-5)
    shutil.rmtree(some)
    two = [*save(2), "data=imagefolder", f"data.root={photos}", f"data.stores={tmp_path}"]
    (row,) = predict(None, [photos / "rose/alpha.png"], [*two, "recipe=paper"])
    assert {item["name"] for item in row["classes"]} == {"daisy", "rose"}
    with pytest.raises(UserError, match="has 2 classes and data=imagenet has 1000: choose other"):
        predict(None, [photos], save(2))
    assert not [path for path in tmp_path.iterdir() if path != file], "nothing is packed"


def test_bad_input_is_one_message_and_no_picture(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "none.jpg").write_bytes(b"nothing")
    cut = (photos / "daisy/plain.jpg").read_bytes()[:900]
    (tmp_path / "cut.jpg").write_bytes(cut)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.ckpt")
    good, sheet = str(photos / "rose/alpha.png"), ["--sheet", str(tmp_path / "sheet.png")]
    for words, message in (
        ([str(run), good, str(tmp_path / "bad")], r"can't read .*none\.jpg: .*: mend it or leave"),
        ([str(run), str(tmp_path / "cut.jpg")], r"can't read .*cut\.jpg: "),
        ([str(run), str(tmp_path / "empty")], "folder .*empty holds no photos"),
        ([str(run), str(tmp_path / "nowhere.jpg")], r"nowhere\.jpg does not exist"),
        ([str(run), f"{tmp_path}/*.webp"], r"\*\.webp matches no file"),
        ([str(run)], "there are no photos to look at"),
        ([str(tmp_path / "foreign.ckpt"), good], "is no checkpoint of alexnet_exp, or damaged"),
        ([str(tmp_path / "empty"), good], r"empty has no checkpoints/best\.ckpt"),
        ([str(run), good, "data.root=["], r"^error: data\.root=\[: "),
        (["model=torchvision", "model.weights=none.pth", good], "none.pth"),
        (["model=torchvision", good, good], "alpha.png is a photo: name a run before it"),
    ):
        monkeypatch.setattr("sys.argv", ["predict", *words, *sheet])
        with pytest.raises(SystemExit) as ended:
            command.main()
        printed, told = capsys.readouterr()
        assert (ended.value.code, printed) == (2, "")
        assert told.count("error: ") == 1
        assert re.search(message, told), told
    monkeypatch.setattr("sys.argv", ["predict", str(run), good, "--sheet", "sheet.pdf"])
    with pytest.raises(SystemExit):
        command.main()
    assert "sheet.pdf: pictures are written as .png or .svg" in capsys.readouterr().err
    assert not list(tmp_path.glob("*sheet*"))

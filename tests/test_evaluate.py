"""Several networks as one: what each errs, what their average does, what can't be averaged."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from alexnet_exp import Classifier
from alexnet_exp import evaluate as command
from alexnet_exp.console import console
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate


@pytest.fixture(scope="module")
def runs(trained_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four run folders whose weights were drawn, so that they answer otherwise."""
    folder = tmp_path_factory.mktemp("several")
    return [altered(trained_run, folder / f"seed_{seed}", seed) for seed in range(4)]


def altered(run: SimpleNamespace, folder: Path, seed: int, **data: Any) -> Path:
    """A run folder with other weights, and fields of ``config.data`` or ``names`` of classes."""
    content = torch.load(run.folder / "checkpoints" / "best.ckpt", weights_only=True)
    generator = torch.Generator().manual_seed(seed)
    for name, weights in content["state_dict"].items():
        weights.zero_()
        if weights.ndim > 1:  # so that what differs between images reaches the output
            scale = 0.02 if "conv1" in name else 1.0  # pixels are of 0 to 255
            weights.normal_(0, scale * (4 / weights[0].numel()) ** 0.5, generator=generator)
    parameters = content["hyper_parameters"]
    parameters["class_names"] = data.pop("names", parameters["class_names"])
    parameters["config"]["evaluation"]["views"] = data.pop("views", "ten")
    parameters["config"]["data"] |= data
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder


def by_hand(runs: list[Path], run: SimpleNamespace) -> tuple[list[np.ndarray], np.ndarray]:
    """Probabilities (I, 5) of test images by each network with the center view; labels (I,)."""
    rows, found = run.store.indices("test"), []
    pixels = torch.from_numpy(run.store.images[rows].astype(np.float32))
    centers = (pixels - torch.from_numpy(run.store.mean))[:, 4:68, 4:68].permute(0, 3, 1, 2)
    for path in runs:
        with torch.no_grad():
            found.append(Classifier.load(path).network(centers).softmax(1).numpy())
    return found, run.store.labels[rows]


def test_networks_are_averaged_by_their_softmax(
    runs: list[Path], trained_run: SimpleNamespace
) -> None:
    found = evaluate(runs, ["evaluation.views=one"], progress=False)
    each, labels = by_hand(runs, trained_run)
    mean = sum(each) / len(each)
    wrong = [own.argmax(1) != labels for own in each]
    average = mean.argmax(1) != labels
    assert len({own.tobytes() for own in wrong}) == 4, "networks that differ"
    assert [one.outcomes.error("top1").estimate for one in found.members] == [
        own.mean() for own in wrong
    ]
    assert found.metrics["test/top1_error"] == average.mean()
    loss = -np.log(mean[np.arange(len(labels)), labels]).mean()
    assert found.metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(found.outcomes.label_probability, mean[range(len(labels)), labels],
                               rtol=1e-4)  # fmt: skip
    assert found.networks == tuple(map(str, runs))
    assert found.images == {split: trained_run.store.counts[split] for split in ("val", "test")}
    difference = np.mean(wrong, 0) - average
    count, gain = len(labels), found.gain("top1")
    assert gain.estimate == pytest.approx(np.mean([own.mean() for own in wrong]) - average.mean())
    half = 2.063898562 * difference.std(ddof=1) / math.sqrt(count)  # Student's t of 24
    assert (count, gain.high - gain.estimate) == (25, pytest.approx(half, rel=1e-6))
    names = trained_run.store.names
    assert found.outcomes.names == [names[row] for row in trained_run.store.indices("test")]
    place = 7
    row = trained_run.store.indices("test")[[place]]
    assert np.array_equal(found.pixels(place), trained_run.store.images[row][0])


def test_the_command_takes_globs_and_prints_each_network_and_their_average(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    pattern = str(runs[0].parent / "seed_[0-2]")
    given = ["evaluate", pattern, "evaluation.views=one"]
    files = [tmp_path / "matrix.svg", tmp_path / "new" / "wrong.png"]
    drawn = ["--confusion", str(files[0]), "--mistakes", str(files[1])]
    monkeypatch.setattr("sys.argv", [*given, "--json", *drawn])
    command.main()
    said, told = capsys.readouterr()
    found = json.loads(said)
    assert told.count("written: ") == 2
    assert "<svg" in files[0].read_text()
    with Image.open(files[1]) as picture:
        assert picture.format == "PNG"
    assert found["networks"] == list(map(str, runs[:3]))
    assert found["classes"] == 5
    assert found["intervals"]["top5_error"] is found["metrics"]["test/top5_error"] is None
    assert [one["network"] for one in found["members"]] == found["networks"]
    assert [one["metrics"]["test/top1_error"] for one in found["members"]] == [
        one["top1_error"]["estimate"] for one in found["members"]
    ]
    assert sum(map(sum, found["confusion"])) == found["images"]["test"] == 25
    errors = [member["top1_error"]["estimate"] for member in found["members"]]
    expected = np.mean(errors) - found["metrics"]["test/top1_error"]
    assert found["gain"]["top1_error"]["estimate"] == pytest.approx(expected)
    error = found["intervals"]["top1_error"]
    assert error["low"] < found["metrics"]["test/top1_error"] == error["estimate"] < error["high"]
    mistakes = [one["probability"] for one in found["mistakes"]]
    assert mistakes == sorted(mistakes, reverse=True)
    assert all(one["label"] != one["predicted"] for one in found["mistakes"])
    assert found["by_class"].keys() == {"daisy", "dandelion", "rose", "sunflower", "tulip"}
    monkeypatch.setattr("sys.argv", given)
    monkeypatch.setattr(console, "width", 200)
    (runs[0] / "config.yaml").touch()  # of a run without its result
    command.main()
    said, told = capsys.readouterr()
    assert told.count("has not finished its training") == 1
    (runs[0] / "config.yaml").unlink()
    assert "the average of 3 networks, 1 view, drawn images" in said
    average = {"average of 3": found["metrics"]["test/top1_error"]}
    for name, error in (dict(zip(found["networks"], errors, strict=True)) | average).items():
        (line,) = [line for line in said.splitlines() if line.startswith(name)]
        assert line.split()[-4:-2] == [f"{100 * error:.1f}", "%"]
    assert f"{100 * found['gain']['top1_error']['estimate']:.1f} points of top-1 error [" in said


def test_one_network_has_no_average(
    trained_run: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate([trained_run.folder], progress=False)
    said = capsys.readouterr().err
    assert "was trained on drawn images, not on photos" in said
    assert "has not finished" not in said
    assert (found.members, found.plain()["gain"], found.plain()["members"]) == ((), None, [])
    assert found.metrics == trained_run.result["metrics"]
    assert found.outcomes.metrics["top1_error"] == found.metrics["test/top1_error"]
    assert found.outcomes.metrics["loss"] == pytest.approx(found.metrics["test/loss"], rel=1e-5)


def test_networks_that_can_not_be_averaged(
    runs: list[Path], trained_run: SimpleNamespace, tiny: Any, tmp_path: Path
) -> None:
    def refused(message: str, *paths: Path, **more: Any) -> None:
        with pytest.raises(UserError, match=message):
            evaluate([runs[0], *paths], progress=False, **more)

    names = [*trained_run.store.classes[:-1], "cactus"]
    other = altered(trained_run, tmp_path / "cactus", 5, names=names)
    refused(r"seed_0 has the classes daisy.*tulip and .*cactus daisy.*sunflower, cactus: ", other)
    folded = [
        altered(trained_run, tmp_path / f"fold_{fold}", 10 + fold, folds=2, fold=fold,
                fingerprint=prepare(tiny("data.folds=2").data, progress=False).meta["fingerprint"])
        for fold in range(2)
    ]  # fmt: skip
    refused("seed_0 is of no fold and .*fold_0 of fold 0 of 2: each learned from test", folded[0])
    with pytest.raises(UserError, match=r"fold_0 is of fold 0 of 2 and .*fold_1 of fold 1 of 2"):
        evaluate(folded, progress=False)
    again = prepare(tiny("data.split_seed=1").data, progress=False).meta["fingerprint"]
    split = altered(trained_run, tmp_path / "split", 7, split_seed=1, fingerprint=again)
    assert evaluate(split, progress=False).images == {"val": 10, "test": 25}
    refused(
        r"of data\.split_seed=0 and .*split of data\.split_seed=1: networks are averaged", split
    )
    refused(f"{runs[0]} is named twice", runs[0].parent / "seed_1" / ".." / "seed_0")
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    refused(f"{runs[0]} and {copy} are one network: name each of an average once", copy)
    center = altered(trained_run, tmp_path / "center", 8, views="one")
    refused(r"are evaluated with other views: set evaluation\.views=ten or one for all", center)
    assert len(evaluate([runs[0], center], ["evaluation.views=one"], progress=False).members) == 2
    # Photos that neither has learned from are for networks of all folds.
    photos = tmp_path / "photos"
    for label, name in enumerate(("rose", "tulip")):
        (photos / name).mkdir(parents=True)
        square = np.full((72, 72, 3), 60 + 90 * label, np.uint8)
        Image.fromarray(square).save(photos / name / "a.png")
    found = evaluate(folded, photos=photos, progress=False)
    assert (len(found.members), found.images) == (2, {"photos": 2})


def test_bad_input_is_said_before_anything_is_evaluated_or_written(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, picture = str(trained_run.folder), str(tmp_path / "a.png")
    (tmp_path / "photos" / "rose").mkdir(parents=True)
    (tmp_path / "photos" / "rose" / "a.png").write_bytes(b"nothing")
    theirs = tmp_path / "theirs.pth"
    torch.save(torchvision.models.alexnet(num_classes=2).state_dict(), theirs)
    for words, message in (
        ([run, "--mistakes", str(tmp_path / "a.jpg")], "a.jpg: pictures are written as"),
        ([run, "--mistakes", picture, "--confusion", picture], "is named for two pictures"),
        ([run, "--photos", f"{tmp_path}/none"], "none does not exist: name a folder with one"),
        (
            ["model=torchvision", f"model.weights={theirs}"],
            "is to be tested on: data=imagenet data.root=<folder>, or --photos <folder>",
        ),
        ([run, "data.image_size=90"], "data.image_size is 90 here and 72 there"),
        ([run, "augmentation.scale=.1"], "augmentation.scale is 0.1 here and"),
        ([run, "~recipe"], "~recipe: values of a recorded configuration can be changed"),
        (["runs/seed=*"], "seed=* matches no file"),
        ([f"{tmp_path}/seed_*"], "seed_* matches no file: name one that is there"),
        ([run, f"{tmp_path}/nowhere"], "nowhere does not exist"),
        ([run, run], "is named twice"),
        ([run, "model.weights=a.pth"], "evaluate one of the two, leave out the other"),
        (
            [str(trained_run.folder.parent)],
            "trained0 is no run, it holds 1: name one of them, such",
        ),
        ([], "there is nothing to evaluate: name a run, or model.weights=<file>"),
        ([run, "--photos", str(tmp_path / "photos"), "--mistakes", picture], "a.png: not an image"),
        ([run, "--photos", str(tmp_path / "none"), "--confusion", picture], "none does not exist"),
        ([run, str(tmp_path / "photos"), "--confusion", picture], "checkpoint"),
    ):
        monkeypatch.setattr("sys.argv", ["evaluate", *words])
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2
        assert said[-1].startswith("error: ")
        assert message in said[-1]
    theirs.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


def test_no_mistakes_are_no_picture(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """All else is shown; the photos are those that the network knows."""
    saved = np.load(trained_run.folder / "predictions.npz")
    right = np.flatnonzero(saved["top5"][:, 0] == saved["label"])[:3]
    for place in right:
        name = trained_run.store.classes[saved["label"][place]]
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        pixels = trained_run.store.images[saved["index"][[place]]][0]
        Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{place}.png")
    words = ["--photos", str(tmp_path / "photos"), "--mistakes", str(tmp_path / "a.png")]
    monkeypatch.setattr("sys.argv", ["evaluate", str(trained_run.folder), *words])
    command.main()
    said, told = capsys.readouterr()
    assert "a.png is not written: there are no mistakes" in told
    assert "0.0 %" in said
    assert not (tmp_path / "a.png").exists()
    shutil.rmtree(tmp_path / "photos")

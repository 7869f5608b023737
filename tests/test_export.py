"""What is exported gives, in others' programs, the probabilities that evaluation had."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from alexnet_exp import AlexNet, Classifier, StoreDataModule
from alexnet_exp.config import Config
from alexnet_exp.config.model import InitConfig, InitScheme
from alexnet_exp.config.training import Views
from alexnet_exp.data.photos import read_photo
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from alexnet_exp.export import __main__, programs, tensors
from alexnet_exp.export.formats import export
from alexnet_exp.export.portable import Trained
from alexnet_exp.network.pretrained import MEAN, STD, read_weights
from tests.conftest import ComposeConfig
from tests.test_doors import quiet_trainer

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay"]


def run_onnx(file: Path, pixels: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"pixels": pixels.numpy()})[0]


def run_torch(file: Path, pixels: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.export.load(file).module()(pixels).numpy()


def squares(config: Config, count: int = 5) -> torch.Tensor:
    """Coarse noise of the size of packed images: (N, C, S, S) uint8."""
    side, channels = config.data.image_size, config.data.channels
    coarse = np.random.default_rng(1).integers(0, 256, (count, channels, 9, 9))
    wide = torch.from_numpy(coarse).float()
    return torch.nn.functional.interpolate(wide, (side, side), mode="bilinear").byte()


def untrained(compose_config: ComposeConfig, *overrides: str) -> Trained:
    """A network with first weights of which every probability depends on the image."""
    config = compose_config(
        "trainer.precision=32-true", "trainer.channels_last=false", "speed.kernels=false",
        "model.init.scheme=he", *overrides,
    )  # fmt: skip
    channels, side = config.data.channels, config.data.image_size
    mean = np.random.default_rng(0).uniform(80, 150, (side, side, channels)).astype(np.float32)
    torch.manual_seed(0)
    classifier = Classifier(config, CLASSES, mean, np.eye(channels)).eval()
    temper(classifier, squares(config))
    return Trained(classifier, config, Path())


def temper(classifier: Classifier, pixels: torch.Tensor) -> None:
    """Have the logits of each class spread by 1 around 0 over images (N, C, S, S) uint8."""
    views = classifier.augmentation.views(pixels.permute(0, 2, 3, 1), Views.one)
    with torch.no_grad():
        (*_, output) = (one for one in classifier.modules() if isinstance(one, torch.nn.Linear))
        logits = classifier(views) - output.bias
        spread = logits.std(0, keepdim=True)
        output.weight /= spread.T
        output.bias.copy_(-(logits / spread).mean(0))


@pytest.fixture(scope="module")
def telling(trained_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run with weights of which its answers depend on the image."""
    folder = tmp_path_factory.mktemp("telling") / "run"
    shutil.copytree(trained_run.folder, folder)
    file = folder / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    classifier = Classifier.load(folder)
    torch.manual_seed(0)
    he = replace(classifier.config.model, init=InitConfig(scheme=InitScheme.he, bias=0.0))
    classifier.network.load_state_dict(AlexNet(he).state_dict())
    store = trained_run.store
    pixels = torch.from_numpy(store.images[store.indices("train")]).permute(0, 3, 1, 2)
    temper(classifier, pixels)
    torch.save(content | {"state_dict": classifier.state_dict()}, file)
    return folder


def expected(trained: Trained, pixels: torch.Tensor) -> np.ndarray:
    """By the views of evaluation."""
    classifier = trained.classifier
    views = classifier.augmentation.views(
        pixels.permute(0, 2, 3, 1), trained.config.evaluation.views
    )
    with torch.no_grad():
        return classifier.probabilities(views).numpy()


# Programs


@pytest.mark.parametrize(("ending", "run"), [(".onnx", run_onnx), (".pt2", run_torch)])
def test_raw_pixels_have_the_probabilities_of_the_evaluation(
    telling: Path, trained_run: SimpleNamespace, tmp_path: Path, ending: str, run
) -> None:
    """Of the drawn test images, by ten views, as a Trainer evaluates them."""
    said = export(telling, tmp_path / f"ten{ending}")
    assert "pixels (N, 3, 72, 72) uint8 to probabilities (N, 5) float32, the mean of 10" in said
    classifier, store = Classifier.load(telling), trained_run.store
    predicted = quiet_trainer().predict(
        classifier, datamodule=StoreDataModule(classifier.config, store)
    )
    right = torch.cat(predicted).numpy()
    assert right.std(0).max() > 0.05, "or else they would be equal whatever is done"
    pixels = torch.from_numpy(store.images[store.indices("test")]).permute(0, 3, 1, 2).contiguous()
    found = run(tmp_path / f"ten{ending}", pixels)
    np.testing.assert_allclose(found, right, atol=1e-5)
    for size in (1, 7):
        some = run(tmp_path / f"ten{ending}", pixels[:size])
        np.testing.assert_allclose(some, found[:size], atol=1e-6)


def test_photos_are_given_as_packing_makes_them(
    telling: Path, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    export(telling, tmp_path / "one.onnx", "evaluation.views=one")
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((300, 200), Image.Resampling.BILINEAR)
    photo.save(tmp_path / "photo.jpg")
    classifier = Classifier.load(telling, "evaluation.views=one")
    with torch.no_grad():
        right = classifier.probabilities(classifier.read(tmp_path / "photo.jpg")).numpy()
    pixels = read_photo(tmp_path / "photo.jpg", classifier.config.data)
    given = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].contiguous()
    np.testing.assert_allclose(run_onnx(tmp_path / "one.onnx", given), right, atol=1e-5)
    metadata = onnxruntime.InferenceSession(tmp_path / "one.onnx").get_modelmeta()
    assert metadata.custom_metadata_map["views"] == "one"
    assert json.loads(metadata.custom_metadata_map["classes"]) == trained_run.store.classes


SMALL = ("model.width=0.06", "model.input_size=80", "data.image_size=90")
OTHERS = [
    [*SMALL, "model=original", "evaluation.views=one"],
    ["data=fashion_mnist", "model=d2l", "model.width=0.06", "data.upscale_to=80",
     "model.input_size=80"],
    ["data=cifar10", "model=cifar_local_lrn", "model.width=0.3"],
    [*SMALL, "model.sees_both_towers=[conv3]", "model.normalization=batch"],
]  # fmt: skip
MORE = [
    [*SMALL, "model=torchvision", "model.width=0.3"],
    [*SMALL, "model=caffenet"],
    ["data=cifar10", "model=cifar_small", "model.width=0.3"],
    [*SMALL, "model.activation=tanh", "augmentation.mean_image=false", "augmentation.scale=.1"],
]


@pytest.mark.parametrize(
    "overrides",
    [*OTHERS, *(pytest.param(one, marks=pytest.mark.long) for one in MORE)],
    ids=lambda overrides: " ".join(overrides[-3:]),
)
def test_every_kind_of_network_is_written(
    compose_config: ComposeConfig, tmp_path: Path, overrides: list[str]
) -> None:
    trained = untrained(compose_config, *overrides)
    pixels = squares(trained.config)
    right = expected(trained, pixels)
    assert right.std(0).max() > 0.01, "or else they would be equal whatever is done"
    programs.write_onnx(trained, tmp_path / "a.onnx")
    # onnxruntime approximates tanh: 4e-6 to 1.6e-5, by scale and number of threads.
    apart = 5e-5 if "model.activation=tanh" in overrides else 1e-5
    np.testing.assert_allclose(run_onnx(tmp_path / "a.onnx", pixels), right, atol=apart)
    programs.write_torch(trained, tmp_path / "a.pt2")
    np.testing.assert_allclose(run_torch(tmp_path / "a.pt2", pixels), right, atol=1e-5)


# Weights


def test_safetensors_are_read_back(trained_run: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    export(trained_run.folder, file, "evaluation.views=one")
    loaded = Classifier.load(file)
    own = Classifier.load(trained_run.folder)
    assert loaded.class_names == own.class_names
    assert loaded.config.evaluation.views == "one"
    assert loaded.config.model == own.config.model
    for name, tensor in own.statistics.items():
        assert torch.equal(loaded.statistics[name], tensor)
    images = torch.randn(4, 3, 64, 64)
    assert torch.equal(loaded(images), own(images))
    with safe_open(file, framework="pt") as opened:
        weight = opened.get_tensor("network.features.conv1.weight")
        said = json.dumps(opened.metadata())
    assert torch.equal(weight, own.network.features.conv1.weight)
    assert str(trained_run.config.data.stores) not in said, "where it was trained is nobody's"
    file.write_bytes(file.read_bytes()[:-9])
    save_file({"a": torch.zeros(1)}, tmp_path / "others.safetensors")
    for broken in (file, tmp_path / "others.safetensors"):
        with pytest.raises(UserError, match=rf"{broken.name} is no checkpoint of alexnet_exp"):
            Classifier.load(broken)


def test_a_card_has_no_errors_of_another_run(trained_run: SimpleNamespace, tmp_path: Path) -> None:
    export(trained_run.folder, tmp_path / "one", "evaluation.views=one")
    (tmp_path / "runs").mkdir()
    for name in ("result.json", "config.yaml"):
        shutil.copy(trained_run.folder / name, tmp_path / name)
    shutil.copy(trained_run.folder / "checkpoints" / "best.ckpt", tmp_path / "runs")
    export(tmp_path / "runs" / "best.ckpt", tmp_path / "two")
    error = f"{100 * trained_run.result['metrics']['test/top1_error']:.1f} %"
    one, two = ((tmp_path / card / "README.md").read_text() for card in ("one", "two"))
    assert error in one
    assert "With the mean of ten views" in one
    assert error not in two
    assert "None were recorded" in two


def test_folder_has_a_card_with_the_measured_errors(
    trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "card"
    export(trained_run.folder, folder)
    assert {file.name for file in folder.iterdir()} == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip
    metrics, images = trained_run.result["metrics"], trained_run.result["images"]
    text = (folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    for split in ("val", "test"):
        error = f"{100 * metrics[f'{split}/top1_error']:.1f} %"
        assert f"| {split} | {images[split]} | {error} | n/a with 5 classes |" in body
    assert "With the mean of ten views, in 32-true." in body
    assert "drawn by the program" in body
    assert "0. `daisy`" in body
    (model,) = yaml.safe_load(head)["model-index"]
    assert model["results"][0]["dataset"]["name"] == "drawn images"
    accuracy = model["results"][0]["metrics"][0]
    assert accuracy["value"] == pytest.approx(1 - metrics["test/top1_error"], abs=1e-6)
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"]["4"] == "tulip"
    assert config["label2id"]["tulip"] == 4
    assert (config["num_channels"], config["image_size"]) == (3, 64)
    # Its own snippet, and every command, take the folder for a run.
    stores = f"data.stores={trained_run.config.data.stores}"
    assert evaluate(folder, [stores], progress=False).metrics == pytest.approx(metrics)
    lone = tmp_path / "some.ckpt"
    shutil.copy(trained_run.folder / "checkpoints" / "best.ckpt", lone)
    export(lone, tmp_path / "lone")
    assert "None were recorded with this checkpoint" in (tmp_path / "lone/README.md").read_text()
    # Of a run that was stopped; and only a card asks for what its run recorded.
    stopped = shutil.copytree(trained_run.folder, tmp_path / "stopped")
    (stopped / "result.json").write_text("{")
    export(stopped, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        export(stopped, tmp_path / "damaged")
    (stopped / "result.json").unlink()
    export(stopped, tmp_path / "early")
    assert "Its training has not finished" in (tmp_path / "early/README.md").read_text()
    assert "not finished" not in text


def torchvisions(compose_config: ComposeConfig, *overrides: str) -> Trained:
    return untrained(
        compose_config, "model=torchvision", "model.input_size=64", "data.image_size=72",
        "model.init.scheme=torch", *overrides,
    )  # fmt: skip


def test_state_dict_is_torchvisions(compose_config: ComposeConfig, tmp_path: Path) -> None:
    trained, file = torchvisions(compose_config, "evaluation.views=one"), tmp_path / "a.pth"
    said = tensors.write_torchvision(trained, file)
    assert "alexnet(num_classes=10); inputs (pixels / 255 - the mean image in a.mean.pth)" in said
    theirs = torchvision.models.alexnet(num_classes=10).eval()
    theirs.load_state_dict(torch.load(file))
    pixels, mean = squares(trained.config), torch.load(tmp_path / "a.mean.pth")
    assert mean.shape == (3, 72, 72)
    inputs = (pixels / 255 - mean) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        found = theirs(inputs[:, :, 4:68, 4:68]).softmax(1).numpy()
    np.testing.assert_allclose(found, expected(trained, pixels), atol=1e-5)


def test_weights_of_torchvision_come_back_as_they_were(
    compose_config: ComposeConfig, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    given = torchvision.models.alexnet(num_classes=10).state_dict()
    torch.save(given, tmp_path / "theirs.pth")
    trained = torchvisions(compose_config, f"model.weights={tmp_path / 'theirs.pth'}")
    trained.classifier.start_from(read_weights(trained.config.model))
    said = tensors.write_torchvision(trained, tmp_path / "ours.pth")
    assert f"({', '.join(f'{m:g}' for m in MEAN)})" in said
    found = torch.load(tmp_path / "ours.pth")
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-9)
    assert not (tmp_path / "ours.mean.pth").exists()


# What can't be written


def test_network_that_is_not_torchvisions_is_told_by_what(
    trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"differs by model\.adaptive_pool, model\.conv, .*towers"):
        export(trained_run.folder, tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_half_written_or_overwritten(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, taken = trained_run.folder, tmp_path / "taken.pt2"
    monkeypatch.setattr(programs, "MOST_APART", -1.0)
    with pytest.raises(RuntimeError, match="gives probabilities that are"):
        export(run, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []
    taken.write_text("mine")
    with pytest.raises(UserError, match=r"taken\.pt2 exists already: remove it"):
        export(run, taken)
    with pytest.raises(UserError, match="exists already"):
        export(run, tmp_path / "..")
    assert taken.read_text() == "mine"
    with pytest.raises(UserError, match=r"can't write /proc/none/a\.safetensors"):
        export(run, Path("/proc/none/a.safetensors"))
    (tmp_path / "b.mean.pth").write_text("mine")

    def beside(trained: Trained, file: Path) -> str:
        file.with_suffix(".mean.pth").write_text("another")
        file.write_text("weights")
        return ""

    monkeypatch.setattr(tensors, "write_torchvision", beside)
    with pytest.raises(UserError, match=r"b\.mean\.pth exists already"):
        export(run, tmp_path / "b.pth")
    assert (tmp_path / "b.mean.pth").read_text() == "mine"
    (tmp_path / "b.mean.pth").unlink()
    monkeypatch.setattr(programs, "_PROTOBUF_BYTES", 1)
    with pytest.raises(UserError, match=r"a\.onnx: an ONNX file holds 2 GiB at most"):
        export(run, tmp_path / "a.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["taken.pt2"]


@pytest.mark.parametrize(
    ("output", "library"),
    [("a.onnx", "onnx"), ("a.onnx", "onnxscript"), ("a.safetensors", "safetensors"),
     ("card", "safetensors")],
)  # fmt: skip
def test_missing_library_is_named_with_its_extra(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch, output: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"{output} needs the library {library} .*\[export\]'"):
        export(trained_run.folder, tmp_path / output)


def test_mistakes_on_the_command_line(
    trained_run: SimpleNamespace, tmp_path: Path, monkeypatch, capsys
) -> None:
    def main(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["export", *words])
        try:
            __main__.main()
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().out

    run, output = str(trained_run.folder), str(tmp_path / "a.safetensors")
    assert main(run, str(tmp_path / "a.h5"))[0] == 2
    code, said = main(run, str(tmp_path / "a.h5"))
    assert "no format for this ending; choose from .onnx, .pt2, .safetensors, .pth" in said
    code, said = main(run, "evaluation.views=one")
    assert (code, "name an OUTPUT" in said) == (2, True)
    code, said = main(str(tmp_path), output)
    assert (code, "has no checkpoints/best.ckpt" in said) == (2, True)
    code, said = main(run, output, str(tmp_path / "card"), "evaluation.views=one")
    assert code == 0
    assert len(said.splitlines()) == 2
    assert "weights, mean image, configuration" in said

"""Runs that start from weights, and evaluation of weights that no run holds."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet_exp import evaluate as command
from alexnet_exp.config import Config
from alexnet_exp.errors import UserError
from alexnet_exp.evaluate import evaluate
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.pretrained import load_weights, read_weights
from alexnet_exp.runs.identity import config_hash
from alexnet_exp.training.checkpoint import load_checkpoint
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train

SHIFT = 60.0
OWN = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=120", "data.batch_size=16", "trainer.precision=32-true",
    "trainer.accelerator=cpu", "trainer.progress=false",
)  # fmt: skip


@pytest.fixture
def start(trained_run: SimpleNamespace, tmp_path: Path) -> Path:
    """A checkpoint whose mean image is not that of the data."""
    content = torch.load(trained_run.folder / "checkpoints" / "best.ckpt", weights_only=True)
    content["statistics"]["mean"] += SHIFT
    torch.save(content, tmp_path / "start.ckpt")
    return tmp_path / "start.ckpt"


def test_a_run_needs_the_weights_it_starts_from_once(
    tiny, start: Path, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    given = (f"model.weights={start}", "+experiment=finetune", "optim.layers.fc8.lr=0",
             "optim.layers.fc8.bias_lr=0", "trainer.keep_last_checkpoint=true")  # fmt: skip
    folder, ones = tmp_path / "run", ("optim.lr=1e-9", "trainer.max_epochs=1")
    config = tiny(*given, *ones)
    result = train(config, folder)
    began, ended = (load_checkpoint(path) for path in (start, folder))
    for name, value in ended["state_dict"].items():
        torch.testing.assert_close(value, began["state_dict"][name], rtol=0, atol=1e-7)
        assert torch.equal(value, began["state_dict"][name]) or "fc8" not in name
    mean = torch.from_numpy(np.array(trained_run.store.mean)) + SHIFT
    assert torch.equal(ended["statistics"]["mean"], mean)
    moved = shutil.copy(start, tmp_path / "moved.ckpt")
    start.unlink()
    assert evaluate(folder, progress=False).metrics == result["metrics"]
    again = tiny(*given, *ones)
    assert train(again, folder) == result, "finished"
    assert config_hash(again) == config_hash(config) == result["config_hash"]
    further = train(tiny(*given, ones[0], "trainer.max_epochs=2"), folder)
    assert further["epochs"] == 2
    assert torch.equal(Classifier.load(folder).statistics["mean"], mean)
    elsewhere = tiny(*given, ones[0], "trainer.max_epochs=2", f"model.weights={moved}")
    assert train(elsewhere, folder) == further, "the same content at another path"
    other = tiny(*given, ones[0], "trainer.max_epochs=2", f"model.weights={trained_run.folder}")
    with pytest.raises(UserError, match=r"model\.weights_digest was \w{16}, is \w{16}"):
        train(other, folder)
    with pytest.raises(UserError, match=r"start\.ckpt does not exist"):
        train(tiny(*given, *ones), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"leave out the other"):
        evaluate(folder, [f"model.weights={moved}"])


def test_classes_of_other_names_start_anew(
    compose_config, start: Path, trained_run: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(start, weights_only=True)
    content["hyper_parameters"]["class_names"][0] = "another"
    torch.save(content, start)
    config = compose_config(*OWN, f"data.stores={trained_run.config.data.stores}")
    config.model = replace(config.model, weights=str(start), classes=5, input_channels=3)
    network = AlexNet(config.model)
    drawn = {name: value.clone() for name, value in network.state_dict().items()}
    _, lines = load_weights(network, read_weights(config.model), config, trained_run.store.classes)
    assert lines[1] == "weights: fc8 starts anew: 5 classes there, 5 here, of other names"
    same = {n: torch.equal(v, drawn[n]) for n, v in network.state_dict().items() if "weight" in n}
    assert [name for name in same if same[name]] == ["classifier.fc8.weight"]
    given = [*OWN, f"data.stores={trained_run.config.data.stores}", f"model.weights={start}"]
    with pytest.raises(UserError, match=r"5 classes and data=synthetic has 5 of other names: choo"):
        evaluate((), given, progress=False)


def test_weights_stand_for_pixels_of_any_scale(
    compose_config, start: Path, trained_run: SimpleNamespace
) -> None:
    pixels = 100 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = []
    for scale in (1.0, 0.25):
        config = compose_config(*OWN, f"augmentation.scale={scale}")
        config.model = replace(config.model, weights=str(start), classes=5, input_channels=3)
        network = AlexNet(config.model).eval()
        load_weights(network, read_weights(config.model), config, trained_run.store.classes)
        found.append(network(scale * pixels))
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


def test_own_weights_say_what_to_set(tiny, trained_run: SimpleNamespace, tmp_path: Path) -> None:
    for other in ("model.activation=tanh", "model.fc=[320,160]"):
        name = other.partition("=")[0]
        ours = trained_run.config.model.activation if "act" in name else [320, 320]
        way_out = f": set {shlex.join([f'{name}={ours}'])}"
        with pytest.raises(UserError, match=re.escape(way_out)):
            train(tiny(f"model.weights={trained_run.folder}", other), tmp_path / "run")
    with pytest.raises(UserError, match=r": set model=paper$"):
        train(tiny(f"model.weights={trained_run.folder}", "model=caffenet"), tmp_path / "run")


def test_dropout_is_a_part_of_a_used_network_that_scales_by_it(
    tiny, trained_run: SimpleNamespace, tmp_path: Path
) -> None:
    given = f"model.weights={trained_run.folder}"
    for other in ("model.dropout=0", "model.dropout_after=[fc6]", "model.dropout_scaling=train"):
        with pytest.raises(UserError, match=f"otherwise than this one, by {other.split('=')[0]}:"):
            train(tiny(given, other), tmp_path / "run")


def test_a_checkpoint_that_does_not_say_how_dropout_scaled_is_asked(
    start: Path, trained_run: SimpleNamespace
) -> None:
    content = torch.load(start, weights_only=True)
    del content["hyper_parameters"]["config"]["model"]["dropout_scaling"]
    torch.save(content, start)
    for load in (Classifier.load, Classifier.load_from_checkpoint):
        with pytest.raises(UserError, match=r"does not say model\.dropout_scaling: .*'model\.drop"):
            load(start)
    told = Classifier.load(start, "model.dropout_scaling=train")
    assert told.config.model.dropout_scaling == "train"


def test_weights_alone_are_evaluated(
    trained_run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: Config = trained_run.config
    own = [*OWN, f"data.stores={config.data.stores}", f"model.weights={trained_run.folder}"]
    found = evaluate((), own, progress=False)
    assert found.metrics == trained_run.result["metrics"]
    with pytest.raises(UserError, match="there is nothing to evaluate: name a"):
        evaluate((), own[:-1], progress=False)
    given, run = [], str(trained_run.folder)
    monkeypatch.setattr(command, "evaluate", lambda *arguments: given.append(arguments) or found)
    for words in (["model=torchvision", "model.weights=a.pth"], [run, "data.root=b"]):
        monkeypatch.setattr("sys.argv", ["evaluate", *words, "--json", "--photos", "c"])
        command.main()
    assert given == [
        ([], ["model=torchvision", "model.weights=a.pth"], Path("c"), False),
        ([Path(run)], ["data.root=b"], Path("c"), False),
    ]

"""The layers of a network: against torch's own counter, and under every kind of command line."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from alexnet_exp import summary
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.presets import preset
from alexnet_exp.summary import summarize
from tests.network.conftest import images
from tests.network.test_alexnet import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_figures_are_those_of_the_network_that_is_built(name: str) -> None:
    """Multiply-adds as torch counts them, sizes of outputs as hooks see them."""
    config = preset(name, width=0.06)
    network, seen = AlexNet(config).eval(), {}
    for path, module in network.named_modules():
        layer = path.rpartition(".")[2]
        module.register_forward_hook(lambda _, __, out, layer=layer: seen.update({layer: out}))
    with FlopCounterMode(display=False) as counter:
        network(images(config))
    words = f"model={name}", "model.width=0.06", "model.classes=1000", "trainer.precision=32-true"
    found = summarize(*words, "~recipe")
    assert counter.get_total_flops() == 2 * found["multiply_adds"]
    assert found["parameters"] == sum(p.numel() for p in network.parameters())
    for layer in found["layers"]:
        out = seen[layer["name"]][0]
        assert layer["output"] == list(out.shape)
        assert layer["activation_bytes"] == out.nbytes
    parts = "parameters", "multiply_adds", "neurons", "activation_bytes"
    assert all(found[part] == sum(layer[part] for layer in found["layers"]) for part in parts)


def test_paper_has_60_million_parameters_and_650_000_neurons() -> None:
    """By section 3.5's own list of neurons, of which the first does not fit 55 x 55."""
    found = summarize("trainer.precision=32-true")
    neurons = [layer["neurons"] for layer in found["layers"] if layer["neurons"]]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert (found["parameters"], found["neurons"]) == (60_965_224, 659_272)
    assert found["paper"] == {"parameters": 60_000_000, "neurons": 650_000}
    half = summarize("trainer.precision=bf16-mixed", "data.batch_size=7")
    assert 2 * half["activation_bytes"] == found["activation_bytes"]
    assert half["batch_size"] == 7


def test_every_override_is_followed(tmp_path: Path) -> None:
    given = "+experiment=[one_gpu,no_lrn]", "data.channels=1", "model.input_size=127"
    found = summarize(*given, "model.classes=7")
    assert found["input"] == [1, 127, 127]
    assert found["layers"][-1]["output"] == [7]
    assert found["layers"][0]["output"][0] == 48
    assert not [layer for layer in found["layers"] if layer["kind"] == "norm"]
    own = tmp_path / "experiment"
    own.mkdir()
    (own / "wide.yaml").write_text("# @package _global_\nmodel: {fc: [64, 32]}\n")
    words = f"hydra.searchpath=[file://{tmp_path}]", "+experiment=wide"
    assert [layer["output"] for layer in summarize(*words)["layers"][-3:]] == [[64], [32], [1000]]


def test_classes_are_those_of_the_data(
    tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny().data
    prepare(data, progress=False)
    words = [f"data.{name}={getattr(data, name)}" for name in ("stores", "image_size")]
    words.append("data.synthetic_images=120")
    assert summarize(*words, "data=synthetic")["classes"] == 5
    assert capsys.readouterr().err == ""
    assert summarize(*words)["classes"] == 1000
    assert "as no data= is named" in capsys.readouterr().err
    assert summarize(*words, "data=cifar10", "model=cifar_small")["classes"] == 10
    assert summarize("+experiment=d2l")["classes"] == 10
    for name in ("rose", "tulip", "oak"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    assert summarize("data=imagefolder", f"data.root={tmp_path}")["classes"] == 3
    assert capsys.readouterr().err == ""
    assert summarize(*words, "data=imagenet")["classes"] == 1000
    assert "data=imagenet is not packed yet: model.classes=" in capsys.readouterr().err


def test_a_run_is_its_own_network(trained_run: SimpleNamespace, tmp_path: Path) -> None:
    """By its checkpoint, and where that is gone by its configuration."""
    folder = tmp_path / "run"
    shutil.copytree(trained_run.folder, folder)
    checkpoint = folder / "checkpoints" / "best.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"].values()
    found = summarize(str(checkpoint))
    assert found["parameters"] == sum(weight.numel() for weight in weights)
    assert (found["classes"], found["precision"]) == (5, "32-true")
    assert summarize(str(checkpoint), "model.classes=9")["layers"][-1]["output"] == [9]
    checkpoint.unlink()
    assert summarize(str(folder)) == found
    with pytest.raises(UserError, match="is no run, it holds 1: name one of them"):
        summarize(str(tmp_path))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UserError, match="the least size for model=paper is 64"):
        summarize("model.input_size=20")
    with pytest.raises(UserError, match="one and other: name one run"):
        summarize("one", "other", "model.width=1")
    with pytest.raises(UserError, match="did you mean dropout"):
        summarize("model.droput=1")


def test_the_table_has_every_layer_and_the_papers_totals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["summary", "model=torchvision", "trainer.precision=32-true"]
    monkeypatch.setattr("sys.argv", words)
    summary.main()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [line.split() for line in lines]
    assert ["conv2", "192", "x", "27", "x", "27", "1", "307,392", "223.9", "546.8"] in cells
    assert ["parameters", "61,100,840", "60,000,000"] in cells
    assert ["neurons", "494,184", "650,000"] in cells
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    summary.main()
    assert json.loads(capsys.readouterr().out) == summarize(*words[1:])

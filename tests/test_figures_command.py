"""``python -m alexnet_exp.figures``: what it writes, and what it says to mistakes."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib.figure
import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_exp import figures
from alexnet_exp.errors import UserError
from alexnet_exp.figures import KINDS, Figures, named
from alexnet_exp.network.first_layer import colorfulness
from alexnet_exp.training.fit import train

FILES = [
    "activations",
    "kernels",
    "map",
    "neighbors-cosine",
    "neighbors-euclidean",
    "photos",
    "regions",
]


@pytest.fixture
def run(trained_run: SimpleNamespace, tmp_path: Path) -> Path:
    """A copy of the finished run, without its figures."""
    return shutil.copytree(trained_run.folder, tmp_path / "run")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``command(*words)``: exit code, and what is written on stdout and on stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["figures", *map(str, words)])
        code = 0
        try:
            figures.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def change_config(run: Path, **data: object) -> None:
    """Of the data that the checkpoint names."""
    file = run / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"]["config"]["data"].update(data)
    torch.save(content, file)


def test_all_pictures_are_written_as_png_and_svg_into_the_run_folder(run: Path, command) -> None:
    code, out, _ = command(run)
    assert code == 0
    files = sorted((run / "figures").iterdir())
    assert [file.name for file in files] == [
        f"{name}{e}" for name in FILES for e in (".png", ".svg")
    ]
    assert all(f"written: {file}\n" in out for file in files)
    kernels = np.load(run / "kernels.npy")
    color = 100 * colorfulness(kernels[: len(kernels) // 2]).mean()
    assert f"Tower 1: {color:.0f} % color, orientation" in out
    for file in files:
        if file.suffix == ".svg":
            assert ElementTree.parse(file).getroot().tag.endswith("svg")
        else:
            with Image.open(file) as image:
                image.load()
                assert image.size[0] > 800
                assert len(image.convert("RGB").getcolors(2**24)) > 50


def test_gray_images_and_one_tower(compose_config, stores, tmp_path, command) -> None:
    config = compose_config(
        "model=d2l", "model.width=.05", "data.channels=1", "data.image_size=80",
        "model.input_size=72", "data.synthetic_images=60", f"data.stores={stores}",
        "data.batch_size=16", "trainer.max_epochs=1", "trainer.precision=32-true",
        "trainer.accelerator=cpu", "trainer.progress=false", "evaluation.views=one",
    )  # fmt: skip
    train(config, tmp_path / "gray")
    kinds = ("kernels", "photos", "activations", "regions", "map")
    code, out, err = command(tmp_path / "gray", *kinds, "--output", tmp_path / "here")
    assert (code, len([*(tmp_path / "here").iterdir()])) == (0, 10), err
    assert "All kernels: orientation" in out
    assert "color" not in out


def test_a_network_without_a_map_has_the_other_pictures(
    compose_config, stores, tmp_path, command
) -> None:
    config = compose_config(
        "model=cifar_local", "model.width=.2", "data.image_size=32", "data.synthetic_images=60",
        f"data.stores={stores}", "data.batch_size=16", "trainer.max_epochs=1",
        "trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.progress=false",
        "evaluation.views=one",
    )  # fmt: skip
    train(config, tmp_path / "local")
    code, out, err = command(tmp_path / "local")
    assert code == 0
    assert "no map of predictions: conv3 and conv4 are locally connected" in err
    assert "regions.svg" in out
    assert "map.svg" not in out
    code, _, err = command(tmp_path / "local", "map")
    assert (code, err.count("error:")) == (2, 1)


def test_each_is_one_line_of_python(run: Path) -> None:
    own = Figures(run)
    for figure in (own.kernels(), own.photos(), own.neighbors("cosine", "train"),
                   own.activations(), own.regions([1]), own.map()):  # fmt: skip
        assert isinstance(figure, matplotlib.figure.Figure)
    assert not (run / "figures").exists()


def test_kernels_need_neither_data_nor_a_checkpoint_and_the_rest_is_one_message(
    run: Path, command
) -> None:
    change_config(run, source="imagefolder", root="/nowhere", stores=str(run.parent / "gone"))
    code, _, err = command(run)
    assert code == 2
    assert sorted(file.name for file in (run / "figures").iterdir()) == [
        "kernels.png",
        "kernels.svg",
    ]
    assert err.count("error:") == 1
    assert "data.root=/nowhere does not exist" in err
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "figures")
    assert command(run, "kernels")[0] == 0
    code, _, err = command(run, "photos")
    assert code == 2
    assert "has no checkpoints/best.ckpt" in err
    file = run / "kernels.npy"
    file.write_bytes(b"no kernels")
    code, _, err = command(run, "kernels")
    assert code == 2
    assert f"{file} is damaged" in err


def test_a_store_that_is_gone_is_packed_again_and_other_data_are_refused(
    run: Path, command
) -> None:
    gone = run.parent / "gone"
    change_config(run, stores=str(gone))
    assert command(run, "photos")[0] == 0
    assert gone.exists()
    code, _, err = command(run, "photos", "data.synthetic_images=100")
    assert code == 2
    assert "was trained on other images or another split" in err


def test_a_checkpoint_alone_has_its_figures_in_the_run_folder(run: Path, command) -> None:
    (run / "kernels.npy").unlink()
    checkpoint = run / "checkpoints" / "best.ckpt"
    code, out, _ = command(checkpoint, "kernels")
    assert code == 0
    assert (run / "figures" / "kernels.png").exists()
    weight = torch.load(checkpoint, weights_only=True)["state_dict"][
        "network.features.conv1.weight"
    ]
    half = weight[: len(weight) // 2].numpy()
    assert f"Tower 1: {100 * colorfulness(half).mean():.0f} % color" in out
    alone = shutil.copy(checkpoint, run.parent / "mine.ckpt")
    assert command(alone, "kernels")[0] == 0
    assert (run.parent / "figures" / "kernels.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kernel"], "kernel: there is no such picture; did you mean kernels?"),
        (["photos", "optim=adam"], "optim=...: that was chosen in training"),
        (["photos", "data.rot=x"], "data.rot"),
        (["activations", "--photo", __file__], "not an image that can be recognized"),
        (["activations", "--photo", "none.jpg"], "none.jpg"),
        (["regions", "--channel", "999"], "there is no channel 999"),
        (
            ["photos", "--photo", "a.jpg"],
            "--photo is for activations and map: name activations too",
        ),
        (["photos", "--channel", "3"], "--channel is for regions"),
        (["kernels", "--output", __file__], "can't write"),
        (["photos", "--seed", "-1"], "--seed -1: seeds are 0 and above"),
        (["kernels", "model.foo=1"], "model.foo: there is no such field"),
        (["kernels", "activations", "--photo", "none.jpg"], "none.jpg: No such file or directory"),
        (["kernels", "regions", "--channel", "999"], "there is no channel 999"),
        ([str(Path(__file__).parent)], "figures are drawn of one run: leave out the others"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(run, command, words, message) -> None:
    code, out, err = command(run, *words)
    assert code == 2
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert "written" not in out
    assert not (run / "figures").exists()


def test_a_path_without_a_run_is_named(tmp_path: Path, command) -> None:
    for path, message in ((tmp_path / "none", "none does not exist"), (tmp_path, "best.ckpt")):
        code, _, err = command(path)
        assert code == 2
        assert message in err


def test_words_are_kinds_in_their_order_or_overrides() -> None:
    assert named(["regions", "data.root=photos", "kernels"]) == (
        ["kernels", "regions"],
        ["data.root=photos"],
    )
    assert named([]) == ([*KINDS], [])
    with pytest.raises(UserError, match="did you mean kernels or photos"):
        named(["xyz"])

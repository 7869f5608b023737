"""Every mistake of a user ends in one message that names it, and exit code 2."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from alexnet_exp import __main__, cli, hydra_main
from alexnet_exp.config import Config
from alexnet_exp.errors import UserError
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train

TINY = (
    "model.width=0.02", "model.fc=[16,16]", "data.image_size=64", "model.input_size=64",
    "data.synthetic_images=60", "data.batch_size=8", "trainer.max_epochs=1",
    "trainer.precision=32-true",
)  # fmt: skip


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the train command in an empty folder; gives exit code and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, task=train) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train", *overrides])
        try:
            cli.run(task)
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.droput=0", "did you mean dropout"),
        ("model=papper", "did you mean paper"),
        ("+experiment=nolrn", "did you mean no_lrn"),
        ("model.dropout=abc", "model.dropout"),
        ("model.dropout=2", "model.dropout=2.0 must lie in [0, 1)"),
        ("trainer.precision=b16", "trainer.precision=b16"),
        ("strategy.name=dpp", "single, ddp, fsdp, towers, one_weird_trick"),
        ("optim.lr=nan", "optim.lr=nan must be finite"),
        ("+model.init.layer_std.fc6=inf", "model.init.layer_std.fc6=inf must be finite"),
        ("optim.schedule=steps", "optim.milestones"),
        ("data.root=photos", "data.root=photos is not used by data=synthetic"),
        ("data.val_fraction=1.5", "data.val_fraction=1.5"),
        ("~model", "there is no network: choose one with model=paper"),
        ("model.fc=[10,20", "model.fc=[10,20 can't be read: look at its brackets"),
        ("model.without=[conv1,conv2]", "model.without: no layer 'conv1'; choose from conv2"),
        ("word", "word: an override has the form name=value"),
        ("data.synthetic_images=3", "data.synthetic_images=3 must be at least 15"),
        ("+dropout=0", "+dropout: there is no such field"),
        ("+trainer.max_epoch=2", "trainer.max_epoch: there is no such field; did you mean max_ep"),
        ("+model.conv.conv1.kernels=9", "+model.conv.conv1.kernels: there is no such field"),
        ("lr=.1", "did you mean optim.lr?"),
        ("+lr=.1", "+lr: there is no such field; did you mean optim.lr?"),
        ("epochs=3", "did you mean trainer.max_epochs?"),
        ("batch_size=8", "did you mean data.batch_size or evaluation.batch_size?"),
        ("trainer.lr=.1", "trainer.lr: there is no such field; did you mean optim.lr?"),
        ("data.root=a(b", "two pairs of quotes, \"data.root='a(b'\""),
        ("data.stores=/proc/none/x", "set data.stores=<a folder of yours>"),
    ],
)
def test_wrong_override(command, tmp_path: Path, override: str, message: str) -> None:
    code, printed = command(override)
    assert code == 2
    assert message in printed
    assert "To append to your config" not in printed, "it would be refused too"
    assert list(tmp_path.iterdir()) == []


def test_all_layers_that_are_lacking_are_named_at_once(command) -> None:
    code, printed = command("model.fc=[]")
    assert code == 2
    assert "model.sees_both_towers: no layer 'fc7'; choose from conv2" in printed
    assert "model.dropout_after: no layer 'fc6', 'fc7'; choose from conv5" in printed
    assert "model.init.bias_layers: no layer 'fc7'; choose from conv1" in printed


def test_name_of_the_data_is_no_path(command, tmp_path: Path) -> None:
    code, printed = command("data.name=../elsewhere")
    assert code == 2
    assert "data.name=../elsewhere names a folder" in printed
    assert not list(tmp_path.rglob("*.*")), "no file is written there"


def test_experiments_of_the_user_have_their_files_names(command, tmp_path: Path) -> None:
    own = tmp_path / "my_conf" / "experiment"
    own.mkdir(parents=True)
    (own / "wide.yaml").write_text("# @package _global_\nmodel: {width: 2, dropout: 0.1}\n")
    seen: list[tuple[str, Path]] = []

    def task(config: Config, folder: Path) -> None:
        seen.append((config.experiment, folder.relative_to(tmp_path).parents[1]))

    for given, name in (
        ("+experiment=wide", "wide"), ("+experiment=[wide,no_lrn]", "no_lrn+wide"),
        ("experiment=tanh+no_lrn", "no_lrn+tanh"), ("+experiment=no_lrn+two_gpus", "no_lrn"),
        ("+experiment=two_gpus", "baseline"), ("experiment=baseline+no_lrn", "no_lrn"),
        ("seed=0", "baseline"),
    ):  # fmt: skip
        assert command("--config-dir", "my_conf", given, task=task) == (0, "")
        assert seen.pop() == (name, Path("runs", "synthetic", name))
    for given, message in (
        (("+experiment=wide", "model.dropout=0.2"), "+experiment=wide sets model.dropout=0.1, and"),
        (("+experiment=[wide,no_dropout]",), "+experiment=wide sets model.dropout=0.1: they can't"),
        (("+experiment=wide", "+experiment=tanh"), "several at once are experiment=[one,other]"),
    ):
        code, printed = command("--config-dir", "my_conf", *given)
        assert code == 2
        assert message in printed


def test_quoting_as_the_message_says_is_read(command) -> None:
    code, printed = command("data=imagefolder", "data.root='a(b'")
    assert code == 2
    assert "data.root=a(b does not exist" in printed


@pytest.mark.parametrize(
    ("counts", "message"),
    [(None, "does not exist"), ({}, "photos"), ({"rose": 9, "lily": 1}, "lily")],
)
def test_wrong_folder(command, tmp_path: Path, counts: dict[str, int] | None, message: str) -> None:
    root = tmp_path / "photos"
    if counts is not None:
        root.mkdir()
    for name, count in (counts or {}).items():
        (root / name).mkdir()
        for i in range(count):
            Image.new("RGB", (70, 70), (i, len(name), 0)).save(root / name / f"{i}.png")
    code, printed = command("data=imagefolder", f"data.root={root}", *TINY)
    assert code == 2
    assert message in printed
    assert not (tmp_path / "runs").exists(), "a run that never started leaves no folder"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.classes=3"], "model.classes=3"),
        (["data.batch_size=999"], "data.batch_size=999"),
        (["model.input_size=40"], "the least size for model=paper is 64"),
        (["model.input_size=128"], "model.input_size=64"),
        (["model.input_channels=1"], "model.input_channels=1"),
        (["trainer.devices=2"], "strategy=single runs on one device"),
        (["trainer.precision=16-mixed", "trainer.accelerator=cpu"], "16-mixed needs a GPU"),
    ],
)
def test_network_that_does_not_fit(
    command, tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    code, printed = command(*TINY, f"hydra.run.dir={tmp_path / 'mine' / 'run'}", *overrides)
    assert code == 2
    assert message in printed
    assert list((tmp_path / "mine").iterdir()) == [], "folders of the user stay"


def test_run_folder_that_is_a_file_is_named(command, tmp_path: Path) -> None:
    code, printed = command(*TINY, "hydra.run.dir=/dev/null")
    assert code == 2
    assert "set hydra.run.dir=<another folder>" in printed


def test_too_little_memory_leaves_no_folder(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Classifier, batch: object, batch_idx: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    folder = f"hydra.run.dir={tmp_path / 'run'}"
    monkeypatch.setattr(Classifier, "training_step", full)
    for overrides in ((), ("model.width=1e10",)):  # in a step, and before the first one
        code, printed = command(*TINY, folder, *overrides)
        assert code == 1
        assert "out of memory: lower data.batch_size (now 8)" in printed
        assert "Traceback" not in printed
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["last", "best"])
def test_damaged_checkpoint_is_named(command, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    keep = "trainer.keep_last_checkpoint=true"
    assert command(*TINY, f"hydra.run.dir={run}", keep)[0] == 0
    (run / "result.json").unlink()
    file = run / "checkpoints" / f"{name}.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    code, printed = command(*TINY, f"hydra.run.dir={run}")
    assert code == 2
    assert f"checkpoint {file} is damaged" in printed
    if name == "best":
        file.unlink()
        code, printed = command(*TINY, f"hydra.run.dir={run}")
        assert code == 2
        assert f"checkpoint {file} does not exist" in printed


def test_divergence_is_said(command) -> None:
    code, printed = command(*TINY, "optim.lr=1e30", "trainer.max_epochs=3", "optim.warmup_steps=0")
    assert code == 2
    assert "diverged: train loss is" in printed or "diverged: val loss is" in printed


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("mend this"), 2, "error: mend this\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted; the same command goes on\n"),
        (OSError(errno.ENOSPC, "No space left", "metrics.csv"), 2,
         "error: the disk is full ([Errno 28] No space left: 'metrics.csv'): make room, and"),
        (MemoryError("no 2 GiB"), 1, "error: out of memory: lower data.batch_size (now 128)"),
        (RuntimeError("a bug"), None, "a bug"),
    ],
)  # fmt: skip
def test_what_a_task_raises_ends_in_one_message(
    command, tmp_path: Path, error: BaseException, code: int | None, message: str
) -> None:
    def task(config: Config, folder: Path) -> None:
        assert folder.is_dir()
        raise error

    if code is None:  # of the program's own failures the traceback is kept
        with pytest.raises(type(error), match=message):
            command(task=task)
        return
    ended, printed = command("recipe=paper", task=task)
    assert ended == code
    assert printed.startswith(message)
    assert "Traceback" not in printed
    if not isinstance(error, OSError | MemoryError):
        assert list(tmp_path.iterdir()) == [], "an empty run folder is removed"


def test_interruption_while_importing_is_one_line(command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hydra_main, "run", interrupted)
    assert command() == (130, "\ninterrupted; the same command goes on\n")


def test_mistakes_and_help_answer_before_torch_is_imported() -> None:
    heavy = "[name for name in ('hydra', 'torch', 'lightning') if name in sys.modules]"
    imports = "import alexnet_exp.cli", "import alexnet_exp.hydra_main"
    code = f"import sys; {imports[0]}; print({heavy}); {imports[1]}; print({heavy})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n['hydra']\n"


def test_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    __main__.main()
    lines = capsys.readouterr().out.splitlines()
    assert "python -m alexnet_exp.train      Train one network and evaluate it" in lines
    assert len([line for line in lines if line.startswith("python -m alexnet_exp.")]) == 9
    assert all(len(line) > 35 for line in lines[:9]), "each says what it does"


def test_recipe_that_changes_a_chosen_option_says_so(command) -> None:
    code, printed = command("augmentation=crops_flips", "data=cifar10", task=lambda *_: None)
    assert (code, printed) == (0, "")
    code, printed = command("optim=original", task=lambda *_: None)
    assert "note: recipe=synthetic changes optim=original: optim.lr=0.002" in printed

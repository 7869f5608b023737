"""Every mistake of a user ends in one message that names it, and exit code 2."""

import errno
import json
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from alexnet_exp import __main__, cli, hydra_main
from alexnet_exp.config import Config, compose, composing, to_config
from alexnet_exp.diagnose import diagnose
from alexnet_exp.errors import UserError
from alexnet_exp.messages import composition_error
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.fit import train
from alexnet_exp.training.progress import chance_note
from tests.sweep.pretend import TINY


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the train command in an empty folder; gives exit code and standard error and output."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, task=train) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train", *overrides])
        try:
            cli.run(task)
        except SystemExit as stop:
            return int(stop.code or 0), "".join(reversed(capsys.readouterr()))
        return 0, "".join(reversed(capsys.readouterr()))

    return run


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.droput=0", "did you mean dropout"),
        ("model.dropout=2", "model.dropout=2.0 must lie in [0, 1)"),
        ("data.name=a/b", "data.name=a/b names a folder"),
        ("data.stores=/proc/none/x", "set data.stores=<a folder of yours>"),
        ("hydra.run.dir=/dev/null", "set hydra.run.dir=<another folder>"),
    ],
)
def test_wrong_override(command, tmp_path: Path, override: str, message: str) -> None:
    """One that Hydra refuses, two that the schema does, and two that fail when they are used."""
    code, printed = command(override)
    assert code == 2
    assert message in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("+experiment=nolrn", "did you mean no_lrn"),
        ("+experiment=no_lrn +experiment=tanh", "several at once are experiment=[one,other]"),
        ("model.dropout=abc", "model.dropout"),
        ("strategy.name=dpp", "single, ddp, fsdp, towers, one_weird_trick"),
        ("~model", "there is no network: choose one with model=paper"),
        ("model.fc=[10,20", "model.fc=[10,20 can't be read: look at its brackets"),
        ("word", "word: an override has the form name=value"),
        ("data.root=a(b", "two pairs of quotes, \"data.root='a(b'\""),
        ("+trainer.max_epoch=2", "trainer.max_epoch: there is no such field; did you mean max_ep"),
        ("+model.conv.conv1.kernels=9", "+model.conv.conv1.kernels: there is no such field"),
        ("+lr=.1", "+lr: there is no such field; did you mean optim.lr?"),
        ("epochs=3", "did you mean trainer.max_epochs?"),
        ("batch_size=8", "did you mean data.batch_size or evaluation.batch_size?"),
        ("trainer.lr=.1", "trainer.lr: there is no such field; did you mean optim.lr?"),
    ],
)
def test_what_does_not_compose_is_said_with_the_nearest_name(overrides: str, message: str) -> None:
    errors = (HydraException, OmegaConfBaseException, ValueError, UserError)
    with composing(), pytest.raises(errors) as caught:
        to_config(compose(overrides.split()))
    said = composition_error(caught.value)
    assert message in said
    assert "To append to your config" not in said, "it would be refused too"


def test_quoting_as_the_message_says_is_read() -> None:
    with composing():
        assert compose(["data=imagefolder", "data.root='a(b'"]).data.root == "a(b"


def test_experiments_of_the_user_have_their_files_names(command, tmp_path: Path) -> None:
    own = tmp_path / "my_conf" / "experiment"
    own.mkdir(parents=True)
    defaults = "defaults: [override /recipe: paper, override /callbacks: lr_monitor]\n"
    fields = "model: {width: 2, dropout: 0.1}\ntrainer: {accumulate_grad_batches: 2}\n"
    (own / "wide.yaml").write_text(f"# @package _global_\n{defaults}{fields}")
    (own / "bare.yaml").write_text(fields)
    seen: list[tuple[str, Path]] = []

    def task(config: Config, folder: Path) -> None:
        seen.append((config.experiment, folder.relative_to(tmp_path).parents[1]))

    for given, name in (("+experiment=wide", "wide"), ("experiment=wide+no_lrn", "no_lrn+wide")):
        assert command("--config-dir", "my_conf", given, task=task) == (0, "")
        assert seen.pop() == (name, Path("runs", "synthetic", name))
    code, printed = command("--config-dir", "my_conf", "+experiment=wide", "model.dropout=0.2")
    assert code == 2
    assert "+experiment=wide sets model.dropout=0.1, and" in printed
    code, printed = command("--config-dir", "my_conf", "+experiment=bare")
    assert code == 2
    assert "begins with the line # @package _global_" in printed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batch_size=999", "data.batch_size=999"),
        ("model.input_size=40", "the least size for model=paper is 64"),
        ("model.input_size=128", "model.input_size=72"),
        ("model.classes=3", "model.classes=3"),
        ("model.input_channels=1", "model.input_channels=1"),
        ("trainer.precision=16-mixed", "16-mixed needs a GPU"),
    ],
)
def test_network_that_does_not_fit_is_named(
    tiny, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(tiny(override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_little_memory_leaves_no_folder(
    command, tmp_path: Path, stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Classifier, batch: object, batch_idx: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    mine = tmp_path / "mine"
    mine.mkdir()
    folders = f"hydra.run.dir={mine / 'run'}", f"data.stores={stores}"
    monkeypatch.setattr(Classifier, "training_step", full)
    for overrides in ((), ("model.width=1e10",)):  # in a step, and before the first one
        code, printed = command(*TINY, *folders, *overrides)
        assert code == 1
        assert "out of memory: lower data.batch_size (now 8)" in printed
        assert "Traceback" not in printed
        assert list(mine.iterdir()) == [], "folders of the user stay"


def test_damaged_checkpoint_is_named(tiny, tmp_path: Path) -> None:
    config, whole = tiny("trainer.max_epochs=1", "trainer.keep_last_checkpoint=true"), "whole"
    train(config, tmp_path / whole)
    (tmp_path / whole / "result.json").unlink()
    for name in ("last", "best"):
        shutil.copytree(tmp_path / whole, tmp_path / name)
        file = tmp_path / name / "checkpoints" / f"{name}.ckpt"
        file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(
            UserError, match=f"{file} is no checkpoint of alexnet_exp, or damaged.*, or remove"
        ):
            train(config, tmp_path / name)
    file.unlink()
    with pytest.raises(
        UserError,
        match=f"{file} does not exist: name a run folder or another checkpoint, or remove",
    ):
        train(config, tmp_path / name)


def test_divergence_is_said(tiny, tmp_path: Path) -> None:
    config = tiny("optim.lr=1e30", "trainer.max_epochs=3", "optim.warmup_steps=0")
    with pytest.raises(UserError, match=r"diverged: (train|val) loss is"):
        train(config, tmp_path / "run")


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
    monkeypatch.setattr(hydra_main, "run", Mock(side_effect=KeyboardInterrupt))
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
    listed = [line for line in lines if line.startswith("python -m alexnet_exp.")]
    assert len(listed) == len(__main__.COMMANDS)
    assert all(len(line) > 35 for line in listed), "each says what it does"


def test_recipe_that_changes_a_chosen_option_says_so(command) -> None:
    code, printed = command("optim=original", task=lambda *_: None)
    assert code == 0
    assert "note: recipe=synthetic changes optim=original: optim.schedule=cosine" in printed


def test_a_run_that_stays_at_chance_says_so_and_one_that_learns_does_not(
    command, tmp_path: Path
) -> None:
    for place, color in enumerate(("red", "green", "blue")):
        (tmp_path / "photos" / color).mkdir(parents=True)
        for i in range(60):
            shade = np.random.default_rng(60 * place + i).integers(0, 30, (32, 32, 3), np.uint8)
            shade[..., place] += 120
            Image.fromarray(shade).save(tmp_path / "photos" / color / f"{i}.png")
    given = [
        "data=imagefolder", "data.root=photos/", "data.image_size=32", "model=cifar_small",
        "model.width=0.5", "model.init.layer_std={}", "recipe=paper",
        "data.batch_size=8", "trainer.max_epochs=2", "callbacks=[lr_monitor]", "logger=tensorboard",
    ]  # fmt: skip
    said = "never clearly better than chance: the best validation error is "
    still = "model.init.std=0", "optim.lr=1e-9"  # one answer for all
    code, printed = command(*given, *still, "hydra.run.dir=still")
    assert code == 0
    (line,) = (line for line in printed.splitlines() if said in line)
    asked = f"python -m alexnet_exp.diagnose {shlex.join([*given[:-1], *still])}"
    assert "choose another recipe=" in line
    assert line.endswith(asked)
    code, printed = command(*given, "model.init.std=.05", "optim.lr=.0005", "hydra.run.dir=learns")
    assert code == 0
    assert said not in printed
    with (tmp_path / "learns" / "result.json").open() as file:
        assert json.load(file)["status"] == "finished"


def test_chance_is_that_of_the_validation_images(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])  # 40 %, with a standard error of 4.9 points
    monkeypatch.setattr(sys, "argv", ["notebook.py", "-f", "x"])
    (line,) = chance_note(0.31, labels)
    assert "is 31.0 %, and one answer for all 100 images errs in 40.0 %" in line
    assert line.endswith("alexnet_exp.diagnose ...")
    assert chance_note(0.30, labels) == []
    assert chance_note(math.inf, labels) == [], "there was no validation"
    assert chance_note(0.0, labels[:60]) == [], "of one class nothing can be told"


def test_diagnose_measures_in_fp32_whatever_the_training(command, stores: Path) -> None:
    found = set()
    for precision in ("32-true", "bf16-mixed", "64-true"):
        given = *TINY, f"data.stores={stores}", f"trainer.precision={precision}"
        code, printed = command(*given, task=diagnose)
        assert code == 0
        found.add(printed.partition("model=paper recipe=synthetic")[2])
    (shown,) = found
    assert "times that" in shown
    code, printed = command(*TINY, f"data.stores={stores}", "optim=adamw", task=diagnose)
    assert (code, "largest curvature" in printed) == (0, True)
    assert "times that" not in printed, "a bound of SGD's rates"

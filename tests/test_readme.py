"""Every command line of README.md is composed and, shrunk, run, in fp32 and in bf16.

A line that is new there is tested as it stands, or fails because nobody has said here why it can't
run. The ordinary suite composes all and runs three; the long one runs the rest.
"""

import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import torchvision
from torch.nn import functional as F
from torchvision.datasets import FashionMNIST

import alexnet_exp
from alexnet_exp import experiments
from alexnet_exp.bench import limits
from alexnet_exp.config import compose, composing, to_config
from alexnet_exp.config.bench import register_bench
from alexnet_exp.experiments import check_overrides
from alexnet_exp.network.alexnet import AlexNet, weighted_layers
from tests.bench.test_bench import TINY as TINY_BENCH
from tests.conftest import quickly_composed
from tests.data.drawn import folder_of
from tests.data.test_sources import DOG, FISH, fashion
from tests.network.test_pretrained import caffemodel

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S)
PARTS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.M | re.S)
PYTHON = [part for language, part in PARTS if language == "python"]
SHELL = "\n".join(part for language, part in PARTS if not language)

# Files that the README shows: a comment that names one, and what follows up to an empty line.
FILE = re.compile(r"^# (\S+\.yaml)\n(.*?)(?:\n\n|\Z)", re.M | re.S)

# By how a line begins, why it can't be run as it stands. What it gives a command of ours is
# composed all the same.
CANNOT_RUN = {
    "make install": "needs a package index",
    "make wheel": "tests/test_long.py builds one, and runs what is in it",
    "pip install": "tests/test_long.py runs a wheel",
    "make test": "is the tests",
    "python -m pytest -m cuda": "is a test, and needs a GPU",
    "make results": "tests/test_results.py does, and compares",
    "make store-scale": "takes minutes by nature",
    "make error-rates": "takes hours by nature",
    "make pictures": "writes in the repository",
    "make dashboard": "needs W&B's server; tests/test_dashboard.py has one of its own",
    "wandb": "needs W&B's server; tests/sweep/test_wandb_sweeps.py runs what an agent runs",
    "CUDA_VISIBLE_DEVICES": "the same",
    "torchrun": "needs two machines; tests/parallel/test_nodes.py pretends them",
    "srun": "the same, of a cluster",
    "make bench BENCH=results/bench/<name> ARGS=bench.parts=[kernels]": "needs a GPU",
    "python -m alexnet_exp.train --config-dir my_conf logger=[wandb,mlflow]": "mlflow is not ours",
}
IN_SHORT = ("alexnet_exp.predict", "alexnet_exp.runs", "alexnet_exp.diagnose", "model.weights=")
BRINGS = {"d2l": "fashion_mnist", "flowers_notebook": "flowers"}  # experiments with data of theirs
HYDRA = ("train", "prepare", "diagnose", "bench")

SMALL = (
    "model.width=0.02", "data.batch_size=4", "trainer.max_epochs=1",
    "trainer.limit_train_batches=2", "trainer.accelerator=cpu", "evaluation.views=one",
)  # fmt: skip
SMALL_PHOTOS = "data.image_size=72", "data.synthetic_images=60", "model.input_size=64"


def command_lines() -> Iterator[str]:
    """Of the shell blocks, and those that stand between backquotes in the text."""
    for line in FILE.sub("", SHELL).replace("\\\n", "").splitlines():
        if command := re.sub(r"(^|\s+)#( .*|$)", "", line).strip():
            yield " ".join(command.split())
    spans = re.findall(r"`([^`]+)`", PROSE)
    yield from (span for span in spans if re.match(r"(python -m|make|pip|wandb|srun) ", span))


LINES = [*dict.fromkeys(command_lines())]
each_line = pytest.mark.parametrize(
    "line",
    [pytest.param(x, marks=[] if any(y in x for y in IN_SHORT) else pytest.mark.long)
     for x in LINES if not x.startswith(tuple(CANNOT_RUN))],
)  # fmt: skip


def ours(line: str) -> list[tuple[str, list[str]]]:
    """Module and arguments of each command of ours that a line starts, also by make."""
    line = re.sub(r"<(\w+)>", r"\1", line)
    if line.startswith("make "):
        plan = ["make", "-C", str(ROOT), "-n", "-o", "install", *shlex.split(line)[1:]]
        quiet = {name: value for name, value in os.environ.items() if "MAKE" not in name}
        line = subprocess.run(plan, env=quiet, check=True, capture_output=True, text=True).stdout
    parts = re.split(r"[;&|\n]+", line.replace("\\\n", " "))
    found = (re.search(r"-m (alexnet_exp[.\w]*)(.*)", part) for part in parts)
    return [(one[1], shlex.split(one[2])) for one in found if one]


def first(word: str) -> str:
    """An override with the first of the values that it sweeps over."""
    name, equals, value = word.partition("=")
    if value.startswith("["):
        return word
    return name + equals + re.sub(r"range\(\d+\)", "0", value).partition(",")[0]


def shrunk(module: str, words: list[str], precision: str) -> list[list[str]]:
    """Arguments of the runs that stand for a command: a sweep lists its jobs, and runs one."""
    name = module.removeprefix("alexnet_exp.")
    looks = name in ("evaluate", "predict")
    if looks and not any(word.startswith("model=") for word in words):
        return [[*words, f"trainer.precision={precision}"]]
    if name not in HYDRA and not looks:
        return [words]
    given = " ".join(
        [*words, *(f"data={BRINGS[x]}" for x in BRINGS if f"+experiment={x}" in words)]
    )
    small = [*SMALL, f"trainer.precision={precision}"]
    if not re.search("data=(cifar10|fashion_mnist)", given):
        small += SMALL_PHOTOS
    if name == "bench":
        small = [*TINY_BENCH, f"trainer.precision={precision}", "trainer.accelerator=cpu"]
        small += ["bench.variants=[['trainer.channels_last=false']]"] * ("options" in given)
        small += ["bench.parts=[throughput]"] * ("bench.parts" not in given)  # parallel has a line
    if "data.root=" not in given and (
        data := re.search(r"data=(flowers|\w+_?mnist|cifar10)", given)
    ):
        small.append(f"data.root={data[1]}/")  # it would be downloaded
    if "trainer.devices=" in given and "-m" not in words:
        small.append("trainer.devices=2")
    small += ["logger.mode=offline"] * ("wandb" in given)
    if "-m" not in words:
        return [[*words, *small]]
    one = [*map(first, words), *["+experiment=no_lrn"] * ("+sweep=" in given), *small]
    plans = [[*words, "sweep.dry_run=true"]]
    return plans if "launcher=ray" in given else [*plans, one]


def write_files(folder: Path) -> None:
    """Those that the README shows, and a package that it names."""
    callback = "from lightning.pytorch import Callback\nclass MyCallback(Callback): pass\n"
    (folder / "my_package.py").write_text(callback)
    for name, content in FILE.findall(SHELL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def write_weights(folder: Path) -> None:
    """Of torchvision (also for 1,000 classes) and of Caffe, for two classes and as narrow as SMALL
    makes our networks.
    """

    def layers(model: str, classes: int = 2) -> list[tuple[str, list[torch.Tensor]]]:
        network = AlexNet.from_name(model, width=0.02, input_size=64, classes=classes)
        named = weighted_layers(network)
        return [(name, [p.detach() for p in layer.parameters()]) for name, layer in named]

    places = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    for name, classes in (("alexnet.pth", 2), ("alexnet-owt-7be5be79.pth", 1000)):
        state = {}
        own = layers("torchvision", classes)
        for place, (_, (weight, bias)) in zip(places, own, strict=True):
            state |= {f"{place}.weight": weight, f"{place}.bias": bias}
        torch.save(state, folder / name)
    (folder / "caffenet.caffemodel").write_bytes(caffemodel(layers("caffenet"), old=False))


@pytest.fixture(
    scope="module", params=["32-true", pytest.param("bf16-mixed", marks=pytest.mark.long)]
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """A folder with what the README's lines name: photos, files of configuration, a run."""
    folder = tmp_path_factory.mktemp("readme")
    classes = dict.fromkeys(("daisy", "dandelion", "rose", "sunflower", "tulip"), 24)
    folder_of(folder / "photos", classes)
    for name in ("flowers", "new_photos", "holidays"):
        (folder / name).symlink_to("photos")
    (folder / "rose.jpg").symlink_to("photos/rose/000.png")
    for seed, part in enumerate(("ILSVRC2012/train", "ILSVRC2012/val"), 1):
        folder_of(folder / part, {FISH: 80, DOG: 80}, seed)
    for seed, part in enumerate(("cifar10/train", "cifar10/test"), 3):
        folder_of(folder / part, classes, seed)
    folder_of(folder / "imagenette/val", {FISH: 2, DOG: 2}, 5)
    write_files(folder)
    write_weights(folder)
    run = folder / "runs" / "flowers" / "ablations" / "baseline" / "seed_99"  # of no line here
    made = SimpleNamespace(folder=folder, run=run, precision=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(FashionMNIST, "resources", fashion(folder / "fashion_mnist"))
        patch.setattr(limits, "_SIDE", {"cpu": 64})
        patch.setattr(limits, "_COPIED", {"cpu": 2**20})
        (words,) = shrunk("alexnet_exp.train", ["data=flowers"], made.precision)
        run_here("alexnet_exp.train", [*words, "seed=99", f"hydra.run.dir={run}"])
        yield made


def run_here(module: str, words: list[str]) -> None:
    """``python -m module words``, without the seconds of its imports."""
    name = f"{module}.__main__" if find_spec(module).submodule_search_locations else module  # type: ignore[union-attr]
    code: str | int | None = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *words])
        try:
            import_module(name).main()
        except SystemExit as stop:
            code = stop.code
    assert not code, f"python -m {module} {shlex.join(words)}"


@each_line
def test_line_runs(line: str, place: SimpleNamespace, capfd: pytest.CaptureFixture[str]) -> None:
    commands = ours(line)
    assert commands, "say in CANNOT_RUN why this line can't be run"
    for module, words in commands:
        words = [re.sub(r"^(runs=)?(runs/)?\.\.\.$", rf"\1{place.run}", word) for word in words]
        for arguments in shrunk(module, words, place.precision):
            run_here(module, arguments)
            printed = "".join(capfd.readouterr())
            assert printed
            if module == "alexnet_exp.train" and "-m" not in arguments:
                assert f"speed: {place.precision}" in printed


@pytest.mark.long
def test_notebooks_run(place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks, one after the other in one notebook."""
    (small,) = shrunk("alexnet_exp.train", ["data=flowers"], place.precision)
    monkeypatch.delattr(alexnet_exp, "prepare", raising=False)  # the module of a command before
    load = alexnet_exp.load_config
    monkeypatch.setattr(alexnet_exp, "load_config", lambda *given: load(*given, *small[1:]))
    here = {"precision": place.precision, "accelerator": "cpu", "limit_train_batches": 2}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    monkeypatch.setattr(L, "Trainer", partial(L.Trainer, **here, **quiet))
    names = {"L": L, "torch": torch, "torchvision": torchvision, "F": F}
    for block in PYTHON:
        exec(block.replace('"runs/..."', repr(str(place.run))), names)
    assert names["logits"].shape == (len(names["images"]), 5)


@cache
def composes(*given: str, primary: str = "config") -> None:
    """Options and fields exist, values are such as their fields take, experiments do something."""
    slowly = primary != "config" or "hydra" in " ".join(given)
    with pytest.MonkeyPatch.context() as patch, composing():
        patch.setattr(experiments, "compose", compose if slowly else quickly_composed)
        config = to_config(experiments.compose(given, primary))
        check_overrides(config, list(given), primary)


@pytest.mark.parametrize("line", LINES)
def test_line_composes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = ours(line)
    assert commands or line.startswith(tuple(CANNOT_RUN)), "neither a command of ours nor known"
    write_files(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module, words in commands:
        assert find_spec(module)
        given = [first(x) for x in words if "=" in x and not x.startswith("hydra.run.dir=")]
        if "--config-dir" in words:
            own = tmp_path / words[words.index("--config-dir") + 1]
            given.append(f"hydra.searchpath=[file://{own}]")
        if module == "alexnet_exp.bench":
            register_bench()
            composes(*given, primary="bench")
        elif module.removeprefix("alexnet_exp.") in HYDRA:
            composes(*given)


def test_overrides_of_tables_compose() -> None:
    rows = re.findall(r"^\|( `[^|]*`) \|", PROSE, re.M)
    spans = [shlex.split(span) for row in rows for span in re.findall(r"`([^`]*=[^`]*)`", row)]
    overrides = [each for each in spans if all(re.match(r"[+\w./]+=[^=]+$", x) for x in each)]
    assert len(overrides) > 40
    values = defaultdict(dict)  # all names at once, as often as one has another value
    for word in chain(*overrides):
        values[word.partition("=")[0]][first(word)] = None
    del values["hydra.run.dir"]
    for given in zip_longest(*values.values()):
        composes(*filter(None, given))


def test_what_cannot_run_stands_in_the_readme() -> None:
    assert [begin for begin in CANNOT_RUN if not any(x.startswith(begin) for x in LINES)] == []

"""A run is what its overrides say, or the user is told."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra

from alexnet_exp import experiments
from alexnet_exp.config import Config, compose, composing
from alexnet_exp.config.compose import as_hydra
from alexnet_exp.errors import UserError
from alexnet_exp.experiments import check_overrides, load_config
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.plan import plan
from tests.conftest import quickly_composed

Check = Callable[..., list[str]]


@pytest.fixture
def check(compose_config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    monkeypatch.setattr(experiments, "compose", quickly_composed)
    with composing():
        yield lambda *overrides: check_overrides(compose_config(*overrides), list(overrides))


IDLE, UNDONE = "changes nothing here", "sets {}, and another override makes it"


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ("no_flips data=fashion_mnist model=d2l", IDLE),
        ("no_tower_communication model=torchvision", IDLE),
        ("no_crops data=cifar10 recipe=paper model=cifar_small", IDLE),
        (
            "no_crops data=cifar10 recipe=paper model=cifar_small optim=paper model.input_size=28",
            None,
        ),
        ("no_crops model.input_size=256 augmentation.min_scale=0.5", None),
        ("tanh model=torchvision recipe=paper", None),
        ("no_dropout model.dropout_after=[]", IDLE),
        ("no_dropout model.dropout=0", IDLE),
        ("no_weight_decay optim.weight_decay=0", IDLE),
        ("no_weight_decay optim.weight_decay=0 model=cifar_small recipe=cifar10", None),
        ("[finetune,no_weight_decay] model.weights=a.pth", None),
        ("no_augmentation augmentation.crops=true", UNDONE.format("augmentation.crops=False")),
        ("finetune model.weights=a.pth", None),
        ("[finetune,no_flips] model.weights=a.pth", None),
        ("finetune model.weights=a.pth optim.lr=0.5", None),
        ("finetune model.weights=a.pth recipe=paper", UNDONE.format("recipe=finetune")),
        ("original optim=paper", UNDONE.format("optim.name=original")),
        ("[original,no_lrn]", r"no_lrn sets model\.normalization=none and .*original sets"),
        ("[one_gpu,no_crops]", None),
        ("towers_meet_last model=torchvision", "parts towers, and model=torchvision has one"),
        ("towers_meet_last model=original recipe=paper", None),
        ("[towers_meet_last,no_tower_communication]", r"sees_both_towers=\[\].*had together"),
        (
            "[towers_meet_last,no_conv2]",
            r"sets model\.conv\.conv2\.channels, and conv2 is left out",
        ),
        ("[non_overlapping_repadded,no_conv5]", r"conv5\.padding, and conv5 is left out here"),
        ("[non_overlapping_repadded,no_conv3]", None),
        (
            "[non_overlapping_repadded,non_overlapping_pooling]",
            r"pooling \(model\.pooling=non_overlapping\) changes nothing beside .*_repadded \(",
        ),
        ("[no_augmentation,no_crops]", r"experiment=no_crops \(.*=no_augmentation \(.*leave out"),
        ("[no_lrn,no_norm2]", r"no_norm2 \(.*beside .*=no_lrn \(model\.normalization=none\)"),
        ("[no_lrn,no_crops,no_dropout] model.dropout=0", "no_dropout changes nothing here"),
        ("[non_overlapping_repadded,original] recipe=paper", None),
        ("flowers_notebook data.root=photos", None),
        ("[flowers_notebook,no_flips] data.root=photos", None),
        ("[flowers_notebook,no_lrn] data.root=photos", "no_lrn changes nothing here"),
        ("[d2l,tanh]", None),
        ("d2l data=synthetic", UNDONE.format("data.name=fashion_mnist") + " synthetic"),
        ("torchvision model=paper", UNDONE.format("model.name=torchvision")),
        ("caffenet_notes recipe=paper", UNDONE.format("recipe=caffe")),
        ("torchvision data.batch_size=64 evaluation.views=ten", None),
        (
            "[non_overlapping_repadded,original] sweep.factors=[original,non_overlapping_repadded]",
            r"and .*=original both set model\.pool_ceil=True, and in a design .* leave out one",
        ),
    ],
)
def test_idle_undone_and_contradicting_experiments_are_refused(
    check: Check, overrides: str, refused: str | None
) -> None:
    given = f"+experiment={overrides}".split()
    if refused is None:
        assert check(*given) == []
        return
    with pytest.raises(UserError, match=refused):
        check(*given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("experiment=tanh+no_lrn", "no_lrn+tanh"), ("experiment=baseline+no_lrn", "no_lrn"),
        ("+experiment=no_lrn+two_gpus", "no_lrn"), ("+experiment=two_gpus", "baseline"),
        ("seed=0", "baseline"),
    ],
)  # fmt: skip
def test_a_run_is_recorded_under_what_bears_on_its_result(given: str, name: str) -> None:
    with composing():
        assert compose([given]).experiment == name


def test_a_sweep_may_have_a_parameter_for_each_experiment(tmp_path: Path) -> None:
    given = ["seed=1", "no_lrn=True", "no_crops=False", "no_flips=true", "trainer.progress=true"]
    assert as_hydra(given) == [
        "seed=11", "+experiment=[no_lrn,no_flips]", "trainer.progress=true",
    ], "number 3 of 8, in the order of the names"  # fmt: skip
    assert as_hydra(as_hydra(given)) == as_hydra(given)
    assert as_hydra(["no_lrn=false", "--cfg", "job"]) == [
        "+experiment=[baseline]", "seed=0", "--cfg", "job",
    ]  # fmt: skip
    seeds = []
    for word in ("seed=3", "seed=8", "data.fold=0 seed=1", "data.fold=2 seed=1"):
        switches = ["data.folds=5", "no_lrn=true", "no_crops=false", *word.split()]
        seeds.append(int(as_hydra(switches)[-1].removeprefix("seed=")))
    assert seeds == [8, 28, 25, 27], "a fold owns every fifth seed"
    assert as_hydra(["no_lrn=true", "seed=0,1"])[-1] == "seed=0,1"
    for beside in ("-m", "+sweep=ablations", "experiment=no_crops"):
        with pytest.raises(UserError, match="name all experiments in one way"):
            as_hydra([beside, "no_lrn=true"])
    assert as_hydra(["no_lrn=true", "data.folds=0"])[0] == "+experiment=[no_lrn]", "said elsewhere"
    for other in ("progress=true", "no_lrn=1", "mine=true", "baseline=true"):
        assert as_hydra([other]) == [other], "Hydra says what is wrong with it"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").touch()
    for option in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert as_hydra([*option, "mine=true"]) == [*option, "+experiment=[mine]", "seed=1"]


def test_names_of_presets_choose_nothing(check: Check) -> None:
    for override in ("optim.name=adam", "++model.name=caffenet"):
        name = override.lstrip("+").partition("=")[0]
        with pytest.raises(UserError, match=f"{name} is only a label"):
            check(override)
    assert check("model.name=mine") == []


def test_what_a_recipe_changes_in_a_chosen_option_is_said(check: Check) -> None:
    chosen = ("data=fashion_mnist", "model=d2l", "augmentation=crops_flips")
    (note,) = check(*chosen)
    assert note.startswith("note: recipe=fashion_mnist changes augmentation=crops_flips: ")
    assert "augmentation.crops=False, augmentation.flips=False" in note
    assert check(*chosen, "recipe=paper") == []
    note, brought = check("model=caffenet", "model.init.bias=0.5")
    assert "model.init.inner_std=0.03 (" in note, "a field of the user's own is not the recipe's"
    assert "recipe=synthetic changes optim=caffe: optim.schedule=cosine (" in brought


def test_a_rate_that_would_fall_behind_the_end_is_said(check: Check) -> None:
    (note,) = check("data=cifar10", "model=cifar_local")
    assert "max_epochs=140, before optim.milestones=450,460, where the learning rate" in note
    assert check("data=cifar10", "model=cifar_local", "recipe=cifar10_local") == []
    assert check("data=cifar10", "model=cifar_small") == []
    (note,) = check("data=cifar10", "model=cifar_small", "trainer.max_epochs=130")
    assert "optim.milestones=130, " in note


def test_an_experiment_has_one_file(tmp_path: Path, check: Check) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "no_lrn.yaml").write_text("model: {dropout: 0.1}\n")
    sources = GlobalHydra.instance().config_loader().get_sources()
    sources.append(FileConfigSource("command-line", f"file://{tmp_path}"))
    with pytest.raises(UserError, match=f"no_lrn is a file in .* and in {tmp_path}: rename yours"):
        check("+experiment=no_lrn")


def test_a_notebook_has_the_messages_of_the_commands() -> None:
    with pytest.raises(UserError, match="did you mean no_dropout"):
        load_config("experiment=no_lrn+no_dropou")


# How others train the networks that they teach, as their sources have it.
TRAINING = {
    "d2l": ("SGD", 0.01, 0.0, 0.0, 128, 10, [], {"scale": 1 / 255}),
    "flowers_notebook": (
        "torch.optim.Adam", 5e-4, None, 0.0, 32, 10, [], {"scale": 1 / 255, "flips": True},
    ),
    "caffenet_notes": (
        "SGD", 0.01, 0.9, 5e-4, 256, 90, [20, 40, 60, 80],
        {"scale": 1.0, "flips": True, "crops": True, "mean_image": True},
    ),
    "torchvision": (
        "SGD", 0.01, 0.9, 1e-4, 256, 90, [30, 60],
        {"scale": 0.01735, "flips": True, "crops": True, "mean_image": True, "min_scale": 0.08},
    ),
}  # fmt: skip


@pytest.mark.parametrize("experiment", TRAINING)
def test_a_network_of_others_trains_as_its_source_says(
    compose_config: Callable[..., Config], experiment: str
) -> None:
    rule, lr, momentum, decay, batch, epochs, drops, pixels = TRAINING[experiment]
    config = compose_config(f"+experiment={experiment}")
    optim, seen = config.optim, config.augmentation
    assert (optim._target_ or "SGD", optim.lr, optim.weight_decay) == (rule, lr, decay)
    assert momentum in (None, optim.momentum)
    assert (config.data.batch_size, config.trainer.max_epochs) == (batch, epochs)
    assert optim.milestones == drops
    assert optim.schedule == ("steps" if drops else "constant")
    assert config.evaluation.views == "one"
    parts = {"scale": 1.0, "min_scale": 1.0} | pixels
    assert seen.scale == pytest.approx(parts.pop("scale"))
    assert seen.min_scale == parts.pop("min_scale")
    names = ("crops", "flips", "color_noise", "mean_image")
    assert {name for name in names if getattr(seen, name)} == {*parts}
    assert config.model.dropout_scaling == "train"


# Fields of the layers that differ from the paper's at 224 pixels, by layer: those of the authors'
# layers-147.cfg and layers-150.cfg, and of the change of one thing beside each.
LAYERS: dict[str, dict[str, dict[str, int]]] = {
    "non_overlapping_pooling": {f"pool{number}": {"kernel": 2} for number in (1, 2, 5)},
    "non_overlapping_repadded": {
        "pool1": {"kernel": 2, "size": 28}, "conv2": {"padding": 1, "size": 26},
        "norm2": {"size": 26}, "pool2": {"kernel": 2}, "conv5": {"padding": 0, "size": 11},
        "pool5": {"kernel": 2},
    },
    "no_tower_communication": {"conv3": {"groups": 2}},
    "towers_meet_last": {
        "conv2": {"outputs": 320}, "norm2": {"inputs": 320, "outputs": 320},
        "pool2": {"inputs": 320, "outputs": 320}, "conv3": {"inputs": 320, "groups": 2},
        "fc6": {"outputs": 8192, "groups": 2}, "fc7": {"inputs": 8192, "groups": 2},
    },
}  # fmt: skip
PAPERS_WEIGHTS = 60_965_224
WEIGHTS = {
    "non_overlapping_pooling": PAPERS_WEIGHTS,
    "non_overlapping_repadded": PAPERS_WEIGHTS,
    "no_tower_communication": PAPERS_WEIGHTS - 384 * 128 * 9,
    "towers_meet_last": (
        96 * (3 * 121 + 1) + 320 * (48 * 25 + 1) + 384 * (160 * 9 + 1) + 384 * (192 * 9 + 1)
        + 256 * (192 * 9 + 1) + 8192 * (128 * 36 + 1) + 4096 * (4096 + 1) + 1000 * (4096 + 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("experiment", LAYERS)
def test_an_experiment_has_the_layers_that_its_figure_was_measured_on(
    compose_config: Callable[..., Config], experiment: str
) -> None:
    paper, changed = (
        replace(compose_config(*given).model, classes=1000, input_channels=3)
        for given in (("recipe=paper",), ("recipe=paper", f"+experiment={experiment}"))
    )
    found = {}
    for before, after in zip(plan(paper), plan(changed), strict=True):
        old, new = asdict(before), asdict(after)
        if differing := {name: new[name] for name in new if new[name] != old[name]}:
            found[after.name] = differing
    assert found == LAYERS[experiment]
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in AlexNet(changed).parameters())
    assert weights == WEIGHTS[experiment]
    narrow = AlexNet(replace(changed, width=0.03))
    assert narrow(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in Path("conf/recipe").glob("*.yaml")))
def test_no_recipe_sets_the_widths_that_experiments_double(
    compose_config: Callable[..., Config], recipe: str
) -> None:
    model, paper = (compose_config(f"recipe={name}").model for name in (recipe, "paper"))
    assert (model.conv, model.fc) == (paper.conv, paper.fc)

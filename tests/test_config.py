"""What ships composes, and every experiment changes its own factor alone."""

from pathlib import Path
from typing import Any

import pytest

from alexnet_exp.config import Config, conf_folder, to_plain
from alexnet_exp.network.alexnet import AlexNet, plan
from alexnet_exp.runs.identity import config_hash

CONF = conf_folder()
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
OPTIONS = [
    (group, file.stem)
    for group in GROUPS
    if group not in ("experiment", "profile")  # which is the benchmark's
    for file in sorted((CONF / group).glob("*.yaml"))
]

# What each experiment may change, and to what, besides its name.
FACTORS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no_lrn": {"model.normalization": "none"},
    "no_norm2": {
        "model.conv.conv2.normalize": False,
        "model.conv.conv2.normalize_within_map": False,
    },
    "non_overlapping_pooling": {"model.pooling": "non_overlapping"},
    "no_dropout": {"model.dropout": 0.0},
    "tanh": {"model.activation": "tanh"},
    "sigmoid": {"model.activation": "sigmoid"},
    "no_augmentation": {
        "augmentation.crops": False,
        "augmentation.flips": False,
        "augmentation.color_noise": False,
    },
    "no_crops": {"augmentation.crops": False},
    "no_flips": {"augmentation.flips": False},
    "no_color_noise": {"augmentation.color_noise": False},
    "one_gpu": {
        "model.name": "one_gpu",
        "model.towers": 1,
        "model.conv.conv1.channels": 48,
        "model.conv.conv2.channels": 128,
        "model.conv.conv3.channels": 192,
        "model.conv.conv4.channels": 192,
    },
    "no_tower_communication": {"model.sees_both_towers": ["fc6", "fc7"]},
    "two_gpus": {
        "strategy.name": "towers",
        "trainer.devices": 2,
    },
    "no_conv2": {"model.without": ["conv2"]},
    "no_conv3": {"model.without": ["conv3"]},
    "no_conv4": {"model.without": ["conv4"]},
    "no_conv5": {"model.without": ["conv5"]},
    "no_weight_decay": {"optim.weight_decay": 0.0},
    "original": {
        "model.name": "original",
        "model.normalization": "pair",
        "model.lrn.alpha": 2e-5,
        "model.conv.conv1.order": ["normalization", "pool", "activation"],
        "model.conv.conv5.order": ["pool", "activation", "normalization"],
        "model.init.inner_std": 0.03,
        "optim.name": "original",
        "optim.bias_lr_factor": 2.0,
        "optim.decay_biases": False,
    },
}


# Recorded as the baseline, whose result they have.
SAME_NETWORK = ("baseline", "two_gpus")


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{prefix}.{key}".lstrip("."))
        return found
    return {prefix: value}


def changes(before: Config, after: Config) -> dict[str, Any]:
    old, new = flat(to_plain(before)), flat(to_plain(after))
    return {key: new.get(key) for key in {*old, *new} if old.get(key) != new.get(key)}


def test_every_experiment_file_is_listed_here() -> None:
    assert {file.stem for file in (CONF / "experiment").glob("*.yaml")} == set(FACTORS)


@pytest.mark.parametrize("experiment", FACTORS)
@pytest.mark.parametrize("recipe", ["paper", "flowers", "synthetic_small"])
def test_experiment_differs_from_baseline_in_its_factor_alone(
    compose_config, experiment: str, recipe: str
) -> None:
    # Under recipe=flowers inner_std is already set, so `original` has one change less.
    expected = dict(FACTORS[experiment])
    if recipe == "flowers":
        expected.pop("model.init.inner_std", None)
    baseline = compose_config(f"recipe={recipe}")
    changed = compose_config(f"recipe={recipe}", f"+experiment={experiment}")
    same = experiment in SAME_NETWORK
    names = {} if same else {"experiment": experiment}
    assert changes(baseline, changed) == expected | names
    if same:
        assert config_hash(baseline) == config_hash(changed)
    else:
        assert config_hash(baseline) != config_hash(changed)


@pytest.mark.parametrize("experiment", FACTORS)
def test_experiment_builds_a_network(compose_config, experiment: str) -> None:
    config = compose_config(
        f"+experiment={experiment}", "model.width=0.02", "model.fc=[16,16]",
        "model.classes=5", "model.input_channels=3",
    )  # fmt: skip
    layers = plan(config.model)
    assert sum(p.numel() for p in AlexNet(config.model).parameters()) == sum(
        layer.parameters for layer in layers
    )


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(compose_config, group: str, option: str) -> None:
    extra = []
    if (group, option) in (("data", "cifar10"), ("recipe", "cifar10")):
        extra = ["model=cifar_small"]
    if (group, option) in (("strategy", "towers"), ("strategy", "one_weird_trick")):
        extra = ["trainer.devices=2"]
    if option == "fashion_mnist":
        extra = ["model=d2l"]
    if group == "strategy" and option != "single":
        extra = ["trainer.devices=2"]
    plus = "+" if group == "sweep" else ""
    config = compose_config(f"{plus}{group}={option}", *extra)
    if group == "recipe":
        assert config.recipe == option
    elif group not in ("callbacks", "evaluation", "logger", "trainer"):
        assert getattr(config, group).name == option


def test_recipe_follows_the_data_and_can_be_chosen(compose_config) -> None:
    assert compose_config("data=flowers", "data.root=x").recipe == "flowers"
    paper = compose_config("data=flowers", "data.root=x", "recipe=paper")
    assert (paper.recipe, paper.optim.lr, paper.data.batch_size) == ("paper", 0.01, 128)
    assert (paper.optim.schedule, paper.trainer.max_epochs) == ("plateau", 90)
    assert paper.augmentation.min_scale == 1


def test_override_wins_over_recipe_and_experiment(compose_config) -> None:
    config = compose_config("data=flowers", "data.root=x", "+experiment=no_dropout",
                            "optim.lr=0.5", "model.dropout=0.3")  # fmt: skip
    assert (config.optim.lr, config.model.dropout) == (0.5, 0.3)


def test_config_hash_ignores_what_cannot_change_the_result(compose_config) -> None:
    base = config_hash(compose_config())
    assert base == config_hash(compose_config("logger=tensorboard", "data.stores=/elsewhere",
                                              "trainer.progress=false"))  # fmt: skip
    assert base != config_hash(compose_config("seed=1"))
    assert base != config_hash(compose_config("optim.lr=0.004"))
    laid = ("trainer.devices=4", "trainer.num_nodes=2", "strategy.timeout=9")
    for strategy in ("ddp", "fsdp", "towers", "one_weird_trick"):
        assert base == config_hash(compose_config(f"strategy={strategy}", *laid))
    assert base != config_hash(compose_config("strategy=ddp", "strategy.bf16_gradients=true"))


def test_experiment_files_open_with_question_command_and_figure() -> None:
    for file in (CONF / "experiment").glob("*.yaml"):
        lines = Path(file).read_text().splitlines()
        assert lines[0] == "# @package _global_"
        assert f"+experiment={file.stem}" in lines[2]
        assert lines[3].startswith("# Paper: ")

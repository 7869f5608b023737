"""What ships composes, and every experiment changes its own factor alone."""

import csv
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

import alexnet_exp
from alexnet_exp.config import Config, conf_folder, leaves, mistyped, to_plain
from alexnet_exp.config.arguments import check_arguments
from alexnet_exp.config.bearing import REFUSED_ARGUMENTS
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.plan import plan
from alexnet_exp.runs.identity import config_hash

CONF = conf_folder()
GROUPS = {
    folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
    for folder in CONF.iterdir()
    if folder.is_dir() and folder.name not in ("hydra", "profile")  # which is the benchmark's
}
EXPERIMENTS, RECIPES, SWEEPS = (GROUPS.pop(group) for group in ("experiment", "recipe", "sweep"))

# What each experiment may change, and to what, besides its name.
FACTORS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no_lrn": {"model.normalization": "none"},
    "no_norm2": {"model.conv.conv2.normalize": False,
                 "model.conv.conv2.normalize_within_map": False},
    "non_overlapping_pooling": {"model.pooling": "non_overlapping"},
    "non_overlapping_repadded": {
        "model.pooling": "non_overlapping", "model.pool_ceil": True,
        "model.conv.conv2.padding": 1, "model.conv.conv5.padding": 0,
    },
    "no_dropout": {"model.dropout": 0.0},
    "tanh": {"model.activation": "tanh"},
    "sigmoid": {"model.activation": "sigmoid"},
    "no_augmentation": {"augmentation.crops": False, "augmentation.flips": False,
                        "augmentation.color_noise": False},
    "no_crops": {"augmentation.crops": False},
    "no_flips": {"augmentation.flips": False},
    "no_crops_flips": {"augmentation.crops": False, "augmentation.flips": False},
    "no_color_noise": {"augmentation.color_noise": False},
    "one_gpu": {"model.name": "one_gpu", "model.towers": 1,
                "model.conv.conv1.channels": 48, "model.conv.conv2.channels": 128,
                "model.conv.conv3.channels": 192, "model.conv.conv4.channels": 192},
    "no_tower_communication": {"model.sees_both_towers": ["fc6", "fc7"]},
    "towers_meet_last": {"model.sees_both_towers": [], "model.conv.conv2.channels": 320,
                         "model.fc": [8192, 4096]},
    "two_gpus": {"strategy.name": "towers", "trainer.devices": 2},
    **{f"no_{layer}": {"model.without": [layer]} for layer in ("conv2", "conv3", "conv4", "conv5")},
    "no_weight_decay": {"optim.decay": False},
    "finetune": {"recipe": "finetune", "data.batch_size": 50,
                 "model.weights": "file", "optim.lr": 1e-3, "optim.bias_lr_factor": 2.0,
                 "optim.decay_biases": False, "optim.layers.output.lr": 1e-2,
                 "optim.layers.output.bias_lr": 2e-2, "optim.schedule": "steps",
                 "optim.milestones": [4, 8, 12, 16], "trainer.max_epochs": 20},
    "original": {
        "model.name": "original",
        "model.normalization": "pair",
        "model.lrn.alpha": 2e-5,
        "model.pool_ceil": True,
        "model.conv.conv1.order": ["normalization", "pool", "activation"],
        "model.conv.conv5.order": ["pool", "activation", "normalization"],
        "model.init.inner_std": 0.03,
        "optim.name": "original",
        "optim.bias_lr_factor": 2.0,
        "optim.decay_biases": False,
        "optim.bias_lr_drops": False,
        "optim.milestones": [25, 51, 79],
    },
}  # fmt: skip


# Networks of others, and what each is composed of.
TAUGHT = {
    "d2l": "data=fashion_mnist model=d2l",
    "flowers_notebook": "data=flowers model=flowers_notebook recipe=flowers_notebook",
    "caffenet_notes": "data=imagenet model=caffenet recipe=caffe",
    "torchvision": "data=imagenet model=torchvision recipe=torchvision",
}


def test_every_experiment_file_is_listed_here() -> None:
    assert sorted([*FACTORS, *TAUGHT]) == EXPERIMENTS


@pytest.mark.parametrize("experiment", TAUGHT)
def test_a_network_of_others_is_its_preset_with_its_data_and_training(
    compose_config, experiment: str
) -> None:
    parts = compose_config(*TAUGHT[experiment].split())
    whole = compose_config(f"+experiment={experiment}")
    assert whole == replace(parts, experiment=experiment)
    assert not [*mistyped(to_plain(whole))]


# Those of data that the paper's network fits.
LARGE = "paper", "flowers", "synthetic_small", "imagenet", "imagefolder", "synthetic"


@pytest.mark.parametrize(("experiment", "recipe"), list(zip(FACTORS, cycle(LARGE), strict=False)))
def test_experiment_differs_from_baseline_in_its_factor_alone(
    compose_config, experiment: str, recipe: str
) -> None:
    recipe = "paper" if experiment == "finetune" else recipe  # which has a recipe of its own
    baseline = compose_config(f"recipe={recipe}")
    given = ["model.weights=file"] if experiment == "finetune" else [f"recipe={recipe}"]
    changed = compose_config(*given, f"+experiment={experiment}")
    old, new = (dict(leaves(asdict(config))) for config in (baseline, changed))
    expected = {path: value for path, value in FACTORS[experiment].items()
                if old.get(path) != value}  # fmt: skip
    assert expected or experiment == "baseline"
    same = experiment in ("baseline", "two_gpus")  # recorded as the baseline
    names = {} if same else {"experiment": experiment}
    found = {path: new.get(path) for path in {*old, *new} if old.get(path) != new.get(path)}
    assert found == expected | names
    assert (config_hash(baseline) == config_hash(changed)) == same
    assert not [*mistyped(to_plain(changed))]
    model = replace(changed.model, classes=5, input_channels=3)
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in AlexNet(model).parameters())
    assert weights == sum(layer.parameters for layer in plan(model))


@pytest.mark.parametrize("place", range(max(map(len, GROUPS.values()))))
def test_every_option_composes(compose_config, place: int) -> None:
    """One of each group in a command line."""
    chosen = {group: options[place % len(options)] for group, options in GROUPS.items()}
    if chosen["optim"] == "cifar":  # whose output layer is fc4
        chosen["model"] = "cifar_small"
    config = compose_config(*(f"{group}={option}" for group, option in chosen.items()))
    assert config.recipe == chosen["data"]
    for group in ("augmentation", "data", "model", "optim", "speed", "strategy"):
        assert getattr(config, group).name == chosen[group]
    assert list(config.callbacks) == [name for name in [chosen["callbacks"]] if name != "none"]
    assert not [*mistyped(to_plain(config))]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_composes(compose_config, sweep: str) -> None:
    config = compose_config(f"+sweep={sweep}")
    assert config.sweep.name == sweep
    assert not [*mistyped(to_plain(config))]


def test_recipe_follows_the_data_and_can_be_chosen(compose_config) -> None:
    others = ["caffe", "cifar10_local", "finetune", "flowers_notebook", "paper", "torchvision"]
    assert sorted([*GROUPS["data"], *others]) == RECIPES
    config = compose_config("data=flowers", "data.root=x", "+experiment=no_dropout",
                            "optim.lr=0.5", "model.dropout=0.3")  # fmt: skip
    assert (config.recipe, config.optim.lr, config.model.dropout) == ("flowers", 0.5, 0.3)
    paper = compose_config("data=flowers", "data.root=x", "recipe=paper")
    assert (paper.recipe, paper.optim.lr, paper.data.batch_size) == ("paper", 0.01, 128)
    assert (paper.optim.schedule, paper.trainer.max_epochs) == ("plateau", 90)
    assert paper.augmentation.min_scale == 1


SAME_RESULT = (
    ("logger=[wandb,tensorboard]", "data.stores=/elsewhere", "trainer.progress=false",
     "+trainer.profiler=simple", "+trainer.arguments.detect_anomaly=true", "strategy=ddp",
     "callbacks=[lr_monitor,device_stats]", "trainer.devices=[0,1]", "trainer.num_nodes=2",
     "strategy.timeout=9", "speed.compile=network", "evaluation.batch_size=9", "sweep.name=mine"),
    ("strategy.name=fsdp", "trainer.devices=auto"), ("strategy.name=towers",),
    ("strategy.name=one_weird_trick", "trainer.devices=-1"), ("+experiment=two_gpus",),
)  # fmt: skip
ANOTHER_RESULT = (
    "seed=1", "optim.lr=0.004", "strategy.bf16_gradients=true", "callbacks=early_stopping",
    "+trainer.accumulate_grad_batches=2", "optim._target_=torch.optim.SGD", "evaluation.views=one",
    "+callbacks.timer._target_=lightning.pytorch.callbacks.Timer",
)  # fmt: skip


@pytest.mark.parametrize("overrides", [*SAME_RESULT, *((one,) for one in ANOTHER_RESULT)])
def test_config_hash_is_of_what_bears_on_the_result(
    compose_config, overrides: tuple[str, ...]
) -> None:
    config = compose_config(*overrides)
    hashed = config_hash(config)
    assert (config_hash(compose_config()) == hashed) == (overrides in SAME_RESULT)
    config.seed = float(config.seed)
    assert config_hash(config) == hashed, "0 is as good as 0.0"


def test_doors_to_lightning_and_torch(compose_config) -> None:
    trainer = compose_config(
        "+trainer.accumulate_grad_batches=2", "+trainer.fast_dev_run=true", "trainer.devices=-1",
        "trainer.min_epochs=3",
    ).trainer  # fmt: skip
    added = {"accumulate_grad_batches": 2, "fast_dev_run": True, "min_epochs": 3}
    assert (trainer.arguments, trainer.devices) == (added, -1)
    config = compose_config(
        "callbacks=[lr_monitor,early_stopping]", "callbacks.early_stopping.patience=3",
        "logger=[wandb,tensorboard]", "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger",
        "optim._target_=torch.optim.RMSprop", "+optim.alpha=0.9",
    )  # fmt: skip
    assert config.callbacks.keys() == {"lr_monitor", "early_stopping"}
    assert config.callbacks["early_stopping"]["patience"] == 3
    assert (config.logger.wandb, config.logger.tensorboard) == (True, True)
    assert config.logger.others.keys() == {"mine"}
    assert (config.optim._target_, config.optim.arguments) == (
        "torch.optim.RMSprop", {"alpha": 0.9},
    )  # fmt: skip


def test_arguments_that_break_a_promise_are_refused(compose_config) -> None:
    config = compose_config()
    for name in REFUSED_ARGUMENTS:
        config.trainer.arguments = {name: 1}
        with pytest.raises(UserError, match=f"trainer.{name} is not taken: "):
            check_arguments(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+trainer.acumulate_grad_batches=2", "did you mean accumulate_grad_batches"),
        ("trainer.devices=[0,0]", "trainer.devices=[0, 0] must be at least 1, or -1 or auto"),
        ("trainer.devices=some", "or a list such as [0,1]"),
        ("+optim.alpha=0.9", "optim.alpha: there is no such field"),
        ("optim._target_=torch.optim.RMSpro", "=torch.optim.RMSpro can't be imported"),
        ("+callbacks.mine._target_=no.Class", "callbacks.mine._target_=no.Class can't be imported"),
        ("+trainer.max_time=1", "trainer.max_time is not taken: "),
        ("+callbacks.mine=3", "a class of your own is +callbacks.mine._target_="),
        ("+trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0 must be at least 1"),
        ("logger.tag=[x]", "did you mean tags?"),
        ("trainer.precision=b16", "trainer.precision=b16"),
        ("optim.lr=nan", "optim.lr=nan must be finite"),
        ("+model.init.layer_std.fc6=inf", "model.init.layer_std.fc6=inf must be finite"),
        ("optim.schedule=steps", "optim.milestones"),
        ("+experiment=finetune", "model.weights is empty: set model.weights=<file"),
        ("model.weights_mean=mean.binaryproto", "goes with model.weights=<file>.caffemodel"),
        ("data.root=photos", "data.root=photos is not used by data=synthetic"),
        ("data.val_fraction=1.5", "data.val_fraction=1.5"),
        ("data.synthetic_images=3", "data.synthetic_images=3 must be at least 15"),
        ("model.fc=[]", "model.dropout_after: no layer 'fc6', 'fc7'; choose from conv5; model."),
    ],
)
def test_doors_that_lead_nowhere_and_wrong_values_are_named(
    compose_config, override: str, message: str
) -> None:
    with pytest.raises((UserError, ValueError)) as caught:
        compose_config(override)
    assert message in str(caught.value)


def test_presets_repeat_no_default() -> None:
    default = dict(leaves(to_plain(Config())))
    for group in ("augmentation", "data", "evaluation", "logger", "optim", "strategy", "trainer"):
        for file in (CONF / group).glob("*.yaml"):
            content = yaml.safe_load(file.read_text())
            for path, value in leaves({group: content}):
                label = path.endswith((".name", ".source"))
                assert label or default.get(path) != value, f"{file}: {path}"


def test_load_config_leaves_the_hydra_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("a: 1\n")
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2"):
        config = alexnet_exp.load_config("experiment=no_lrn+no_dropout", "optim.lr=0.5")
        assert hydra.compose("theirs") == {"a": 1}
        assert hydra.version.base_at_least("1.2")
        assert not hydra.version.base_at_least("1.3")
    assert (config.experiment, config.optim.lr) == ("no_dropout+no_lrn", 0.5)
    assert (config.model.dropout, config.model.normalization) == (0.0, "none")
    with pytest.raises(UserError, match="changes nothing here"):
        alexnet_exp.load_config("+experiment=no_lrn", "model=torchvision")


def test_experiments_say_what_the_committed_sweep_measured() -> None:
    with (CONF.parent / "results" / "synthetic_small" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "effect"]
    said = "main effect {difference:+.1f} points [{low:+.1f}, {high:+.1f}]"
    for row in rows:
        figures = {key: 100 * float(row[key]) for key in ("difference", "low", "high")}
        text = (CONF / "experiment" / f"{row['claim']}.yaml").read_text()
        assert said.format(**figures) in text
        assert f"): {row['idea']}: {row['verdict']}." in text
    assert len(rows) == 7


@pytest.mark.parametrize("group", ["experiment", "sweep"])
def test_files_open_with_question_command_cost_and_figure(group: str) -> None:
    for file in (CONF / group).glob("*.yaml"):
        first, *lines = file.read_text().splitlines()
        assert first == "# @package _global_"
        comment = "\n".join(line for line in lines if line.startswith("#"))
        for part in (f"+{group}={file.stem}", "\n# Cost: ", "\n# Measured: "):
            assert part in comment, f"{file}: {part}"
        assert group == "sweep" or "\n# Paper: " in comment
        assert not any(line.startswith("experiment:") for line in lines) or "two_gpus" in file.stem

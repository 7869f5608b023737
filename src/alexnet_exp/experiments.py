"""Whether a run will be what its overrides say, so that nothing is recorded under a false name."""

from dataclasses import asdict, replace
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config import Config, conf_folder, leaves, to_config, to_plain
from alexnet_exp.config.model import InitScheme
from alexnet_exp.errors import UserError

# Groups whose options a recipe may change in part.
_GROUPS = ("model", "augmentation", "optim", "evaluation")


def check_overrides(config: Config, overrides: list[str], primary: str = "config") -> list[str]:
    """Compare what was asked for with what was composed.

    Args:
        config: What Hydra composed.
        overrides: From the command line; Hydra must be initialized.
        primary: Configuration that Hydra composed it from.

    Returns:
        Notes for the user: which of the chosen options a recipe changes, and in what.

    Raises:
        UserError: Two experiments at once, an experiment that changes nothing, or a preset's name
            overridden as if that chose the preset.
    """
    parted = (item.lstrip("+").partition("=") for item in overrides)
    named = {name: value for name, _, value in parted}
    for group in ("model", "augmentation", "optim"):
        name = named.get(f"{group}.name")
        if name is not None and (conf_folder() / group / f"{name}.yaml").exists():
            raise UserError(f"{group}.name is only a label: choose a preset with {group}={name}")
    if named.get("optim.name") is not None:
        raise UserError("optim.name is only a label: the optimizer is SGD, as in the paper")
    experiments = [item for item in overrides if item.lstrip("+").startswith("experiment=")]
    if len(experiments) > 1 or any("=[" in item for item in experiments):
        raise UserError(
            f"{' '.join(experiments)}: one experiment at a time, so that its name says what"
            " changed; add fields for more, such as +experiment=no_lrn model.dropout=0"
        )
    if experiments:
        _refuse_undone(config)
    if experiments and config.experiment != "baseline":
        rest = [item for item in overrides if item not in experiments]
        _refuse_idle(config, hydra.compose(primary, rest))
    others = [item for item in overrides if not item.startswith("recipe=")]
    return [
        note
        for group in _GROUPS
        if group in named
        for note in _undone(
            config, group, named[group], hydra.compose(primary, [*others, "recipe=paper"])
        )
    ]


def _refuse_undone(config: Config) -> None:
    """Whatever the experiment sets has to hold in the end."""
    file = conf_folder() / "experiment" / f"{config.experiment}.yaml"
    content: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    wanted = [
        (f"{key.rpartition('/')[2]}.name", option)
        for default in content.pop("defaults", [])
        if isinstance(default, dict)
        for key, option in default.items()
    ]
    composed = dict(leaves(to_plain(config)))
    for path, value in [*wanted, *leaves(content)]:
        if composed.get(path) != value and "${" not in str(value):
            raise UserError(
                f"+experiment={config.experiment} sets {path}={value}, and another override"
                f" makes it {composed.get(path)}: leave out one of the two"
            )


def _refuse_idle(config: Config, composed: DictConfig) -> None:
    """Compare with what was composed without the experiment."""
    without = to_config(composed)
    if _effect(without) == _effect(config):
        raise UserError(
            f"+experiment={config.experiment} changes nothing here: model={config.model.name},"
            f" recipe={config.recipe} or another override leaves that out already, or puts it back"
        )


def _effect(config: Config) -> dict[str, Any]:
    """What a configuration does: the network as it is built, and what is left of augmentation."""
    model = config.model
    sized = replace(
        model,
        classes=model.classes or 1000,
        input_channels=model.input_channels or config.data.channels,
    )
    effect = asdict(replace(config, experiment=""))
    try:
        import torch  # seconds, and a run without an experiment is told its mistakes before

        from alexnet_exp.network.alexnet import AlexNet

        with torch.device("meta"):
            network = str(AlexNet(sized))
    except ValueError:  # too small an input, which is said elsewhere
        return effect
    effect["model"] = network, asdict(model.init)
    side = config.data.upscale_to or config.data.image_size
    if side == model.input_size and config.augmentation.min_scale == 1:
        effect["augmentation"]["crops"] = False
    return effect


def _undone(config: Config, group: str, option: str, composed: DictConfig) -> list[str]:
    """A note if the recipe changes fields of an option that was chosen by name.

    ``composed`` is with the paper's recipe, which changes none.
    """
    plain = getattr(to_config(composed), group)
    before, after = dict(leaves(asdict(plain))), dict(leaves(asdict(getattr(config, group))))
    changed = [f"{group}.{path}={after[path]}" for path in after if after[path] != before[path]]
    if config.model.init.scheme == InitScheme.torch:  # which asks for none of its fields
        changed = [change for change in changed if not change.startswith("model.init.")]
    if not changed:
        return []
    return [
        f"note: recipe={config.recipe} changes {group}={option}: {', '.join(changed)}"
        " (recipe=paper leaves it as it is)"
    ]

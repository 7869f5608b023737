"""Whether a run will be what its overrides say, so that nothing is recorded under a false name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from itertools import combinations
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from alexnet_exp.config import Config, compose, composing, conf_folder, leaves, to_config, to_plain
from alexnet_exp.config.arguments import OPEN
from alexnet_exp.config.compose import chosen_experiments
from alexnet_exp.config.model import InitScheme, ModelConfig
from alexnet_exp.config.training import OptimConfig, Schedule
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import importing
from alexnet_exp.messages import composition_error

Composed = Callable[..., Config]

# Groups whose options a recipe may change in part.
_GROUPS = ("model", "augmentation", "optim", "evaluation")


def load_config(*overrides: str) -> Config:
    """The configuration of a command line, composed and checked as the commands do.

    Args:
        overrides: Such as ``"+experiment=no_lrn"``, ``"optim.lr=.005"``.

    Raises:
        UserError: One is wrong, or an experiment does not do what its name says.
    """
    with composing():
        try:
            config = to_config(compose(overrides))
        except HydraException as error:
            raise UserError(composition_error(error)) from error
        check_overrides(config, list(overrides))
    return config


def check_overrides(config: Config, overrides: list[str], primary: str = "config") -> list[str]:
    """Compare what was asked for with what was composed.

    Args:
        config: What Hydra composed.
        overrides: From the command line; Hydra must be initialized.
        primary: Configuration that Hydra composed it from.

    Returns:
        Notes for the user: which of the chosen options a recipe changes, and in what, and which
        drops of the learning rate lie behind the end.

    Raises:
        UserError: An experiment changes nothing or is undone, two contradict each other, or a
            preset's name is overridden as if that chose the preset.
    """
    parted = (item.lstrip("+").partition("=") for item in overrides)
    named = {name: value for name, _, value in parted}
    for group in ("model", "augmentation", "optim"):
        name = named.get(f"{group}.name")
        known = name is not None and (conf_folder() / group / f"{name}.yaml").exists()
        if known or (name is not None and group == "optim"):
            other = " or optim._target_=<a class of torch.optim>" if group == "optim" else ""
            raise UserError(f"{group}.name is only a label: choose with {group}={name}{other}")

    @cache  # a third of a second each
    def composed(*given: str) -> Config:
        return to_config(compose(given, primary))

    _check_experiments(config, overrides, composed)
    others = [item for item in overrides if not item.startswith("recipe=")]
    groups = {group: named[group] for group in _GROUPS if group in named}
    if config.optim.name != OptimConfig.name:  # a model may bring it
        groups["optim"] = config.optim.name
    notes = [
        note
        for group, option in groups.items()
        for note in _undone(config, group, option, composed(*others, "recipe=paper"))
    ]
    optim, last = config.optim, config.trainer.max_epochs
    late = [epoch for epoch in optim.milestones if epoch >= last]
    if late and optim.schedule == Schedule.steps:
        notes.append(
            f"note: the run ends after trainer.max_epochs={last}, before optim.milestones="
            f"{','.join(map(str, late))}, where the learning rate would be divided"
        )
    return notes


def _check_experiments(config: Config, overrides: list[str], composed: Composed) -> None:
    """Each of them does something, all of it holds in the end, and no two set one field."""
    chosen = chosen_experiments(overrides)
    if not chosen:
        return
    wanted = {name: dict(_settings(name)) for name in chosen}
    if len(chosen) > 1:
        is_design = {*chosen} == {*config.sweep.factors}
        _refuse_contradiction(wanted, overrides, composed, is_design)
    found = dict(leaves(to_plain(config)))
    for name, settings in wanted.items():
        for path, value in settings.items():
            group, _, below = path.partition(".")
            now = found.get(path, found.get(f"{group}.{OPEN.get(group)}.{below}"))
            nameless = now is None and below == "name"  # logger, callbacks, trainer
            to_be_given = value == "" or "${" in str(value)
            if now != value and not nameless and not to_be_given:
                raise UserError(
                    f"+experiment={name} sets {path}={value}, and another override makes it"
                    f" {now}: leave out one of the two"
                )
    named = [name for name in chosen if name != Config.experiment]
    effect = _effect(config) if named else {}

    def effect_of(*experiments: str) -> dict[str, Any]:
        try:
            return _effect(composed(*with_experiments(experiments, overrides)))
        except UserError:  # what is given belongs to the data that the experiment brings
            return {}

    for name in named:
        rest = [other for other in chosen if other != name]
        if effect_of(*rest) == effect:
            for other in rest:
                if effect_of(name, other) == effect_of(other) and effect_of(name) != effect_of():
                    raise UserError(
                        f"+experiment={name} ({_shown(wanted[name])}) changes nothing beside"
                        f" +experiment={other} ({_shown(wanted[other])}): leave out one of the two"
                    )
            raise UserError(
                f"+experiment={name} changes nothing here: model={config.model.name},"
                f" recipe={config.recipe}, another experiment or override leaves that out already,"
                " or puts it back"
            )
        for problem in _without_object(config.model, wanted[name]):
            raise UserError(f"+experiment={name} {problem}")


def _without_object(model: ModelConfig, settings: Iterable[str]) -> Iterator[str]:
    """Settings of an experiment that find nothing to act on, though others of it do."""
    for path in settings:
        layer = path.removeprefix("model.conv.").partition(".")[0]
        if path == "model.sees_both_towers" and model.towers == 1:
            yield f"parts towers, and model={model.name} has one: choose a model with two"
        if path.startswith("model.conv.") and layer in model.without:
            yield f"sets {path}, and {layer} is left out here: leave out one of the two"


def _refuse_contradiction(
    wanted: dict[str, dict[str, Any]], overrides: list[str], composed: Composed, is_design: bool
) -> None:
    """Hydra lets the last of two experiments win in silence.

    In a design a field follows one factor alone; else the report could not tell the two apart.
    """
    groups = [item for item in overrides if item.startswith(("data=", "recipe=", "model.weights="))]
    changes = dict(wanted)
    for name in wanted:
        if "defaults" in _file(name):  # presets, which set more than it says
            plain = dict(leaves(to_plain(composed(*groups))))
            own = dict(leaves(to_plain(composed(*with_experiments([name], groups)))))
            changed = {path: own[path] for path in own if own[path] != plain.get(path)}
            changes[name] = changed | wanted[name]
    for (one, first), (other, second) in combinations(changes.items(), 2):
        for path in sorted(first.keys() & second.keys() - {"experiment"}):
            if first[path] != second[path]:
                raise UserError(
                    f"+experiment={one} sets {path}={first[path]} and +experiment={other} sets"
                    f" {path}={second[path]}: they can't be had together"
                )
            if is_design:
                raise UserError(
                    f"+experiment={one} and +experiment={other} both set {path}={first[path]}, and"
                    " in a design a field follows one of them alone: leave out one of the two"
                )


def with_experiments(experiments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The same overrides with other experiments."""
    others = [item for item in overrides if not chosen_experiments([item])]
    return [*others, f"+experiment=[{','.join(experiments)}]"] if experiments else others


def _file(experiment: str) -> dict[str, Any]:
    """An experiment's file, wherever in Hydra's search path it lies; empty where there is none."""
    path = f"experiment/{experiment}"
    sources = [
        source
        for source in GlobalHydra.instance().config_loader().get_sources()
        if source.available() and source.is_config(path)
    ]
    if len(sources) > 1:  # Hydra takes the first in silence
        raise UserError(
            f"+experiment={experiment} is a file in {' and in '.join(s.path for s in sources)}:"
            " rename yours"
        )
    found: Any = [OmegaConf.to_container(one.load_config(path).config) for one in sources]
    return found[0] if found else {}


def _settings(experiment: str) -> Iterator[tuple[str, Any]]:
    """What an experiment's file sets, by dotted path."""
    content = _file(experiment)
    for default in content.pop("defaults", []):
        if isinstance(default, dict):
            for key, option in default.items():
                group = key.rpartition("/")[2]
                yield group if group == "recipe" else f"{group}.name", option
    yield from leaves(content)


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in settings.items())


def _effect(config: Config) -> dict[str, Any]:
    """What a configuration does: the network as it is built, and what is left of augmentation."""
    model = config.model
    channels = model.input_channels or config.data.channels
    sized = replace(model, classes=model.classes or 1000, input_channels=channels)
    effect = asdict(replace(config, experiment=""))
    try:
        with importing():  # seconds, and a run without an experiment is told its mistakes before
            import torch

            from alexnet_exp.network.alexnet import AlexNet

        with torch.device("meta"):
            network = str(AlexNet(sized))
    except ValueError:  # too small an input, which is said elsewhere
        return effect
    effect["model"] = network, asdict(model.init)
    side = config.data.upscale_to or config.data.image_size
    if side == model.input_size and config.augmentation.min_scale == 1:
        effect["augmentation"]["crops"] = False
    optim = config.optim
    layers = [own.get("weight_decay", 0.0) for own in optim.layers.values()]
    effect["optim"]["decay"] = optim.decay and any((optim.weight_decay, *layers))
    return effect


def _undone(config: Config, group: str, option: str, plain: Config) -> list[str]:
    """A note if the recipe changes an option; ``plain`` has the paper's, which does not."""
    before, after = (dict(leaves(asdict(getattr(one, group)))) for one in (plain, config))
    changed = [f"{group}.{path}={after[path]}" for path in after if after[path] != before.get(path)]
    if config.model.init.scheme == InitScheme.torch:  # which asks for none of its fields
        changed = [change for change in changed if not change.startswith("model.init.")]
    if not changed:
        return []
    return [
        f"note: recipe={config.recipe} changes {group}={option}: {', '.join(changed)}"
        " (recipe=paper leaves it as it is)"
    ]

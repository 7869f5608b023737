"""What an experiment changes in a configuration."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config import compose, composing, conf_folder, leaves

Fields = Mapping[str, Any]
"""Values of a configuration by dotted path."""

ABSENT = "absent"

_LEARNED = (
    "model.", "augmentation.", "optim.", "trainer.", "callbacks.", "evaluation.", "data.subset",
    "data.folds", "data.image_size", "data.upscale_to", "data.batch_size", "data.val_fraction",
    "strategy.bf16_gradients",
)  # fmt: skip
# Of these what the data set or the machine decides.
_OF_MACHINE = frozenset({
    "model.input_channels", "trainer.accelerator", "trainer.precision", "trainer.deterministic",
})  # fmt: skip


@cache
def factor_fields(experiment: str) -> Fields:
    """What ``+experiment=`` changes: dotted paths, with the values that they have without it.

    Args:
        experiment: One, or several joined by ``+``. Of one that the configuration tree does not
            have, such as a user's own, nothing is known, so it has no fields.
    """
    changed: dict[str, Any] = {}
    for name in experiment.split("+"):
        own = _changed(name)
        if own is None:
            return {}
        changed |= own
    return changed


@cache
def _changed(name: str) -> Fields | None:
    """Of one experiment; None where it is unknown."""
    if name not in shipped("experiment"):
        return None
    body = OmegaConf.load(conf_folder() / "experiment" / f"{name}.yaml")
    named = "defaults" in body  # other options; else Hydra merges, too, in a hundred times as long
    with_it = composed(f"+experiment={name}") if named else OmegaConf.merge(composed(), body)
    before, after = _fields(composed()), _fields(with_it)
    changed = {
        path: before.get(path, ABSENT)
        for path in before.keys() | after.keys()
        if path != "experiment" and before.get(path, ABSENT) != after.get(path, ABSENT)
    }
    if "model.weights" in changed:
        changed["model.weights_digest"] = None  # by which a run records them
    return changed


@cache
def shipped(group: str) -> frozenset[str]:
    """Names of the presets of a group, such as ``model``."""
    return frozenset(file.stem for file in (conf_folder() / group).glob("*.yaml"))


@cache
def composed(*overrides: str) -> DictConfig:
    """A configuration; the paper's recipe hides nothing of what a factor sets."""
    with composing():
        return compose(["recipe=paper", *overrides])


def departures(fields: Fields, *told: str) -> set[str]:
    """Paths of what a run learned from and was evaluated by, where a run that is told no more than
    this has other values; of a field that the run did not record it has the same.
    """
    known = _told(*told)
    own = {**known, **fields}
    paths = {path for path in own if path.startswith(_LEARNED) and path not in _OF_MACHINE}
    return {path for path in paths if own[path] != known.get(path)}


@cache
def _told(*overrides: str) -> Fields:
    with composing():
        return _fields(compose(overrides))


def _fields(config: Any) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return dict(leaves(plain))


def show(value: Any) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(show, value))}]"
    return str(value)

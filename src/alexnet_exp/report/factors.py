"""What an experiment changes, and what else tells configurations apart, in few words."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config import compose, composing, conf_folder, leaves

Fields = Mapping[str, Any]
"""Values of a configuration by dotted path."""

ABSENT = "absent"

# Presets, each of which stands for many fields.
_PRESETS = {
    "recipe": "recipe",
    "model": "model.name",
    "augmentation": "augmentation.name",
    "optim": "optim.name",
}
_DIGEST = 8


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
    file = conf_folder() / "experiment" / f"{name}.yaml"
    if not (name.isidentifier() and file.exists()):
        return None
    body = OmegaConf.load(file)
    named = "defaults" in body  # other options; else Hydra merges, too, in a hundred times as long
    composed = _composed(f"+experiment={name}") if named else OmegaConf.merge(_composed(), body)
    before, after = _fields(_composed()), _fields(composed)
    changed = {
        path: before.get(path, ABSENT)
        for path in before.keys() | after.keys()
        if path != "experiment" and before.get(path, ABSENT) != after.get(path, ABSENT)
    }
    if "model.weights" in changed:
        changed["model.weights_digest"] = None  # by which a run records them
    return changed


@cache
def _composed(*overrides: str) -> DictConfig:
    """A configuration; the paper's recipe hides nothing of what a factor sets."""
    with composing():
        return compose(["recipe=paper", *overrides])


def _fields(composed: Any) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    return dict(leaves(plain))


def contexts(runs: Sequence[tuple[str, Fields]]) -> list[tuple[str, ...]]:
    """For each experiment and its fields the overrides that tell it from the others.

    What an experiment changes does not tell it apart: it is the experiment.
    """
    presets = [_presets(experiment, fields) for experiment, fields in runs]
    varied = [name for i, name in enumerate(_PRESETS) if len({own[i] for own in presets}) > 1]
    alike = defaultdict(list)
    for own, run in zip(presets, runs, strict=True):
        alike[own].append(run)
    paths = {own: _varied_fields(members) for own, members in alike.items()}
    words = []
    for own, (experiment, fields) in zip(presets, runs, strict=True):
        named = dict(zip(_PRESETS, own, strict=True))
        less = paths[own] - factor_fields(experiment).keys()
        fewer = overrides(fields, less)
        words.append((*(f"{name}={named[name]}" for name in varied if named[name]), *fewer))
    return words


def _presets(experiment: str, fields: Fields) -> tuple[str, ...]:
    """Names of the presets, as they would be without the experiment; none of the optimizer that
    the model brings.
    """
    without = {**fields, **factor_fields(experiment)}
    found = {name: show(without.get(path, ABSENT)) for name, path in _PRESETS.items()}
    try:
        is_default = found["model"] == _composed().model.name
        brought = _composed(*([] if is_default else [f"model={found['model']}"])).optim.name
    except HydraException:  # a model of the user's own
        brought = None
    return tuple("" if (name, value) == ("optim", brought) else value
                 for name, value in found.items())  # fmt: skip


def _varied_fields(runs: Sequence[tuple[str, Fields]]) -> set[str]:
    """Paths in which they differ, each left out where it is what the experiment changes."""
    values: dict[str, set[str]] = defaultdict(set)
    every = set().union(*(fields for _, fields in runs))
    for experiment, fields in runs:
        for path in every - factor_fields(experiment).keys():
            values[path].add(_value(fields, path))
    return {path for path, found in values.items() if len(found) > 1}


def overrides(fields: Fields, paths: Iterable[str], most: int | None = None) -> list[str]:
    """``optim.lr=0.02`` for each path, in their order; beyond ``most`` how many more there are."""
    words = [f"{path}={_value(fields, path)}" for path in sorted(paths)]
    more = len(words) - len(words[:most])
    return words[:most] + ([f"and {more} more"] if more else [])


def _value(fields: Fields, path: str) -> str:
    text = show(fields.get(path, ABSENT))
    return text[:_DIGEST] if path == "data.fingerprint" else text


def show(value: Any) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(show, value))}]"
    return str(value)

"""What tells configurations apart besides their experiments, in few words."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from alexnet_exp.config.changes import ABSENT, Fields, composed, factor_fields, shipped, show

# Presets, each of which stands for many fields.
_PRESETS = {
    "recipe": "recipe",
    "model": "model.name",
    "augmentation": "augmentation.name",
    "optim": "optim.name",
}
_DIGEST = 8


def contexts(runs: Sequence[tuple[str, Fields]]) -> list[tuple[str, ...]]:
    """For each experiment and its fields the overrides that tell it from the others.

    What an experiment changes does not tell it apart: it is the experiment.
    """
    presets = [_presets(experiment, fields) for experiment, fields in runs]
    varied = [name for i, name in enumerate(_PRESETS) if len({own[i] for own in presets}) > 1]
    alike = grouped(zip(presets, runs, strict=True), lambda both: both[0])
    paths = {own: _varied_fields([run for _, run in both]) for own, both in alike.items()}
    words = []
    for own, (experiment, fields) in zip(presets, runs, strict=True):
        named = dict(zip(_PRESETS, own, strict=True))
        fewer = overrides(fields, paths[own] - factor_fields(experiment).keys())
        words.append((*(f"{name}={named[name]}" for name in varied if named[name]), *fewer))
    return words


def _presets(experiment: str, fields: Fields) -> tuple[str, ...]:
    """Names of the presets, as they would be without the experiment; none of the optimizer that
    the model brings.
    """
    without = {**fields, **factor_fields(experiment)}
    found = {name: show(without.get(path, ABSENT)) for name, path in _PRESETS.items()}
    brought = None  # by a model of the user's own
    is_default = found["model"] == composed().model.name
    if is_default or found["model"] in shipped("model"):
        brought = composed(*([] if is_default else [f"model={found['model']}"])).optim.name
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
    return first_few([f"{path}={_value(fields, path)}" for path in sorted(paths)], most)


def first_few(items: Sequence[str], most: int | None, rest: str = "more") -> list[str]:
    """The first ones, and ``and 3 more``."""
    left = len(items) - len(items[:most])
    return [*items[:most], *([f"and {left} {rest}"] if left else [])]


_Item = TypeVar("_Item")
_Key = TypeVar("_Key")


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """Those with the same key together, in the order of the first of each."""
    found: dict[_Key, list[_Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _value(fields: Fields, path: str) -> str:
    text = show(fields.get(path, ABSENT))
    return text[:_DIGEST] if path == "data.fingerprint" else text

"""Is it the same run? What of a configuration bears on the result, as its fields say."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from alexnet_exp.config import Config, leaves, to_plain
from alexnet_exp.config.bearing import NEUTRAL_ARGUMENTS, OBSERVERS


def _neutral(schema: Any, path: str = "") -> Iterator[str]:
    for item in fields(schema):
        if item.metadata.get("neutral"):
            yield f"{path}{item.name}"
        elif is_dataclass(item.type):
            yield from _neutral(item.type, f"{path}{item.name}.")


NEUTRAL = frozenset({
    *_neutral(Config),
    *(f"trainer.{folded}{name}" for folded in ("", "arguments.") for name in NEUTRAL_ARGUMENTS),
})  # fmt: skip
"""Dotted paths of groups and fields that may differ between two runs with the same result."""


def is_neutral(path: str) -> bool:
    """Whether a field, such as ``trainer.progress``, has no bearing on the result."""
    return any(f"{path}.".startswith(f"{group}.") for group in NEUTRAL)


def bearing(plain: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested dicts without the fields that have no bearing on the result.

    ``path`` is where they lie in the whole configuration, with a dot at the end.
    """
    return {
        name: bearing(value, f"{path}{name}.") if isinstance(value, dict) else value
        for name, value in plain.items()
        if f"{path}{name}" not in NEUTRAL and not (path == "callbacks." and _looks_on(value))
    }


def _looks_on(callback: Any) -> bool:
    """Whether it is one of Lightning's callbacks that change nothing."""
    target = str(callback.get("_target_")) if isinstance(callback, dict) else ""
    package, _, name = target.rpartition(".")
    return package.startswith(("lightning.", "pytorch_lightning.")) and name in OBSERVERS


def differing(recorded: dict[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """What bears on the result and was another, by dotted path: as recorded, and as it is."""
    old, new = _set_fields(recorded), _set_fields(to_plain(config))
    paths = sorted({*old, *new} - {"config_hash"})
    return {
        path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)
    }


def config_hash(config: Config) -> str:
    """Twelve hexadecimal digits of everything in the configuration that bears on the result."""
    fields = json.dumps(_set_fields(to_plain(config)))
    text = json.dumps(json.loads(fields, parse_int=float), sort_keys=True)  # 0 is as good as 0.0
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _set_fields(plain: dict[str, Any]) -> dict[str, Any]:
    """What bears on the result, by dotted path; null is as good as a field not yet invented."""
    return {path: value for path, value in leaves(bearing(plain)) if value is not None}

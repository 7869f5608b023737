"""Which values a field may have: said with its default, checked whenever it is set."""

import math
import re
from collections.abc import Callable
from dataclasses import field, is_dataclass
from enum import EnumType
from functools import cache
from typing import Any, get_type_hints

NEUTRAL = {"neutral": True}
"""Metadata of a field that may differ between two runs with the same result."""

Rule = tuple[str, Callable[[Any], bool]]

POSITIVE: Rule = "must be greater than 0", lambda value: value > 0
NOT_NEGATIVE: Rule = "must not be negative", lambda value: value >= 0
AT_LEAST_1: Rule = "must be at least 1", lambda value: value >= 1
BELOW_1: Rule = "must lie in [0, 1)", lambda value: 0 <= value < 1
PART: Rule = "must lie between 0 and 1", lambda value: 0 < value < 1
FOLDER: Rule = (
    "names a folder: use letters, digits and . _ + - alone",
    lambda value: re.fullmatch(r"\w[\w.+-]*", value) is not None,
)


def one_of(*values: str) -> Rule:
    """Nothing but these words."""
    return f"must be one of {', '.join(values)}", lambda value: value in values


def ruled(default: Any, rule: Rule) -> Any:
    """A field with this default; null, where its type has it, always holds."""
    return field(default=default, metadata={"rule": rule})


def neutral(default: Any, rule: Rule | None = None) -> Any:
    """A field with this default and no bearing on the result."""
    return field(default=default, metadata=NEUTRAL | {"rule": rule})


class Ruled:
    """Base of the schema of ``group``: a field is checked whenever it is set."""

    _group: str

    def __init_subclass__(cls, group: str) -> None:
        cls._group = group

    def __setattr__(self, name: str, value: Any) -> None:
        """Raise ValueError naming the override to change."""
        super().__setattr__(name, _checked(type(self), name, value, f"{self._group}.{name}"))


def check_fields(node: Any, path: str) -> None:
    """Raise ValueError ``<path>.<field>=<value> <rule>`` for the first field that breaks one."""
    for name, value in vars(node).items():
        setattr(node, name, _checked(type(node), name, value, f"{path}.{name}"))


kinds = cache(get_type_hints)


def _checked(schema: Any, name: str, value: Any, path: str) -> Any:
    """The value; an enum's member may be given by its name, a group of fields as a dict."""
    require(name in kinds(schema), path, value, "sets no field")
    kind, item = kinds(schema)[name], schema.__dataclass_fields__[name]
    value = value.item() if hasattr(value, "item") else value  # of NumPy or torch
    if isinstance(kind, EnumType) and value is not None:
        names = list(kind.__members__)
        require(value in names, path, value, f"must be one of {names}")
        return kind[value]
    if isinstance(value, dict) and isinstance(kind, type) and is_dataclass(kind):
        return kind(**value)
    if isinstance(value, float):
        require(math.isfinite(value), path, value, "must be finite")
    rule: Rule | None = item.metadata.get("rule")
    if rule is not None and value is not None:
        words = rule[0] + (" or null" if item.default is None else "")
        require(rule[1](value), path, value, words)
    return value


def require(holds: bool, path: str, value: Any, rule: str) -> None:
    """Raise ValueError ``<path>=<value> <rule>``, which names the override to change, if not."""
    if not holds:
        raise ValueError(f"{path}={value} {rule}")

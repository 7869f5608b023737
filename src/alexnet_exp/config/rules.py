"""How a field out of range is said."""

from typing import Any


def require(holds: bool, path: str, value: Any, rule: str) -> None:
    """Raise ValueError ``<path>=<value> <rule>``, which names the override to change, if not."""
    if not holds:
        raise ValueError(f"{path}={value} {rule}")

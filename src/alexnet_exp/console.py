"""The one console that every command prints to, and how it writes an error; imports no torch."""

from rich.console import Console

console = Console(highlight=False)


def percent(error: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * error:.1f} %"

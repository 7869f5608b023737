"""Tables for the screen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from alexnet_exp.console import console


def show(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; all columns but the first hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(title, style="bold", soft_wrap=True)
    console.print(table)


def spread(measured: Mapping[str, Any]) -> str:
    """Median, least and most of a series."""
    return f"{measured['median']:,.1f} ({measured['min']:,.1f} to {measured['max']:,.1f})"

"""List runs and what came out of them: ``python -m alexnet_exp.runs [folder]``."""

import argparse
from pathlib import Path

from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, percent, visible
from alexnet_exp.runs import read
from alexnet_exp.runs.folder import RunFolder

# More than any table has: names stay whole, and a terminal wraps its lines itself.
_WIDTH = 10_000

_COLUMNS = ("experiment", "data", "seed", "state", "val", "test", "epochs", "seconds", "folder")


def row(folder: Path, root: Path) -> tuple[str, ...]:
    """The cells of one run, as in the table's heading."""
    shown = str(folder.relative_to(root))
    try:
        config, result = read.read_config(folder) or {}, read.read_result(folder) or {}
        state = "finished" if result else "unfinished"
        if not result and read.read_diverged(folder) is not None:
            state = "diverged"
        elif not result and RunFolder(folder).is_running():
            state = "running"
        metrics = result.get("metrics", {})
        errors = [metrics.get(f"{split}/top1_error") for split in ("val", "test")]
        epochs = result.get("epochs", len(read.read_metrics(folder)))
    except read.UnusableRunError as error:
        return "?", "?", "?", error.reason, "", "", "", "", shown
    return (
        str(config.get("experiment", "?")), str(config.get("data", {}).get("name", "?")),
        str(config.get("seed", "?")), state,
        *("" if error is None else percent(error) for error in errors), str(epochs),
        f"{result['train_seconds']:.0f}" if "train_seconds" in result else "", shown,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.runs", description="List runs and what came out of them."
    )
    parser.add_argument("folder", nargs="?", default="runs", type=Path, help="default: runs")
    root = parser.parse_args().folder
    folders = read.run_folders(root)
    if not folders:
        parser.error(f"no run was started in {root}: name the folder that holds them")
    console.width = _WIDTH
    table = Table()
    for name in _COLUMNS:
        right = name in ("seed", "val", "test", "epochs", "seconds")
        most = 40 if name == "state" else None  # which may tell why a folder can't be read
        table.add_column(name, justify="right" if right else "left", max_width=most)
    for folder in folders:
        table.add_row(*(Text(visible(cell)) for cell in row(folder, root)))
    console.print(table)


if __name__ == "__main__":
    main()

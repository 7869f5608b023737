"""Pack a data set: ``python -m alexnet_exp.prepare data=flowers data.root=flowers/``.

``train`` does this by itself; a command of its own packs once before many runs start. With
``data.folds=5`` one store holds all folds.
"""

from pathlib import Path
from typing import Any

from alexnet_exp import cli


def pack(config: Any, folder: Path) -> None:
    """Pack the data set and say what is in the store; nothing is put into the run folder."""
    from alexnet_exp.console import console
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.runs.folder import RunFolder

    RunFolder(folder).discard()
    store = prepare(config.data)
    counts = "; ".join(
        ", ".join(f"{sum(by_class.values()):,} {split}" for split, by_class in fold.items())
        for fold in store.meta["counts"]
    )
    folds = "" if store.fold is None else f"{config.data.folds} folds: "
    size = store.images.stored_bytes / 2**20
    console.print(
        f"{store.path}: {folds}{counts}; {len(store.classes)} classes; {size:,.0f} MiB",
        soft_wrap=True,
    )


def main() -> None:
    cli.run(pack)


if __name__ == "__main__":
    main()

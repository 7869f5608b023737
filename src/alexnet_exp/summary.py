"""Show a network's layers and sizes: ``python -m alexnet_exp.summary model=caffenet``.

Overrides are those of ``train``; a run folder or a checkpoint, and changes to it, stand for the
network that was trained.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config
from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.console import console, say
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing
from alexnet_exp.network.plan import LayerPlan, plan
from alexnet_exp.words import parted

PAPER = {"parameters": 60_000_000, "neurons": 650_000}
"""What the paper's abstract says of its network."""

_IMAGENET = 1000  # classes, where no data says how many


def summarize(*words: str) -> dict[str, Any]:
    """What a network holds, computes and hands on, layer by layer; nothing is built.

    Multiply-adds (half of what torch counts as FLOPs) and activations are of one image, forward.
    Activations are what each layer hands on, in the precision that training would have here, or
    that the run had.

    Args:
        words: A command line as ``train`` takes it; or a run folder or checkpoint, and changes.

    Returns:
        ``model``, ``input`` [C, S, S], ``classes``, ``precision``, ``batch_size``, ``layers`` with
        ``name``, ``kind``, ``output`` ([C, S, S], or [units]), ``towers`` (that it keeps apart; 1:
        it sees all), ``parameters``, ``multiply_adds``, ``neurons`` and ``activation_bytes`` each,
        the sums of these four, and the ``paper``'s.

    Raises:
        UserError: An override is wrong, the layers do not fit each other, or there is no such run.
    """
    return _figures(*_planned(words))


def _figures(config: Config, layers: list[LayerPlan], itemsize: int) -> dict[str, Any]:
    model = config.model
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output": [layer.outputs] if layer.kind == "fc" else [layer.outputs, *2 * [layer.size]],
            "towers": layer.groups,
            "parameters": layer.parameters,
            "multiply_adds": layer.macs,
            "neurons": layer.neurons,
            "activation_bytes": layer.units * itemsize,
        }
        for layer in layers
    ]
    summed = ("parameters", "multiply_adds", "neurons", "activation_bytes")
    return {
        "model": model.name,
        "input": [model.input_channels, model.input_size, model.input_size],
        "classes": model.classes,
        "precision": config.trainer.precision,
        "batch_size": config.data.batch_size,
        "layers": rows,
        **{name: sum(row[name] for row in rows) for name in summed},
        "paper": PAPER,
    }


def _planned(words: tuple[str, ...]) -> tuple[Config, list[LayerPlan], int]:
    """The configuration, complete, its layers, and the bytes of an activation."""
    with importing():
        from alexnet_exp.hardware import activation_dtype, resolve_precision

        config = _config(words)
        model, trainer = config.model, config.trainer
        trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)
        model.classes = model.classes or _classes(config, words)
        model.input_channels = model.input_channels or config.data.channels
        try:
            return config, plan(model), activation_dtype(trainer.precision).itemsize
        except ValueError as error:
            raise UserError(str(error)) from error


def _config(words: tuple[str, ...]) -> Config:
    """What the words compose, or what the run that one of them names has recorded."""
    paths, overrides = parted(words)
    if len(paths) > 1:
        raise UserError(f"{' and '.join(paths)}: name one run, or overrides with = alone")
    if not paths:
        from alexnet_exp.experiments import load_config

        return load_config(*overrides)
    from alexnet_exp.runs.read import read_config
    from alexnet_exp.training.checkpoint import load_checkpoint, recorded_config

    path = Path(paths[0])
    recorded = read_config(path) if path.is_dir() else None  # a run may have lost its checkpoint
    if recorded is None:
        recorded = load_checkpoint(path)["hyper_parameters"]["config"]
    known = {name: value for name, value in recorded.items() if name != "config_hash"}
    return recorded_config(known, overrides)


def _classes(config: Config, words: tuple[str, ...]) -> int:
    """As many as the data that was asked for has; nothing is packed for it."""
    from alexnet_exp.data.store.store import read_meta, store_path

    why = "no data= is named"
    if config.data.name != DataConfig.name or any(word.startswith("data=") for word in words):
        meta = read_meta(store_path(config.data))
        if meta is not None:
            return len(meta["classes"])
        if known := _known_classes(config.data):
            return known
        why = f"data={config.data.name} is not packed yet"
    say(f"{_IMAGENET} classes, as {why}: model.classes= sets their number")
    return _IMAGENET


def _known_classes(data: DataConfig) -> int | None:
    """As many as data sets of that name have, or as the folder has; None: to look takes long."""
    if data.source in (Layout.cifar10, Layout.fashion_mnist):
        return 10
    if data.source == Layout.synthetic or (data.source == Layout.flowers and data.root is None):
        return 5
    if data.source == Layout.imagenet or not Path(data.root or "").expanduser().is_dir():
        return None
    from alexnet_exp.data.sources.source import open_source
    from alexnet_exp.data.store.store import store_path

    return len(open_source(data, store_path(data), progress=False).classes)


def show(config: Config, layers: list[LayerPlan], itemsize: int) -> None:
    """Print the table of layers, and the totals beside the paper's."""
    from rich.table import Table

    from alexnet_exp.network.layer_table import layer_table

    figures, batch = _figures(config, layers, itemsize), config.data.batch_size
    console.print(layer_table(config.model.name, layers, itemsize))
    totals = Table("", box=None)
    totals.add_column(f"model={config.model.name}", justify="right")
    totals.add_column("the paper", justify="right")
    for name, published in PAPER.items():
        totals.add_row(name, f"{figures[name]:,}", f"{published:,}")
    console.print(totals)
    channels, side, _ = figures["input"]
    lines = (
        f"of one image of {channels} x {side} x {side}: {2e-9 * figures['multiply_adds']:,.3g}"
        f" GFLOP forward; {figures['classes']:,} classes",
        f"activations of a batch of {batch:,} in {figures['precision']}:"
        f" {batch * figures['activation_bytes'] / 2**20:,.1f} MiB",
    )
    console.print("\n".join(lines), soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.summary",
        description="A network's layers: shapes, towers, parameters, multiply-adds, activations.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN|override",
        help="what train takes, such as model=caffenet model.width=.5 +experiment=no_lrn; or a run"
        " folder or checkpoint, and changes to it",
    )
    own = "a folder of your own with models and experiments"
    parser.add_argument("--config-dir", type=Path, metavar="FOLDER", help=own)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    given = parser.parse_intermixed_args()
    words = list(given.words)
    if given.config_dir is not None:
        words.append(f"hydra.searchpath=[file://{given.config_dir.absolute()}]")
    with answering("nothing was changed"):
        planned = _planned(tuple(words))
        if given.json:
            print(json.dumps(_figures(*planned), indent=2))
        else:
            show(*planned)


if __name__ == "__main__":
    main()

"""A network's layers as a table: what they hold, compute and hand on."""

from collections.abc import Sequence

from rich.table import Table

from alexnet_exp.network.plan import LayerPlan


def layer_table(name: str, layers: Sequence[LayerPlan], itemsize: int) -> Table:
    """Every layer with its output shape, parameters, multiply-accumulates and activations.

    And the number of towers that it keeps apart: 1 sees all.

    Args:
        name: The network's, for the title.
        layers: ``plan`` of ``network.plan`` or of an ``AlexNet``.
        itemsize: Bytes of one activation: 4 in fp32, 2 in bf16.
    """
    apart = any(layer.groups > 1 for layer in layers)
    note = "towers: that a layer keeps apart; 1 sees all maps" if apart else None
    table = Table(title=f"model={name}", title_justify="left", box=None, caption=note,
                  caption_justify="left")  # fmt: skip
    for heading in (
        "layer",
        "output",
        "towers",
        "parameters",
        "M multiply-adds",
        "activations, KiB",
    ):
        table.add_column(heading, justify="left" if heading in ("layer", "output") else "right")

    for layer in layers:
        size = "" if layer.kind == "fc" else f" x {layer.size} x {layer.size}"
        numbers = (f"{layer.parameters:,}", f"{layer.macs / 1e6:,.1f}")
        shown = numbers if layer.kind in ("conv", "fc") else ("", "")
        memory = f"{layer.units * itemsize / 1024:,.1f}"
        towers = "" if layer.kind == "pool" else str(layer.groups)
        table.add_row(layer.name, f"{layer.outputs}{size}", towers, *shown, memory)
    table.add_section()
    parameters, macs = sum(la.parameters for la in layers), sum(la.macs for la in layers)
    memory = f"{sum(la.units for la in layers) * itemsize / 1024:,.1f}"
    table.add_row("all", "", "", f"{parameters:,}", f"{macs / 1e6:,.1f}", memory)
    return table

"""The command that would measure a claim that no run is about."""

from collections.abc import Sequence

from alexnet_exp.report.claims import FOUR_LAYERS
from alexnet_exp.report.commands import (
    is_placement,
    place_of,
    seeds_of,
    shared_overrides,
    sweep_command,
    train_command,
)
from alexnet_exp.report.findings import Claim, Kind
from alexnet_exp.report.pairing import Cell, factor_fields
from alexnet_exp.report.verdicts import ENOUGH_SEEDS

_ROOT = "data.root="
_DATA = "imagenet"


def cells_about(claim: Claim, cells: Sequence[Cell]) -> list[Cell]:
    """Those of a network that the claim is about."""
    return [cell for cell in cells if is_about(claim, cell.first.model)]


def is_about(claim: Claim, model: str) -> bool:
    """Whether the claim is about this network."""
    return model in claim.four_layers if claim.four_layers else model not in FOUR_LAYERS


def missing_command(claim: Claim, cells: Sequence[Cell]) -> str:
    """The command for a claim without runs.

    Claims on data of their own name that data, with the folder that runs on it were given. All
    others repeat the data, overrides and seeds of the one baseline there is, so that the new runs
    pair with those in hand; where there is none, or more than one, the preset has to do.

    Args:
        claim: Not measured by any of the cells.
        cells: All of the report.
    """
    if claim.sweep:
        return sweep_command(claim.sweep, _root(claim.data_name, cells))
    experiments = list(dict.fromkeys((claim.baseline, claim.changed)))
    if claim.kind is Kind.level:
        named = [] if claim.data_name == _DATA else [f"data.name={claim.data_name}"]
        overrides = [f"data={_DATA}", *named, *_root(claim.data_name, cells)]
        return train_command(overrides, experiments, range(ENOUGH_SEEDS))
    bases = [cell for cell in cells_about(claim, cells) if cell.experiment == claim.baseline]
    if len(bases) != 1:
        return train_command([], experiments, range(ENOUGH_SEEDS))
    return _beside(claim, bases[0], cells, experiments)


def _beside(claim: Claim, base: Cell, cells: Sequence[Cell], experiments: Sequence[str]) -> str:
    """The baseline's own command, with the changed experiment as well."""
    runs = list(base.runs.values())
    overrides = shared_overrides(runs)
    if "model.towers" in factor_fields(claim.changed):  # the strategy may need towers
        overrides = [item for item in overrides if not is_placement(item)]
    if claim.kind is Kind.views:
        overrides = [item for item in overrides if not item.startswith("evaluation")]
    places = {place_of(run) for run in runs}
    place = places.pop() if len(places) == 1 else None
    taken = {
        place_of(run)
        for cell in cells
        if cell.experiment == claim.changed
        for run in cell.runs.values()
    }
    if place is not None and place in taken:
        # Its folders hold runs with another configuration, or a finished run that lacks a view.
        place = (f"sweep.name={claim.name.partition('/')[0]}",)
    return train_command(overrides, experiments, seeds_of(runs), place)


def _root(data_name: str, cells: Sequence[Cell]) -> list[str]:
    """Where runs found this data set, if one of them was told."""
    given = [
        item
        for cell in cells
        if cell.data == data_name
        for run in cell.runs.values()
        for item in run.overrides
        if item.startswith(_ROOT)
    ]
    return given[:1]

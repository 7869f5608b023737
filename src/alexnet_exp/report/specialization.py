"""Whether the two towers of a network see different things (section 6.1): color."""

from dataclasses import replace

import numpy as np

from alexnet_exp.network.first_layer import PERMUTATIONS, compare_towers, permutation_p
from alexnet_exp.report.claims import Claim
from alexnet_exp.report.findings import Finding
from alexnet_exp.report.measures import heading, with_difference
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.power import LEVEL
from alexnet_exp.report.statistics import Difference


def measure_towers(claim: Claim, cell: Cell) -> Finding | str:
    """How much more colorful one tower's kernels are than by chance; or why it can't be told."""
    if cell.fields.get("model.towers") != 2:
        return f"{cell.first.path} has no two towers"
    runs = [run for run in cell.runs.values() if run.kernels is not None]
    kernels = [run.kernels for run in runs if run.kernels is not None]
    if not runs:
        return f"{cell.first.path} holds no kernels.npy"
    if any(own.shape[1] == 1 for own in kernels):
        return f"{cell.first.path} saw gray images"
    # Of the same permutations for each, chance would deal all networks alike.
    found = [compare_towers(run.kernels, run.replicate) for run in runs if run.kernels is not None]
    each, chance = [one.difference for one in found], np.mean([one.by_chance for one in found], 0)
    mean, p_value = float(np.mean(each)), permutation_p(float(np.mean(each)), chance)
    channels = kernels[0].shape[1]
    many = len(each) > 1
    error = float(np.std(each, ddof=1) / len(each) ** 0.5) if many else None
    remarks = (
        f"towers that differ more than by chance (p < {LEVEL:g}) in"
        f" {sum(one.p_value < LEVEL for one in found)} of {len(found)} runs",
        f"all together p = {p_value:.2g}; what chance alone makes is taken off,"
        f" {100 * chance.mean():.1f} points: kernels that change towers at random,"
        f" {PERMUTATIONS:,} times",
        f"a tower without color has 0 %, random weights {100 * (channels - 1) / channels:.1f} %",
        *[f"{len(cell.runs) - len(found)} more hold no kernels.npy"]
        * (len(found) < len(cell.runs)),
    )
    finding = replace(
        heading(claim, cell, runs),
        images=0,
        baseline=float(np.mean([one.less for one in found])),
        changed=float(np.mean([one.more for one in found])),
        remarks=remarks,
    )
    measured = Difference(mean - float(chance.mean()), error, len(each) - 1 if many else None)
    return replace(with_difference(finding, measured), p_value=p_value)

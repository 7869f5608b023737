"""Correction for all claims of a report that are tested."""

from collections.abc import Sequence

import numpy as np

from alexnet_exp.report.statistics import Array


def gatekeeping(
    p_values: Sequence[float], parents: Sequence[int | None], level: float = 0.05
) -> tuple[list[float], list[float]]:
    """Adjusted p-values of claims, and the share of the level that is left for each.

    A graph of Bretz, Maurer, Brannath and Posch (2009): claims without a parent share the level
    equally; one that is rejected hands its share to its child where it has one (a top-5 error to
    its top-1 error), else to the others without a parent, as in Holm's method; a child hands it on
    to these. Rejecting those below ``level`` errs on any of them with at most that probability,
    however they depend on each other.

    Args:
        p_values: Of each claim.
        parents: Index of the claim that has to be rejected first; None where there is none.

    Returns:
        Adjusted p-values, at most 1; and shares of the level, that with which a claim was rejected
        or that which is left when no other can be.
    """
    count = len(p_values)
    first = [i for i in range(count) if parents[i] is None]
    weight = np.array([1 / len(first) if parent is None else 0.0 for parent in parents])
    passed = np.zeros((count, count))
    for i in range(count):
        children = [j for j in range(count) if parents[j] == i]
        heirs = children or [j for j in first if j != (i if parents[i] is None else parents[i])]
        passed[i, heirs] = 1 / len(heirs) if heirs else 0.0
    adjusted, shares = np.ones(count), weight.copy()
    waiting, least = set(range(count)), 0.0
    while ratios := {i: p_values[i] / weight[i] for i in waiting if weight[i] > 0}:
        chosen = min(ratios, key=lambda i: (ratios[i], i))
        least = max(least, min(1.0, ratios[chosen]))
        adjusted[chosen] = least
        waiting.discard(chosen)
        weight, passed = _handed_on(weight, passed, chosen)
        if least < level:
            shares[[*waiting]] = weight[[*waiting]]
    return [float(p) for p in adjusted], [float(share) for share in shares]


def _handed_on(weight: Array, passed: Array, chosen: int) -> tuple[Array, Array]:
    """Weights and edges of the graph without a rejected claim."""
    weight = weight + weight[chosen] * passed[chosen]
    back = passed[:, chosen] * passed[chosen]
    passed = passed + np.outer(passed[:, chosen], passed[chosen])
    passed[back < 1] /= 1 - back[back < 1, None]
    np.fill_diagonal(passed, 0.0)
    weight[chosen] = passed[back >= 1] = passed[chosen] = passed[:, chosen] = 0.0
    return weight, passed

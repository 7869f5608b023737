"""Errors behind a finding, before any verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config.changes import departures
from alexnet_exp.report.claims import Claim, Kind, Metric
from alexnet_exp.report.commands import command
from alexnet_exp.report.factors import first_few, overrides
from alexnet_exp.report.findings import Finding
from alexnet_exp.report.pairing import Cell, Pair, match, test_images
from alexnet_exp.report.statistics import Difference, against_baseline, corrected_resampled, paired
from alexnet_exp.report.wording import listed
from alexnet_exp.runs.chance import FEW_CLASSES, chance_error, clearly_below
from alexnet_exp.runs.results import Replicate, Run

RATE = "optim.lr"
_NAMED = {Metric.top1: 1, Metric.top5: 5}
_MOST = 6


class Comparisons:
    """Every network that differs from a baseline in its experiment alone, compared with it.

    They are compared together, since all of them tell how much seeds differ.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._found: dict[tuple[int, Metric], dict[int, Difference]] = {}

    def difference(self, pair: Pair, metric: Metric) -> tuple[Difference, int]:
        """Of the error of a pair, and the number of networks behind it.

        The pair is alone where one side lost runs or learned nothing.
        """
        found = self._of_baseline(pair.baseline, metric)
        if known := found.get(id(pair.changed)):
            return known, 1 + len(found)
        one, two = (errors_by_fold(cell.runs, metric) for cell in (pair.baseline, pair.changed))
        return against_baseline(one, [two])[0], 2

    def _of_baseline(self, base: Cell, metric: Metric) -> dict[int, Difference]:
        key = id(base), metric
        if key not in self._found:
            pairs, _ = match([base], [cell for cell in self._cells if cell is not base])
            sound = [p.changed for p in pairs if not unfit_reasons((p.baseline, p.changed), metric)]
            errors = [errors_by_fold(cell.runs, metric) for cell in sound]
            found = against_baseline(errors_by_fold(base.runs, metric), errors) if sound else []
            self._found[key] = dict(zip(map(id, sound), found, strict=True))
        return self._found[key]


def errors_by_fold(
    runs: Mapping[Replicate, Run], metric: Metric, views: str = "ten"
) -> dict[int, NDArray[np.bool_]]:
    """By fold (S, I): whether each seed was wrong with the run's views, or with the center's."""
    found: dict[int, list[NDArray[np.bool_]]] = {}
    for (fold, _), run in runs.items():
        wrong = run.wrong if views == "ten" or run.center_wrong is None else run.center_wrong
        found.setdefault(fold, []).append(wrong[metric.name])
    return {fold: np.stack(wrong) for fold, wrong in found.items()}


def heading(claim: Claim, cell: Cell, runs: Sequence[Run], changed: Sequence[Run] = ()) -> Finding:
    """A finding without numbers, of the baseline's ``runs`` and others of the changed network."""
    no_top5 = claim.metric is Metric.top5 and cell.first.result["classes"] <= FEW_CLASSES
    both = [*runs, *changed]
    margin, remarks = (None, ()) if claim.published_size or claim.kind.is_ratio else margin_of(both)
    return Finding(
        claim=claim,
        data=cell.data,
        context=cell.context,
        synthetic=cell.synthetic,
        alike=not _unlike(claim, cell),
        replicates=tuple(run.replicate for run in changed or runs),
        baseline_runs=len(runs),
        images=0 if claim.kind.is_ratio else test_images(both),
        margin=margin,
        remarks=remarks,
        not_applicable=no_top5,
        unfit=("not applicable: with so few classes the five best hold every one",) * no_top5,
        command=command(both),
    )


def margin_of(runs: Iterable[Run]) -> tuple[float | None, tuple[str, ...]]:
    """The margin that all of them recorded; where they disagree None, and a remark that says so."""
    found = {run.margin for run in runs}
    if len(found) == 1:
        return found.pop(), ()
    numbers = listed([f"{100 * margin:g}" for margin in sorted(m for m in found if m is not None)])
    or_none = " or none" if None in found else ""
    return None, (f"the runs recorded margins of {numbers} points{or_none}: none counts",)


def measure_experiment(claim: Claim, pair: Pair, comparisons: Comparisons) -> Finding:
    """Difference of error between two trainings, paired by test image."""
    base, other = pair.baseline, pair.changed
    folds = {at.fold for at in base.runs} & {at.fold for at in other.runs}
    one, two = (
        {at: run for at, run in cell.runs.items() if at.fold in folds} for cell in (base, other)
    )
    finding = heading(claim, base, [*one.values()], [*two.values()])
    if finding.not_applicable:
        return finding
    found, networks = comparisons.difference(pair, claim.metric)
    before, after = (errors_by_fold(runs, claim.metric) for runs in (one, two))
    finding = with_errors(finding, found, before, after)
    remarks = (*finding.remarks, _absent_folds(base, other))
    return replace(
        finding,
        networks=networks,
        resampled=resampled(base, [after[f].mean() - before[f].mean() for f in before]),
        remarks=tuple(filter(None, remarks)),
        unfit=unfit_reasons((base, other), claim.metric),
    )


def measure_views(claim: Claim, cell: Cell) -> Finding | str:
    """Error of the center view less that of ten views; or why it can't be told."""
    if cell.first.result["views"] != "ten":
        return f"{cell.first.path} was evaluated with one view: evaluation.views=ten has both"
    known = {one: run for one, run in cell.runs.items() if run.center_wrong is not None}
    if not known:
        return f"{cell.first.path} did not record the center view by itself"
    runs = [*known.values()]
    finding = heading(claim, cell, runs)
    if finding.not_applicable:
        return finding
    center, ten = (errors_by_fold(known, claim.metric, views) for views in ("one", "ten"))
    both = {fold: center[fold].astype(np.int8) - ten[fold] for fold in ten}
    finding = with_errors(finding, paired(both), ten, center)
    sides = {"ten views": [*ten.values()], "the center view": [*center.values()]}
    unfit = not_above_chance(tested_labels(runs), claim.metric, sides)
    return replace(finding, unfit=unfit)


def measure_level(claim: Claim, cell: Cell) -> Finding | str:
    """Error of one network over seeds and images; or why the figure is about another one."""
    if reason := _unlike(claim, cell):
        return reason
    runs = list(cell.runs.values())
    views = "ten" if cell.first.result["views"] == claim.views else "one"
    errors = errors_by_fold(cell.runs, claim.metric, views)
    found, sides = paired(errors), {claim.baseline: [*errors.values()]}
    unfit = not_above_chance(tested_labels(runs), claim.metric, sides)
    finding = with_errors(heading(claim, cell, runs), found, errors, errors)
    return replace(finding, difference=found.estimate, p_value=None, unfit=unfit)


def with_errors(
    finding: Finding, found: Difference, *sides: Mapping[int, NDArray[np.bool_]]
) -> Finding:
    """A difference of two sides, by fold (S, I); their errors are means over images."""
    images = [wrong.shape[1] for wrong in sides[0].values()]
    one, two = (
        float(np.average([wrong.mean() for wrong in side.values()], weights=images))
        for side in sides
    )
    return with_difference(replace(finding, baseline=one, changed=two), found)


def with_difference(finding: Finding, found: Difference) -> Finding:
    """What it says of how sure it is, too; of a ratio it is the logarithm."""
    values = (found.estimate, *(found.ends or (None, None)))
    if finding.claim.kind.is_ratio:
        values = tuple(value if value is None else exp(value) for value in values)
    difference, low, high = values
    return replace(
        finding,
        difference=difference,
        low=low,
        high=high,
        freedom=found.freedom,
        p_value=found.p_value,
        components=found.components,
    )


def _unlike(claim: Claim, cell: Cell) -> str:
    """What of the published figure's data, training or evaluation a cell lacks; empty: nothing."""
    if cell.data != claim.data_name:
        return f"it was measured on {claim.data}"
    network = "original" if cell.model == "original" else "paper"
    told = ["data=imagenet", f"model={network}", "model.classes=1000"]
    if claim.is_of_others:
        told = [f"+experiment={claim.changed}", f"model.classes={cell.first.result['classes']}"]
    if claim.four_layers:
        told = [f"+sweep={claim.sweep}", "model.classes=10"]
    told += [f"evaluation.views={claim.views}"] * bool(claim.views)
    others = departures(cell.fields, *told)
    if claim.kind is Kind.speed:  # whose rate is tuned
        others.discard(RATE)
    if claim.views == "one" and all(run.center_wrong is not None for run in cell.runs.values()):
        others.discard("evaluation.views")
    named = ", ".join(overrides(cell.fields, others, _MOST))
    return named and f"it is about a training without {named}"


def unfit_reasons(cells: Sequence[Cell], metric: Metric) -> tuple[str, ...]:
    """Why the numbers of a pair, or of a design, allow no verdict."""
    lost = [
        f"{len(cell.diverged)} of {len(cell.diverged) + len(cell.runs)} seeds of"
        f" {cell.experiment} diverged"
        for cell in cells
        if cell.diverged
    ]
    sides = {cell.experiment: [*errors_by_fold(cell.runs, metric).values()] for cell in cells}
    dead = not_above_chance(tested_labels(cells[0].runs.values()), metric, sides)
    text = f"{'; '.join(first_few(lost, _MOST))}, and the others by themselves would mislead"
    return (text, *dead) if lost else dead


def tested_labels(runs: Iterable[Run]) -> NDArray[np.int64]:
    """Of the test images of all folds, each once."""
    return np.concatenate([*{run.replicate.fold: run.labels for run in runs}.values()])


def _absent_folds(base: Cell, other: Cell) -> str:
    """``folds 3, 4 of 5 are missing``; empty if none is, or there are no folds."""
    folds = int(base.fields.get("data.folds") or 0)
    there = {one.fold for one in base.runs} & {one.fold for one in other.runs}
    absent = [str(fold) for fold in range(folds) if fold not in there]
    return f"fold{'s' * (len(absent) > 1)} {', '.join(absent)} of {folds} missing" if absent else ""


def resampled(cell: Cell, differences: Sequence[float]) -> tuple[float, float] | None:
    """Nadeau and Bengio's interval, from the shares of the images tested and trained on."""
    folds = int(cell.fields.get("data.folds") or 0)
    if len(differences) < 3 or not folds:
        return None
    tested = 1 / folds
    trained = 1 - tested - float(cell.fields.get("data.val_fraction") or 0)
    trained *= float(cell.fields.get("data.subset") or 1)
    return corrected_resampled(differences, tested / trained) if trained > 0 else None


def not_above_chance(
    labels: NDArray[np.int64], metric: Metric, sides: Mapping[str, Sequence[NDArray[np.bool_]]]
) -> tuple[str, ...]:
    """A sentence that names the sides that did no better than chance; none if all did.

    Chance is one answer for every image. A side did if its mean error over seeds lies two standard
    errors of one seed's images below it: all seeds see the same images, more do not narrow it.
    ``labels`` (I,) are of the test images, ``sides`` by fold (S, I) whether each seed was wrong.
    """
    chance = chance_error(labels, _NAMED[metric])
    most = clearly_below(chance, len(labels))
    named = [
        f"{name} ({100 * error:.1f} %)"
        for name, wrong in sides.items()
        if (error := float(np.mean([array.mean() for array in wrong]))) > most
    ]
    if not named:
        return ()
    classes = "class" if metric is Metric.top1 else "five classes"
    text = (
        f"not above chance: {' and '.join(named)}; naming the most frequent {classes} for every"
        f" image errs in {100 * chance:.1f} %, and a network that did not train settles nothing"
    )
    return (text,)

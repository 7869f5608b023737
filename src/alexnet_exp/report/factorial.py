"""Main effects and interactions of experiments that were combined in a two-level design."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.config.changes import ABSENT, factor_fields, show
from alexnet_exp.designs import clear_ones, contrast_name, contrasts, largest_group, span
from alexnet_exp.report import measures
from alexnet_exp.report.claims import Claim, Metric, claim_about
from alexnet_exp.report.factors import first_few
from alexnet_exp.report.findings import Factorial, Finding, Verdict
from alexnet_exp.report.gatekeeping import gatekeeping
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.power import LEVEL
from alexnet_exp.report.statistics import POOLED_FROM, Components, Difference, Errors, effects
from alexnet_exp.report.verdicts import judged
from alexnet_exp.report.wording import SENTENCES, count
from alexnet_exp.runs.results import Replicate

_FEWEST = 7  # contrasts, for them to tell their own spread
_NAMED = 6
_OF_INTERACTIONS = {Verdict.helps: Verdict.above, Verdict.hurts: Verdict.below}


def factorials(cells: Sequence[Cell]) -> list[Factorial]:
    """Every two-level design among the runs; where combinations of one are missing, which."""
    combined = {cell.data: cell for cell in cells if "+" in cell.experiment}
    bases = [cell for cell in cells if cell.experiment == "baseline" and cell.data in combined]
    bases += [combined[data] for data in combined.keys() - {base.data for base in bases}]
    return [found for base in bases if (found := _factorial(base, cells))]


def _factorial(base: Cell, cells: Sequence[Cell]) -> Factorial | None:
    """The largest design around a baseline, of the nearest cell of each experiment."""
    near: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: len(base.differing(cell))):
        if cell.data == base.data:
            near.setdefault(cell.experiment, cell)
    names = sorted({part for name in near if "+" in name for part in name.split("+")})
    masks = {
        sum(1 << names.index(part) for part in name.split("+") if part != "baseline"): cell
        for name, cell in near.items()
        if {*name.split("+")} <= {*names, "baseline"}
    }
    place = base.data, base.context, base.synthetic
    several = [mask for mask in masks if mask.bit_count() > 1]
    wanted = span(several)
    missing = sorted(wanted - masks.keys())
    lacking = [
        "+".join(name for i, name in enumerate(names) if mask >> i & 1) or "baseline"
        for mask in missing
    ]
    text = f"No design: of {len(wanted)} combinations {_some(lacking)} have no finished run."
    unfinished = Factorial(*place, tuple(names), sentences=(text,))
    if missing and 4 * len(missing) < len(wanted):
        return unfinished
    group = largest_group(masks.keys())
    used = [i for i in range(len(names)) if any(mask >> i & 1 for mask in group)]
    if not used:
        return unfinished if 0 < 2 * len(missing) < len(wanted) else None
    factors = tuple(names[i] for i in used)
    levels = np.array([[1 if mask >> i & 1 else -1 for i in used] for mask in group], np.int8)
    members = [masks[mask] for mask in group]
    if problem := _problem(factors, levels, members):
        return Factorial(*place, factors, sentences=(f"No design: {problem}.",))
    return _measured(Factorial(*place, factors, tuple(members)), levels)


def _problem(factors: Sequence[str], levels: NDArray[np.int8], members: Sequence[Cell]) -> str:
    """Why the cells differ in more than their factors: a field must follow one of them alone."""
    for path in sorted(set().union(*(members[0].differing(cell) for cell in members))):
        values = np.array([show(cell.fields.get(path, ABSENT)) for cell in members])
        follows = [
            factor
            for factor, column in zip(factors, levels.T, strict=True)
            if all(len({*values[column == side]}) == 1 for side in (-1, 1))
        ]
        known = [factor_fields(factor) for factor in follows]
        if not any(not fields or path in fields for fields in known):
            return f"its combinations also differ in {path} ({', '.join(sorted({*values}))})"
    of_fold: dict[int, NDArray[np.int64]] = {}
    for cell in members:
        for (fold, _), run in cell.runs.items():
            if not np.array_equal(of_fold.setdefault(fold, run.index), run.index):
                return f"other test images in {run.path}"
    if not _counting(members)[0][0].runs:
        return f"no seed in common to its {len(members)} combinations, nor seeds of their own"
    return ""


def _counting(members: Sequence[Cell]) -> tuple[list[Cell], bool]:
    """The cells with the runs that count, and whether no two share a seed.

    Those of seeds in common; or, if that is more, each seed for one combination: of those that have
    it the one that has fewest.
    """
    common = set.intersection(*({*cell.runs} for cell in members))
    times = Counter(one for cell in members for one in cell.runs)
    own: list[list[Replicate]] = [[] for _ in members]
    for one in sorted(times, key=lambda one: (times[one], one)):
        having = (mine for mine, cell in zip(own, members, strict=True) if one in cell.runs)
        min(having, key=len).append(one)
    folds = set.intersection(*({one.fold for one in mine} for mine in own))
    own = [[one for one in mine if one.fold in folds] for mine in own]
    own_seeds = min(map(len, own)) > len(common)
    chosen = own if own_seeds else [[*common]] * len(members)
    counting = [
        replace(cell, runs={one: cell.runs[one] for one in sorted(mine)})
        for cell, mine in zip(members, chosen, strict=True)
    ]
    return counting, own_seeds


def _measured(design: Factorial, levels: NDArray[np.int8]) -> Factorial:
    """The design with its numbers."""
    whole, own_seeds = _counting(design.cells)
    wrong = [measures.errors_by_fold(cell.runs, Metric.top1) for cell in whole]
    sharing = contrasts(levels)
    columns = np.array([levels[:, terms[0]].prod(axis=1) for terms in sharing])
    by_fold = 2 / len(wrong) * columns @ [[one.mean() for one in each.values()] for each in wrong]
    contrast = _differences(columns, wrong, own_seeds)
    margin, remarks = measures.margin_of(run for cell in whole for run in cell.runs.values())
    common = Finding(
        claim_about("baseline"),
        data=design.data,
        context=design.context,
        synthetic=design.synthetic,
        replicates=tuple(sorted(whole, key=lambda cell: len(cell.runs))[len(whole) // 2].runs),
        images=sum(each.shape[1] for each in wrong[0].values()),
        margin=margin,
        networks=len(columns),
        pooled_from=1 if own_seeds else POOLED_FROM,
        unfit=measures.unfit_reasons(whole, Metric.top1),
    )

    def tested(size: int) -> list[Finding]:
        """Those of so many factors, corrected for their number."""
        mine = [i for i, terms in enumerate(sharing) if len(terms[0]) == size]
        p_values = [1.0 if (p := contrast[i].p_value) is None else p for i in mine]
        corrected, shares = gatekeeping(p_values, [None] * len(mine), LEVEL)
        made = []
        for i, p_adjusted, share in zip(mine, corrected, shares, strict=True):
            claim = _named([[design.factors[j] for j in term] for term in sharing[i]])
            known = replace(common, claim=claim, p_adjusted=p_adjusted, share=share)
            known = measures.with_difference(known, contrast[i])
            known = replace(known, resampled=measures.resampled(whole[0], by_fold[i]))
            if size > 1:  # a half difference: no size of an effect is one of it
                known = replace(known, margin=None)
            known = judged(known, len(mine))
            verdict = _OF_INTERACTIONS.get(known.verdict) if size > 1 else None
            made.append(replace(known, verdict=verdict or known.verdict))
        return made

    made = replace(
        design,
        replicates=tuple(sorted({one for cell in whole for one in cell.runs})),
        images=common.images,
        effects=tuple(sorted(tested(1), key=lambda one: -(one.difference or 0.0))),
        interactions=tuple(sorted(tested(2), key=lambda one: -abs(one.difference or 0.0))),
        others=tuple(contrast[i].estimate for i, terms in enumerate(sharing) if len(terms[0]) > 2),
        pseudo_error=_pseudo_error([one.estimate for one in contrast]),
    )
    sentences = [f"No effect is resolved: {reason}." for reason in common.unfit]
    sentences += [f"{remark.capitalize()}." for remark in remarks]
    clear = f"{clear_ones(sharing)}."
    return replace(made, sentences=(*sentences, *_sentences(made, whole, own_seeds), clear))


def _named(terms: Sequence[Sequence[str]]) -> Claim:
    """What a contrast is called, with all that share it.

    A main effect keeps what was published for leaving out its idea alone, to be shown: nothing that
    counts as a size.
    """
    name = contrast_name(terms)
    idea = contrast_name([[claim_about(one).idea for one in term] for term in terms])
    first = claim_about(terms[0][0] if len(terms[0]) == 1 else name)
    first = replace(first, besides="" if first.judged else first.besides)
    return replace(first, name=name, idea=idea, figure=None, rough=None, judged=False)


def _differences(
    columns: NDArray[np.int64], wrong: Sequence[Errors], own_seeds: bool
) -> list[Difference]:
    """Every contrast, of ``columns`` (N - 1, N) of -1 and 1, of N combinations.

    With one seed each, nothing but the contrasts themselves tells how much a seed does: its
    variance is Lenth's (1989), with (N - 1) / 3 degrees of freedom, which takes the smaller ones
    for noise. That of the images is how much a contrast differs between them, less the median over
    all contrasts, which is what one seed makes of it.
    """
    found = effects(wrong, columns.T.astype(np.float64), own_seeds)
    runs = [len(array) for cell in wrong for array in cell.values()]
    if {*runs} != {1} or len(runs) > len(wrong) or len(columns) < _FEWEST:
        return found
    errors = np.concatenate([array for cell in wrong for array in cell.values()])
    images = errors.shape[1]
    between = (2 / len(wrong) * columns @ errors).var(axis=1, ddof=1)
    of_images = np.maximum(0, between - np.median(between)) / images
    of_seed = _pseudo_error([one.estimate for one in found]) ** 2
    made = []
    for one, of_image in zip(found, of_images.tolist(), strict=True):
        if variance := of_seed + of_image:
            shares = of_seed / (len(columns) / 3) + of_image / (images - 1)
            parts = Components(of_seed, of_image)
            one = Difference(one.estimate, variance**0.5, variance / shares, parts)
        made.append(one)
    return made


def _pseudo_error(estimates: Sequence[float]) -> float:
    """Standard error of a contrast if the smaller ones are noise (Lenth 1989)."""
    sizes = np.abs(estimates)
    first = 1.5 * np.median(sizes)
    return float(1.5 * np.median(sizes[sizes < 2.5 * first])) if first else 0.0


def _sentences(design: Factorial, whole: Sequence[Cell], own_seeds: bool) -> list[str]:
    """What was combined, of ``whole`` what counts, and what was left out."""
    members, (first, *_) = design.cells, design.effects
    least, most = (choose(len(cell.runs) for cell in whole) for choose in (min, max))
    runs = f"{least} to {count(most, 'run')}" if least < most else count(least, "run")
    runs += " of each" + f" in {first.folds} folds" * (first.folds > 1)
    runs += " with seeds of its own" * own_seeds + f", {count(design.images, 'test image')}"
    said = {"all": 2 ** len(design.factors), "half": len(members) // 2, "runs": runs}
    sentences = [SENTENCES["design"].format(combinations=len(members), **said)]
    left = sum(len(cell.runs) for cell in members) - sum(len(cell.runs) for cell in whole)
    if left:
        sentences.append(f"{count(left, 'run')} left out: another has the seed, or not all do.")
    if first.low is None:
        sentences.append("No intervals: they take two seeds, or eight combinations.")
    elif most == 1:
        sentences.append("One seed: the spread of the smaller contrasts stands for that of seeds.")
    return sentences


def _some(names: Sequence[str]) -> str:
    return ", ".join(first_few(names, _NAMED))

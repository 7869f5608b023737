"""How often the report errs, and what it finds: ``make error-rates``.

Simulated test errors with known truth. Logistic: an image has a difficulty (heavy tails) that all
networks share, a network its own view of each image, a run its level, and each (run, image) its
noise; with folds each fold shifts each network a little. Errors are some 20 % on the whole, and
their standard deviation between seeds is 1.8 points on 430 images ("lively").

430 images are drawn one by one; 4,300 in blocks of 50, normal with the same components of variance
("images one by one" are cells that check this).

A null cell holds experiments that all equal the baseline: the rate is that of reports with any
difference resolved at 5 %, which should be .05 at most. A factorial cell is one for the seven main
effects of 16 networks with seeds in common, an "own seeds" cell for 16 with seeds of their own;
"one idea wild": a seed shifts all that lack the first idea (alike, where seeds are in common)
threefold. In a power cell one experiment of 14 is worse by 3.4 points. In a mixed cell every other
one is, 3.4 points is what was published for all, and the rate is that of reports with any wrong
word: an effect where there is none, no effect as large as published, smaller or larger than
published where it is that large. "Own seeds, mixed": the same of the main effects, with a margin of
3.4 points, where nothing is called smaller or larger. Power cells, and mixed ones with the paper's
size, have a fifth of the trials.

Rows of 1,000 trials, one on each core, go to a CSV file as they come, and the same command goes on
behind them; at the end the highest rates are printed as a Markdown table, each with its upper limit
(95 %, one-sided).

    python tests/measure_error_rates.py results/error_rates/rates.csv [trials]

With a folder of finished runs, many seeds of each of a few experiments, it deals A/A trials: runs
of one experiment are dealt out as those of many, of which none differs from another.

    python tests/measure_error_rates.py runs/aa [trials]
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from alexnet_exp.designs import contrasts
from alexnet_exp.report import factorial, statistics
from alexnet_exp.report.gatekeeping import gatekeeping
from alexnet_exp.report.statistics import Difference, against_baseline
from alexnet_exp.runs.read import run_folders
from alexnet_exp.runs.results import read_runs
from alexnet_exp.sweep.design import levels

TRIALS, BATCH, LEVEL = 10_000, 1_000, 0.05
EFFECT = 0.5  # of an experiment: 3.4 points
LOGIT, DIFFICULTY, VIEW, SEED_SD, NOISE = np.log(0.25) * 2.6, 2.2, 0.5, 0.25, 0.8

SPREADS: dict[str, Callable[[int], np.ndarray]] = {
    "equal": lambda networks: np.ones(networks),
    "fourfold": lambda networks: np.geomspace(0.5, 2, networks),
    "fourfold, baseline most": lambda networks: np.geomspace(2, 0.5, networks),
    "one wild": lambda networks: np.r_[np.ones(networks - 1), 3],
    "baseline wild": lambda networks: np.r_[3, np.ones(networks - 1)],
}
"""Standard deviations between seeds, of the baseline first, relative to ``SEED_SD``."""

WORST = ("equal", "one wild", "baseline wild")
MIXED = "mixed"
DESIGN = levels(7, 16)
SIGNS = np.stack([DESIGN[:, terms[0]].prod(1) for terms in contrasts(DESIGN)], 1)
"""(16 networks, 15 contrasts), those of single ideas first."""


@dataclass(frozen=True)
class Cell:
    kind: str
    images: int
    seeds: int
    experiments: int
    spread: str = "equal"
    baseline_seeds: int = 1
    """Times ``seeds``."""
    folds: int = 1
    fold_sd: float = 0.0
    """Shift of a network in a fold, logits."""
    block: int = 1
    """Images drawn together."""

    @property
    def of_design(self) -> bool:
        return self.kind.startswith(("factorial", "own seeds"))


def plan() -> Iterator[Cell]:
    for seeds in (5, 3, 2, 10):
        for images, block in ((430, 1), (4300, 50)):
            for experiments in (20, 5):
                for spread in SPREADS:
                    yield Cell("null", images, seeds, experiments, spread, block=block)
            for more in (1, 3):
                yield Cell("power", images, seeds, 14, baseline_seeds=more, block=block)
        for spread in SPREADS:
            yield Cell(MIXED, 4300, seeds, 14, spread, block=50)
        for spread in WORST:
            yield Cell("null", 4300, seeds, 20, spread, baseline_seeds=3, block=50)
    for seeds in (1, 2):
        for images, block, fold_sd in ((430, 1, 0.0), (4300, 43, 0.05)):
            for spread in WORST:
                yield Cell("null", images, seeds, 14, spread, 1, 5, fold_sd, block)
            yield Cell("power", images, seeds, 14, folds=5, fold_sd=fold_sd, block=block)
    for seeds in (5, 3, 2):
        for spread in (*SPREADS, "one idea wild"):
            yield Cell("factorial", 4300, seeds, 15, spread, block=50)
            yield Cell("own seeds", 4300, seeds, 15, spread, block=50)
        for spread in ("equal", "one wild", "one idea wild"):
            yield Cell(f"own seeds, {MIXED}", 4300, seeds, 15, spread, block=50)
    for spread in WORST:
        yield Cell("null", 4300, 5, 5, spread)
    for spread in (*SPREADS, "one idea wild"):
        yield Cell("own seeds", 430, 1, 15, spread)  # Lenth's
        yield Cell("own seeds", 4300, 1, 15, spread, block=50)
        yield Cell("own seeds", 4300, 3, 15, spread, baseline_seeds=3, block=50)


def drawn(rng: np.random.Generator, cell: Cell) -> list[dict[int, np.ndarray]]:
    """Of each network, the baseline first, by fold (S, I): whether it was wrong, or how often."""
    networks, per = cell.experiments + 1, cell.images // cell.folds
    spread = SEED_SD * SPREADS.get(cell.spread, SPREADS["equal"])(networks)
    worse = np.zeros(networks)
    worse[1 : {"power": 2, MIXED: networks}.get(cell.kind, 1) : 2] = EFFECT
    if cell.of_design and MIXED in cell.kind:
        worse = EFFECT * (DESIGN[:, ::2] > 0).sum(1)
    found: list[dict[int, np.ndarray]] = [{} for _ in range(networks)]
    normal = rng.standard_normal
    for fold in range(cell.folds):
        difficulty = LOGIT + DIFFICULTY * rng.standard_t(6, per // cell.block)
        of_block = normal(per // cell.block)
        wild = 3 * SEED_SD * (cell.spread == "one idea wild") * normal((cell.seeds, 1))
        for i in range(networks):
            seeds = cell.seeds * (cell.baseline_seeds if i == 0 else 1)
            shift = worse[i] + cell.fold_sd * normal() + spread[i] * normal((seeds, 1))
            if cell.spread == "one idea wild" and DESIGN[i, 0] > 0:
                own = 3 * SEED_SD * normal((seeds, 1))
                shift = shift + (wild if cell.kind == "factorial" else own)
            if cell.block > 1:
                found[i][fold] = _blocks(rng, of_block, shift, cell.block)
                continue
            logit = (difficulty + VIEW * normal(per)).astype(np.float32)
            logit = logit + shift.astype(np.float32)
            logit += NOISE * normal(logit.shape, np.float32)
            np.exp(-logit, out=logit)
            logit += 1
            found[i][fold] = rng.random(logit.shape, np.float32) * logit < 1
    return found


def _blocks(
    rng: np.random.Generator, of_block: np.ndarray, shift: np.ndarray, images: int
) -> np.ndarray:
    """(S, blocks): share of the images of a block that one network's seeds have wrong."""
    mean, slope, shared, own, residual = _components()
    size, blocks = images**0.5, len(of_block)
    error = mean + slope * shift + (shared * of_block + own * rng.standard_normal(blocks)) / size
    return np.asarray(error + residual / size * rng.standard_normal(error.shape))


@cache
def _components() -> tuple[float, float, float, float, float]:
    """Mean error, its slope by the logit, and the standard deviations over images of what all
    networks share, of a network's own, and of the rest: of images drawn one by one.
    """
    rng, images = np.random.default_rng(0), 200_000
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()

    def chance(logit: np.ndarray) -> np.ndarray:
        """Of being wrong, over the noise of runs."""
        return np.asarray(1 / (1 + np.exp(-logit[..., None] - NOISE * nodes)) @ weights)

    difficulty = LOGIT + DIFFICULTY * rng.standard_t(6, images)
    first, second = (chance(difficulty + VIEW * rng.standard_normal(images)) for _ in range(2))
    higher = chance(difficulty + VIEW * rng.standard_normal(images) + EFFECT)
    slope = float(higher.mean() - (first.mean() + second.mean()) / 2) / EFFECT
    both = float(np.cov(first, second)[0, 1])
    own = float(first.var()) - both
    rest = float((first * (1 - first)).mean())
    return float(first.mean()), slope, both**0.5, own**0.5, rest**0.5


def _plain(spreads: Sequence) -> list:
    freedom = sum(spread.freedom for spread in spreads)
    pool = sum(spread.variance * spread.freedom for spread in spreads) / freedom
    return [statistics._Spread(pool, freedom)] * len(spreads)


def _larger(spreads: Sequence) -> list:
    (common, *_) = _plain(spreads)
    return [
        statistics._Spread(max(own.variance, common.variance), common.freedom) for own in spreads
    ]


FORMS = {"report": statistics._pooled, "own": list, "plain": _plain, "larger": _larger}
"""The variance between seeds: as the report has it; each network's own; the mean over networks; the
larger of the two, always with the degrees of freedom of all. Where all spreads are equal the mean
is the best there is: a power cell has no more than that to give."""


def hits(cell: Cell, batch: int) -> dict[str, int]:
    """How many of 1,000 reports have a difference resolved, or a wrong word, as the kind has it."""
    rng = np.random.default_rng([*map(ord, repr(cell)), batch])
    weights = np.eye(cell.experiments + 1)[1:] - np.eye(cell.experiments + 1)[0]
    every = cell.kind == "null" and (cell.images, cell.experiments, cell.folds) == (430, 20, 1)
    every &= cell.seeds in (3, 5) and cell.spread in ("equal", "one wild")
    forms = FORMS if every or cell.kind == "power" else {"report": FORMS["report"]}
    counted = dict.fromkeys(forms, 0)
    for _ in range(BATCH):
        if cell.of_design:
            own_seeds = cell.kind != "factorial"
            made = factorial._differences(SIGNS.T, drawn(rng, cell), own_seeds)[:7]
            p_values = [one.p_value or 0.0 for one in made]
            is_hit = min(p_values) * 7 < LEVEL
            counted["report"] += (
                _is_any_wrong(made, p_values, False) if MIXED in cell.kind else is_hit
            )
            continue
        networks = [statistics._Network(errors) for errors in drawn(rng, cell)]
        spreads = statistics._spreads(networks)
        for form, pooled in forms.items():
            known = pooled(spreads)
            if cell.kind != MIXED and not _may_resolve(networks, weights, known):
                continue
            found: list[Difference] = statistics._contrasts(networks, weights, known)
            p_values = [one.p_value or 0.0 for one in found]
            if cell.kind == MIXED:
                counted[form] += _is_any_wrong(found, p_values)
                continue
            if min(p_values) * len(found) >= LEVEL:
                continue  # nothing is rejected
            adjusted, _ = gatekeeping(p_values, [None] * len(found), LEVEL)
            counted[form] += cell.kind == "null" or adjusted[0] < LEVEL
    return counted


def _may_resolve(networks: Sequence, weights: np.ndarray, spreads: Sequence) -> bool:
    """Whether any p-value would be small enough if there were no variance but that between seeds,
    and that were known. If not, the rest need not be reckoned.
    """
    means = [np.mean([runs.mean() for runs in network.runs.values()]) for network in networks]
    variances = [
        spread.variance / sum(network.seeds.values())
        for network, spread in zip(networks, spreads, strict=True)
    ]
    errors = (weights**2 @ np.array(variances)) ** 0.5
    return bool(np.any(np.abs(weights @ means) > stats.norm.isf(LEVEL / 2 / len(weights)) * errors))


def _is_any_wrong(
    found: Sequence[Difference], p_values: Sequence[float], is_compared: bool = True
) -> bool:
    """Of a report in which the effect of every other experiment, the first among them, is just the
    published one, or the margin, and the others have none; as ``verdicts`` finds its words.

    ``is_compared``: what is resolved may be smaller or larger than published.
    """
    adjusted, shares = gatekeeping(p_values, [None] * len(found), LEVEL)
    size = _components()[1] * EFFECT
    for i, (one, p_value, share) in enumerate(zip(found, adjusted, shares, strict=True)):
        is_resolved = p_value < LEVEL
        share = 1 / len(found) if is_resolved and is_compared else share
        half = one.half_width(1 - LEVEL * share) or 1.0
        low, high = one.estimate - half, one.estimate + half
        if i % 2:
            is_wrong = is_resolved
        elif is_compared or not is_resolved:
            is_wrong = high < size or (is_resolved and low > size)
        else:
            is_wrong = one.estimate < 0
        if is_wrong:
            return True
    return False


def relabelled(folder: Path, trials: int) -> None:
    """Print how often a report errs on runs that are dealt out as experiments."""
    kinds: dict[str, dict[int, np.ndarray]] = {}
    for run in read_runs(run_folders(folder)).runs:
        kinds.setdefault(run.experiment, {})[run.seed] = run.wrong["top1"]
    print("| runs of | seeds | experiments | report | upper |")
    print("| --- | --- | --- | --- | --- |")
    rng = np.random.default_rng(0)
    for name, of_seed in kinds.items():
        wrong = np.stack([of_seed[seed] for seed in sorted(of_seed)])
        for seeds in (2, 3, 5, 10):
            networks, found = len(wrong) // seeds, 0
            if networks < 3:
                continue
            for _ in range(trials):
                dealt = wrong[rng.permutation(len(wrong))[: networks * seeds]]
                cells = [{0: part} for part in np.split(dealt, networks)]
                p_values = [one.p_value or 0.0 for one in against_baseline(cells[0], cells[1:])]
                found += min(p_values) * len(p_values) < LEVEL
            row = f"{name} | {seeds} | {networks - 1} | {found / trials:.3f}"
            print(f"| {row} | {upper(found, trials):.3f} |", flush=True)
    for one, two in combinations(kinds, 2):
        both = sorted(kinds[one].keys() & kinds[two].keys())
        means = [[kinds[name][seed].mean() for seed in both] for name in (one, two)]
        ends = stats.pearsonr(*means).confidence_interval()
        print(
            f"\nsame seed of {one} and {two}: correlation {np.corrcoef(means)[0, 1]:.2f}"
            f" [{ends.low:.2f}, {ends.high:.2f}] over {len(both)} seeds; standard deviations"
            f" {100 * np.std(means[0], ddof=1):.2f} and {100 * np.std(means[1], ddof=1):.2f} points"
        )


def upper(count: int, trials: int) -> float:
    """Clopper and Pearson's upper limit of a rate, 95 % one-sided."""
    return float(stats.beta.ppf(0.95, count + 1, trials - count)) if count < trials else 1.0


def main(file: Path, trials: int) -> None:
    names = [field.name for field in fields(Cell)]
    kinds = {field.name: field.type for field in fields(Cell)}
    done: dict[Cell, Counter[str]] = {}
    if file.exists():
        with file.open(newline="") as opened:
            for row in csv.DictReader(opened):
                cell = Cell(**{name: kinds[name](row[name]) for name in names})
                made = Counter({name: int(row[name]) for name in ("trials", *FORMS) if row[name]})
                done.setdefault(cell, Counter()).update(made)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", newline="") as opened:
        writer = csv.writer(opened)
        if not done:
            writer.writerow([*names, "trials", *FORMS])
        missing = [
            (cell, batch)
            for batch in range(trials // BATCH)
            for cell in plan()
            if done.get(cell, Counter())["trials"] <= batch * BATCH
            and (cell.kind not in ("power", MIXED) or batch * BATCH < trials / 5)
        ]
        with ProcessPoolExecutor() as pool:
            counts = pool.map(hits, [cell for cell, _ in missing], [batch for _, batch in missing])
            for (cell, _), counted in zip(missing, counts, strict=True):
                done.setdefault(cell, Counter()).update(counted, trials=BATCH)
                writer.writerow([*astuple(cell), BATCH, *(counted.get(form, "") for form in FORMS)])
                opened.flush()
    _show(done)


def _show(done: dict[Cell, Counter[str]]) -> None:
    """The cells of a kind that are alike but for spread and number of experiments in one row, with
    the highest rate of each form.
    """
    alike: dict[tuple[object, ...], list[Cell]] = {}
    for cell in sorted(done, key=lambda cell: (cell.kind, cell.folds, cell.seeds)):
        key = cell.kind, cell.images, cell.block, cell.seeds, cell.baseline_seeds, cell.folds
        alike.setdefault(key, []).append(cell)
    columns = ["kind", "images", "block", "seeds", "baseline_seeds", "folds", "cells", "trials"]
    print(f"| {' | '.join([*columns, *FORMS, 'highest where'])} |")
    print("|" + " --- |" * (len(columns) + len(FORMS) + 1))
    for key, cells in alike.items():
        rates = []
        for form in FORMS:
            known = [
                (done[cell][form], done[cell]["trials"]) for cell in cells if form in done[cell]
            ]
            found, total = max(known, default=(0, 0), key=lambda one: one[0] / one[1])
            rates.append(f"{found / total:.3f} ({upper(found, total):.3f})" if total else "")
        worst = max(cells, key=lambda cell: done[cell]["report"] / done[cell]["trials"])
        where = f"{worst.spread}, {worst.experiments}"
        row = [*key, len(cells), sum(done[cell]["trials"] for cell in cells), *rates, where]
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else TRIALS
    (relabelled if place.is_dir() else main)(place, number)

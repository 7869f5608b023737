"""How sure a measured difference is: intervals and tests over seeds, test images and folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

Errors = Mapping[int, NDArray[Any]]
"""By fold (S seeds, I images): whether a network was wrong. Each fold has images of its own."""

_ROUNDED = 1e-20  # a variance that rounding alone makes of none
POOLED_FROM = 2  # degrees of freedom of each network, for a variance in common
_TRUSTED_FROM = 4  # from here on one that is hardly larger counts as the common one


@dataclass(frozen=True)
class Components:
    """Where the variance of a difference comes from; fractions squared, each 0 or more."""

    run: float
    """Of one run on the changed side, and as many times more on the other as there are."""

    image: float
    """Of one fold's test images."""

    fold: float = 0.0
    """Of one fold's training set; 0 without folds."""

    def variance(self, seeds: float, folds: int) -> float:
        """Of the difference over so many folds, with so many seeds in each."""
        return self.run / (folds * seeds) + (self.image + self.fold) / folds


@dataclass(frozen=True)
class Difference:
    """Difference of error, changed - baseline, as fractions; the logarithm of a ratio; a mean.

    All but ``estimate`` is None where nothing tells how sure it is: one run, or one image.
    """

    estimate: float
    standard_error: float | None = None
    freedom: float | None = None
    """Degrees of freedom of Student's t."""

    components: Components | None = None

    @property
    def p_value(self) -> float | None:
        """Two-sided, for no difference."""
        if self.standard_error is None or self.freedom is None:
            return None
        if self.standard_error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        return float(2 * special.stdtr(self.freedom, -abs(self.estimate) / self.standard_error))

    def half_width(self, confidence: float = 0.95) -> float | None:
        """Half of the interval."""
        if self.standard_error is None or self.freedom is None:
            return None
        return float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.standard_error

    @property
    def ends(self) -> tuple[float, float] | None:
        """Of the 95 % interval."""
        half = self.half_width()
        return None if half is None else (self.estimate - half, self.estimate + half)


class _Network:
    """What of one network's errors counts, by fold."""

    def __init__(self, cell: Errors) -> None:
        self.seeds = {fold: len(array) for fold, array in cell.items()}
        self.runs = {fold: array.mean(1) for fold, array in cell.items()}
        self.images = {fold: array.mean(0) for fold, array in cell.items()}
        self.residual = {
            fold: _residual(array, self.runs[fold], self.images[fold])
            for fold, array in cell.items()
        }

    @property
    def is_single(self) -> bool:
        """Whether no fold has a second seed."""
        return all(seeds == 1 for seeds in self.seeds.values())


@dataclass(frozen=True)
class _Spread:
    """Variance over seeds of one network's error on a fold's images, and how well it is known."""

    variance: float
    freedom: float
    own: float = 1.0
    """Share of ``freedom`` that is left beside what all networks have in common."""


@dataclass(frozen=True)
class _Contrast:
    """A weighted sum of networks, before it is known how much folds differ."""

    estimate: float
    runs: tuple[_Spread, ...]
    """Parts of the variance of ``estimate`` that seeds make."""
    images: _Spread
    by_fold: Array
    """(F,) its value in each fold."""
    expected: float
    """Variance between folds that seeds and images make."""
    seeds: float
    """Of a changed network in a fold, on average."""
    test_images: int


def paired(values: Errors) -> Difference:
    """Mean of what each seed gives for each test image, such as ten views less one.

    Seeds and images are samples of two populations and are crossed within a fold. The variance is
    that over seeds of their means, no less than the residual's, and the component of the images
    (two-way random effects); with folds, what they differ beyond the two. With one seed a fold it
    is the variance between folds. Degrees of freedom: 1 / df is the sum over the parts of their
    share of the variance over their own df (compare Cochran 1964); Satterthwaite's formula squares
    the shares, and with three seeds that vary much it errs in 7 % at a level of 5 %.

    Args:
        values: By fold (S seeds, I images).

    Raises:
        ValueError: There are none.
    """
    if not values or not all(array.size for array in values.values()):
        raise ValueError("arrays (seeds, images) wanted, none of them empty")
    network = _Network(values)
    (found,) = _contrasts([network], np.ones((1, 1)), _spreads([network]))
    return found


def against_baseline(baseline: Errors, others: Sequence[Errors]) -> list[Difference]:
    """Difference of error of each network to the baseline, on the folds that both have.

    Image by image the two are paired, seed by seed they are not: the baseline may have more. The
    interval is for new seeds and new test images, and for training sets that differ as those of
    these folds do. The variance has three parts, with degrees of freedom as in :func:`paired`:

    - Between seeds: of each network within its folds, no less than the residual's. The mean over
      all networks counts where it is larger than a network's own, with the degrees of freedom of
      all. Where its own is more than twice as large, it has its own degrees of freedom, so that a
      network that varies more than the others is not taken for one of them; with two or three
      degrees of freedom each that goes for every one that is larger; with one nothing is pooled.
    - Of the images, from the difference itself.
    - Between folds, what is beyond the other two, the mean over the networks.

    With one seed in each fold the variance between folds, less what a fold means to all networks,
    stands for all three; no less than what the images by themselves make, so that folds that agree
    by chance are not certain. ``tests/measure_error_rates.py`` holds the simulations behind these
    rules.

    Args:
        baseline: By fold (S seeds, I images).
        others: The same of the changed networks, on the same images.
    """
    networks = [_Network(cell) for cell in (baseline, *others)]
    weights = np.eye(len(networks))[1:] - np.eye(len(networks))[0]
    return _contrasts(networks, weights, _pooled(_spreads(networks)))


def effects(cells: Sequence[Errors], signs: Array, own_seeds: bool = False) -> list[Difference]:
    """Main effects and interactions of a two-level design: error with a change less that without.

    A network with seeds of its own differs from all others by chance alone. Every contrast is a sum
    over all networks with equal weights, so that the variance between seeds is the same for all:
    the mean over the networks, whatever they differ in, with Satterthwaite's degrees of freedom.

    What seeds in common do to all networks that lack an idea does not average out over these. So
    contrasts are then taken seed by seed, and their variances between seeds pooled as those of
    networks in :func:`against_baseline`. One seed in each fold counts as in common.

    Args:
        cells: Of each network, by fold (S seeds, I images); one seed each, or in common: as many.
        signs: (cells, contrasts), 1 where the change is on and -1 where it is not, balanced.
        own_seeds: No two cells share a seed.
    """
    folds = sorted(set.intersection(*(set(cell) for cell in cells)))
    weights = 2 / len(cells) * signs
    networks = [_Network({fold: cell[fold] for fold in folds}) for cell in cells]
    if own_seeds and not all(network.is_single for network in networks):
        return _contrasts(networks, weights.T, [_common(_spreads(networks))] * len(networks))
    made = {fold: np.tensordot(weights, [cell[fold] for cell in cells], (0, 0)) for fold in folds}
    contrasts = [_Network({f: made[f][i] for f in folds}) for i in range(signs.shape[1])]
    return _contrasts(contrasts, np.eye(len(contrasts)), _pooled(_spreads(contrasts, differ=True)))


def _common(spreads: Sequence[_Spread | None]) -> _Spread:
    """Mean of what is known, with Satterthwaite's degrees of freedom.

    They are too few where each has few, since the squares of measured variances are too large; the
    correction of that errs in more than 5 % where one network varies more than the others.
    """
    known = [(spread.variance, spread.freedom) for spread in spreads if spread is not None]
    variances, freedom = np.array(known).T
    squares = float((variances**2 / freedom).sum())
    found = float(variances.sum()) ** 2 / squares if squares else float(freedom.sum())
    return _Spread(float(variances.mean()), found)


def corrected_resampled(differences: Sequence[float], ratio: float) -> tuple[float, float]:
    """Interval of 95 % for new training sets, too (Nadeau and Bengio 2003).

    The training sets of two folds overlap, so that folds agree more than independent ones would:
    the variance of their mean is taken as 1/F + ``ratio`` of that between them.

    Args:
        differences: Of each of F folds.
        ratio: Images tested on over those trained on.
    """
    mean, folds = float(np.mean(differences)), len(differences)
    error = ((1 / folds + ratio) * float(np.var(differences, ddof=1))) ** 0.5
    half = float(stats.t.ppf(0.975, folds - 1)) * error
    return mean - half, mean + half


def _contrasts(
    networks: Sequence[_Network],
    weights: Array,
    spreads: Sequence[_Spread | None],
) -> list[Difference]:
    """Of each row of ``weights`` (contrasts, networks)."""
    single = all(network.is_single for network in networks)
    made = [_contrast(networks, row, spreads, single) for row in weights]
    excesses = [
        one.by_fold.var(ddof=1) - one.expected
        for one in made
        if isinstance(one, _Contrast) and len(one.by_fold) > 1 and not single
    ]
    fold = max(0.0, float(np.mean(excesses))) if excesses else 0.0
    return [_difference(one, fold) if isinstance(one, _Contrast) else one for one in made]


def _contrast(
    networks: Sequence[_Network],
    weights: Array,
    spreads: Sequence[_Spread | None],
    single: bool,
) -> _Contrast | Difference:
    """Of the networks with a weight; without a variance where nothing tells it."""
    chosen = [
        (networks[i], float(weights[i]), spreads[i]) for i in map(int, np.flatnonzero(weights))
    ]
    folds = sorted(set.intersection(*(set(network.seeds) for network, _, _ in chosen)))
    by_image = [sum(w * network.images[fold] for network, w, _ in chosen) for fold in folds]
    counts = np.array([np.size(values) for values in by_image])
    shares = counts / counts.sum()
    by_fold = np.array([np.mean(values) for values in by_image])
    of_images = np.array([np.var(v, ddof=np.size(v) > 1) / np.size(v) for v in by_image])
    least = float(shares**2 @ of_images)  # what images make if runs and folds make nothing
    estimate = float(shares @ by_fold)
    if any(spread is None for _, _, spread in chosen):
        if len(folds) == 1:
            return Difference(estimate)
        # A side with one seed has no variance of its own.
        variance = max(least, float(by_fold.var(ddof=1)) / len(folds))
        if variance < _ROUNDED:
            return _constant(estimate, int(counts.sum()))
        parts = Components(0.0, variance * len(folds))
        return Difference(estimate, variance**0.5, len(folds) - 1.0, parts)
    if counts.max() == 1:
        return Difference(estimate)
    runs, expected = [], 0.0
    for network, w, spread in chosen:
        assert spread is not None
        each = w**2 * spread.variance / np.array([network.seeds[fold] for fold in folds])
        runs.append(_Spread(float(shares**2 @ each), spread.freedom, spread.own))
        expected += float(each.mean())
    images = _Spread(max(0.0, least - sum(part.variance for part in runs)), len(folds) - 1.0)
    if not single:
        for place, fold in enumerate(folds):
            rest = sum(w**2 * net.residual[fold] / net.seeds[fold] for net, w, _ in chosen)
            of_images[place] = max(0.0, of_images[place] - rest / counts[place])
        images = _Spread(float(shares**2 @ of_images), float((counts - 1).sum()))
        expected += float(of_images.mean())
    return _Contrast(
        estimate,
        tuple(runs),
        images,
        by_fold,
        expected,
        float(np.mean([net.seeds[fold] for net, w, _ in chosen if w > 0 for fold in folds])),
        int(counts.sum()),
    )


def _difference(made: _Contrast, fold: float) -> Difference:
    folds = len(made.by_fold)
    parts = list(made.runs)
    run = sum(part.variance for part in parts)
    parts += [made.images, _Spread(fold / folds, max(1.0, folds - 1))]
    variance = sum(part.variance for part in parts)
    if variance < _ROUNDED:
        return _constant(made.estimate, made.test_images)
    return Difference(
        made.estimate,
        float(variance**0.5),
        float(variance / sum(part.variance / part.freedom for part in parts)),
        Components(run * folds * made.seeds, made.images.variance * folds, fold),
    )


def _constant(estimate: float, images: int) -> Difference:
    """All images alike on all seeds: none of I images departs from that, so at most a share of
    1 - .05^(1/I) does at 95 % (about 3 / I)."""
    freedom = float(max(1, images - 1))
    most = 1 - 0.05 ** (1 / images)
    return Difference(estimate, most / float(stats.t.ppf(0.975, freedom)), freedom)


def _spreads(networks: Sequence[_Network], differ: bool = False) -> list[_Spread | None]:
    """Of each network; from between the folds where none has a second seed.

    ``differ``: they are differences already, to which folds mean nothing in common.
    """
    if all(network.is_single for network in networks):
        return _between_folds(networks, differ)
    return [_between_seeds(network) for network in networks]


def _between_seeds(network: _Network) -> _Spread | None:
    """Variance of a run's error within its folds; not below that which its images alone make."""
    freedom = sum(seeds - 1 for seeds in network.seeds.values())
    if not freedom:
        return None
    squares = sum(float(runs.var() * len(runs)) for runs in network.runs.values())
    least = np.mean([rest / len(network.images[f]) for f, rest in network.residual.items()])
    return _Spread(max(squares / freedom, float(least)), freedom)


def _between_folds(networks: Sequence[_Network], differ: bool) -> list[_Spread | None]:
    """The same from one seed a fold, less what each fold means to all networks that have it."""
    folds = sorted(set.intersection(*(set(network.seeds) for network in networks)))
    if len(folds) < 2:
        return [None] * len(networks)
    errors = np.array([[float(network.runs[fold][0]) for fold in folds] for network in networks])
    own = 0.0 if differ else 1 - 1 / len(networks)
    if own:
        errors = (errors - errors.mean(0)) / own**0.5
    return [_Spread(float(row.var(ddof=1)), len(folds) - 1, own or 1.0) for row in errors]


def _residual(array: NDArray[Any], of_seeds: Array, of_images: Array) -> float:
    """Mean square of what the means of seeds and images do not explain; 0 with one seed."""
    seeds, images = array.shape
    if seeds == 1 or images == 1:
        return 0.0
    values, mean = array.astype(np.float64).ravel(), float(of_seeds.mean())
    squares = float(values @ values) + (
        seeds * images * mean**2 - images * of_seeds @ of_seeds - seeds * of_images @ of_images
    )
    return max(0.0, squares) / ((seeds - 1) * (images - 1))


def _pooled(spreads: Sequence[_Spread | None]) -> list[_Spread | None]:
    """As :func:`against_baseline` says."""
    known = [spread for spread in spreads if spread is not None]
    common = [spread for spread in known if spread.freedom >= POOLED_FROM]
    if len(common) < 2:
        return list(spreads)
    weights = [spread.freedom for spread in common]
    pool = float(np.average([spread.variance for spread in common], weights=weights))
    freedom = sum(spread.freedom * spread.own for spread in common)
    found: list[_Spread | None] = []
    for spread in spreads:
        if spread is None or spread.freedom < POOLED_FROM:
            found.append(spread)
            continue
        limit = 2 * pool if spread.freedom >= _TRUSTED_FROM else pool
        own = spread.variance > limit
        found.append(_Spread(max(spread.variance, pool), spread.freedom if own else freedom))
    return found


def mean_over_seeds(values: Sequence[float]) -> Difference:
    """Mean over one seed or more, from how much they differ: where not at all, without width."""
    seeds, mean = len(values), float(np.mean(values))
    if seeds == 1:
        return Difference(mean)
    return Difference(mean, float(np.std(values, ddof=1)) / seeds**0.5, seeds - 1)

"""What a report holds; everything that is printed, drawn or written is made from this."""

from dataclasses import dataclass
from enum import StrEnum
from math import log

from scipy import stats

from alexnet_exp.report.claims import Claim
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.statistics import POOLED_FROM, Components
from alexnet_exp.runs.results import Replicate


class Verdict(StrEnum):
    """What the runs say of an idea, on their data; of a network's error beside the published one.

    The last two are for :attr:`Kind.level <alexnet_exp.report.claims.Kind.level>` alone, the one
    before them for its neighbor, those above and below 0 for interactions of a design.
    """

    helps = "helps"
    """Having it lowers the error, or the epochs, or the time."""

    hurts = "hurts"
    no_effect = "no effect as large as published"
    below_margin = "no effect as large as the margin"
    above = "above 0"
    below = "below 0"
    not_resolved = "not resolved"
    not_run = "not run"
    differ = "the towers differ"
    reproduced = "error reproduced"
    contradicted = "another error"


class Comparison(StrEnum):
    """How that compares with what was published; the first two on its data, trained like it."""

    reproduced = "reproduced"
    contradicted = "contradicted"
    same_sign = "agrees in sign"
    opposite_sign = "opposite in sign"
    smaller = "smaller than published"
    larger = "larger than published"


@dataclass(frozen=True)
class Finding:
    """What the runs say of one claim, on one data set with one base configuration.

    Or of a contrast of a design, which is compared with nothing published.

    Attributes:
        claim: What was published; of a contrast its names.
        verdict: What the runs say of the idea.
        comparison: What they say of the published figure.
        note: Why: what would resolve it, whether the published figure lies inside.
        data: Name of the data set; empty where nothing was run.
        context: What else tells this base configuration from others, such as model=one_gpu.
        synthetic: Whether the images are drawn.
        alike: Whether data, training and evaluation are those of the published figure.
        replicates: Folds and seeds of the changed network, of a contrast those of one network.
        baseline_runs: Number of runs of the unchanged one; 0 of a contrast.
        images: Test images, over all folds.
        baseline: Mean over seeds of the metric (errors as fractions, epochs as they are, seconds).
        changed: The same with the change.
        difference: changed - baseline; for ``Kind.speed`` and ``Kind.time`` their ratio.
        low: Ends of the 95 % interval of ``difference``; None with one seed.
        high: The other end.
        freedom: Degrees of freedom of Student's t behind the interval; None: many.
        resampled: Nadeau and Bengio's 95 % interval over folds; None without folds.
        p_value: Two-sided, for no difference.
        p_adjusted: Corrected for all claims of the report that are tested.
        share: Of the level of 5 %, what the other claims leave for this one.
        margin: Size that counts as an effect where none was published, as the runs recorded it
            before they began, fraction; None where they recorded none, or not all the same.
        not_applicable: Top-5 error on five classes or fewer.
        command: Reproduces this row.
        components: Variances of ``difference``, of a ratio those of its logarithm, from which
            follows what would resolve a claim.
        networks: How many networks the variance between seeds is known from.
        pooled_from: Degrees of freedom of each, from which on it is.
        remarks: What else to know.
        unfit: Why the numbers allow no verdict, whatever they are.
    """

    claim: Claim
    verdict: Verdict = Verdict.not_run
    comparison: tuple[Comparison, ...] = ()
    note: str = ""
    data: str = ""
    context: str = ""
    synthetic: bool = False
    alike: bool = False
    replicates: tuple[Replicate, ...] = ()
    baseline_runs: int = 0
    images: int = 0
    baseline: float | None = None
    changed: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    freedom: float | None = None
    resampled: tuple[float, float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    share: float = 1.0
    margin: float | None = None
    not_applicable: bool = False
    command: str = ""
    components: Components | None = None
    networks: int = 1
    pooled_from: int = POOLED_FROM
    remarks: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(one.seed for one in self.replicates)

    @property
    def folds(self) -> int:
        return len({one.fold for one in self.replicates})

    @property
    def size(self) -> float | None:
        """What counts as an effect: the published size, else the margin."""
        return self.claim.published_size or self.margin

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Of the difference, as ``low`` and ``high`` are for .95; of a ratio its logarithm."""
        if self.low is None or self.high is None:
            return None
        low, high = self.low, self.high
        if self.claim.kind.is_ratio:
            low, high = log(low), log(high)
        quantile = stats.t(self.freedom).ppf if self.freedom is not None else stats.norm.ppf
        half = (high - low) / 2 * float(quantile((1 + confidence) / 2) / quantile(0.975))
        return (low + high) / 2 - half, (low + high) / 2 + half


@dataclass(frozen=True)
class Factorial:
    """A two-level design on one data set with one base configuration, as in :class:`Finding`.

    A main effect is the mean error of the combinations with a change less that of those without
    it. An interaction of two changes is half of what the effect of one with the other differs from
    that without the other: above 0 both together do more harm than each alone lets expect. Where
    some share a contrast, all of them stand in its name.

    Attributes:
        factors: Experiments that are on in one half of the combinations and off in the other.
        cells: The networks.
        replicates: Folds and seeds that count, of all combinations together.
        images: Test images.
        effects: Main effect of each factor, largest first; none where it is no design.
        interactions: Of two factors, the largest of either sign first.
        others: Estimates of the contrasts of three factors or more.
        pseudo_error: Lenth's standard error of a contrast, from how the contrasts spread.
        sentences: What else a reader has to know.
    """

    data: str
    context: str
    synthetic: bool
    factors: tuple[str, ...]
    cells: tuple[Cell, ...] = ()
    replicates: tuple[Replicate, ...] = ()
    images: int = 0
    effects: tuple[Finding, ...] = ()
    interactions: tuple[Finding, ...] = ()
    others: tuple[float, ...] = ()
    pseudo_error: float = 0.0
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that was found in the folder ``runs``.

    The newest of them finished at ``until`` (ISO 8601); the same runs give the same report.

    There is at least one finding of each claim. Pairings that were refused name the two runs and
    what differs besides the factor, folders that were left out (``skipped``) have the reason.
    """

    runs: str
    until: str
    findings: tuple[Finding, ...]
    cells: tuple[Cell, ...]
    factorials: tuple[Factorial, ...] = ()
    refused: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

"""What a report holds; everything that is printed, drawn or written is made from this."""

from dataclasses import dataclass
from enum import StrEnum

from alexnet_exp.report.claims import Claim
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.results import Replicate
from alexnet_exp.report.statistics import Components


class Size(StrEnum):
    """Where the published size lies outside of the interval: how the measured one compares."""

    smaller = "smaller than published"
    larger = "larger than published"


class Verdict(StrEnum):
    """What the runs say of a claim."""

    reproduced = "reproduced"
    contradicted = "contradicted"
    not_resolved = "not resolved"
    not_judged = "not judged"
    not_run = "not run"


@dataclass(frozen=True)
class Finding:
    """What the runs say of one claim, on one data set with one base configuration.

    Attributes:
        claim: What was published.
        verdict: What the runs say of it.
        note: Why: what would resolve it, whether the published figure lies inside.
        data: Name of the data set; empty where nothing was run.
        context: What else tells this base configuration from others, such as model=one_gpu.
        synthetic: Whether the images are drawn.
        replicates: Folds and seeds that both sides have.
        images: Test images.
        baseline: Mean over seeds of the metric (errors as fractions, epochs as they are, seconds).
        changed: The same with the change.
        difference: changed - baseline; for ``Kind.speed`` and ``Kind.time`` their ratio.
        low: Ends of the 95 % interval of ``difference``; None with one seed.
        high: The other end.
        p_value: Two-sided, for no difference.
        p_holm: Corrected for all claims of the report that are judged by a p-value.
        size: Set where the interval leaves out the published size; None for levels and for a
            change that goes the other way.
        not_applicable: Top-5 error on five classes or fewer.
        command: Reproduces this row.
        components: Variances from which follows what would resolve a claim about errors.
        log_deviation: The same for a ratio: standard deviation of its logarithm over seeds.
        remarks: What a reader has to know besides the verdict.
        unfit: Why the numbers allow no verdict, whatever they are.
    """

    claim: Claim
    verdict: Verdict = Verdict.not_run
    note: str = ""
    data: str = ""
    context: str = ""
    synthetic: bool = False
    replicates: tuple[Replicate, ...] = ()
    images: int = 0
    baseline: float | None = None
    changed: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    size: Size | None = None
    not_applicable: bool = False
    command: str = ""
    components: Components | None = None
    log_deviation: float | None = None
    remarks: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(one.seed for one in self.replicates)

    @property
    def folds(self) -> int:
        return len({one.fold for one in self.replicates})


@dataclass(frozen=True)
class Report:
    """Everything that was found in a folder of runs.

    Attributes:
        runs: The folder.
        made: When the report was made, ISO 8601.
        findings: At least one of each claim.
        cells: The runs.
        refused: Pairings that were refused, each naming the two runs and what differs besides the
            factor.
        skipped: Folders that were left out, each with the reason.
        environment: Versions, hardware and git revision that the runs recorded.
    """

    runs: str
    made: str
    findings: tuple[Finding, ...]
    cells: tuple[Cell, ...]
    refused: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

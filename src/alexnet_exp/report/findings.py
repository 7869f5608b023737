"""What a report holds; everything that is printed, drawn or written is made from this."""

from dataclasses import dataclass
from enum import StrEnum

from alexnet_exp.report.claims import Claim
from alexnet_exp.report.pairing import Cell
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
    not_run = "not run"


@dataclass(frozen=True)
class Finding:
    """What the runs say of one claim, on one data set with one base configuration."""

    claim: Claim
    verdict: Verdict = Verdict.not_run
    note: str = ""
    """Why this verdict: what would resolve it, whether the published figure lies inside."""

    data: str = ""
    """Name of the data set; empty where nothing was run."""

    context: str = ""
    """What else tells this base configuration from others in the report, such as model=one_gpu."""

    synthetic: bool = False
    seeds: tuple[int, ...] = ()
    images: int = 0
    """Test images."""

    baseline: float | None = None
    """Mean over seeds of the metric (errors as fractions, epochs as they are, seconds)."""

    changed: float | None = None
    difference: float | None = None
    """changed - baseline; for ``Kind.speed`` and ``Kind.time`` their ratio."""

    low: float | None = None
    """Ends of the 95 % interval of ``difference``; None with one seed."""

    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    """Corrected for all claims of the report that have a p-value."""

    size: Size | None = None
    """Set where the interval leaves out the published size; None for levels and for a change
    that goes the other way."""

    not_applicable: bool = False
    """Top-5 error on five classes or fewer."""

    command: str = ""
    """Reproduces this row."""

    components: Components | None = None
    """Variances from which follows what would resolve a claim about errors."""

    log_deviation: float | None = None
    """The same for a ratio: standard deviation of its logarithm over seeds."""

    remarks: tuple[str, ...] = ()
    """What a reader has to know besides the verdict."""

    unfit: tuple[str, ...] = ()
    """Why the numbers allow no verdict, whatever they are."""


@dataclass(frozen=True)
class Report:
    """Everything that was found in a folder of runs."""

    runs: str
    """The folder."""

    made: str
    """When the report was made, ISO 8601."""

    findings: tuple[Finding, ...]
    cells: tuple[Cell, ...]
    refused: tuple[str, ...] = ()
    """Pairings that were refused, each naming the two runs and what differs besides the factor."""

    skipped: tuple[str, ...] = ()
    """Folders that were left out, each with the reason: unfinished, diverged, damaged, older."""

    environment: tuple[str, ...] = ()
    """Versions, hardware and git revision that the runs recorded."""

    @property
    def synthetic(self) -> bool:
        """Whether any of the runs saw drawn images instead of photos."""
        return any(cell.synthetic for cell in self.cells)

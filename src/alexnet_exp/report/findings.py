"""What a report holds; everything that is printed, drawn or written is made from this."""

from dataclasses import dataclass, field
from enum import StrEnum


class Metric(StrEnum):
    """What a claim is about."""

    top1 = "top-1 error"
    top5 = "top-5 error"
    epochs = "epochs to 25 % training error"
    time = "training time per epoch"


class Kind(StrEnum):
    """How the two sides of a claim are compared."""

    experiment = "experiment"
    """Two trainings that differ in one factor, paired by seed and test image."""

    views = "views"
    """One training evaluated with one view and with ten, paired by seed and test image."""

    speed = "speed"
    """Two trainings, paired by seed: the ratio of epochs to 25 % training error."""

    time = "time"
    """Two trainings, paired by seed: the ratio of their training times, the one as two towers on
    two devices, the other on one device."""

    level = "level"
    """The error of one network alone, without a change."""

    @property
    def is_ratio(self) -> bool:
        """Whether two sides are divided, not subtracted: 1 is no difference."""
        return self in (Kind.speed, Kind.time)


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
class Claim:
    """One published figure.

    Errors and their differences are fractions, positive where the change makes things worse.
    """

    name: str
    """Unique, such as ``no_lrn/top1``."""

    factor: str
    """What the claim is about, such as ``normalization``."""

    change: str
    """What is changed, in words: ``no LRN``."""

    baseline: str
    """Experiment of the unchanged network."""

    changed: str
    """Experiment of the changed network; for views and levels the same as ``baseline``."""

    metric: Metric
    kind: Kind

    figure: float | None
    """Published difference of error (fraction), ratio of epochs, or error; None where prose."""

    figure_text: str
    """The same as published: ``+1.37``, ``> +1``, ``substantial overfitting``."""

    source: str
    """Where it was published: section of the paper, run of the authors' code."""

    data: str
    """What the published figure was measured on."""

    others: str = ""
    """What later work measured for the same change, with its name; empty if nobody did."""

    rough: float | None = None
    """Size that prose names without a figure: .01 for ``> +1``, .02 for ``about +2``."""

    at_least: bool = False
    """Whether ``rough`` is a lower bound, as in ``> +1``: then nothing is larger."""

    four_layers: tuple[str, ...] = ()
    """The four-layer networks for CIFAR-10 (``model.name``) that it is about; none: AlexNet."""

    sweep: str = ""
    """The preset of conf/sweep that measures it; empty where an experiment with seeds will do."""

    data_name: str = ""
    """``data.name`` of runs on the published data; empty where it is not said."""

    views: str = ""
    """For levels: ``ten`` or ``one``."""

    not_measured: str = ""
    """Why no command of this program measures it; empty where one does."""

    @property
    def sign(self) -> int:
        """Direction of the published difference; prose says that the change makes things worse."""
        neutral = 1.0 if self.kind.is_ratio else 0.0
        return -1 if self.figure is not None and self.figure < neutral else 1


@dataclass(frozen=True)
class Finding:
    """What the runs say of one claim, on one data set with one base configuration."""

    claim: Claim
    verdict: Verdict
    note: str
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


@dataclass(frozen=True)
class Group:
    """All seeds of one experiment under one base configuration."""

    experiment: str
    data: str
    context: str
    synthetic: bool
    classes: int
    test_images: int
    views: str
    """``ten`` or ``one``."""

    seeds: tuple[int, ...]
    top1: tuple[float, ...]
    """Test error of each seed, fraction."""

    top5: tuple[float, ...]
    images_per_second: tuple[float, ...]
    train_seconds: tuple[float, ...]
    peak_memory_bytes: tuple[int, ...]
    epochs: tuple[int, ...]
    """Epochs trained by each seed."""

    train_curves: tuple[tuple[float, ...], ...]
    """Top-1 training error after each epoch, by seed; fraction, NaN where not recorded."""

    val_curves: tuple[tuple[float, ...], ...]
    hardware: str
    """Processor or GPU, and precision."""

    command: str
    mean: float | None = None
    """Mean test top-1 error over seeds."""

    deviation: float | None = None
    """Standard deviation over seeds; None with one."""

    low: float | None = None
    """95 % interval of the mean over seeds (Student's t); None with one."""

    high: float | None = None
    overrides: tuple[str, ...] = ()
    """What was varied besides experiment and seed, such as optim.lr=0.003."""


@dataclass(frozen=True)
class StrategyRow:
    """All seeds of one experiment and configuration under one strategy on so many devices."""

    experiment: str
    data: str
    context: str
    synthetic: bool
    strategy: str
    devices: int
    """On all nodes."""

    nodes: int
    seeds: tuple[int, ...]
    counted: tuple[int, ...]
    """Those of the seeds whose run under this strategy enters claims and tables."""

    top1: tuple[float, ...]
    """Test error of each seed, fraction."""

    difference: float | None
    """Largest difference of the test error to that of the same seed in another row, fraction; None
    where no other row has one of the seeds."""

    images_per_second: tuple[float, ...]
    train_seconds: tuple[float, ...]
    hardware: str


@dataclass(frozen=True)
class Report:
    """Everything that was found in a folder of runs."""

    runs: str
    """The folder."""

    made: str
    """When the report was made, ISO 8601."""

    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]
    refused: tuple[str, ...] = ()
    """Pairings that were refused, each naming the two runs and what differs besides the factor."""

    skipped: tuple[str, ...] = ()
    """Folders that were left out, each with the reason: unfinished, diverged, damaged, older."""

    environment: tuple[str, ...] = ()
    """Versions, hardware and git revision that the runs recorded."""

    strategies: tuple[StrategyRow, ...] = ()
    """All runs by strategy and devices; empty where all have the same."""

    methods: tuple[str, ...] = field(default=())
    """How the figures were made, one paragraph each."""

    @property
    def synthetic(self) -> bool:
        """Whether any of the runs saw drawn images instead of photos."""
        return any(group.synthetic for group in self.groups)

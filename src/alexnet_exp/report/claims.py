"""What was published about each idea in AlexNet; the figures lie in ``claims.yaml``."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import log
from pathlib import Path

import yaml

FOUR_LAYERS = ("cifar_small", "cifar_local", "cifar_local_lrn")
"""Names of the four-layer networks for CIFAR-10: claims about AlexNet are not about them."""


class Metric(StrEnum):
    """What a claim is about."""

    top1 = "top-1 error"
    top5 = "top-5 error"
    epochs = "epochs to 25 % training error"
    time = "training time per epoch"
    color = "colorfulness of conv1's kernels"


class Kind(StrEnum):
    """How the two sides of a claim are compared."""

    experiment = "experiment"
    """Two trainings that differ in one factor, paired by seed and test image."""

    views = "views"
    """One training evaluated with one view and with ten, paired by seed and test image."""

    average = "average"
    """Trainings against the mean of their softmax, five at a time, paired by test image."""

    speed = "speed"
    """Two trainings, paired by seed: the ratio of epochs to 25 % training error."""

    time = "time"
    """Two trainings, paired by seed: the ratio of their training times, the one as two towers on
    two devices, the other on one device."""

    level = "level"
    """The error of one network alone, without a change."""

    towers = "towers"
    """The two towers of one network alone, by their kernels of conv1."""

    @property
    def is_alone(self) -> bool:
        """Whether it is about one network, not about what a change does."""
        return self in (Kind.level, Kind.towers)

    @property
    def in_points(self) -> bool:
        """Whether an idea's worth is a difference of error."""
        return self in (Kind.experiment, Kind.views, Kind.average)

    @property
    def is_ratio(self) -> bool:
        """Whether two sides are divided, not subtracted: 1 is no difference."""
        return self in (Kind.speed, Kind.time)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published figure.

    Errors and their differences are fractions, positive where the change makes things worse.

    Attributes:
        name: Unique, such as ``no_lrn/top1``.
        factor: What the claim is about, such as ``normalization``.
        idea: What the network loses by the change: ``LRN``; empty for the error of a network alone.
        change: What is changed, in words: ``no LRN``; of a network alone its name.
        baseline: Experiment of the unchanged network.
        changed: Experiment of the changed one; for views and of one network alone the same as
            ``baseline``.
        metric: What is measured.
        kind: How the two sides are compared.
        figure: Published difference of error (fraction), ratio, or error; None where prose.
        figure_text: The same as published: ``+1.37``, ``> +1``, ``substantial overfitting``.
        source: Where it was published: section of the paper, run of the authors' code.
        data: What the published figure was measured on.
        seen: Where the figure was read again.
        besides: What else the published network or run had than this change; where no figure was
            published for the change alone, what it was published for.
        judged: Whether runs reproduce or contradict it; not where its sign may be due to what is
            besides, nor without a figure of its own.
        others: What later work measured for the same change, with its name.
        rough: Size that prose names without a figure: .01 for ``> +1``, .02 for ``about +2``.
        at_least: Whether ``rough`` is a lower bound, as in ``> +1``: then nothing is larger.
        four_layers: The four-layer networks for CIFAR-10 (``model.name``) that it is about; none:
            AlexNet.
        sweep: Preset of conf/sweep that measures it; empty where an experiment will do.
        data_name: ``data.name`` of runs on the published data; empty where it is not said.
        views: For levels: ``ten`` or ``one``.
        not_measured: Why no command of this program measures it; empty where one does.
    """

    name: str
    factor: str
    idea: str = ""
    change: str = ""
    baseline: str = "baseline"
    changed: str
    metric: Metric = Metric.top1
    kind: Kind = Kind.experiment
    figure: float | None = None
    figure_text: str
    source: str
    seen: str
    besides: str = ""
    judged: bool = True
    data: str = "ILSVRC"
    others: str = ""
    rough: float | None = None
    at_least: bool = False
    four_layers: tuple[str, ...] = ()
    sweep: str = ""
    data_name: str = ""
    views: str = ""
    not_measured: str = ""

    @property
    def named(self) -> float | None:
        """The figure, or the size that prose names."""
        return self.rough if self.figure is None else self.figure

    @property
    def published_size(self) -> float | None:
        """As far as one was named for this change alone: a fraction, of a ratio its logarithm."""
        if self.named is None or not self.judged:
            return None
        return abs(log(self.named)) if self.kind.is_ratio else abs(self.named)

    @property
    def sign(self) -> int:
        """Direction of the published difference; prose says that the change makes things worse."""
        neutral = 1.0 if self.kind.is_ratio else 0.0
        return -1 if self.figure is not None and self.figure < neutral else 1

    @property
    def is_of_others(self) -> bool:
        """Whether it is about a network of others with data and training of its own."""
        return self.kind is Kind.level and self.changed != "baseline"

    def is_about(self, model: str) -> bool:
        """Whether it is about the network of this ``model.name``."""
        return model in self.four_layers if self.four_layers else model not in FOUR_LAYERS


def _published() -> Iterator[Claim]:
    """The claims of ``claims.yaml``: percent there, fractions here."""
    text = Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8")
    for entry in yaml.safe_load(text):
        kind = Kind(entry.pop("kind", Kind.experiment))
        metric = Metric[entry.pop("metric", Metric.top1.name)]
        entry["four_layers"] = tuple(entry.get("four_layers", ()))
        percent = {m: entry.pop(m.name) for m in Metric if m.name in entry}
        if not percent:
            yield Claim(**entry, kind=kind, metric=metric)
        for metric, number in percent.items():
            own = entry | {"figure": round(number / 100, 6)}
            own["name"] += f"/{metric.name}"
            own["figure_text"] = f"{number:.1f}" if kind is Kind.level else f"{number:+.2f}"
            if kind is not Kind.level and metric is Metric.top5:
                own.pop("others", None)  # later work measured top-1 alone
            yield Claim(**own, kind=kind, metric=metric)


CLAIMS = tuple(_published())
"""Every claim, ablations first."""


def claim_about(experiment: str) -> Claim:
    """The one about the top-1 error of AlexNet without what an experiment leaves out.

    Where nothing was published, one without a figure, whose idea is called by the experiment.
    """
    for claim in CLAIMS:
        is_it = claim.changed == experiment and claim.kind is Kind.experiment
        if is_it and claim.metric is Metric.top1 and not claim.four_layers:
            return claim
    idea = experiment.removeprefix("no_").replace("_", " ")
    return Claim(
        name=experiment, factor=idea, idea=idea, change=experiment, changed=experiment,
        figure_text="none of its own", source="", seen="", judged=False,
    )  # fmt: skip

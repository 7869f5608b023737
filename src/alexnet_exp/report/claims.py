"""What was published about each idea in AlexNet, as data.

Sources: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks" (2012); the notes at the foot of the layer-params files of the authors' code as released
by the Computer History Museum (run numbers 145 to 167); caffenet-benchmark for tanh's top-1 error,
of which the paper says nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FOUR_LAYERS = ("cifar_small", "cifar_lrn")
"""Names of the four-layer networks for CIFAR-10: claims about AlexNet are not about them."""


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


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published figure.

    Errors and their differences are fractions, positive where the change makes things worse.

    Attributes:
        name: Unique, such as ``no_lrn/top1``.
        factor: What the claim is about, such as ``normalization``.
        change: What is changed, in words: ``no LRN``.
        baseline: Experiment of the unchanged network.
        changed: Experiment of the changed one; for views and levels the same as ``baseline``.
        metric: What is measured.
        kind: How the two sides are compared.
        figure: Published difference of error (fraction), ratio, or error; None where prose.
        figure_text: The same as published: ``+1.37``, ``> +1``, ``substantial overfitting``.
        source: Where it was published: section of the paper, run of the authors' code.
        data: What the published figure was measured on.
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
    change: str
    baseline: str = "baseline"
    changed: str
    metric: Metric = Metric.top1
    kind: Kind = Kind.experiment
    figure: float | None = None
    figure_text: str
    source: str
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
    def sign(self) -> int:
        """Direction of the published difference; prose says that the change makes things worse."""
        neutral = 1.0 if self.kind.is_ratio else 0.0
        return -1 if self.figure is not None and self.figure < neutral else 1

    def is_about(self, model: str) -> bool:
        """Whether it is about the network of this ``model.name``."""
        return model in self.four_layers if self.four_layers else model not in FOUR_LAYERS


_VAL_2012 = "ILSVRC-2012 validation, ten views"
_TEST_2010 = "ILSVRC-2010 test, ten views"
_BENCHMARK = "caffenet-benchmark, 128 px"
_BOTH = (("top1", Metric.top1), ("top5", Metric.top5))


def _factor(
    changed: str, factor: str, change: str, *points: float, name: str = "", **more: Any
) -> list[Claim]:
    """Top-1 and top-5 differences in points; later work measured top-1 alone."""
    more = {"data": _VAL_2012, "data_name": "imagenet"} | more
    return [
        Claim(
            name=f"{name or changed}/{short}", factor=factor, change=change, changed=changed,
            metric=metric, figure=round(difference / 100, 6), figure_text=f"{difference:+.2f}",
            **(more if metric is Metric.top1 else more | {"others": ""}),
        )
        for (short, metric), difference in zip(_BOTH, points, strict=True)
    ]  # fmt: skip


def _prose(changed: str, factor: str, change: str, text: str, **more: Any) -> Claim:
    """A claim without a figure; its direction is that the change makes things worse."""
    return Claim(
        name=f"{changed}/top1", factor=factor, change=change, changed=changed, figure_text=text,
        **more,
    )  # fmt: skip


def _level(name: str, network: str, *errors: float | None, **more: Any) -> list[Claim]:
    """Top-1 and top-5 error of one network in percent."""
    return [
        Claim(
            name=f"{name}/{short}", factor="level", change=network, changed="baseline",
            metric=metric, kind=Kind.level, figure=round(error / 100, 6),
            figure_text=f"{error:.1f}", **more,
        )
        for (short, metric), error in zip(_BOTH, errors, strict=True)
        if error is not None
    ]  # fmt: skip


_ABLATIONS = (
    *_factor(
        "no_lrn", "normalization", "no LRN", 1.37, 1.15,
        source="paper, section 3.3 (1.4 / 1.2); authors' code, run 148 against 145",
        others=f"{_BENCHMARK}: 0.0 points",
    ),
    *_factor(
        "non_overlapping_pooling", "pooling", "2x2 windows 2 apart", 0.39, 0.30,
        source="paper, section 3.4 (.4 / .3); authors' code, run 147 against 145",
        others=f"{_BENCHMARK}: -1.3 points",
    ),
    *_factor(
        "one_gpu", "two towers", "one-GPU network", 1.70, 1.23,
        source="paper, section 3.2 (1.7 / 1.2); authors' code, run 145-half against 145-2010",
        data=_TEST_2010, data_name="imagenet_2010",
    ),
    Claim(
        name="one_gpu/time", factor="two towers", change="one-GPU network", changed="one_gpu",
        metric=Metric.time, kind=Kind.time, figure_text="slightly more",
        source="paper, section 3.2: the two-GPU net takes slightly less time to train",
        data="ILSVRC-2010, two GTX 580 against one", data_name="imagenet_2010", sweep="parallel",
    ),
    *_factor(
        "no_tower_communication", "tower communication", "towers apart at conv3", 1.16, 1.12,
        source="authors' code, run 150 against 145 (not in the paper)",
    ),
    _prose(
        "no_color_noise", "color noise", "no color noise", "> +1", rough=0.01,
        at_least=True, source="paper, section 4.1",
    ),
    *_factor(
        "baseline", "test-time views", "center view for ten", 1.55, 1.30, name="views",
        source="paper, section 4.1; authors' code, run 145-2010",
        data="ILSVRC-2010 test", data_name="imagenet_2010", kind=Kind.views,
    ),
    *(
        _prose(
            f"no_{layer}", "depth", f"no {layer}", "about +2", rough=0.02,
            source="paper, section 7: any of the middle layers",
        )
        for layer in ("conv2", "conv3", "conv4", "conv5")
    ),
    *_factor(
        "no_norm2", "normalization", "no norm after conv2", -0.18, -0.09,
        source="authors' code, run 167 against 145 (which also had a smoother learning rate)",
        others=f"{_BENCHMARK}: -2.2 points for a linear learning rate alone",
    ),
    _prose(
        "no_dropout", "dropout", "no dropout", "substantial overfitting",
        source="paper, section 4.2",
        others=f"{_BENCHMARK}: -0.2 points with .1, -2.6 points with .3 in place of .5",
    ),
    Claim(
        name="no_dropout/iterations", factor="dropout", change="no dropout", changed="no_dropout",
        metric=Metric.epochs, kind=Kind.speed, figure=0.5,
        figure_text="about half the iterations to converge", source="paper, section 4.2",
        not_measured="no command measures when training has converged",
    ),
    _prose("no_crops", "crops", "no crops", "substantial overfitting", source="paper, section 4.1"),
    Claim(
        name="tanh/top1", factor="activation", change="tanh for ReLU", changed="tanh",
        figure=0.07, figure_text="+7.0",
        source="caffenet-benchmark: top-1 accuracy .471 with ReLU, .401 with tanh",
        data="ILSVRC-2012 validation, images of 128 px",
    ),
    Claim(
        name="tanh/epochs", factor="activation", change="tanh for ReLU", changed="tanh",
        metric=Metric.epochs, kind=Kind.speed, figure=6.0, figure_text="about 6",
        source="paper, section 3.1, figure 1",
        data="CIFAR-10, four-layer network, no regularization, learning rate tuned for each",
        four_layers=FOUR_LAYERS, data_name="cifar10", sweep="relu_vs_tanh",
    ),
    Claim(
        name="no_lrn_cifar10/top1", factor="normalization", change="no LRN, four-layer network",
        changed="no_lrn", figure=0.02, figure_text="+2",
        source="paper, section 3.3: 13 % without, 11 % with it",
        data="CIFAR-10 test, a four-layer network with two locally connected layers",
        four_layers=("cifar_lrn",),  # cifar_small has norms of another kind
        data_name="cifar10", sweep="lrn_cifar",
    ),
)  # fmt: skip

_NO_ENSEMBLE = "no command averages several networks"
_NO_PRETRAINING = "no command pretrains on the 2011 fall release or has the sixth convolution"
_NO_SUCH_METHOD = "a method before convolutional networks, which this program lacks"

_LEVELS = (
    *_level(
        "level_2010_ten", "AlexNet, 2010", 37.5, 17.0,
        source="paper, table 1; authors' code, run 145-2010 (37.4727 / 16.9987)",
        data=_TEST_2010, data_name="imagenet_2010", views="ten",
    ),
    *_level(
        "level_2010_center", "AlexNet, 2010, center view", 39.0, 18.3,
        source="paper, section 4.1; authors' code, run 145-2010 (39.0247 / 18.2953)",
        data="ILSVRC-2010 test, center view", data_name="imagenet_2010", views="one",
    ),
    *_level(
        "sparse_coding_2010", "sparse coding", 47.1, 28.2, source="paper, table 1",
        data="ILSVRC-2010 test", not_measured=_NO_SUCH_METHOD,
    ),
    *_level(
        "sift_2010", "SIFT + Fisher vectors", 45.7, 25.7, source="paper, table 1",
        data="ILSVRC-2010 test", not_measured=_NO_SUCH_METHOD,
    ),
    *_level(
        "level_2012", "AlexNet, 2012", 40.7, 18.2,
        source="paper, table 2; authors' code, run 145 (40.664 / 18.210)",
        data=_VAL_2012, data_name="imagenet", views="ten",
        others="BVLC AlexNet 42.9 / 19.8 and CaffeNet 42.6 / 19.6 (center view), torchvision"
        " 43.478 / 20.934 (center view), longrootchen 41.20 / 18.20 (ten views, no groups, no LRN)",
    ),
    *_level(
        "five_networks", "five networks averaged", 38.1, 16.4, source="paper, table 2",
        data=_VAL_2012, not_measured=_NO_ENSEMBLE,
    ),
    *_level(
        "five_networks_test", "five networks averaged, test", None, 16.4, source="paper, table 2",
        data="ILSVRC-2012 test", not_measured=_NO_ENSEMBLE,
    ),
    *_level(
        "pretrained", "AlexNet, pretrained", 39.0, 16.6,
        source="paper, table 2; authors' code, run 146-2012-2011",
        data=_VAL_2012, not_measured=_NO_PRETRAINING,
    ),
    *_level(
        "seven_networks", "seven networks averaged, two pretrained", 36.7, 15.4,
        source="paper, table 2", data=_VAL_2012, not_measured=_NO_ENSEMBLE,
    ),
    *_level(
        "seven_networks_test", "seven networks averaged, two pretrained, test", None, 15.3,
        source="paper, table 2", data="ILSVRC-2012 test", not_measured=_NO_ENSEMBLE,
    ),
    *_level(
        "runner_up_2012", "runner-up of 2012", None, 26.2, source="paper, table 2",
        data="ILSVRC-2012 test", not_measured=_NO_SUCH_METHOD,
    ),
    *_level(
        "fall_2009", "AlexNet, 10,184 classes", 67.4, 40.9, source="paper, section 6",
        data="ImageNet fall 2009",
        not_measured="no data option reads the fall 2009 release and its split",
    ),
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (*_ABLATIONS, *_LEVELS)
"""Every claim, ablations first."""

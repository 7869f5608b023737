"""The typed schema of ``model``: every idea of the paper's section 3 as one field."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from alexnet_exp.config.rules import (
    BELOW_1,
    NOT_NEGATIVE,
    POSITIVE,
    Rule,
    Ruled,
    check_fields,
    neutral,
    require,
    ruled,
)

_ODD: Rule = "must be odd and greater than 0", lambda value: value > 0 and value % 2 == 1


Activation = StrEnum("Activation", ["relu", "tanh", "sigmoid"])
"""Nonlinearity of every hidden layer (section 3.1)."""

Normalization = StrEnum("Normalization", ["none", "lrn", "within_map", "pair", "batch"])
"""What stands in the place of the normalization layers (section 3.3)."""

Pooling = StrEnum("Pooling", ["overlapping", "non_overlapping"])
"""Shape of every pooling layer (section 3.4)."""

Pool = StrEnum("Pool", ["none", "max", "avg"])
"""Pooling after one convolution."""

Step = StrEnum("Step", ["activation", "normalization", "pool"])
"""What follows a convolution, in the paper's order; presets choose another."""

InitScheme = StrEnum("InitScheme", ["gaussian", "he", "xavier", "torch"])
"""Where the first weights come from."""

DropoutScaling = StrEnum("DropoutScaling", ["test", "train"])
"""When dropout makes up for what it masks."""


@dataclass
class ConvConfig:
    """One convolution and what follows it."""

    channels: int = ruled(64, POSITIVE)
    """Kernels over all towers, before ``model.width``."""

    local: bool = False
    """Locally connected: each position has kernels and biases of its own."""

    kernel: int = ruled(3, POSITIVE)
    """Side of the kernel in pixels."""

    stride: int = ruled(1, POSITIVE)
    """Step of the kernel in pixels."""

    padding: int = ruled(0, NOT_NEGATIVE)
    """Zeros added on each side, in pixels."""

    ceil: bool = False
    """Pad right and bottom further so that no pixel is dropped (conv1: 224 gives 55)."""

    normalize: bool = False
    """Normalization follows, of the kind that ``model.normalization`` says."""

    normalize_within_map: bool = False
    """With ``model.normalization=pair``: the second, within-map norm follows the first."""

    pool: Pool = Pool.none
    """Kind of pooling that follows."""

    order: list[Step] | None = None
    """Order of what follows; null: ``model.order``."""


def _paper_convolutions() -> dict[str, ConvConfig]:
    return {
        "conv1": ConvConfig(96, kernel=11, stride=4, ceil=True, normalize=True, pool=Pool.max),
        "conv2": ConvConfig(
            256, kernel=5, padding=2, normalize=True, normalize_within_map=True, pool=Pool.max
        ),
        "conv3": ConvConfig(384, kernel=3, padding=1),
        "conv4": ConvConfig(384, kernel=3, padding=1),
        "conv5": ConvConfig(256, kernel=3, padding=1, pool=Pool.max),
    }


@dataclass
class LRNConfig(Ruled, group="model.lrn"):
    """Constants of local response normalization, in the paper's form (section 3.3)."""

    size: int = ruled(5, _ODD)
    """Adjacent maps in the sum, n."""

    alpha: float = ruled(1e-4, NOT_NEGATIVE)
    """Factor of the sum, *not* divided by n (torch and Caffe divide: 5e-4 there)."""

    beta: float = 0.75
    """Exponent."""

    k: float = ruled(2.0, POSITIVE)
    """Added to the sum."""

    across_towers: bool = False
    """Sum over maps of all towers, as Caffe does, not of each tower alone (section 3.2)."""


@dataclass
class WithinMapConfig(Ruled, group="model.within_map"):
    """Constants of the norm over a square window of one map (the authors' code)."""

    size: int = ruled(5, _ODD)
    """Side of the window in pixels."""

    scale: float = ruled(1e-3, NOT_NEGATIVE)
    """Factor of the *mean* of squares in the window."""

    power: float = 0.75
    """Exponent."""

    k: float = ruled(1.0, POSITIVE)
    """Added to the mean."""


@dataclass
class InitConfig(Ruled, group="model.init"):
    """Initial weights and biases (section 5)."""

    scheme: InitScheme = InitScheme.gaussian
    """gaussian: N(0, std); he: normal, by fan-in; xavier: uniform, by fan-in and fan-out; torch:
    its defaults."""

    std: float = ruled(0.01, NOT_NEGATIVE)
    """Standard deviation of the gaussian scheme."""

    inner_std: float | None = ruled(None, NOT_NEGATIVE)
    """Standard deviation of the convolutions after the second (.03 in the authors' code); null:
    ``std``."""

    layer_std: dict[str, float] = field(default_factory=dict)
    """Standard deviation of single layers, by name (fc6: .005); goes before the others."""

    bias: float | None = 1.0
    """Initial bias of ``bias_layers``; all others start at 0. null: all biases as torch starts
    them."""

    bias_layers: list[str] = field(
        default_factory=lambda: ["conv2", "conv4", "conv5", "fc6", "fc7"]
    )
    """Layers whose biases start at ``bias``."""


@dataclass
class ModelConfig(Ruled, group="model"):
    """AlexNet and its relatives; what is not said is the paper's text (model=paper).

    Two towers, LRN with k=2, n=5, alpha=1e-4, beta=.75, all weights N(0, .01): 60,965,224
    parameters with 1000 classes. The other presets are conf/model/*.yaml.
    """

    name: str = "paper"
    """Preset, for tables."""

    input_channels: int | None = ruled(None, ("must be 1, 3", lambda value: value in (1, 3)))
    """3 for RGB, 1 for gray; null: as the data has."""

    input_size: int = ruled(224, POSITIVE)
    """Side in pixels of the square that the network sees."""

    classes: int | None = ruled(None, ("must be at least 2", lambda value: value >= 2))
    """Output units; null: as many as the data has classes."""

    conv: dict[str, ConvConfig] = field(default_factory=_paper_convolutions)
    """Convolutions in order: conv1, conv2, ..."""

    fc: list[int] = field(default_factory=lambda: [4096, 4096])
    """Widths of the hidden fully connected layers; the output layer follows."""

    width: float = ruled(1.0, POSITIVE)
    """Multiplier on the width of every hidden layer, rounded to what the towers can share."""

    towers: int = ruled(2, POSITIVE)
    """Parts into which layers are split, each blind to the others (section 3.2)."""

    sees_both_towers: list[str] = field(default_factory=lambda: ["conv3", "fc6", "fc7"])
    """Layers that see the maps of all towers; the output layer always does."""

    without: list[str] = field(default_factory=list)
    """Convolutions left out, with their activation and normalization; their pooling stays."""

    activation: Activation = Activation.relu
    """relu, tanh or sigmoid, in every hidden layer."""

    normalization: Normalization = Normalization.lrn
    """none, lrn, within_map, pair (lrn, then within_map where a layer asks for it) or batch."""

    pooling: Pooling = Pooling.overlapping
    """overlapping: 3x3 windows 2 apart; non_overlapping: 2x2 windows 2 apart."""

    pool_ceil: bool = False
    """Let the last window reach over the border instead of dropping pixels."""

    adaptive_pool: int | None = ruled(None, POSITIVE)
    """Side in pixels that the maps are averaged to before the first fully connected layer
    (torchvision: 6); null: as they are."""

    order: list[Step] = field(default_factory=partial(list, Step))
    """What follows a convolution, in order."""

    dropout: float = ruled(0.5, BELOW_1)
    """Share of outputs set to zero while training (section 4.2)."""

    dropout_scaling: DropoutScaling = DropoutScaling.test
    """test: outputs are multiplied by the share kept when the network is used, as in the paper;
    train: those kept are divided by it in training, as torch and Caffe do."""

    dropout_after: list[str] = field(default_factory=lambda: ["fc6", "fc7"])
    """Layers whose output is dropped out; the last convolution's name means fc6's input."""

    weights: str | None = neutral(None)  # model.weights_digest stands for it
    """File whose weights training starts from and ``evaluate`` without a checkpoint counts errors
    of: torchvision's alexnet (.pth, model=torchvision), Caffe's .caffemodel (model=bvlc_alexnet,
    model=caffenet), a checkpoint or run folder of ours; null: none. For another number of classes
    the output layer starts anew."""

    weights_mean: str | None = neutral(None)
    """Caffe's mean image (.binaryproto), which goes with a .caffemodel; null: its channel means."""

    weights_digest: str | None = None
    """Digest of the content of these files; filled in when a run starts."""

    lrn: LRNConfig = field(default_factory=LRNConfig)
    within_map: WithinMapConfig = field(default_factory=WithinMapConfig)
    init: InitConfig = field(default_factory=InitConfig)

    def fc_names(self) -> list[str]:
        """Names of the fully connected layers: numbered on from the convolutions."""
        return [f"fc{len(self.conv) + 1 + i}" for i in range(len(self.fc) + 1)]

    def __post_init__(self) -> None:
        convs, fcs = list(self.conv), self.fc_names()
        if not convs:
            return  # the schema of the commands, before a preset fills it
        if self.weights == "":
            raise ValueError("model.weights is empty: set model.weights=<file to start from>")
        if self.weights_mean is not None and self.weights is None:
            raise ValueError("model.weights_mean goes with model.weights=<file>.caffemodel")
        if convs != [f"conv{i + 1}" for i in range(len(convs))]:
            raise ValueError(f"model.conv must be conv1, conv2, ... in order, not {convs}")
        for layer, std in self.init.layer_std.items():
            holds = 0 <= std < math.inf
            require(holds, f"model.init.layer_std.{layer}", std, "must be finite and not negative")
        for i, width in enumerate(self.fc):
            require(width > 0, f"model.fc[{i}]", width, "must be greater than 0")
            self._refuse_odd(f"model.fc[{i}]", width)
        for name, conv in self.conv.items():
            check_fields(conv, f"model.conv.{name}")
            alone = not conv.local or self.towers == 1
            require(alone, f"model.conv.{name}.local", conv.local, "needs model.towers=1")
            self._refuse_odd(f"model.conv.{name}.channels", conv.channels)
            _each_step_once(f"model.conv.{name}.order", conv.order)
        _each_step_once("model.order", self.order)
        unknown = [
            *unknown_layers("model.without", self.without, convs[1:]),
            *unknown_layers("model.sees_both_towers", self.sees_both_towers, convs[1:] + fcs),
            *unknown_layers("model.dropout_after", self.dropout_after, [convs[-1], *fcs[:-1]]),
            *unknown_layers("model.init.bias_layers", self.init.bias_layers, convs + fcs),
            *unknown_layers("model.init.layer_std", self.init.layer_std, convs + fcs),
        ]
        if unknown:
            raise ValueError("; ".join(unknown))
        layers = [name for name in convs if name not in self.without]
        if self.normalization != Normalization.none and not any(
            self.conv[name].normalize for name in layers
        ):
            raise ValueError(
                f"model.normalization={self.normalization} has no layer to act on: set"
                f" model.conv.{layers[0]}.normalize=true, or model.normalization=none"
            )

    def _refuse_odd(self, name: str, width: int) -> None:
        """A chosen width divides into the towers; what the multiplier makes of it is rounded."""
        if self.width == 1 and width % self.towers:
            near = max(1, round(width / self.towers)) * self.towers
            raise ValueError(
                f"{name}={width} does not divide into the {self.towers} towers of"
                f" model={self.name}: set {name}={near}, or model.towers=1"
            )


def unknown_layers(path: str, given: Iterable[str], allowed: list[str]) -> list[str]:
    """One message if the field at ``path`` lists layers that this network lacks."""
    lacking = [repr(layer) for layer in given if layer not in allowed]
    if not lacking:
        return []
    return [f"{path}: no layer {', '.join(lacking)}; choose from {', '.join(allowed)}"]


def _each_step_once(name: str, order: list[Step] | None) -> None:
    if order is not None and sorted(order) != sorted(Step):
        raise ValueError(
            f"{name}={[str(step) for step in order]} must hold each of {', '.join(Step)} once"
        )

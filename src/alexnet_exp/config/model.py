"""The typed schema of ``model``: every idea of the paper's section 3 as one field."""

from dataclasses import dataclass, field
from enum import StrEnum


class Activation(StrEnum):
    """Nonlinearity of every hidden layer (section 3.1)."""

    relu = "relu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class Normalization(StrEnum):
    """What stands in the place of the normalization layers (section 3.3)."""

    none = "none"
    lrn = "lrn"
    within_map = "within_map"
    pair = "pair"
    batch = "batch"


class Pooling(StrEnum):
    """Shape of every pooling layer (section 3.4)."""

    overlapping = "overlapping"
    non_overlapping = "non_overlapping"


class Pool(StrEnum):
    """Pooling after one convolution."""

    none = "none"
    max = "max"
    avg = "avg"


class Step(StrEnum):
    """What follows a convolution, in an order that presets choose."""

    activation = "activation"
    normalization = "normalization"
    pool = "pool"


class InitScheme(StrEnum):
    """Where the first weights come from."""

    gaussian = "gaussian"
    he = "he"
    xavier = "xavier"
    torch = "torch"


def _paper_order() -> list[Step]:
    return [Step.activation, Step.normalization, Step.pool]


@dataclass
class ConvConfig:
    """One convolution and what follows it."""

    channels: int = 64
    """Kernels over all towers, before ``model.width``."""

    kernel: int = 3
    """Side of the kernel in pixels."""

    stride: int = 1
    """Step of the kernel in pixels."""

    padding: int = 0
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
class LRNConfig:
    """Constants of local response normalization, in the paper's form (section 3.3)."""

    size: int = 5
    """Adjacent maps in the sum, n."""

    alpha: float = 1e-4
    """Factor of the sum, *not* divided by n (torch and Caffe divide: 5e-4 there)."""

    beta: float = 0.75
    """Exponent."""

    k: float = 2.0
    """Added to the sum."""


@dataclass
class WithinMapConfig:
    """Constants of the norm over a square window of one map (the authors' code)."""

    size: int = 5
    """Side of the window in pixels."""

    scale: float = 1e-3
    """Factor of the *mean* of squares in the window."""

    power: float = 0.75
    """Exponent."""

    k: float = 1.0
    """Added to the mean."""


@dataclass
class InitConfig:
    """Initial weights and biases (section 5)."""

    scheme: InitScheme = InitScheme.gaussian
    """gaussian: N(0, std); he, xavier: normal, by fan-in (and fan-out); torch: its defaults."""

    std: float = 0.01
    """Standard deviation of the gaussian scheme."""

    inner_std: float | None = None
    """Standard deviation of the convolutions after the second (.03 in the authors' code); null:
    ``std``."""

    layer_std: dict[str, float] = field(default_factory=dict)
    """Standard deviation of single layers, by name (fc6: .005); goes before the others."""

    bias: float = 1.0
    """Initial bias of ``bias_layers``; all others start at 0."""

    bias_layers: list[str] = field(
        default_factory=lambda: ["conv2", "conv4", "conv5", "fc6", "fc7"]
    )
    """Layers whose biases start at ``bias``."""


@dataclass
class ModelConfig:
    """AlexNet and its relatives; what is not said is the paper's text (model=paper).

    Two towers, LRN with k=2, n=5, alpha=1e-4, beta=.75, all weights N(0, .01): 60,965,224
    parameters with 1000 classes. The other presets are conf/model/*.yaml.
    """

    name: str = "paper"
    """Preset, for tables."""

    input_channels: int | None = None
    """3 for RGB, 1 for gray; null: as the data has."""

    input_size: int = 224
    """Side in pixels of the square that the network sees."""

    classes: int | None = None
    """Output units; null: as many as the data has classes."""

    conv: dict[str, ConvConfig] = field(default_factory=_paper_convolutions)
    """Convolutions in order: conv1, conv2, ..."""

    fc: list[int] = field(default_factory=lambda: [4096, 4096])
    """Widths of the hidden fully connected layers; the output layer follows."""

    width: float = 1.0
    """Multiplier on the width of every hidden layer, rounded to what the towers can share."""

    towers: int = 2
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

    order: list[Step] = field(default_factory=_paper_order)
    """What follows a convolution, in order."""

    dropout: float = 0.5
    """Share of outputs set to zero while training (section 4.2)."""

    dropout_after: list[str] = field(default_factory=lambda: ["fc6", "fc7"])
    """Layers whose output is dropped out; the last convolution's name means fc6's input."""

    lrn: LRNConfig = field(default_factory=LRNConfig)
    within_map: WithinMapConfig = field(default_factory=WithinMapConfig)
    init: InitConfig = field(default_factory=InitConfig)

    def fc_names(self) -> list[str]:
        """Names of the fully connected layers: numbered on from the convolutions."""
        return [f"fc{len(self.conv) + 1 + i}" for i in range(len(self.fc) + 1)]

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        convs, fcs = list(self.conv), self.fc_names()
        if not convs:
            return  # the schema of the commands, before a preset fills it
        if convs != [f"conv{i + 1}" for i in range(len(convs))]:
            raise ValueError(f"model.conv must be conv1, conv2, ... in order, not {convs}")
        _positive("model.input_size", self.input_size)
        _positive("model.width", self.width)
        _positive("model.towers", self.towers)
        _positive("model.lrn.size", self.lrn.size)
        _positive("model.lrn.k", self.lrn.k)
        _positive("model.within_map.k", self.within_map.k)
        factors = {"lrn.alpha": self.lrn.alpha, "within_map.scale": self.within_map.scale}
        for name, factor in factors.items():
            if not factor >= 0:
                raise ValueError(f"model.{name}={factor} must not be negative")
        if self.within_map.size < 1 or self.within_map.size % 2 == 0:
            raise ValueError(f"model.within_map.size={self.within_map.size} must be odd")
        spreads = {"std": self.init.std, "inner_std": self.init.inner_std}
        spreads |= {f"layer_std.{name}": std for name, std in self.init.layer_std.items()}
        for name, std in spreads.items():
            if std is not None and std < 0:
                raise ValueError(f"model.init.{name}={std} must not be negative")
        for i, width in enumerate(self.fc):
            _positive(f"model.fc[{i}]", width)
            self._refuse_odd(f"model.fc[{i}]", width)
        for name, conv in self.conv.items():
            for part in ("channels", "kernel", "stride"):
                _positive(f"model.conv.{name}.{part}", getattr(conv, part))
            self._refuse_odd(f"model.conv.{name}.channels", conv.channels)
            if conv.padding < 0:
                raise ValueError(f"model.conv.{name}.padding={conv.padding} must not be negative")
            _each_step_once(f"model.conv.{name}.order", conv.order)
        _each_step_once("model.order", self.order)
        if self.input_channels not in (None, 1, 3):
            raise ValueError(f"model.input_channels={self.input_channels} must be 1, 3 or null")
        if self.classes is not None and self.classes < 2:
            raise ValueError(f"model.classes={self.classes} must be at least 2")
        if self.lrn.size % 2 == 0:
            raise ValueError(f"model.lrn.size={self.lrn.size} must be odd")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout={self.dropout} must lie in [0, 1)")
        unknown = [
            *_unknown("model.without", self.without, convs[1:]),
            *_unknown("model.sees_both_towers", self.sees_both_towers, convs[1:] + fcs),
            *_unknown("model.dropout_after", self.dropout_after, [convs[-1], *fcs[:-1]]),
            *_unknown("model.init.bias_layers", self.init.bias_layers, convs + fcs),
            *_unknown("model.init.layer_std", list(self.init.layer_std), convs + fcs),
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


def _positive(name: str, value: float) -> None:
    if not value > 0 or value == float("inf"):
        raise ValueError(f"{name}={value} must be greater than 0")


def _unknown(name: str, given: list[str], allowed: list[str]) -> list[str]:
    """One message if ``name`` lists layers that this network lacks."""
    lacking = [layer for layer in given if layer not in allowed]
    if not lacking:
        return []
    return [f"{name}: no layer {', '.join(map(repr, lacking))}; choose from {', '.join(allowed)}"]


def _each_step_once(name: str, order: list[Step] | None) -> None:
    if order is not None and sorted(order) != sorted(Step):
        raise ValueError(
            f"{name}={[str(step) for step in order]} must hold each of {', '.join(Step)} once"
        )

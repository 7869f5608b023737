"""AlexNet in paper order, every idea of section 3 a choice made once, when it is built."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet_exp.config.model import (
    Activation,
    ConvConfig,
    InitScheme,
    ModelConfig,
    Normalization,
    Pool,
    Pooling,
    Step,
)
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm


@dataclass(frozen=True)
class LayerPlan:
    """One layer as it will be built.

    Attributes:
        name: Name in the paper, conv1 to fc8.
        kind: conv, norm, pool or fc.
        inputs, outputs: Channels (or units).
        groups: Towers that the layer keeps apart.
        size: Side in pixels of what comes out (1 for fc).
        kernel, stride, padding, extra: Of a convolution or pooling; ``extra`` is padding at the
            right and bottom alone.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    groups: int
    size: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    extra: int = 0

    @property
    def parameters(self) -> int:
        """Number of weights and biases (convolutions and fully connected layers)."""
        if self.kind not in ("conv", "fc"):
            return 0
        return self.outputs * (self.inputs // self.groups * self.kernel**2 + 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, forward."""
        if self.kind not in ("conv", "fc"):
            return 0
        return self.size**2 * self.outputs * self.inputs // self.groups * self.kernel**2


class AlexNet(nn.Module):
    """The network of section 3.5, or any of its relatives that ``ModelConfig`` describes.

    Args:
        config: Resolved configuration; ``input_channels`` and ``classes`` must be set.

    Shape:
        (N, input_channels, S, S) float on the 0-255 scale minus a mean, to logits (N, classes).

    Raises:
        ValueError: The input is too small for the layers; the message gives the least size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.plan = plan(config)
        layers = {layer.name: layer for layer in self.plan}
        self.features = nn.Sequential(OrderedDict(_features(config, layers)))
        self.classifier = nn.Sequential(OrderedDict(_classifier(config, layers)))
        initialize(self, config)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ``images`` (N, C, S, S)."""
        return self.classifier(torch.flatten(self.features(images), 1))


def plan(config: ModelConfig) -> list[LayerPlan]:
    """Every layer with its shape, in order.

    Raises:
        ValueError: No pixel is left before the first fully connected layer, or ``classes`` or
            ``input_channels`` is not set.
    """
    layers = _plan_at(config, config.input_size)
    if layers is None:
        least = next(size for size in range(1, 100_000) if _plan_at(config, size) is not None)
        raise ValueError(
            f"model.input_size={config.input_size} leaves no pixel before"
            f" {config.fc_names()[0]}: the least size for model={config.name} is {least}"
        )
    return layers


def _plan_at(config: ModelConfig, size: int) -> list[LayerPlan] | None:
    if config.classes is None or config.input_channels is None:
        raise ValueError("model.classes and model.input_channels must be set to build a network")
    layers: list[LayerPlan] = []
    channels = config.input_channels
    # A left-out layer hands its view of both towers on, so that depth is all that changes.
    sees_both = True
    for name, conv in config.conv.items():
        sees_both = sees_both or name in config.sees_both_towers
        if name not in config.without:
            groups = 1 if sees_both else config.towers
            out, extra = _conv_output(conv, size)
            if out < 1:
                return None
            width = _scaled(conv.channels, config)
            layers.append(
                LayerPlan(name, "conv", channels, width, groups, out,
                          conv.kernel, conv.stride, conv.padding, extra)
            )  # fmt: skip
            channels, size, sees_both = width, out, False
        for step in conv.order or config.order:
            number = name.removeprefix("conv")
            if step == Step.pool and conv.pool != Pool.none:
                kernel = 3 if config.pooling == Pooling.overlapping else 2
                size = _pool_output(size, kernel, config.pool_ceil)
                if size < 1:
                    return None
                layers.append(
                    LayerPlan(f"pool{number}", "pool", channels, channels, 1, size, kernel, 2)
                )
            if step == Step.normalization and _normalized(config, name):
                layers.append(
                    LayerPlan(f"norm{number}", "norm", channels, channels, config.towers, size)
                )
    units = channels * size**2
    widths = [*(_scaled(width, config) for width in config.fc), config.classes]
    for name, out in zip(config.fc_names(), widths, strict=True):
        is_output = name == config.fc_names()[-1]
        groups = 1 if is_output or name in config.sees_both_towers else config.towers
        layers.append(LayerPlan(name, "fc", units, out, groups, 1))
        units = out
    return layers


def _scaled(width: int, config: ModelConfig) -> int:
    """Width times the multiplier, rounded to a multiple of the towers."""
    return max(1, round(width * config.width / config.towers)) * config.towers


def _normalized(config: ModelConfig, name: str) -> bool:
    return (
        config.normalization != Normalization.none
        and config.conv[name].normalize
        and name not in config.without
    )


def _conv_output(conv: ConvConfig, size: int) -> tuple[int, int]:
    """Side of the output, and the extra padding at the right and bottom that it takes."""
    span = size + 2 * conv.padding - conv.kernel
    if span < 0:
        return 0, 0
    extra = -span % conv.stride if conv.ceil else 0
    return (span + extra) // conv.stride + 1, extra


def _pool_output(size: int, kernel: int, ceil: bool) -> int:
    span = size - kernel
    if span < 0 and not ceil:
        return 0
    return (span + (1 if ceil else 0)) // 2 + 1


def _features(config: ModelConfig, layers: dict[str, LayerPlan]) -> list[tuple[str, nn.Module]]:
    """Convolutions with what follows each, named in paper order."""
    modules: list[tuple[str, nn.Module]] = []
    for name, conv in config.conv.items():
        number = name.removeprefix("conv")
        built: dict[Step, list[tuple[str, nn.Module]]] = {step: [] for step in Step}
        if f"pool{number}" in layers:
            built[Step.pool] = [(f"pool{number}", _pool(conv, layers[f"pool{number}"], config))]
        if name in layers:
            layer = layers[name]
            if layer.extra:
                modules.append((f"pad{number}", nn.ZeroPad2d((0, layer.extra, 0, layer.extra))))
            modules.append(
                (
                    name,
                    nn.Conv2d(
                        layer.inputs,
                        layer.outputs,
                        layer.kernel,
                        layer.stride,
                        layer.padding,
                        groups=layer.groups,
                    ),
                )
            )
            built[Step.activation] = [(f"{config.activation}{number}", _activation(config))]
            if f"norm{number}" in layers:
                built[Step.normalization] = _norms(conv, number, layer.outputs, config)
        for step in conv.order or config.order:
            modules.extend(built[step])
    return modules


def _activation(config: ModelConfig) -> nn.Module:
    if config.activation == Activation.relu:
        return nn.ReLU(inplace=True)
    return nn.Tanh() if config.activation == Activation.tanh else nn.Sigmoid()


def _pool(conv: ConvConfig, layer: LayerPlan, config: ModelConfig) -> nn.Module:
    if conv.pool == Pool.max:
        return nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=config.pool_ceil)
    return nn.AvgPool2d(layer.kernel, layer.stride, ceil_mode=config.pool_ceil)


def _norms(
    conv: ConvConfig, number: str, channels: int, config: ModelConfig
) -> list[tuple[str, nn.Module]]:
    """What ``model.normalization`` puts after a convolution that normalizes."""
    lrn, own = config.lrn, config.within_map
    within_map = WithinMapNorm(own.size, own.scale, own.power, own.k)
    if config.normalization == Normalization.batch:
        return [(f"norm{number}", nn.BatchNorm2d(channels))]
    if config.normalization == Normalization.within_map:
        return [(f"norm{number}", within_map)]
    norms: list[tuple[str, nn.Module]] = [
        (
            f"norm{number}",
            LocalResponseNorm(channels, config.towers, lrn.size, lrn.alpha, lrn.beta, lrn.k),
        )
    ]
    if config.normalization == Normalization.pair and conv.normalize_within_map:
        norms.append((f"norm{number}b", within_map))
    return norms


def _classifier(config: ModelConfig, layers: dict[str, LayerPlan]) -> list[tuple[str, nn.Module]]:
    """Fully connected layers, with dropout where the preset has it."""
    modules: list[tuple[str, nn.Module]] = []
    names = config.fc_names()
    if config.dropout and list(config.conv)[-1] in config.dropout_after:
        modules.append((f"drop{names[0].removeprefix('fc')}_in", nn.Dropout(config.dropout)))
    for name in names:
        layer, number = layers[name], name.removeprefix("fc")
        modules.append((name, TowerLinear.build(layer)))
        if name != names[-1]:
            modules.append((f"{config.activation}{number}", _activation(config)))
            if config.dropout and name in config.dropout_after:
                modules.append((f"drop{number}", nn.Dropout(config.dropout)))
    return modules


class TowerLinear(nn.Module):
    """A fully connected layer whose towers are blind to each other.

    Args:
        inputs, outputs: Units over all towers.
        towers: Number of equal blocks.

    Shape:
        (N, inputs) to (N, outputs). ``weight`` is (outputs, inputs / towers).
    """

    def __init__(self, inputs: int, outputs: int, towers: int) -> None:
        super().__init__()
        self.towers = towers
        self.weight = nn.Parameter(torch.empty(outputs, inputs // towers))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    @staticmethod
    def build(layer: LayerPlan) -> nn.Module:
        """``nn.Linear`` where there is one tower, else this class."""
        if layer.groups == 1:
            return nn.Linear(layer.inputs, layer.outputs)
        return TowerLinear(layer.inputs, layer.outputs, layer.groups)

    def extra_repr(self) -> str:
        """Sizes."""
        outputs, inputs = self.weight.shape
        return f"inputs={inputs * self.towers}, outputs={outputs}, towers={self.towers}"

    def forward(self, x: Tensor) -> Tensor:
        """Product of each tower's units with its own block of the weight."""
        towers = x.unflatten(1, (self.towers, -1))
        blocks = self.weight.unflatten(0, (self.towers, -1))
        return torch.einsum("nti,toi->nto", towers, blocks).flatten(1) + self.bias


WeightedLayer = nn.Conv2d | nn.Linear | TowerLinear


def initialize(model: AlexNet, config: ModelConfig) -> None:
    """Draw the first weights from torch's global generator.

    | scheme   | weights                                              | biases             |
    |----------|------------------------------------------------------|--------------------|
    | gaussian | N(0, std) (section 5); conv3 on: N(0, ``inner_std``) | ``bias`` in        |
    |          | if set; ``layer_std`` of the layer before both       | ``bias_layers``,   |
    | he       | N(0, sqrt(2 / fan-in))                               | 0 elsewhere        |
    | xavier   | N(0, sqrt(2 / (fan-in + fan-out)))                   | 0 elsewhere        |
    | torch    | torch's own default                                  | torch's own        |
    """
    init = config.init
    if init.scheme == InitScheme.torch:
        return
    for name, module in weighted_layers(model):
        if init.scheme == InitScheme.gaussian:
            inner = isinstance(module, nn.Conv2d) and name not in ("conv1", "conv2")
            std = init.inner_std if inner and init.inner_std is not None else init.std
            nn.init.normal_(module.weight, 0.0, init.layer_std.get(name, std))
        elif init.scheme == InitScheme.he:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(module.weight)
        assert module.bias is not None
        nn.init.constant_(module.bias, init.bias if name in init.bias_layers else 0.0)


def weighted_layers(model: nn.Module) -> list[tuple[str, WeightedLayer]]:
    """Convolutions and fully connected layers by their name in the paper, in order."""
    return [
        (name.rpartition(".")[2], module)
        for name, module in model.named_modules()
        if isinstance(module, WeightedLayer)
    ]


def from_torchvision(model: AlexNet, state: Mapping[str, Tensor]) -> AlexNet:
    """Load the weights of ``torchvision.models.alexnet`` into the ``torchvision`` preset.

    Args:
        model: Network of the preset ``torchvision``.
        state: State dict of torchvision's model (features.0.weight, ..., classifier.6.bias).

    Returns:
        ``model``, changed in place.

    Raises:
        ValueError: A layer's shape differs or a key is missing.
    """
    foreign = [key for key in state if not re.fullmatch(r"(features|classifier)\.\d+\.\w+", key)]
    if foreign:
        raise ValueError(f"{foreign[0]} is not of torchvision's alexnet: pass its state dict")
    # Both lists run in network order; torchvision numbers its layers within each Sequential.
    theirs = sorted(
        {key.rpartition(".")[0] for key in state},
        key=lambda name: (name.split(".")[0] != "features", int(name.split(".")[1])),
    )
    ours = weighted_layers(model)
    if len(theirs) != len(ours):
        raise ValueError(
            f"torchvision's alexnet has {len(theirs)} layers, this has {len(ours)}: use"
            " model=torchvision"
        )
    pairs = []
    for (name, module), key in zip(ours, theirs, strict=True):
        for part in ("weight", "bias"):
            source, target = state.get(f"{key}.{part}"), getattr(module, part)
            if source is None:
                raise ValueError(f"{key}.{part} is missing from torchvision's state dict")
            if source.shape != target.shape:
                raise ValueError(
                    f"{key}.{part} has shape {tuple(source.shape)}, {name} needs"
                    f" {tuple(target.shape)}: use model=torchvision"
                    f" and model.classes={state[theirs[-1] + '.weight'].shape[0]}"
                )
            pairs.append((target, source))
    for target, source in pairs:
        target.data.copy_(source)
    return model

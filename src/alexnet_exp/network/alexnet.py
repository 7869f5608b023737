"""AlexNet in paper order, every idea of section 3 a choice made once, when it is built."""

from collections import OrderedDict
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config.model import (
    Activation,
    ConvConfig,
    DropoutScaling,
    ModelConfig,
    Normalization,
    Pool,
    Step,
)
from alexnet_exp.network.initial import initialize
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm
from alexnet_exp.network.plan import LayerPlan, plan
from alexnet_exp.network.presets import preset


class AlexNet(nn.Module):
    """The network of section 3.5, or any of its relatives that ``ModelConfig`` describes.

    Its weights are drawn by torch's global generator, of which it takes one number.

    Args:
        config: Resolved configuration; ``input_channels`` and ``classes`` must be set.

    Shape:
        (N, input_channels, S, S) float on the 0-255 scale minus a mean, to logits (N, classes).

    Raises:
        ValueError: The input is too small for the layers; the message gives the least size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        seed = int(torch.randint(2**62, (), device="cpu"))
        self.plan = plan(config)
        layers = {layer.name: layer for layer in self.plan}
        self.features = nn.Sequential(OrderedDict(_features(config, layers)))
        self.classifier = nn.Sequential(OrderedDict(_classifier(config, layers)))
        initialize(weighted_layers(self), config.init, seed)

    @classmethod
    def from_name(cls, name: str, **changes: Any) -> Self:
        """A preset of conf/model/ with fields of ``ModelConfig`` changed.

        ``AlexNet.from_name("caffenet", classes=10, normalization="none")``; raises as
        ``presets.preset`` does.
        """
        return cls(preset(name, **changes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ``images`` (N, C, S, S)."""
        return self.classifier(torch.flatten(self.features(images), 1))


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
            shape = layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding
            modules.append(
                (
                    name,
                    LocallyConnected(*shape, layer.size)
                    if layer.local
                    else nn.Conv2d(*shape, groups=layer.groups),
                )
            )
            built[Step.activation] = [(f"{config.activation}{number}", _activation(config))]
            if f"norm{number}" in layers:
                built[Step.normalization] = _norms(conv, layers[f"norm{number}"], config)
        for step in conv.order or config.order:
            modules.extend(built[step])
    if "adaptive_pool" in layers:
        modules.append(("adaptive_pool", nn.AdaptiveAvgPool2d(2 * (layers["adaptive_pool"].size,))))
    return modules


def _activation(config: ModelConfig) -> nn.Module:
    if config.activation == Activation.relu:
        return nn.ReLU(inplace=True)
    return nn.Tanh() if config.activation == Activation.tanh else nn.Sigmoid()


def _pool(conv: ConvConfig, layer: LayerPlan, config: ModelConfig) -> nn.Module:
    kind = nn.MaxPool2d if conv.pool == Pool.max else nn.AvgPool2d
    return kind(layer.kernel, layer.stride, ceil_mode=config.pool_ceil)


def _norms(conv: ConvConfig, layer: LayerPlan, config: ModelConfig) -> list[tuple[str, nn.Module]]:
    """What ``model.normalization`` puts after a convolution that normalizes."""
    lrn, own = config.lrn, config.within_map
    within_map = WithinMapNorm(own.size, own.scale, own.power, own.k)
    if config.normalization == Normalization.batch:
        return [(layer.name, nn.BatchNorm2d(layer.outputs))]
    if config.normalization == Normalization.within_map:
        return [(layer.name, within_map)]
    local = LocalResponseNorm(layer.outputs, layer.groups, lrn.size, lrn.alpha, lrn.beta, lrn.k)
    norms: list[tuple[str, nn.Module]] = [(layer.name, local)]
    if config.normalization == Normalization.pair and conv.normalize_within_map:
        norms.append((f"{layer.name}b", within_map))
    return norms


def _classifier(config: ModelConfig, layers: dict[str, LayerPlan]) -> list[tuple[str, nn.Module]]:
    """Fully connected layers, with dropout where the preset has it."""
    modules: list[tuple[str, nn.Module]] = []
    names = config.fc_names()
    if config.dropout and list(config.conv)[-1] in config.dropout_after:
        modules.append((f"drop{names[0].removeprefix('fc')}_in", _dropout(config)))
    for name in names:
        layer, number = layers[name], name.removeprefix("fc")
        shape = layer.inputs, layer.outputs
        apart = layer.groups > 1
        modules.append((name, TowerLinear(*shape, layer.groups) if apart else nn.Linear(*shape)))
        if name != names[-1]:
            modules.append((f"{config.activation}{number}", _activation(config)))
            if config.dropout and name in config.dropout_after:
                modules.append((f"drop{number}", _dropout(config)))
    return modules


def _dropout(config: ModelConfig) -> nn.Dropout:
    by_test = config.dropout_scaling == DropoutScaling.test
    return PaperDropout(config.dropout) if by_test else nn.Dropout(config.dropout)


class PaperDropout(nn.Dropout):
    """Dropout as the paper has it (section 4.2): nothing makes up for the mask in training.

    Shape:
        Any. In evaluation outputs are multiplied by the share that training keeps, ``1 - p``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Masked in training, on a CPU by the numbers that ``nn.Dropout`` draws, else scaled."""
        kept = 1 - self.p
        return x * torch.empty_like(x).bernoulli_(kept) if self.training else x * kept


class LocallyConnected(nn.Module):
    """A convolution whose kernels and biases are not shared between positions.

    Args:
        inputs, outputs: Channels.
        kernel, stride, padding: In pixels.
        size: Side in pixels of the output.

    Shape:
        (N, inputs, S, S) to (N, outputs, size, size). ``weight`` is (outputs, inputs * kernel**2,
        size**2), ``bias`` (outputs * size**2).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, size: int
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = (kernel, kernel), stride, padding
        self.size, self.positions = size, size**2
        self.weight = nn.Parameter(torch.empty(outputs, inputs * kernel**2, self.positions))
        self.bias = nn.Parameter(torch.empty(outputs * self.positions))

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}"

    def forward(self, x: Tensor) -> Tensor:
        """Product of the window at each position with the kernels that are there."""
        windows = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        products = torch.einsum("nip,oip->nop", windows, self.weight)
        return (products.flatten(1) + self.bias).unflatten(1, (-1, self.size, self.size))


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
        self.bias = nn.Parameter(torch.empty(outputs))

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"inputs={inputs * self.towers}, outputs={outputs}, towers={self.towers}"

    def forward(self, x: Tensor) -> Tensor:
        """Product of each tower's units with its own block of the weight."""
        towers = x.unflatten(1, (self.towers, -1))
        blocks = self.weight.unflatten(0, (self.towers, -1))
        return torch.einsum("nti,toi->nto", towers, blocks).flatten(1) + self.bias


WeightedLayer = nn.Conv2d | LocallyConnected | nn.Linear | TowerLinear


def weighted_layers(model: nn.Module) -> list[tuple[str, WeightedLayer]]:
    """Convolutions and fully connected layers by their name in the paper, in order."""
    return [
        (name.rpartition(".")[2], module)
        for name, module in model.named_modules()
        if isinstance(module, WeightedLayer)
    ]

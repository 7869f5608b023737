"""AlexNet over a whole photo: its fully connected layers as convolutions."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.network.alexnet import AlexNet, TowerLinear
from alexnet_exp.network.plan import LayerPlan


class FullyConvolutional(nn.Module):
    """A trained network that is slid over larger images, at the cost of one pass.

    fc6 is a convolution with kernels as large as the maps that it sees, the layers above have
    kernels of one pixel. What averages the maps to a fixed size before fc6 (torchvision's) becomes
    a part of its kernels. Weights share the memory of the network's, where they are the same.

    On an image of the network's own size the logits are the network's. On a larger one those of a
    position are nearly the network's for the window there: where layers pad an image with zeros,
    they see what lies beyond the window. Source: Sermanet et al., OverFeat (2013), section 3.5.

    Args:
        network: Any whose layers share their kernels between positions; it is to be evaluated, not
            trained further.

    Attributes:
        window: Side in pixels of what one position sees: the network's input, less what conv1
            drops of it.
        stride: Pixels between neighboring positions.

    Shape:
        (N, C, H, W) of ``window`` pixels or more a side, to logits (N, classes, h, w); the window
        of position (i, j) begins at pixel (i * stride, j * stride).

    Raises:
        ValueError: Layers are locally connected, or an image is too small.
    """

    def __init__(self, network: AlexNet) -> None:
        super().__init__()
        layers = {layer.name: layer for layer in network.plan}
        if local := [layer.name for layer in network.plan if layer.local]:
            raise ValueError(
                f"{' and '.join(local)} are locally connected: each of their kernels belongs to one"
                " position in an image of one size, so the network can't be slid over larger ones"
            )
        first = network.plan[0]
        reach = (first.size - 1) * first.stride + first.kernel
        self.window = reach - 2 * first.padding - first.extra
        kept = [layer for layer in network.plan if layer.kind != "fc"]
        self.stride = math.prod(layer.stride for layer in kept)
        self.features = nn.Sequential(OrderedDict(_features(network, layers)))
        self.classifier = nn.Sequential(OrderedDict(_classifier(network, layers)))
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes, h, w) of ``images`` (N, C, H, W)."""
        height, width = images.shape[2:]
        if min(height, width) < self.window:
            raise ValueError(
                f"an image of {height} x {width} pixels is smaller than the {self.window} x"
                f" {self.window} that the network sees"
            )
        logits: Tensor = self.classifier(self.features(images))
        return logits


class _PadToStride(nn.Module):
    """Zeros at the right and bottom, so that a convolution drops no pixel of any image."""

    def __init__(self, layer: LayerPlan) -> None:
        super().__init__()
        self.stride, self.over = layer.stride, 2 * layer.padding - layer.kernel

    def forward(self, x: Tensor) -> Tensor:
        below, right = (-(side + self.over) % self.stride for side in x.shape[2:])
        return F.pad(x, (0, right, 0, below))


def _features(network: AlexNet, layers: dict[str, LayerPlan]) -> list[tuple[str, nn.Module]]:
    """The network's own modules, but for what depends on the size of its image."""
    modules: list[tuple[str, nn.Module]] = []
    for name, module in network.features.named_children():
        if isinstance(module, nn.ZeroPad2d):
            modules.append((name, _PadToStride(layers[name.replace("pad", "conv")])))
        elif not isinstance(module, nn.AdaptiveAvgPool2d):
            modules.append((name, module))
    return modules


def _classifier(network: AlexNet, layers: dict[str, LayerPlan]) -> list[tuple[str, nn.Module]]:
    """fc6 with kernels as large as the maps before it, what follows with kernels of one pixel."""
    maps = [layer for layer in network.plan if layer.kind != "fc"]
    last = maps[-1]
    shape, averaged = (last.outputs, last.size, last.size), last.name == "adaptive_pool"
    modules: list[tuple[str, nn.Module]] = []
    for name, module in network.classifier.named_children():
        if isinstance(module, nn.Linear | TowerLinear):
            channels, side, _ = shape
            groups = layers[name].groups
            kernels = module.weight.detach().unflatten(1, (channels // groups, side, side))
            if averaged:
                kernels = _before_averaging(kernels, maps[-2].size)
            modules.append((name, _convolution(kernels, module.bias, groups)))
            shape, averaged = (layers[name].outputs, 1, 1), False
        else:
            modules.append((name, module))
    return modules


def _before_averaging(kernels: Tensor, side: int) -> Tensor:
    """Kernels (O, C, k, k) of maps that were averaged from ``side`` x ``side`` pixels to k x k.

    Both are linear, so that there are kernels (O, C, side, side) of the maps before.
    """
    size = kernels.shape[2]
    if size == side:
        return kernels
    each = torch.eye(side, dtype=kernels.dtype, device=kernels.device)
    shares = F.adaptive_avg_pool1d(each[None], size)[0]  # (side, size): of a pixel in an average
    return torch.einsum("ocij,hi,wj->ochw", kernels, shares, shares).contiguous()


def _convolution(kernels: Tensor, bias: nn.Parameter, groups: int) -> nn.Conv2d:
    outputs, inputs, side, _ = kernels.shape
    with torch.device("meta"):  # no memory of its own
        made = nn.Conv2d(inputs * groups, outputs, side, groups=groups)
    made.weight, made.bias = nn.Parameter(kernels), bias
    return made

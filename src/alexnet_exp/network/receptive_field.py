"""Which pixels of its input a layer's outputs see."""

from typing import Any, NamedTuple

from torch import nn

from alexnet_exp.network.lrn import WithinMapNorm


class ReceptiveField(NamedTuple):
    """What one output along one axis sees, in pixels of the network's input."""

    start: int
    """First pixel that output 0 sees; below 0 where that is padding."""

    step: int
    """From one output to the next."""

    size: int
    """Number of pixels, padding among them."""

    def span(self, place: int, side: int) -> tuple[int, int]:
        """First pixel that output ``place`` sees and the one after the last, of ``side``."""
        first = self.start + place * self.step
        return max(0, first), min(side, first + self.size)


def receptive_field(features: nn.Sequential, layer: str) -> ReceptiveField:
    """Of a convolution or pooling layer of ``AlexNet.features``, such as ``conv5``.

    Raises:
        KeyError: There is no such layer.
    """
    start, step, size = 0, 1, 1
    for name, module in features.named_children():
        kernel, stride, padding = _window(module)
        start -= padding * step
        size += (kernel - 1) * step
        step *= stride
        if name == layer:
            return ReceptiveField(start, step, size)
    raise KeyError(layer)


def _window(module: Any) -> tuple[int, int, int]:
    """Kernel, stride and padding at the left and top of any layer."""
    if isinstance(module, nn.ZeroPad2d):
        return 1, 1, module.padding[0]
    if isinstance(module, WithinMapNorm):
        return module.size, 1, module.size // 2
    window = (getattr(module, name, one) for name, one in
              (("kernel_size", 1), ("stride", 1), ("padding", 0)))  # fmt: skip
    kernel, stride, padding = (value[0] if isinstance(value, tuple) else value for value in window)
    return kernel, stride, padding

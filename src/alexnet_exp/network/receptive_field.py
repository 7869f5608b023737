"""Which pixels of its input a layer's outputs see."""

from math import ceil
from typing import Any, NamedTuple

from torch import nn

from alexnet_exp.network.lrn import WithinMapNorm


class Window(NamedTuple):
    """What one layer's outputs see of its input, along one axis."""

    kernel: int
    stride: int
    padding: int
    """At the left or top."""

    side: int
    """Of the input."""


class ReceptiveField:
    """What the outputs of a convolution or pooling layer see of the network's input.

    Args:
        features: ``AlexNet.features``.
        layer: Such as ``conv5``.
        side: Of the input, in pixels.

    Raises:
        KeyError: There is no such layer.
    """

    def __init__(self, features: nn.Sequential, layer: str, side: int) -> None:
        self.windows: list[Window] = []
        for name, module in features.named_children():
            window, side = _window(module, side)
            self.windows.append(window)
            if name == layer:
                return
        raise KeyError(layer)

    @property
    def size(self) -> int:
        """Pixels along one axis that an output far from all borders sees."""
        size = 1
        for window in reversed(self.windows):
            size = (size - 1) * window.stride + window.kernel
        return size

    def span(self, place: int) -> tuple[int, int]:
        """First pixel that the output at ``place`` sees, and the one after the last.

        Padding is not seen, neither the input's nor that of a layer between.
        """
        first = last = place
        for window in reversed(self.windows):
            first = max(0, first * window.stride - window.padding)
            last = last * window.stride - window.padding + window.kernel - 1
            last = min(window.side - 1, last)
        return first, last + 1


def _window(module: Any, side: int) -> tuple[Window, int]:
    """Of any layer; and the side of its output."""
    if isinstance(module, nn.ZeroPad2d):
        left, right, *_ = module.padding
        return Window(1, 1, left, side), side + left + right
    if isinstance(module, WithinMapNorm):
        return Window(module.size, 1, module.size // 2, side), side
    given = (getattr(module, name, one) for name, one in
             (("kernel_size", 1), ("stride", 1), ("padding", 0)))  # fmt: skip
    kernel, stride, padding = (value[0] if isinstance(value, tuple) else value for value in given)
    steps = (side + 2 * padding - kernel) / stride
    out = (ceil(steps) if getattr(module, "ceil_mode", False) else int(steps)) + 1
    return Window(kernel, stride, padding, side), out

"""Every layer with its shape, in paper order, before anything is built."""

from dataclasses import dataclass, replace

from alexnet_exp.config.model import ConvConfig, ModelConfig, Normalization, Pool, Pooling, Step


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
        local: Of a convolution: each position has kernels of its own.
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
    local: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights and biases (convolutions and fully connected layers)."""
        if self.kind not in ("conv", "fc"):
            return 0
        positions = self.size**2 if self.local else 1
        return positions * self.outputs * (self.inputs // self.groups * self.kernel**2 + 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, forward."""
        if self.kind not in ("conv", "fc"):
            return 0
        return self.size**2 * self.outputs * self.inputs // self.groups * self.kernel**2

    @property
    def units(self) -> int:
        """Numbers that come out for one image."""
        return self.outputs * self.size**2

    @property
    def neurons(self) -> int:
        """As section 3.5 counts them: units of convolutions and fully connected layers."""
        return self.units if self.kind in ("conv", "fc") else 0


def plan(config: ModelConfig) -> list[LayerPlan]:
    """Every layer with its shape, in order.

    Raises:
        ValueError: No pixel is left before the first fully connected layer, ``classes`` or
            ``input_channels`` is not set, or fields contradict each other.
    """
    replace(config)  # checked anew: a field may have been set since
    layers = _plan_at(config, config.input_size)
    if layers is None:
        least = next(size for size in range(1, 100_000) if _plan_at(config, size) is not None)
        raise ValueError(
            f"model.input_size={config.input_size} leaves no pixel before"
            f" {config.fc_names()[0]}: the least size for model={config.name} is {least}"
        )
    return layers


def _plan_at(config: ModelConfig, size: int) -> list[LayerPlan] | None:
    if config.classes is None or config.input_channels is None or not config.conv:
        raise ValueError("set model.classes, model.input_channels, model.conv to build a network")
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
                          conv.kernel, conv.stride, conv.padding, extra, conv.local)
            )  # fmt: skip
            channels, size, sees_both = width, out, False
        normalizes = config.normalization != Normalization.none and name not in config.without
        for step in conv.order or config.order:
            number = name.removeprefix("conv")
            if step == Step.pool and conv.pool != Pool.none:
                kernel = 3 if config.pooling == Pooling.overlapping else 2
                size = (size - kernel + config.pool_ceil) // 2 + 1
                if size < 1:
                    return None
                layers.append(
                    LayerPlan(f"pool{number}", "pool", channels, channels, 1, size, kernel, 2)
                )
            if step == Step.normalization and conv.normalize and normalizes:
                groups = 1 if config.lrn.across_towers else config.towers
                layers.append(LayerPlan(f"norm{number}", "norm", channels, channels, groups, size))
    if config.adaptive_pool is not None:
        size = config.adaptive_pool
        layers.append(LayerPlan("adaptive_pool", "pool", channels, channels, 1, size))
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


def _conv_output(conv: ConvConfig, size: int) -> tuple[int, int]:
    """Side of the output, and the extra padding at the right and bottom that it takes."""
    span = size + 2 * conv.padding - conv.kernel
    if span < 0:
        return 0, 0
    extra = -span % conv.stride if conv.ceil else 0
    return (span + extra) // conv.stride + 1, extra

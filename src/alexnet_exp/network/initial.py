"""The first weights and biases (section 5)."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from alexnet_exp.config.model import InitConfig, InitScheme


def initialize(layers: Iterable[tuple[str, Any]], init: InitConfig) -> None:
    """Draw the first weights of named layers from torch's global generator.

    | scheme   | weights                                              | biases             |
    |----------|------------------------------------------------------|--------------------|
    | gaussian | N(0, std) (section 5); conv3 on: N(0, ``inner_std``) | ``bias`` in        |
    |          | if set; ``layer_std`` of the layer before both       | ``bias_layers``,   |
    | he       | N(0, sqrt(2 / fan-in))                               | 0 elsewhere        |
    | xavier   | N(0, sqrt(2 / (fan-in + fan-out)))                   | 0 elsewhere        |
    | torch    | torch's own default                                  | torch's own        |
    """
    if init.scheme == InitScheme.torch:
        return
    for name, module in layers:
        if init.scheme == InitScheme.gaussian:
            inner = isinstance(module, nn.Conv2d) and name not in ("conv1", "conv2")
            std = init.inner_std if inner and init.inner_std is not None else init.std
            nn.init.normal_(module.weight, 0.0, init.layer_std.get(name, std))
        elif init.scheme == InitScheme.he:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(module.weight)
        nn.init.constant_(module.bias, init.bias if name in init.bias_layers else 0.0)

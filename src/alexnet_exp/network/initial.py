"""The first weights and biases (section 5), a function of the seed and the layer's name."""

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from alexnet_exp.config.model import InitConfig, InitScheme


@torch.no_grad()
def initialize(layers: Iterable[tuple[str, Any]], init: InitConfig, seed: int) -> None:
    """Set the first weights of named layers, each drawn by ``seed`` and its name alone.

    So networks that share a layer start it alike, and one with fewer kernels of the same inputs,
    such as the first tower alone, starts with the first of them.

    | scheme   | weights                                              | biases                 |
    |----------|------------------------------------------------------|------------------------|
    | gaussian | N(0, std) (section 5); conv3 on: N(0, ``inner_std``) | ``bias`` in            |
    |          | if set; ``layer_std`` of the layer before both       | ``bias_layers``, 0     |
    | he       | N(0, sqrt(2 / fan-in))                               | elsewhere; as torch's  |
    | xavier   | U(+-sqrt(6 / (fan-in + fan-out))), Glorot and Bengio | where ``bias`` is null |
    | torch    | U(+-sqrt(1 / fan-in))                                | U(+-sqrt(1 / fan-in))  |
    """
    for name, module in layers:
        weight, bias = module.weight, module.bias
        if weight.is_meta:
            continue
        fan_in = weight[0].numel() // getattr(module, "positions", 1)
        fan_out = len(weight) * math.prod(getattr(module, "kernel_size", ()))
        if init.scheme == InitScheme.gaussian:
            inner = weight.ndim > 2 and name not in ("conv1", "conv2")
            std = init.inner_std if inner and init.inner_std is not None else init.std
            weight.copy_(_normal(weight, seed, name) * init.layer_std.get(name, std))
        elif init.scheme == InitScheme.he:
            weight.copy_(_normal(weight, seed, name) * (2 / fan_in) ** 0.5)
        else:
            by_torch = init.scheme == InitScheme.torch
            bound = (1 / fan_in) ** 0.5 if by_torch else (6 / (fan_in + fan_out)) ** 0.5
            weight.copy_(_uniform(weight, seed, name) * bound)
        if init.bias is None or init.scheme == InitScheme.torch:
            bias.copy_(_uniform(bias, seed, f"{name}.bias") * (1 / fan_in) ** 0.5)
        else:
            bias.fill_(init.bias if name in init.bias_layers else 0.0)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = blake2b(f"{seed} {name}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _normal(like: Tensor, seed: int, name: str) -> Tensor:
    """N(0, 1); a smaller tensor gets the first numbers of a larger one."""
    count = -(-like.numel() // 16) * 16  # torch draws the last 16 apart where 16 does not divide
    drawn = torch.empty(count, dtype=torch.float32, device="cpu").normal_(
        generator=_generator(seed, name)
    )
    return drawn[: like.numel()].view(like.shape)


def _uniform(like: Tensor, seed: int, name: str) -> Tensor:
    """U(-1, 1)."""
    return torch.empty(like.shape, dtype=torch.float32, device="cpu").uniform_(
        -1, 1, generator=_generator(seed, name)
    )

"""Networks of a command line, and their modules by name."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from alexnet_exp.config.model import ModelConfig
from alexnet_exp.network.alexnet import AlexNet
from tests.conftest import ComposeConfig

ModelOf = Callable[..., ModelConfig]


@pytest.fixture(scope="session")
def model_of(compose_config: ComposeConfig) -> ModelOf:
    """``model_of(*overrides)``: the model of a preset, with nothing from a recipe."""

    defaults = ("~recipe", "model.classes=1000", "model.input_channels=3")
    return cache(lambda *overrides: compose_config(*defaults, *overrides).model)


def on_meta(config: ModelConfig) -> AlexNet:
    """The network without its numbers."""
    with torch.device("meta"):
        return AlexNet(config)


def images(config: ModelConfig, count: int = 1) -> Tensor:
    shape = (count, config.input_channels, config.input_size, config.input_size)
    return 60 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def stages(network: AlexNet) -> dict[str, nn.Module]:
    """Every module in the order of the forward pass."""
    return {
        **dict(network.features.named_children()),
        "flatten": nn.Flatten(),
        **dict(network.classifier.named_children()),
    }

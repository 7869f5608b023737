import math

import pytest
import torch

from alexnet_exp.network.alexnet import AlexNet
from tests.network.conftest import ModelOf, stages

PAPER_ONES = dict.fromkeys(("conv2", "conv4", "conv5", "fc6", "fc7"), 1.0)
PAPER_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
DEEP = dict.fromkeys(("conv3", "conv4", "conv5"), 0.03)


@pytest.mark.parametrize(
    ("overrides", "spreads", "biases"),
    [
        ("model=paper", {}, PAPER_ONES),
        ("model=original", DEEP, PAPER_ONES),
        ("model=caffenet", {"fc6": 0.005, "fc7": 0.005}, PAPER_ONES),
        ("model=one_gpu", {}, PAPER_ONES),
        ("model=d2l", "xavier", {}),
        ("model=cifar_small", {"conv1": 1e-4}, {}),
        ("model.init.scheme=he", "he", PAPER_ONES),
        ("model.init.scheme=xavier", "xavier", PAPER_ONES),
        ("model.init.scheme=he model.sees_both_towers=[]", "he", PAPER_ONES),
        ("model.init.std=0.02", dict.fromkeys(PAPER_LAYERS, 0.02), PAPER_ONES),
        ("model.init.inner_std=0.03 +model.init.layer_std.conv4=0.1",
         DEEP | {"conv4": 0.1}, PAPER_ONES),
        ("model.init.bias=0.5", {}, dict.fromkeys(PAPER_ONES, 0.5)),
        ("model.init.bias_layers=[conv2,conv3]", {}, {"conv2": 1.0, "conv3": 1.0}),
    ],
)  # fmt: skip
def test_initial_weights(
    model_of: ModelOf, overrides: str, spreads: dict[str, float] | str, biases: dict[str, float]
) -> None:
    torch.manual_seed(0)
    config = model_of(*overrides.split(), "model.width=0.25", "model.input_size=128")
    network = AlexNet(config)
    weighted = [layer for layer in network.plan if layer.kind in ("conv", "fc")]
    assert len(weighted) == (4 if "cifar_small" in overrides else 8)
    for layer in weighted:
        fan_in = layer.inputs // layer.groups * layer.kernel**2
        fan_out = layer.outputs * layer.kernel**2
        if isinstance(spreads, dict):
            spread = spreads.get(layer.name, 0.01)
        else:
            spread = math.sqrt(2 / (fan_in if spreads == "he" else fan_in + fan_out))
        module = stages(network)[layer.name]
        weight = module.weight.detach().double()
        n = weight.numel()
        # Five standard errors: of the mean, of the spread and of the share within one spread.
        assert abs(weight.mean().item()) < 5 * spread / math.sqrt(n), layer.name
        assert abs(weight.std().item() / spread - 1) < 5 / math.sqrt(2 * n), layer.name
        within = (weight.abs() < spread).double().mean().item()
        assert abs(within - 0.6827) < 5 * math.sqrt(0.6827 * 0.3173 / n), layer.name
        assert (module.bias == biases.get(layer.name, 0.0)).all(), layer.name

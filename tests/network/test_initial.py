import math

import pytest
import torch
from torch import Tensor

from alexnet_exp.network.alexnet import AlexNet, weighted_layers
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
        ("model=bvlc_alexnet", {"fc6": 0.005, "fc7": 0.005}, dict.fromkeys(PAPER_ONES, 0.1)),
        ("model=one_gpu", {}, PAPER_ONES),
        ("model=d2l", "xavier", None),
        ("model=torchvision", "torch", None),
        ("model=flowers_notebook", "xavier", {}),
        ("model=cifar_small", {"conv1": 1e-4}, {}),
        ("model=cifar_local model.input_size=24",
         {"conv1": 1e-4, "conv3": 0.04, "conv4": 0.04}, {}),
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
    model_of: ModelOf,
    overrides: str,
    spreads: dict[str, float] | str,
    biases: dict[str, float] | None,
) -> None:
    torch.manual_seed(0)
    config = model_of("model.input_size=128", *overrides.split(), "model.width=0.25")
    network = AlexNet(config)
    weighted = [layer for layer in network.plan if layer.kind in ("conv", "fc")]
    assert len(weighted) == len(config.conv) + len(config.fc) + 1
    for layer in weighted:
        fan_in = layer.inputs // layer.groups * layer.kernel**2
        fan_out = layer.outputs * layer.kernel**2
        if isinstance(spreads, dict):
            spread = spreads.get(layer.name, 0.01)
        else:
            square = {"he": 2 / fan_in, "xavier": 2 / (fan_in + fan_out), "torch": 1 / (3 * fan_in)}
            spread = math.sqrt(square[spreads])
        module = stages(network)[layer.name]
        weight = module.weight.detach().double()
        n = weight.numel()
        # Five standard errors: of the mean, of the spread and of the share within one spread.
        assert abs(weight.mean().item()) < 5 * spread / math.sqrt(n), layer.name
        assert abs(weight.std().item() / spread - 1) < 5 / math.sqrt(2 * n), layer.name
        within = (weight.abs() < spread).double().mean().item()
        share = 1 / math.sqrt(3) if spreads in ("xavier", "torch") else 0.6827
        assert abs(within - share) < 5 * math.sqrt(share * (1 - share) / n), layer.name
        if biases is None:  # as torch starts them: uniform
            bias = module.bias.detach().double() * math.sqrt(fan_in)
            assert bias.abs().max() <= 1
            assert abs(bias.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / len(bias))
        else:
            assert (module.bias == biases.get(layer.name, 0.0)).all(), layer.name


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=one_gpu"], ["model.without=[conv3]"], ["model.sees_both_towers=[fc6,fc7]"],
        ["model.normalization=none"], ["model.classes=7"], ["model.init.bias=.1"],
        ["model.towers=1"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["gaussian", "torch"])
def test_a_layer_starts_alike_in_every_network(
    model_of: ModelOf, overrides: list[str], scheme: str
) -> None:
    """Of equal shape: the same weights; with fewer kernels of the same shape: the first of them."""

    def weights_of(*overrides: str) -> dict[str, Tensor]:
        torch.manual_seed(3)
        config = model_of(f"model.init.scheme={scheme}", "model.width=.125", *overrides)
        return {name: layer.weight for name, layer in weighted_layers(AlexNet(config))}

    papers, found = weights_of(), weights_of(*overrides)
    alike = []
    for name, weight in found.items():
        if weight.shape[1:] == papers[name].shape[1:]:
            count = min(len(weight), len(papers[name]))
            assert torch.equal(papers[name][:count], weight[:count])
            alike.append(name)
    assert len(alike) >= (6 if overrides == ["model=one_gpu"] else 5)
    assert not torch.equal(papers["fc7"], papers["fc6"][:, : papers["fc7"].shape[1]])

"""What an output sees, against the gradient of a network whose every weight is positive."""

import pytest
import torch
from torch import nn

from alexnet_exp.network.alexnet import AlexNet, LocallyConnected
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm
from alexnet_exp.network.presets import preset
from alexnet_exp.network.receptive_field import ReceptiveField


def averaging(features: nn.Sequential) -> nn.Sequential:
    """The same windows, of which every pixel counts: no maximum, no rectifier."""
    found: list[nn.Module] = []
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            module = nn.AvgPool2d(module.kernel_size, module.stride, ceil_mode=module.ceil_mode)
        if isinstance(module, nn.Conv2d | LocallyConnected):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.zeros_(module.bias)
        elif not isinstance(module, nn.AvgPool2d | nn.ZeroPad2d | WithinMapNorm):
            assert isinstance(module, nn.ReLU | LocalResponseNorm)
            module = nn.Identity()
        found.append(module)
    return nn.Sequential(*found)


@pytest.mark.parametrize(
    ("name", "layer", "changes"),
    [
        ("paper", "conv5", {"width": 0.02}),
        ("paper", "pool2", {"width": 0.02}),
        ("original", "conv5", {"width": 0.02}),
        ("d2l", "conv5", {"width": 0.02, "input_channels": 1}),
        ("torchvision", "conv4", {"width": 0.02}),
        ("cifar_small", "conv3", {}),
        ("cifar_local_lrn", "conv4", {}),
    ],
)
def test_it_is_where_the_gradient_is_not_zero(name: str, layer: str, changes: dict) -> None:
    config = preset(name, **{"classes": 10, "input_channels": 3, **changes})
    network = AlexNet(config)
    known = ReceptiveField(network.features, layer, config.input_size)
    names = [one for one, _ in network.features.named_children()]
    seen = averaging(network.features[: names.index(layer) + 1]).double()
    side = config.input_size
    pixels = torch.ones(1, config.input_channels, side, side, dtype=torch.float64)
    pixels.requires_grad_()
    outputs = seen(pixels).sum(1)[0]
    last = len(outputs) - 1
    for row, column in ((0, last), (last // 2, last // 3), (last, 0)):
        (gradient,) = torch.autograd.grad(outputs[row, column], pixels, retain_graph=True)
        touched = gradient.abs().sum((0, 1)) > 0
        for place, axis in ((row, 1), (column, 0)):
            there = touched.any(axis).nonzero().flatten()
            assert known.span(place) == (int(there[0]), int(there[-1]) + 1)


def test_of_the_paper_it_is_known_and_another_layer_is_none() -> None:
    network = AlexNet(preset("paper", classes=5, input_channels=3, width=0.02))
    sizes = {"conv1": 11, "pool1": 19, "conv2": 51, "conv5": 163, "pool5": 195}
    fields = {name: ReceptiveField(network.features, name, 224) for name in sizes}
    assert {name: field.size for name, field in fields.items()} == sizes
    assert [fields["conv1"].span(place) for place in (0, 1, 54)] == [(0, 11), (4, 15), (216, 224)]
    assert [fields["conv5"].span(place) for place in (0, 6, 12)] == [(0, 99), (32, 195), (128, 224)]
    with pytest.raises(KeyError):
        ReceptiveField(network.features, "conv6", 224)

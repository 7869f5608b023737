"""Fully connected layers as convolutions: the same logits, at every position of larger images."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from alexnet_exp.config.model import ModelConfig
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.convolutional import FullyConvolutional
from tests.network.conftest import ModelOf, images
from tests.network.test_alexnet import NARROW, PRESETS

SLIDING = [preset for preset in PRESETS if not preset.startswith("cifar_local")] + ["paper"]
APART = "model.sees_both_towers=[conv3]"


def spread(config: ModelConfig) -> AlexNet:
    """An evaluated network whose logits depend on the image and on every bias."""
    torch.manual_seed(0)
    network = AlexNet(replace(config, init=replace(config.init, scheme="he"))).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "overrides",
    [
        *([f"model={preset}"] for preset in SLIDING),
        ["model=paper", APART],
        ["model=paper", "model.dropout=0.3", "model.normalization=batch", "model.activation=tanh"],
        ["model=paper", "model.without=[conv5]", "model.pooling=non_overlapping"],
        ["model=torchvision", "model.input_size=128"],
        ["model=torchvision", "model.input_size=180", "model.adaptive_pool=1"],
        ["model=torchvision", "model.input_size=300"],
    ],
    ids=" ".join,
)
def test_logits_of_the_own_size_are_the_networks(
    model_of: ModelOf, overrides: list[str], dtype: torch.dtype
) -> None:
    config = model_of(NARROW, *overrides)
    network, x = spread(config).to(dtype), images(config, 2).to(dtype)
    expected, found = network(x), FullyConvolutional(network)(x)
    assert found.shape == (2, 1000, 1, 1)
    assert expected.std() > 0.1, "or else they would be equal whatever is done"
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    scale = expected.abs().max().item()
    torch.testing.assert_close(found[..., 0, 0], expected, rtol=0, atol=tolerance * scale)


def test_every_position_has_the_logits_of_the_crop_there(model_of: ModelOf) -> None:
    """Exactly, where no layer pads; and for images that are not square."""
    unpadded = [f"model.conv.conv{number}.padding=0" for number in (2, 3, 4, 5)]
    network = spread(model_of(NARROW, "model.conv.conv1.ceil=false", *unpadded)).double()
    slid = FullyConvolutional(network)
    assert slid.stride == 4 * 2 * 2 * 2, "conv1 and three poolings"
    x = 60 * torch.randn(2, 3, 300, 340, dtype=torch.float64)
    found = slid(x)
    for i, j in ((0, 0), (1, 2), (2, 3)):
        top, left = 32 * i, 32 * j
        expected = network(x[:, :, top : top + 224, left : left + 224])
        torch.testing.assert_close(found[:, :, i, j], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("side", "positions"), [(224, 1), (255, 1), (256, 2), (260, 2), (512, 10)])
def test_conv1_of_the_paper_drops_no_pixel_of_any_image(
    model_of: ModelOf, side: int, positions: int
) -> None:
    network = spread(model_of(NARROW))
    slid = FullyConvolutional(network)
    assert (slid.window, slid.stride) == (224, 32)
    with torch.no_grad():
        assert slid(torch.zeros(1, 3, side, 224)).shape == (1, 1000, positions, 1)
    padded = slid.features.pad1(torch.zeros(1, 3, side, 224))
    assert (padded.shape[2] - 11) % 4 == 0
    assert 0 <= padded.shape[2] - side < 4


def test_weights_are_not_copied(model_of: ModelOf) -> None:
    network = AlexNet(model_of(NARROW))
    slid = FullyConvolutional(network)
    assert slid.classifier.fc6.weight.data_ptr() == network.classifier.fc6.weight.data_ptr()
    assert slid.classifier.fc8.bias is network.classifier.fc8.bias
    assert slid.training


def test_what_cannot_be_slid_is_said(model_of: ModelOf) -> None:
    local = AlexNet(model_of("model=cifar_local", "model.classes=10"))
    with pytest.raises(ValueError, match="conv3 and conv4 are locally connected"):
        FullyConvolutional(local)
    slid = FullyConvolutional(AlexNet(model_of(NARROW)))
    with pytest.raises(ValueError, match="an image of 223 x 300 pixels is smaller than the 224"):
        slid(torch.zeros(1, 3, 223, 300))

"""torchvision's AlexNet: our preset is the same network and takes its weights."""

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.pretrained import from_torchvision
from tests.network.conftest import ModelOf, images, on_meta


def test_torchvision_preset_draws_and_computes_what_torchvision_does(model_of: ModelOf) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet(weights=None).eval()
    torch.manual_seed(0)
    config = model_of("model=torchvision")
    ours = AlexNet(config).eval()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
        nn.init.constant_(mine, math.nan)
    assert from_torchvision(ours, theirs.state_dict()) is ours
    image = images(config) / 60
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=1e-5)


def test_torchvision_preset_has_the_modules_of_torchvision(model_of: ModelOf) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.alexnet()
    ours = on_meta(model_of("model=torchvision"))
    assert [repr(module) for module in (*ours.features, *ours.classifier)] == [
        repr(module) for module in (*theirs.features, *theirs.classifier)
    ]


def state_of(classes: int = 1000) -> dict[str, Tensor]:
    with torch.device("meta"):
        return torchvision.models.alexnet(num_classes=classes).state_dict()


LACKING = state_of()
del LACKING["features.0.bias"]


@pytest.mark.parametrize(
    ("preset", "state", "message"),
    [
        ("paper", state_of(), "use model=torchvision"),
        ("cifar_small", state_of(), "use model=torchvision"),
        ("torchvision", state_of(10), r"model\.classes=10$"),
        ("torchvision", LACKING, r"features\.0\.bias is missing"),
        *(("torchvision", state_of() | {key: torch.zeros(1)}, f"{key} is not")
          for key in ("a.layer1.0.conv1.weight", "module.features.0.weight", "fc.bias")),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    model_of: ModelOf, preset: str, state: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_torchvision(on_meta(model_of(f"model={preset}")), state)

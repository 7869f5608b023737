from dataclasses import replace

import pytest
import torch
from torch import nn

from alexnet_exp.config import conf_folder
from alexnet_exp.config.model import Pooling
from alexnet_exp.network.alexnet import AlexNet, TowerLinear
from alexnet_exp.network.plan import plan
from tests.network.conftest import ModelOf, images, on_meta, stages

PRESETS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))
NARROW = "model.width=0.06"


# Size


@pytest.mark.parametrize(
    ("overrides", "parameters", "macs"),
    [
        (["model=paper"], 60_965_224, 0.7244e9),
        (["model=original"], 60_965_224, 0.7244e9),
        (["model=caffenet"], 60_965_224, 0.7244e9),
        (["model=paper", "model.towers=1"], 62_378_344, 1.135e9),
        (["model=one_gpu"], 59_798_312, None),
        (["model=torchvision"], 61_100_840, 0.7142e9),
        (["model=d2l", "model.classes=10", "model.input_channels=1"], 46_764_746, None),
        (["model=flowers_notebook", "model.classes=5"], 58_301_829, None),
        (["model=cifar_small", "model.classes=10"], 89_578, None),
        (["model=cifar_local_lrn", "model.classes=10"], 1_116_490, None),
    ],
)
def test_number_of_parameters_and_of_multiply_accumulates(
    model_of: ModelOf, overrides: list[str], parameters: int, macs: float | None
) -> None:
    config = model_of(*overrides)
    layers = plan(config)
    assert sum(layer.parameters for layer in layers) == parameters
    assert sum(p.numel() for p in on_meta(config).parameters()) == parameters
    assert macs is None or float(f"{sum(layer.macs for layer in layers):.4g}") == macs


@pytest.mark.parametrize("preset", PRESETS)
def test_widths_divide_by_the_towers(model_of: ModelOf, preset: str) -> None:
    for width in (0.001, 0.1, 1 / 3, 1.5):
        layers = plan(replace(model_of(f"model={preset}"), width=width))
        assert all(layer.outputs >= 1 for layer in layers)
        assert all(layer.inputs % layer.groups == 0 for layer in layers if layer.kind != "norm")


# Shapes


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("pooling", Pooling)
def test_every_stage_has_the_planned_shape(
    model_of: ModelOf, preset: str, pooling: Pooling
) -> None:
    config = replace(model_of(f"model={preset}", NARROW), pooling=pooling)
    network = AlexNet(config).eval()
    planned = {
        layer.name: (layer.inputs, layer.outputs, *(() if layer.kind == "fc" else [layer.size] * 2))
        for layer in network.plan
    }
    x, found = images(config), []
    for name, module in stages(network).items():
        inputs, x = x.shape[1], module(x)
        if name in planned:
            found.append((name, (inputs, *x.shape[1:])))
    assert found == list(planned.items())


@pytest.mark.parametrize("preset", ["paper", "original", "caffenet"])
def test_shapes_are_those_of_the_paper(model_of: ModelOf, preset: str) -> None:
    shapes = {
        layer.name: (layer.inputs, layer.outputs, layer.size, layer.groups)
        for layer in plan(model_of(f"model={preset}"))
        if layer.kind != "norm"
    }
    assert shapes == {
        "conv1": (3, 96, 55, 1),
        "pool1": (96, 96, 27, 1),
        "conv2": (96, 256, 27, 2),
        "pool2": (256, 256, 13, 1),
        "conv3": (256, 384, 13, 1),
        "conv4": (384, 384, 13, 2),
        "conv5": (384, 256, 13, 2),
        "pool5": (256, 256, 6, 1),
        "fc6": (9216, 4096, 1, 1),
        "fc7": (4096, 4096, 1, 1),
        "fc8": (4096, 1000, 1, 1),
    }


def test_conv1_of_the_paper_pads_at_the_right_and_bottom_alone(model_of: ModelOf) -> None:
    config = model_of(NARROW)
    image, layers = images(config), stages(AlexNet(config))
    padded = torch.zeros(1, 3, 227, 227)
    padded[:, :, :224, :224] = image
    torch.testing.assert_close(
        layers["conv1"](layers["pad1"](image)),
        nn.functional.conv2d(padded, layers["conv1"].weight, layers["conv1"].bias, stride=4),
    )


# Least input: from the last pooling back by hand. Three pixels before pool5, 7 before pool2 and 15
# before pool1 take (15 - 1) * 4 + 11 = 67 pixels at stride 4: less the padding (torchvision: 2 on
# each side, d2l and flowers_notebook: 1), or with conv1's ceil one pixel more than 14 outputs take.
# With pool_ceil two pixels before the third pooling, 4 before the second and 8 before the first, so
# caffenet takes (8 - 1) * 4 + 11 = 39.
LEAST = {"paper": 64, "caffenet": 39, "torchvision": 63, "d2l": 65, "cifar_small": 8,
         "flowers_notebook": 62}  # fmt: skip


@pytest.mark.parametrize(("preset", "least"), LEAST.items())
def test_least_input_size(model_of: ModelOf, preset: str, least: int) -> None:
    config = model_of(f"model={preset}", NARROW)
    with pytest.raises(ValueError, match=rf"model\.input_size=5 .*model={preset} is {least}\b"):
        plan(replace(config, input_size=5))
    with pytest.raises(ValueError, match=rf"model\.input_size={least - 1} "):
        AlexNet(replace(config, input_size=least - 1))
    smallest = replace(config, input_size=least)
    network = AlexNet(smallest).eval()
    logits = network(images(smallest, 2))
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()
    assert [layer.size for layer in network.plan if layer.name.startswith("pool")][-1] == 1


@pytest.mark.parametrize("missing", ["classes", "input_channels"])
def test_classes_and_channels_must_be_known(model_of: ModelOf, missing: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.{missing}"):
        plan(replace(model_of(), **{missing: None}))


# Two towers

PAPERS = "model.sees_both_towers=[conv3,fc6,fc7]"


@pytest.mark.parametrize("tower", [0, 1])
@pytest.mark.parametrize(
    ("override", "start", "stop", "communicates"),
    [
        (PAPERS, "conv1", "conv2", False),
        (PAPERS, "conv2", "conv3", True),
        (PAPERS, "conv3", "conv5", False),
        (PAPERS, "conv5", "fc6", True),
        (PAPERS, "fc6", "fc7", True),
        (PAPERS, "fc7", "fc8", True),
        ("model.sees_both_towers=[fc6,fc7]", "conv1", "conv5", False),
        ("model.sees_both_towers=[conv3,fc7]", "conv5", "fc6", False),
        ("model.sees_both_towers=[]", "conv1", "fc7", False),
        ("model.sees_both_towers=[]", "fc7", "fc8", True),
        ("model.sees_both_towers=[conv2,fc6,fc7]", "conv1", "conv2", True),
        ("model.without=[conv3]", "conv2", "conv4", True),  # it hands its view on
        ("model.without=[conv4]", "conv3", "conv5", False),
    ],
)
def test_towers_communicate_where_the_paper_or_sees_both_towers_says(
    model_of: ModelOf, override: str, start: str, stop: str, communicates: bool, tower: int
) -> None:
    """By which tower's maps after ``start`` one tower of ``stop`` depends on."""
    config = model_of(NARROW, "model.input_size=67", "model.init.scheme=he", override)
    names, modules = zip(*stages(AlexNet(config).eval()).items(), strict=True)
    first, last = names.index(start) + 1, names.index(stop) + 1
    leaf = nn.Sequential(*modules[:first])(images(config, 2)).detach().requires_grad_()
    out = nn.Sequential(*modules[first:last])(leaf.clone())  # which a ReLU overwrites
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad((out * weights).chunk(2, 1)[tower].sum(), leaf)
    seen = [bool(part.abs().max() > 0) for part in grad.chunk(2, 1)]
    assert seen == [communicates or other == tower for other in (0, 1)]


def test_tower_linear_is_linear_with_a_weight_of_blocks() -> None:
    torch.manual_seed(0)
    towers = TowerLinear(10, 6, 2)
    nn.init.normal_(towers.weight)  # which nobody has set yet
    nn.init.normal_(towers.bias)
    x, upstream = torch.randn(4, 10), torch.randn(4, 6)
    blocks = torch.block_diag(*towers.weight.chunk(2))
    expected = nn.functional.linear(x, blocks, towers.bias)
    torch.testing.assert_close(towers(x), expected)
    found, right = (
        torch.autograd.grad(out, (towers.weight, towers.bias), upstream)
        for out in (towers(x), expected)
    )
    torch.testing.assert_close(found, right)

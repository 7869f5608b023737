import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from alexnet_exp.config.model import ConvConfig, InitConfig, ModelConfig, Pooling, Step
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet, TowerLinear
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm
from alexnet_exp.network.plan import LayerPlan, plan
from alexnet_exp.network.pretrained import from_torchvision
from tests.conftest import ComposeConfig

ModelOf = Callable[..., ModelConfig]

PRESETS = [
    "paper", "original", "caffenet", "one_gpu", "torchvision", "d2l", "cifar_small", "cifar_lrn",
]  # fmt: skip
NARROW = "model.width=0.06"


@pytest.fixture(scope="module")
def model_of(compose_config: ComposeConfig) -> ModelOf:
    """``model_of(*overrides)``: the model of a preset, with nothing from a recipe."""

    defaults = ("~recipe", "model.classes=1000", "model.input_channels=3")
    return cache(lambda *overrides: compose_config(*defaults, *overrides).model)


def on_meta(config: ModelConfig) -> AlexNet:
    """The network without its numbers."""
    with torch.device("meta"):
        return AlexNet(config)


def images(config: ModelConfig, count: int = 1) -> Tensor:
    assert config.input_channels is not None
    generator = torch.Generator().manual_seed(0)
    shape = (count, config.input_channels, config.input_size, config.input_size)
    return 60 * torch.randn(shape, generator=generator)


def by_name(layers: list[LayerPlan]) -> dict[str, LayerPlan]:
    return {layer.name: layer for layer in layers}


def stages(network: AlexNet) -> list[tuple[str, nn.Module]]:
    """Every module in the order of the forward pass."""
    return [
        *network.features.named_children(),
        ("flatten", nn.Flatten()),
        *network.classifier.named_children(),
    ]


def names(network: AlexNet) -> list[str]:
    return [name for name, _ in stages(network)]


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
        (["model=cifar_small", "model.classes=10"], 89_578, None),
        (["model=cifar_lrn", "model.classes=10"], 89_578, None),
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


# Shapes


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("pooling", ["overlapping", "non_overlapping"])
def test_every_stage_has_the_planned_shape(model_of: ModelOf, preset: str, pooling: str) -> None:
    config = replace(model_of(f"model={preset}", NARROW), pooling=Pooling(pooling))
    network = AlexNet(config).eval()
    layers = by_name(network.plan)
    seen: dict[str, tuple[int, tuple[int, ...]]] = {}
    for name, module in stages(network):
        module.register_forward_hook(
            lambda _, given, out, name=name: seen.update(
                {name: (given[0].shape[1], tuple(out.shape[1:]))}
            )
        )
    network(images(config))
    expected = {
        layer.name: (
            layer.inputs,
            (layer.outputs,) if layer.kind == "fc" else (layer.outputs, layer.size, layer.size),
        )
        for layer in network.plan
    }
    assert {name: shapes for name, shapes in seen.items() if name in layers} == expected
    assert [name for name in names(network) if name in layers] == list(layers)


@pytest.mark.parametrize("preset", ["paper", "original", "caffenet"])
def test_shapes_are_those_of_the_paper(model_of: ModelOf, preset: str) -> None:
    layers = by_name(plan(model_of(f"model={preset}")))
    shapes = {
        name: (layer.inputs, layer.outputs, layer.size, layer.groups)
        for name, layer in layers.items()
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
    assert sum(layer.outputs * layer.size**2 for layer in layers.values() if "c" in layer.name) == (
        290_400 + 186_624 + 64_896 + 64_896 + 43_264 + 4096 + 4096 + 1000
    )


def test_conv1_of_the_paper_pads_at_the_right_and_bottom_alone(model_of: ModelOf) -> None:
    config = model_of(NARROW)
    network = AlexNet(config)
    image = images(config)
    layers = dict(stages(network))
    padded = torch.zeros(1, 3, 227, 227)
    padded[:, :, :224, :224] = image
    torch.testing.assert_close(
        layers["conv1"](layers["pad1"](image)),
        nn.functional.conv2d(padded, layers["conv1"].weight, layers["conv1"].bias, stride=4),
    )


# Least input: from the last pooling back by hand. Three pixels before pool5, 7 before pool2 and 15
# before pool1 take (15 - 1) * 4 + 11 = 67 pixels at stride 4: less the padding (torchvision: 2 on
# each side, d2l: 1), or with conv1's ceil one pixel more than 14 outputs take. With pool_ceil two
# pixels before the third pooling, 4 before the second and 8 before the first.
LEAST = {"paper": 64, "caffenet": 67, "torchvision": 63, "d2l": 65, "cifar_small": 8}


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
    assert by_name(network.plan)["pool3" if preset == "cifar_small" else "pool5"].size == 1


@pytest.mark.parametrize("missing", ["classes", "input_channels"])
def test_classes_and_channels_must_be_known(model_of: ModelOf, missing: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.{missing}"):
        plan(replace(model_of(), **{missing: None}))


# Two towers


def sensitivity(network: AlexNet, start: str, stop: str, tower: int) -> list[bool]:
    """Which tower's maps after ``start`` one tower of ``stop`` depends on."""
    network.eval()
    x = 60 * torch.randn(2, 3, 67, 67, generator=torch.Generator().manual_seed(0))
    leaf = x
    for name, module in stages(network):
        x = module(x)
        if name == start:
            leaf = x.detach().requires_grad_()
            x = leaf.clone()
        if name == stop:
            break
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    ((x * weights).chunk(2, 1)[tower]).sum().backward()
    assert leaf.grad is not None
    return [bool(part.abs().max() > 0) for part in leaf.grad.chunk(2, 1)]


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
        ("model.sees_both_towers=[conv3,fc7]", "fc6", "fc7", True),
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
    config = model_of(NARROW, "model.input_size=67", "model.init.scheme=he", override)
    seen = [communicates, communicates]
    seen[tower] = True
    assert sensitivity(AlexNet(config), start, stop, tower) == seen


def test_tower_linear_is_linear_with_a_weight_of_blocks() -> None:
    torch.manual_seed(0)
    towers = TowerLinear(10, 6, 2)
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


# torchvision


def torchvision_state(classes: int = 1000) -> dict[str, Tensor]:
    with torch.device("meta"):
        return torchvision.models.alexnet(num_classes=classes).state_dict()


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
    skipped = (nn.AdaptiveAvgPool2d,)
    for mine, other in ((ours.features, theirs.features), (ours.classifier, theirs.classifier)):
        leaves = [module for module in other if not isinstance(module, skipped)]
        assert [repr(module) for module in mine] == [repr(module) for module in leaves]


LACKING = torchvision_state()
del LACKING["features.0.bias"]


@pytest.mark.parametrize(
    ("preset", "state", "message"),
    [
        ("paper", torchvision_state(), "use model=torchvision"),
        ("cifar_small", torchvision_state(), "use model=torchvision"),
        ("torchvision", torchvision_state(10), r"model\.classes=10$"),
        ("torchvision", LACKING, r"features\.0\.bias is missing"),
        *(("torchvision", torchvision_state() | {key: torch.zeros(1)}, f"{key} is not")
          for key in ("a.layer1.0.conv1.weight", "module.features.0.weight", "fc.bias")),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    model_of: ModelOf, preset: str, state: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_torchvision(on_meta(model_of(f"model={preset}")), state)


@pytest.mark.parametrize("preset", ["torchvision", "d2l"])
def test_presets_without_normalization_can_have_it(model_of: ModelOf, preset: str) -> None:
    for kind, module in (("batch", nn.BatchNorm2d), ("lrn", LocalResponseNorm)):
        network = on_meta(model_of(f"model={preset}", f"model.normalization={kind}"))
        names = [name for name, layer in network.named_modules() if isinstance(layer, module)]
        assert names == ["features.norm1", "features.norm2"]


# Initial weights

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
    model_of: ModelOf,
    overrides: str,
    spreads: dict[str, float] | str,
    biases: dict[str, float],
) -> None:
    torch.manual_seed(0)
    config = model_of(*overrides.split(), "model.width=0.25", "model.input_size=128")
    network = AlexNet(config)
    weighted = [layer for layer in network.plan if layer.kind in ("conv", "fc")]
    assert len(weighted) == (4 if "cifar_small" in overrides else 8)
    layers = dict(stages(network))
    for layer in weighted:
        fan_in = layer.inputs // layer.groups * layer.kernel**2
        fan_out = layer.outputs * layer.kernel**2
        if isinstance(spreads, dict):
            spread = spreads.get(layer.name, 0.01)
        else:
            spread = math.sqrt(2 / (fan_in if spreads == "he" else fan_in + fan_out))
        weight = layers[layer.name].weight.detach().double()
        n = weight.numel()
        # Five standard errors: of the mean, of the spread and of the share within one spread.
        assert abs(weight.mean().item()) < 5 * spread / math.sqrt(n), layer.name
        assert abs(weight.std().item() / spread - 1) < 5 / math.sqrt(2 * n), layer.name
        within = (weight.abs() < spread).double().mean().item()
        assert abs(within - 0.6827) < 5 * math.sqrt(0.6827 * 0.3173 / n), layer.name
        expected = torch.tensor(biases.get(layer.name, 0.0))
        assert (layers[layer.name].bias == expected).all(), layer.name


# One field, one change


def describe(module: nn.Module) -> tuple[str, tuple[torch.Size, ...]]:
    """What a module is, with the shapes of its parameters."""
    return repr(module), tuple(p.shape for p in module.parameters())


def conv(inputs: int, outputs: int, kernel: int, padding: int = 0, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, device="meta", **options)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, device="meta")


def local(channels: int, **constants: Any) -> LocalResponseNorm:
    return LocalResponseNorm(channels, **{"towers": 2, **constants})


def tower_linear(inputs: int, outputs: int) -> TowerLinear:
    with torch.device("meta"):
        return TowerLinear(inputs, outputs, 2)


def gone(*names: str) -> dict[str, nn.Module | None]:
    return dict.fromkeys(names)


HIDDEN = range(1, 8)
RELUS_GONE = gone(*(f"relu{i}" for i in HIDDEN))
NORMS = {"norm1": 96, "norm2": 256}
CHANGES: dict[str, dict[str, nn.Module | None]] = {
    "": {},
    "model.input_channels=1": {"conv1": conv(1, 96, 11, stride=4)},
    "model.input_size=256": {"fc6": linear(256 * 49, 4096)},
    "model.input_size=227": {"pad1": None},
    "model.classes=10": {"fc8": linear(4096, 10)},
    "model.conv.conv3.channels=100": {
        "conv3": conv(256, 100, 3, 1),
        "conv4": conv(100, 384, 3, 1, groups=2),
    },
    "model.conv.conv3.kernel=5 model.conv.conv3.padding=2": {"conv3": conv(256, 384, 5, 2)},
    # 54, 26 and 12 pixels
    "model.conv.conv1.ceil=false": {"pad1": None, "fc6": linear(256 * 25, 4096)},
    "model.conv.conv4.normalize=true": {"norm4": local(384)},
    "model.conv.conv1.normalize=false": {"norm1": None},
    "model.conv.conv2.pool=avg": {"pool2": nn.AvgPool2d(3, 2)},
    "model.conv.conv5.pool=none": {"pool5": None, "fc6": linear(256 * 169, 4096)},
    "model.fc=[512,128]": {
        "fc6": linear(9216, 512),
        "fc7": linear(512, 128),
        "fc8": linear(128, 1000),
    },
    "model.width=0.5": {
        "conv1": conv(3, 48, 11, stride=4),
        "conv2": conv(48, 128, 5, 2, groups=2),
        "conv3": conv(128, 192, 3, 1),
        "conv4": conv(192, 192, 3, 1, groups=2),
        "conv5": conv(192, 128, 3, 1, groups=2),
        "fc6": linear(4608, 2048),
        "fc7": linear(2048, 2048),
        "fc8": linear(2048, 1000),
    },
    "model.towers=1": {
        "norm1": local(96, towers=1),
        "conv2": conv(96, 256, 5, 2),
        "norm2": local(256, towers=1),
        "conv4": conv(384, 384, 3, 1),
        "conv5": conv(384, 256, 3, 1),
    },
    "model.sees_both_towers=[fc6,fc7]": {"conv3": conv(256, 384, 3, 1, groups=2)},
    "model.sees_both_towers=[conv3,fc6]": {"fc7": tower_linear(4096, 4096)},
    "model.sees_both_towers=[conv3,fc6,fc7,fc8]": {},
    "model.without=[conv2]": gone("conv2", "relu2", "norm2") | {"conv3": conv(96, 384, 3, 1)},
    "model.without=[conv3]": gone("conv3", "relu3") | {"conv4": conv(256, 384, 3, 1)},
    "model.without=[conv5]": gone("conv5", "relu5") | {"fc6": linear(384 * 36, 4096)},
    "model.activation=tanh": RELUS_GONE | {f"tanh{i}": nn.Tanh() for i in HIDDEN},
    "model.activation=sigmoid": RELUS_GONE | {f"sigmoid{i}": nn.Sigmoid() for i in HIDDEN},
    "model.normalization=none": gone(*NORMS),
    "model.normalization=within_map": {name: WithinMapNorm() for name in NORMS},
    "model.normalization=pair": {"norm2b": WithinMapNorm()},
    "model.normalization=pair model.conv.conv2.normalize_within_map=false": {},
    "model.normalization=batch": {name: nn.BatchNorm2d(c) for name, c in NORMS.items()},
    "model.pooling=non_overlapping": {f"pool{i}": nn.MaxPool2d(2, 2) for i in (1, 2, 5)},
    # odd sizes: no pixel was dropped before
    "model.pool_ceil=true": {f"pool{i}": nn.MaxPool2d(3, 2, ceil_mode=True) for i in (1, 2, 5)},
    "model.dropout=0.3": {"drop6": nn.Dropout(0.3), "drop7": nn.Dropout(0.3)},
    "model.dropout=0": gone("drop6", "drop7"),
    "model.dropout_after=[conv5,fc6]": {"drop6_in": nn.Dropout(0.5), "drop7": None},
    "model.lrn.size=3": {name: local(c, size=3) for name, c in NORMS.items()},
    "model.lrn.alpha=1e-3": {name: local(c, alpha=1e-3) for name, c in NORMS.items()},
    "model.lrn.beta=0.5": {name: local(c, beta=0.5) for name, c in NORMS.items()},
    "model.lrn.k=1": {name: local(c, k=1.0) for name, c in NORMS.items()},
    "model.init.scheme=he": {},
}


@pytest.mark.parametrize("overrides", CHANGES)
def test_a_field_changes_what_it_says_and_nothing_else(model_of: ModelOf, overrides: str) -> None:
    before, after = (
        {name: describe(module) for name, module in stages(on_meta(config))}
        for config in (model_of(), model_of(*overrides.split()))
    )
    changed = {
        name: after.get(name) for name in before | after if before.get(name) != after.get(name)
    }
    assert changed == {
        name: None if module is None else describe(module)
        for name, module in CHANGES[overrides].items()
    }
    assert [name for name in after if name in before] == [name for name in before if name in after]


def test_new_layers_stand_where_the_order_says(model_of: ModelOf) -> None:
    for override, neighbors in {
        "model.activation=tanh": ["conv4", "tanh4", "conv5"],
        "model.normalization=pair": ["relu2", "norm2", "norm2b", "pool2"],
        "model.conv.conv4.normalize=true": ["relu4", "norm4", "conv5"],
        "model.dropout_after=[conv5]": ["flatten", "drop6_in", "fc6", "relu6", "fc7"],
    }.items():
        found = names(on_meta(model_of(override)))
        start = found.index(neighbors[0])
        assert found[start : start + len(neighbors)] == neighbors


def test_order_moves_layers_and_changes_none(model_of: ModelOf) -> None:
    base = on_meta(model_of())
    moved = on_meta(model_of("model.order=[pool,normalization,activation]"))
    assert {name: describe(module) for name, module in stages(base)} == {
        name: describe(module) for name, module in stages(moved)
    }
    assert " ".join(names(moved)) == (
        "pad1 conv1 pool1 norm1 relu1 conv2 pool2 norm2 relu2 conv3 relu3 conv4 relu4"
        " conv5 pool5 relu5 flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )
    one = names(on_meta(model_of("model.conv.conv1.order=[pool,normalization,activation]")))
    assert one[:8] == ["pad1", "conv1", "pool1", "norm1", "relu1", "conv2", "relu2", "norm2"]


CLASSIFIER = " flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
CIFAR = "conv1 pool1 relu1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 pool3 flatten fc4"
ORDERS = {
    "paper": "pad1 conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2"
    " conv3 relu3 conv4 relu4 conv5 relu5 pool5" + CLASSIFIER,
    "original": "pad1 conv1 norm1 pool1 relu1 conv2 relu2 norm2 norm2b pool2"
    " conv3 relu3 conv4 relu4 conv5 pool5 relu5" + CLASSIFIER,
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2"
    " conv3 relu3 conv4 relu4 conv5 relu5 pool5" + CLASSIFIER,
    "cifar_small": CIFAR,
    "cifar_lrn": CIFAR,
}


@pytest.mark.parametrize("preset", ORDERS)
def test_order_of_layers_and_what_no_norm2_takes(model_of: ModelOf, preset: str) -> None:
    found = names(on_meta(model_of(f"model={preset}")))
    assert " ".join(found) == ORDERS[preset]
    less = names(on_meta(model_of(f"model={preset}", "+experiment=no_norm2")))
    assert less == [name for name in found if name not in ("norm2", "norm2b")] != found


@pytest.mark.parametrize(
    ("preset", "towers", "alpha", "k"),
    [
        ("paper", 2, 1e-4, 2.0),
        ("original", 2, 1e-4 / 5, 2.0),
        ("caffenet", 2, 1e-4 / 5, 1.0),
        ("cifar_lrn", 1, 1e-4, 2.0),
    ],
)
def test_constants_of_normalization(
    model_of: ModelOf, preset: str, towers: int, alpha: float, k: float
) -> None:
    norm = dict(stages(on_meta(model_of(f"model={preset}"))))["norm2"]
    assert isinstance(norm, LocalResponseNorm)
    found = [norm.towers, norm.size, norm.alpha, norm.beta, norm.k]
    assert found == pytest.approx([towers, 5, alpha, 0.75, k], rel=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
def test_widths_divide_by_the_towers(model_of: ModelOf, preset: str) -> None:
    for width in (0.001, 0.1, 1 / 3, 1.5):
        layers = plan(replace(model_of(f"model={preset}"), width=width))
        convolutions = [layer for layer in layers if layer.kind == "conv"]
        assert all(layer.outputs >= 1 for layer in layers)
        assert all(layer.inputs % layer.groups == 0 for layer in layers if layer.kind != "norm")
        for previous, layer in pairwise(convolutions):
            assert layer.inputs == previous.outputs


# Mistakes

UNNORMALIZED = {name: replace(conv, normalize=False) for name, conv in ModelConfig().conv.items()}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("input_channels", 2, "model.input_channels=2"),
        ("classes", 1, "model.classes=1"),
        ("fc", [4096, 0], "model.fc[1]=0"),
        ("dropout", 1.0, "model.dropout=1.0"),
        ("without", ["conv1"], "model.without: no layer 'conv1'"),
        ("sees_both_towers", ["conv9"], "model.sees_both_towers: no layer 'conv9'"),
        ("dropout_after", ["fc8"], "model.dropout_after: no layer 'fc8'"),
        ("order", [Step.pool, Step.pool, Step.activation], "model.order="),
        ("init", InitConfig(bias_layers=["fc9"]), "model.init.bias_layers: no layer 'fc9'"),
        ("init", InitConfig(layer_std={"conv0": 1.0}), "model.init.layer_std: no layer 'conv0'"),
        ("conv", UNNORMALIZED, "model.normalization=lrn has no layer to act on: set model.conv."),
        ("conv", {"conv2": ConvConfig()}, "model.conv"),
        ("conv", {"conv1": ConvConfig(channels=0)}, "model.conv.conv1.channels=0"),
        ("conv", {"conv1": ConvConfig(order=[Step.pool])}, "model.conv.conv1.order="),
    ],
)
def test_mistakes_name_the_field(
    model_of: ModelOf, field: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        replace(model_of(), **{field: value})
    assert str(raised.value).startswith(message)


def test_a_mistake_on_the_command_line_is_the_users(compose_config: ComposeConfig) -> None:
    with pytest.raises(UserError, match=r"model\.without: no layer 'conv7'; choose from conv2"):
        compose_config("model.without=[conv7]")

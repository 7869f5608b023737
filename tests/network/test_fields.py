"""Each field of ``model`` changes the layers that it names, and presets put them in their order."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from alexnet_exp.config.model import ConvConfig, InitConfig, ModelConfig, Step
from alexnet_exp.network.alexnet import AlexNet, PaperDropout, TowerLinear
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm
from tests.network.conftest import ModelOf, on_meta, stages


def reprs(network: AlexNet) -> dict[str, str]:
    """Every module in order, with its shapes and constants."""
    return {name: repr(module) for name, module in stages(network).items()}


def gone(*names: str) -> dict[str, nn.Module | None]:
    return dict.fromkeys(names)


HIDDEN = range(1, 8)
RELUS_GONE = gone(*(f"relu{i}" for i in HIDDEN))
NORMS = {"norm1": 96, "norm2": 256}

with torch.device("meta"):
    CHANGES: dict[str, dict[str, nn.Module | None]] = {
        "": {},
        "model.input_channels=1": {"conv1": nn.Conv2d(1, 96, 11, stride=4)},
        "model.input_size=256": {"fc6": nn.Linear(256 * 49, 4096)},
        "model.input_size=227": {"pad1": None},
        "model.classes=10": {"fc8": nn.Linear(4096, 10)},
        "model.conv.conv3.channels=100": {
            "conv3": nn.Conv2d(256, 100, 3, padding=1),
            "conv4": nn.Conv2d(100, 384, 3, padding=1, groups=2),
        },
        "model.conv.conv3.kernel=5 model.conv.conv3.padding=2": {
            "conv3": nn.Conv2d(256, 384, 5, padding=2)
        },
        # 54, 26 and 12 pixels
        "model.conv.conv1.ceil=false": {"pad1": None, "fc6": nn.Linear(256 * 25, 4096)},
        "model.conv.conv4.normalize=true": {"norm4": LocalResponseNorm(384, 2)},
        "model.conv.conv1.normalize=false": {"norm1": None},
        "model.conv.conv2.pool=avg": {"pool2": nn.AvgPool2d(3, 2)},
        "model.conv.conv5.pool=none": {"pool5": None, "fc6": nn.Linear(256 * 169, 4096)},
        "model.fc=[512,128]": {
            "fc6": nn.Linear(9216, 512),
            "fc7": nn.Linear(512, 128),
            "fc8": nn.Linear(128, 1000),
        },
        "model.width=0.5": {
            "conv1": nn.Conv2d(3, 48, 11, stride=4),
            "conv2": nn.Conv2d(48, 128, 5, padding=2, groups=2),
            "conv3": nn.Conv2d(128, 192, 3, padding=1),
            "conv4": nn.Conv2d(192, 192, 3, padding=1, groups=2),
            "conv5": nn.Conv2d(192, 128, 3, padding=1, groups=2),
            "fc6": nn.Linear(4608, 2048),
            "fc7": nn.Linear(2048, 2048),
            "fc8": nn.Linear(2048, 1000),
        },
        "model.towers=1": {
            "norm1": LocalResponseNorm(96, 1),
            "conv2": nn.Conv2d(96, 256, 5, padding=2),
            "norm2": LocalResponseNorm(256, 1),
            "conv4": nn.Conv2d(384, 384, 3, padding=1),
            "conv5": nn.Conv2d(384, 256, 3, padding=1),
        },
        "model.sees_both_towers=[fc6,fc7]": {"conv3": nn.Conv2d(256, 384, 3, padding=1, groups=2)},
        "model.sees_both_towers=[conv3,fc6]": {"fc7": TowerLinear(4096, 4096, 2)},
        "model.sees_both_towers=[conv3,fc6,fc7,fc8]": {},
        "model.without=[conv2]": gone("conv2", "relu2", "norm2")
        | {"conv3": nn.Conv2d(96, 384, 3, padding=1)},
        "model.without=[conv3]": gone("conv3", "relu3")
        | {"conv4": nn.Conv2d(256, 384, 3, padding=1)},
        "model.without=[conv5]": gone("conv5", "relu5") | {"fc6": nn.Linear(384 * 36, 4096)},
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
        "model.dropout=0.3": {f"drop{i}": PaperDropout(0.3) for i in (6, 7)},
        "model.dropout_scaling=train": {f"drop{i}": nn.Dropout(0.5) for i in (6, 7)},
        "model.adaptive_pool=6": {"adaptive_pool": nn.AdaptiveAvgPool2d((6, 6))},
        "model.adaptive_pool=4": {"adaptive_pool": nn.AdaptiveAvgPool2d((4, 4))}
        | {"fc6": nn.Linear(256 * 16, 4096)},
        "model.dropout=0": gone("drop6", "drop7"),
        "model.dropout_after=[conv5,fc6]": {"drop6_in": PaperDropout(0.5), "drop7": None},
        **{
            f"model.lrn.{constant}={value}": {
                name: LocalResponseNorm(c, 2, **{constant: value}) for name, c in NORMS.items()
            }
            for constant, value in {"size": 3, "alpha": 1e-3, "beta": 0.5, "k": 1.0}.items()
        },
        "model.init.scheme=he": {},
    }


@pytest.mark.parametrize("overrides", CHANGES)
def test_a_field_changes_what_it_says_and_nothing_else(model_of: ModelOf, overrides: str) -> None:
    before, after = (
        reprs(on_meta(config)) for config in (model_of(), model_of(*overrides.split()))
    )
    changed = {
        name: after.get(name) for name in before | after if before.get(name) != after.get(name)
    }
    assert changed == {
        name: None if module is None else repr(module)
        for name, module in CHANGES[overrides].items()
    }
    assert [name for name in after if name in before] == [name for name in before if name in after]


@pytest.mark.parametrize("preset", ["torchvision", "d2l", "flowers_notebook"])
def test_presets_without_normalization_can_have_it(model_of: ModelOf, preset: str) -> None:
    for kind, module in (("batch", nn.BatchNorm2d), ("lrn", LocalResponseNorm)):
        network = on_meta(model_of(f"model={preset}", f"model.normalization={kind}"))
        norms = [name for name, layer in stages(network).items() if isinstance(layer, module)]
        assert norms == ["norm1", "norm2"]


@pytest.mark.parametrize(
    ("preset", "towers", "alpha", "k"),
    [
        ("paper", 2, 1e-4, 2.0),
        ("original", 2, 1e-4 / 5, 2.0),
        ("caffenet", 1, 1e-4 / 5, 1.0),
        ("cifar_local_lrn", 1, 1e-3 / 5, 1.0),
    ],
)
def test_constants_of_normalization(
    model_of: ModelOf, preset: str, towers: int, alpha: float, k: float
) -> None:
    norm = stages(on_meta(model_of(f"model={preset}")))["norm2"]
    found = [norm.towers, norm.size, norm.alpha, norm.beta, norm.k]
    assert found == pytest.approx([towers, 5, alpha, 0.75, k], rel=1e-12)


# Order


def order(model_of: ModelOf, *overrides: str) -> list[str]:
    return list(stages(on_meta(model_of(*overrides))))


def test_new_layers_stand_where_the_order_says(model_of: ModelOf) -> None:
    for override, neighbors in {
        "model.activation=tanh": "conv4 tanh4 conv5",
        "model.normalization=pair": "relu2 norm2 norm2b pool2",
        "model.conv.conv4.normalize=true": "relu4 norm4 conv5",
        "model.dropout_after=[conv5]": "flatten drop6_in fc6 relu6 fc7",
    }.items():
        assert f" {neighbors} " in " ".join(order(model_of, override))


CLASSIFIER = " flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
ORDERS = {
    "paper": "pad1 conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2"
    " conv3 relu3 conv4 relu4 conv5 relu5 pool5" + CLASSIFIER,
    "original": "pad1 conv1 norm1 pool1 relu1 conv2 relu2 norm2 norm2b pool2"
    " conv3 relu3 conv4 relu4 conv5 pool5 relu5" + CLASSIFIER,
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2"
    " conv3 relu3 conv4 relu4 conv5 relu5 pool5" + CLASSIFIER,
    "bvlc_alexnet": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2"
    " conv3 relu3 conv4 relu4 conv5 relu5 pool5" + CLASSIFIER,
    "cifar_small": "conv1 pool1 relu1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 pool3 flatten fc4",
    "cifar_local_lrn": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4"
    " flatten fc5",
}


@pytest.mark.parametrize("preset", ORDERS)
def test_order_of_layers_and_what_no_norm2_takes(model_of: ModelOf, preset: str) -> None:
    found = order(model_of, f"model={preset}")
    assert " ".join(found) == ORDERS[preset]
    less = order(model_of, f"model={preset}", "+experiment=no_norm2")
    assert less == [name for name in found if name not in ("norm2", "norm2b")] != found


def test_order_moves_layers_and_changes_none(model_of: ModelOf) -> None:
    base = reprs(on_meta(model_of()))
    moved = reprs(on_meta(model_of("model.order=[pool,normalization,activation]")))
    assert moved == base
    assert " ".join(moved) == (
        "pad1 conv1 pool1 norm1 relu1 conv2 pool2 norm2 relu2 conv3 relu3 conv4 relu4"
        " conv5 pool5 relu5" + CLASSIFIER
    )
    one = order(model_of, "model.conv.conv1.order=[pool,normalization,activation]")
    assert one[:8] == ["pad1", "conv1", "pool1", "norm1", "relu1", "conv2", "relu2", "norm2"]


# Mistakes

UNNORMALIZED = {name: replace(conv, normalize=False) for name, conv in ModelConfig().conv.items()}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("input_channels", 2, "model.input_channels=2"),
        ("classes", 1, "model.classes=1"),
        ("fc", [4096, 0], "model.fc[1]=0"),
        ("dropout", 1.0, "model.dropout=1.0"),
        ("without", ["conv1"], "model.without: no layer 'conv1'; choose from conv2"),
        ("sees_both_towers", ["conv9"], "model.sees_both_towers: no layer 'conv9'"),
        ("dropout_after", ["fc8"], "model.dropout_after: no layer 'fc8'"),
        ("order", [Step.pool, Step.pool, Step.activation], "model.order="),
        ("activation", "rlu", "model.activation=rlu must be one of ['relu', 'tanh', 'sigmoid']"),
        ("init", InitConfig(bias_layers=["fc9"]), "model.init.bias_layers: no layer 'fc9'"),
        ("init", InitConfig(layer_std={"conv0": 1.0}), "model.init.layer_std: no layer 'conv0'"),
        ("conv", UNNORMALIZED, "model.normalization=lrn has no layer to act on: set model.conv."),
        ("conv", {"conv2": ConvConfig()}, "model.conv"),
        ("conv", {"conv1": ConvConfig(channels=0)}, "model.conv.conv1.channels=0"),
        ("conv", {"conv1": ConvConfig(order=[Step.pool])}, "model.conv.conv1.order="),
        ("conv", {"conv1": ConvConfig(local=True)}, "model.conv.conv1.local=True needs"),
    ],
)
def test_mistakes_name_the_field(
    model_of: ModelOf, field: str, value: object, message: str
) -> None:
    later = replace(model_of())
    for change in (replace, lambda config, **_: (setattr(config, field, value), AlexNet(config))):
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            change(later, **{field: value})
        assert str(raised.value).startswith(message)

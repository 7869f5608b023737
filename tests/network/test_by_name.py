"""Networks by name, as a notebook builds them."""

import pytest
import torch

from alexnet_exp.config.model import LRNConfig, ModelConfig, Normalization
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.presets import preset
from tests.conftest import ComposeConfig


def test_the_defaults_are_the_paper() -> None:
    assert preset("paper") == ModelConfig(classes=1000, input_channels=3)


def test_fields_are_changed_as_on_a_command_line(compose_config: ComposeConfig) -> None:
    changed = preset(
        "caffenet", classes=10, input_channels=1, normalization="pair", fc=[512],
        lrn={"alpha": 5e-4}, conv={"conv3": {"channels": 100, "pool": "avg"}},
        order=["pool", "normalization", "activation"], init={"bias_layers": []},
        dropout_after=[], sees_both_towers=["conv3"],
    )  # fmt: skip
    assert changed == compose_config(
        "model=caffenet", "~recipe", "model.classes=10", "model.input_channels=1",
        "model.normalization=pair", "model.fc=[512]", "model.lrn.alpha=5e-4",
        "model.conv.conv3.channels=100", "model.conv.conv3.pool=avg",
        "model.order=[pool,normalization,activation]", "model.init.bias_layers=[]",
        "model.dropout_after=[]", "model.sees_both_towers=[conv3]",
    ).model  # fmt: skip
    for changed in (preset("paper", lrn=LRNConfig(alpha=1.0)), ModelConfig(lrn={"alpha": 1.0})):
        assert changed.lrn == LRNConfig(alpha=1.0)
    assert preset("paper", normalization=Normalization.none) == preset(
        "paper", normalization="none"
    )


def test_a_network_is_built_by_name() -> None:
    class Own(AlexNet):
        """Somebody's subclass."""

    with torch.device("meta"):
        network = Own.from_name("one_gpu", classes=10, normalization="none")
    assert type(network) is Own
    assert sum(p.numel() for p in network.parameters()) == 59_798_312 - 990 * 4097
    assert "norm1" not in dict(network.features.named_children())
    with pytest.raises(ValueError, match=r"model\.widht=1 sets no field"):
        ModelConfig().widht = 1
    with pytest.raises(ValueError, match=r"set model\.classes, .* model\.conv to build"):
        AlexNet(ModelConfig(classes=10, input_channels=3, conv={}))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("papr", {}, r"there is no model 'papr'; did you mean paper\?"),
        ("vgg", {}, "did you mean bvlc_alexnet or caffenet or cifar_local or .* or torchvision"),
        ("paper", {"clases": 10}, r"no field model\.clases; did you mean classes\?"),
        ("paper", {"lrn": {"alfa": 1}}, r"no field model\.lrn\.alfa; did you mean alpha"),
        ("paper", {"conv": {"conv3": {"kernl": 1}}}, r"no field model\.conv\.conv3\.kernl"),
        ("paper", {"activation": "swish"}, r"model\.activation: .*'swish'.*relu"),
        ("paper", {"lrn": {"size": 4}}, r"model\.lrn\.size=4 "),
    ],
)
def test_mistakes_are_named(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preset(name, **changes)

"""AlexNets as others teach them, against modules that are written out from their sources.

d2l: Dive into Deep Learning, section 8.1. flowers_notebook: ``AlexNet_v1`` of ``Test2_alexnet`` in
WZMIAOMIAO/deep-learning-for-image-processing, at the widths of its lecture. caffenet_notes:
``train_val.prototxt`` of Caffe's bvlc_reference_caffenet, its last layers as convolutions, as
Caffe's ``net_surgery.ipynb`` reads them. torchvision: its own class.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from alexnet_exp.network.alexnet import AlexNet
from tests.conftest import ComposeConfig
from tests.network.conftest import images, on_meta


def d2l() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 96, 11, 4, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(6400, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 10),
    )  # fmt: skip


def flowers_notebook() -> nn.Module:
    return nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 5),
    )  # fmt: skip


def caffenet_notes() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)

    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4), nn.ReLU(), pool(), norm(),
        nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(), pool(), norm(),
        nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, 1, 1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1, groups=2), nn.ReLU(), pool(),
        nn.Conv2d(256, 4096, 6), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4096, 1000, 1),
        nn.Flatten(),
    )  # fmt: skip


SOURCES: dict[str, tuple[int, int, Callable[[], nn.Module]]] = {  # parameters, classes
    "d2l": (46_764_746, 10, d2l),
    "flowers_notebook": (58_301_829, 5, flowers_notebook),
    "caffenet_notes": (60_965_224, 1000, caffenet_notes),
    "torchvision": (61_100_840, 1000, torchvision.models.alexnet),
}


@pytest.mark.parametrize("experiment", SOURCES)
def test_an_experiment_builds_and_computes_what_its_source_does(
    compose_config: ComposeConfig, experiment: str
) -> None:
    parameters, classes, source = SOURCES[experiment]
    config = compose_config(f"+experiment={experiment}")
    model = replace(config.model, classes=classes, input_channels=config.data.channels)
    assert model.input_size == (227 if experiment == "caffenet_notes" else 224)
    ours = on_meta(model)
    with torch.device("meta"):
        theirs = source()
    assert sum(weight.numel() for weight in theirs.parameters()) == parameters
    assert sum(weight.numel() for weight in ours.parameters()) == parameters
    share(ours, theirs)
    photo = images(model) * config.augmentation.scale
    with torch.no_grad():
        found, expected = ours.eval()(photo), theirs.eval()(photo)
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * largest)


def share(ours: AlexNet, theirs: nn.Module) -> None:
    """Give both the same weights, of a size that keeps the scale of what they see."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for (name, own), other in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        spread = (2 / own[0].numel()) ** 0.5 if own.ndim > 1 else 0.1
        state[name] = nn.Parameter(spread * torch.randn(own.shape, generator=generator))
        place, _, kind = other[0].rpartition(".")
        shared = nn.Parameter(state[name].detach().view(other[1].shape))
        setattr(theirs.get_submodule(place), kind, shared)
    ours.load_state_dict(state, assign=True)

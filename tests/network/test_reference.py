"""Our presets against the same networks written a second time (``reference.py``), in fp64."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from alexnet_exp.network.alexnet import AlexNet
from tests.network.conftest import ModelOf
from tests.network.reference import NETWORKS, Weights

TOLERANCE = 1e-12
"""Of the largest value: sums in another order differ by 1e-14."""


@dataclass
class Case:
    """A preset, an input size at which a pooling leaves a rest and fc6 sees 2 x 2 or more, its
    dropout and what else is changed.
    """

    preset: str
    input_size: int
    dropout: float = 0.5
    fields: dict[str, Any] = field(default_factory=lambda: {"width": 0.125})
    channels: int = 3

    def __str__(self) -> str:
        return f"{self.preset}-{self.input_size}-{self.dropout}"


CIFAR = [
    Case("cifar_small", 32, 0.0, {}),
    Case("cifar_small", 32, 0.2, {"dropout_after": ["conv3"]}),
    Case("cifar_local", 24, 0.0, {"width": 0.25}),
    Case("cifar_local_lrn", 24, 0.0, {"width": 0.25}),
]
SMALL = [
    Case(preset, size, dropout)
    for preset, size in {
        "paper": 100, "original": 100, "one_gpu": 100, "caffenet": 103, "bvlc_alexnet": 103,
        "torchvision": 100, "flowers_notebook": 104,
    }.items()
    for dropout in (0.5, 0.3)
] + [Case("d2l", 104, dropout, channels=1) for dropout in (0.5, 0.3)] + CIFAR  # fmt: skip


def network_of(case: Case, model_of: ModelOf) -> AlexNet:
    """The preset in fp64, with weights that keep the scale of their input, so that every part of
    it shows.
    """
    config = replace(
        model_of(f"model={case.preset}"), classes=7, input_channels=case.channels,
        input_size=case.input_size, dropout=case.dropout, **case.fields,
    )  # fmt: skip
    network = AlexNet(config).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in network.named_parameters():
            inputs = p.shape[1] if p.ndim == 3 else p[0].numel()  # 3: locally connected
            scale = 5.0 if name.endswith("bias") else (2 / inputs) ** 0.5
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return network


def images_of(case: Case) -> Tensor:
    shape = (2, case.channels, case.input_size, case.input_size)
    return 60 * torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()


def named(network: AlexNet) -> Weights:
    """Weights under the reference's names."""
    return {name.split(".", 1)[1]: p for name, p in network.named_parameters()}


def slopes(logits: Tensor, by: list[Tensor]) -> list[Tensor]:
    """Gradients of a sum of the logits with drawn factors."""
    factors = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).double()
    return list(torch.autograd.grad((logits * factors).sum(), by))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_outputs_and_gradients_equal_the_reference(
    case: Case, training: bool, model_of: ModelOf
) -> None:
    """Training with the same masks: both draw them from torch's generator, layer by layer."""
    network, images = network_of(case, model_of).train(training), images_of(case).requires_grad_()
    ours = named(network)
    theirs = {name: p.detach().clone().requires_grad_() for name, p in ours.items()}
    torch.manual_seed(3)
    our_logits = network(images)
    torch.manual_seed(3)
    their_logits = NETWORKS[case.preset](theirs, images, case.dropout, training)
    differences = {"logits": difference(our_logits, their_logits)}
    our_slopes = slopes(our_logits, [images, *ours.values()])
    their_slopes = slopes(their_logits, [images, *theirs.values()])
    names = ["images", *ours]
    for name, mine, other in zip(names, our_slopes, their_slopes, strict=True):
        differences[name] = difference(mine, other)
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize(
    "case",
    [
        Case(preset, size, fields={"width": 0.03}, channels=channels)
        for preset, size, channels in [
            ("paper", 224, 3), ("original", 224, 3), ("one_gpu", 224, 3), ("caffenet", 227, 3),
            ("bvlc_alexnet", 227, 3), ("torchvision", 224, 3), ("d2l", 224, 1),
            ("flowers_notebook", 224, 3),
        ]
    ],
    ids=str,
)  # fmt: skip
def test_outputs_at_full_size_equal_the_reference(case: Case, model_of: ModelOf) -> None:
    """Padding and rounding at the size that each was published with, which is ours unless told."""
    assert model_of(f"model={case.preset}").input_size == case.input_size
    network, images = network_of(case, model_of).eval(), images_of(case)
    with torch.no_grad():
        ours = network(images)
        theirs = NETWORKS[case.preset](named(network), images, case.dropout, False)
    assert difference(ours, theirs) < TOLERANCE


def test_the_comparison_tells_apart_networks_of_equal_weights(model_of: ModelOf) -> None:
    case = Case("paper", 99)
    weights, images = named(network_of(case, model_of)), images_of(case)
    with torch.no_grad():
        logits = [
            NETWORKS[preset](weights, images, case.dropout, False)
            for preset in ("paper", "original", "caffenet", "bvlc_alexnet")
        ]
    assert min(difference(a, b) for a, b in combinations(logits, 2)) > 0.1

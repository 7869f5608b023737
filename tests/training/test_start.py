"""Sharpness and signals against what can be computed directly."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.start import layer_signals, sharpness


def test_sharpness_is_that_of_exact_hessian_products() -> None:
    # A smooth network: central differences also see the kinks of ReLU, exact products do not.
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3))
    images, labels = torch.randn(8, 3, 2, 2), torch.arange(8) % 3
    parameters = list(network.parameters())
    loss = F.cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    vector = [torch.randn_like(p) for p in parameters]
    for _ in range(60):  # power iteration with exact products, by differentiating twice
        length = sum(v.square().sum() for v in vector).sqrt()
        vector = [v / length for v in vector]
        product = sum((g * v).sum() for g, v in zip(gradients, vector, strict=True))
        vector = list(torch.autograd.grad(product, parameters, retain_graph=True))
    largest = sum(v.square().sum() for v in vector).sqrt().item()
    before = [p.detach().clone() for p in parameters]
    assert sharpness(network, images, labels, iterations=60) == pytest.approx(largest, rel=0.01)
    assert all(torch.equal(p, q) for p, q in zip(before, parameters, strict=True))


def test_signals_are_means_and_spreads_over_images() -> None:
    network = AlexNet.from_name("cifar_small", classes=3, width=0.1).eval()
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 3
    conv1 = network.features.conv1(images)
    first, *_, last = layer_signals(network, images, labels)
    assert first.name == "conv1"
    assert first.constant == pytest.approx(conv1.mean(0).abs().mean().item(), rel=1e-5)
    assert first.signal == pytest.approx(conv1.std(0).mean().item(), rel=1e-5)
    assert last.signal == pytest.approx(network(images).std(0).mean().item(), rel=1e-5)

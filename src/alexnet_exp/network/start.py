"""How a network starts: what of an image reaches the output, and how steep the loss is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.network.alexnet import AlexNet, weighted_layers


@dataclass(frozen=True)
class LayerSignal:
    """The output of one layer over a batch, before its activation.

    ``constant`` is the mean size of what all images share, ``signal`` the mean standard deviation
    over images, ``gradient`` the norm of the loss's by the weights.
    """

    name: str
    constant: float
    signal: float
    gradient: float


def layer_signals(network: AlexNet, images: Tensor, labels: Tensor) -> list[LayerSignal]:
    """Signal and gradient of every layer with weights, of a network in evaluation mode.

    ``images`` are (N, C, s, s) float32, N at least 2; ``labels`` (N,) int64.
    """
    layers = weighted_layers(network)
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output.detach().clone())

    hooks = [module.register_forward_hook(keep) for _, module in layers]
    loss = F.cross_entropy(network(images), labels)
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(loss, [module.weight for _, module in layers])
    return [
        LayerSignal(
            name,
            output.mean(0).abs().mean().item(),
            output.std(0).mean().item(),
            gradient.norm().item(),
        )
        for (name, _), output, gradient in zip(layers, outputs, gradients, strict=True)
    ]


def sharpness(network: nn.Module, images: Tensor, labels: Tensor, iterations: int = 8) -> float:
    """Largest eigenvalue of the loss's Hessian, by power iteration.

    Products with the Hessian are central differences of the gradient over a step of length
    1e-3, so kinks of ReLU and pooling within it count as curvature. Gradient descent with
    momentum m oscillates and grows where the learning rate exceeds 2 (1 + m) over this. The
    arguments are those of ``layer_signals``; an iteration takes two gradients.
    """
    parameters = list(network.parameters())
    start = [p.detach().clone() for p in parameters]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator).to(p) for p in parameters]
    largest = 0.0
    size = 1e-3  # small enough that softmax does not saturate, large enough for fp32
    for _ in range(iterations):
        scale = size / _norm(direction)
        ends = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                for p, p0, d in zip(parameters, start, direction, strict=True):
                    p.copy_(p0 + sign * scale * d)
            loss = F.cross_entropy(network(images), labels)
            ends.append(torch.autograd.grad(loss, parameters))
        length = _norm(direction)
        direction = [(up - down) / (2 * scale) for up, down in zip(*ends, strict=True)]
        largest = _norm(direction) / length
    with torch.no_grad():
        for p, p0 in zip(parameters, start, strict=True):
            p.copy_(p0)
    return largest


def _norm(tensors: list[Tensor]) -> float:
    return sum(t.double().square().sum().item() for t in tensors) ** 0.5

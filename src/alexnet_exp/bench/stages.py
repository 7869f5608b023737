"""What each part of a step takes, timed by itself."""

import re
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.bench.steps import step
from alexnet_exp.bench.window import seconds_of
from alexnet_exp.config.training import Views
from alexnet_exp.data.datamodule import Batch, StoreDataModule
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.training.classifier import Classifier

_OPENS = re.compile(r"(pad|conv|norm|pool|fc|drop)")  # what else there is belongs to the one before


def network_stages(
    trainer: L.Trainer, classifier: Classifier, batch: Batch, seconds: float
) -> list[dict[str, Any]]:
    """Milliseconds of each layer, of the loss and of the optimizer, and of a whole step.

    Each is run by itself, forward and backward; an activation counts with the layer before it.
    What the whole step takes beyond the sum are metrics, learning rate and launches; where it
    takes less, parts of it run at once.

    Args:
        trainer, classifier: As training has set them up.
        batch: As the network receives it.
        seconds: Least time of each measurement.

    Returns:
        ``stage``, ``forward`` and ``backward`` (None where there is no such thing).
    """
    precision: Any = trainer.precision_plugin
    device = batch["images"].device
    # Every call has a context of its own: within one, weights are rounded to bf16 once.
    context = precision.train_step_context
    found = []
    x = batch["images"].to(classifier.dtype)
    x = x.contiguous(memory_format=classifier.memory_format)
    for name, layer in layer_groups(classifier.network):
        forward, backward, x = _passes(layer, x, context, device, seconds)
        found.append(_stage(name, forward, backward))
    smoothing = classifier.config.optim.label_smoothing

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), batch["labels"], label_smoothing=smoothing)

    forward, backward, _ = _passes(loss, x, context, device, seconds)
    found.append(_stage("loss", forward, backward))
    step(trainer, classifier, batch, 0)  # leaves gradients
    optimizer = classifier.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    found.append(_stage("optimizer", seconds_of(optimizer.step, device, seconds), None))
    whole = seconds_of(lambda: step(trainer, classifier, batch, 0), device, seconds)
    return [*found, _stage("whole step", whole, None)]


def layer_groups(network: AlexNet) -> Iterator[tuple[str, nn.Module]]:
    """Layers in order, each with its padding before it and its activation after it."""
    for part in (network.features, network.classifier):
        groups: list[tuple[str, list[nn.Module]]] = []
        for name, layer in part.named_children():
            follows_padding = bool(groups) and groups[-1][0].startswith("pad")
            if follows_padding:
                groups[-1] = (name, [*groups[-1][1], layer])
            elif _OPENS.match(name) or not groups:
                groups.append((name, [layer]))
            else:
                groups[-1][1].append(layer)
        if part is network.classifier:
            groups[0][1].insert(0, nn.Flatten())
        for name, layers in groups:
            yield name, nn.Sequential(*layers)


def _passes(
    layer: Any, x: Tensor, context: Any, device: torch.device, seconds: float
) -> tuple[float, float | None, Tensor]:
    """Seconds forward and backward, and what comes out, as the next layer's input."""

    def forward() -> Tensor:
        with context():
            y: Tensor = layer(x)
            return y

    y = forward()
    parameters = list(layer.parameters()) if isinstance(layer, nn.Module) else []
    wanted = [one for one in (x, *parameters) if one.requires_grad]
    backward = None
    if wanted:
        gradient = torch.ones_like(y)
        backward = seconds_of(
            lambda: torch.autograd.grad(y, wanted, gradient, retain_graph=True), device, seconds
        )
    return seconds_of(forward, device, seconds), backward, y.detach().requires_grad_()


def input_stages(
    module: StoreDataModule, device: torch.device, seconds: float
) -> list[dict[str, Any]]:
    """Milliseconds of a batch's way: the loader, and the augmentation, which reads what is mapped.

    Args:
        module: As training has set it up.
        device: That augments.
        seconds: Least time of each measurement.
    """
    loader = chain.from_iterable(repeat(module.train_dataloader()))  # one epoch may be too short
    read = seconds_of(lambda: next(loader), device, seconds)
    batch = next(loader)
    augment = seconds_of(lambda: module.finish(batch, Views.one), device, seconds)
    return [_stage("loader", read, None), _stage("augmentation", augment, None)]


def _stage(name: str, forward: float, backward: float | None) -> dict[str, Any]:
    """In milliseconds."""
    return {
        "stage": name,
        "forward": 1e3 * forward,
        "backward": None if backward is None else 1e3 * backward,
    }

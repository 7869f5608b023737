"""Weights as tensors alone: safetensors, and torchvision's state dict."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from alexnet_exp.config.model import ModelConfig
from alexnet_exp.errors import UserError
from alexnet_exp.export.portable import Trained
from alexnet_exp.export.programs import MOST_APART
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.presets import preset
from alexnet_exp.network.pretrained import MEAN, STD, differing_fields, to_torchvision
from alexnet_exp.training.checkpoint import SAFETENSORS_KEY, STATISTICS


def write_safetensors(trained: Trained, file: Path) -> str:
    """Write weights, mean image and covariance, with configuration and classes in the metadata.

    ``Classifier.load`` reads it back. Returns what it holds, for the user.
    """
    from safetensors.torch import save

    classifier = trained.classifier
    tensors = dict(classifier.state_dict())
    tensors |= {f"{STATISTICS}{name}": value for name, value in classifier.statistics.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # Its save_file lets nobody but the owner read.
    file.write_bytes(save(tensors, {"format": "pt", SAFETENSORS_KEY: trained.to_json()}))
    count = sum(parameter.numel() for parameter in classifier.parameters())
    return f"{count:,} weights, mean image, configuration; Classifier.load reads it"


def write_torchvision(trained: Trained, file: Path) -> str:
    """Write the state dict of ``torchvision.models.alexnet``, for inputs on torchvision's scale.

    Inputs are pixels over 255, less a mean, over torchvision's standard deviation of each channel.
    The mean is torchvision's where training started from its weights; else it is an image, (C, S,
    S) float32, which is written beside as ``<name>.mean.pth``.

    Returns:
        What it takes, for the user.

    Raises:
        UserError: The network is another.
        RuntimeError: torchvision's network gives other probabilities.
    """
    classifier, model = trained.classifier, trained.classifier.config.model
    _refuse_other(model, file)
    network = classifier.network
    assert isinstance(network, AlexNet)
    augmentation = classifier.augmentation
    state = to_torchvision(network.state_dict(), augmentation.config.scale)
    mean = augmentation.mean.permute(2, 0, 1) / 255
    _save(state, file)
    expected = torch.tensor(MEAN)[:, None, None]
    said = f"inputs (pixels / 255 - ({_listed(MEAN)})) / ({_listed(STD)}), as torchvision's own"
    if (mean - expected).abs().max() > 1e-6:
        beside = file.with_suffix(".mean.pth")
        _save(mean.contiguous(), beside)
        said = f"inputs (pixels / 255 - the mean image in {beside.name}) / ({_listed(STD)})"
    _check(trained, file, mean)
    return f"torchvision.models.alexnet(num_classes={model.classes}); {said}"


def _save(content: Any, file: Path) -> None:
    written = io.BytesIO()  # a full disk is no OSError where torch writes a file
    torch.save(content, written)
    file.write_bytes(written.getbuffer())


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _refuse_other(model: ModelConfig, file: Path) -> None:
    theirs = preset("torchvision", classes=model.classes)
    differing = differing_fields(asdict(model), asdict(theirs))
    differing += [
        name
        for name in ("fc", "width", "input_channels")
        if getattr(model, name) != getattr(theirs, name)
    ]
    if differing:
        raise UserError(
            f"{file.name}: torchvision's alexnet is another network than this one, which differs by"
            f" model.{', model.'.join(sorted(differing))}: train model=torchvision, or write"
            " .safetensors, .onnx or .pt2"
        )


def _check(trained: Trained, file: Path, mean: torch.Tensor) -> None:
    """See that torchvision's network gives what ours gives, for an image of coarse noise."""
    from torchvision.models import alexnet

    classifier = trained.classifier
    side = classifier.config.model.input_size
    with torch.device("meta"):
        theirs = alexnet(num_classes=classifier.config.model.classes).eval()
    theirs.load_state_dict(torch.load(file, weights_only=True), assign=True)
    coarse = 255 * torch.rand((2, 3, 9, 9), generator=torch.Generator().manual_seed(0))
    pixels = F.interpolate(coarse, (side, side), mode="bilinear")
    part = mean[:, :side, :side]
    std = torch.tensor(STD)[:, None, None]
    scale = classifier.config.augmentation.scale
    with torch.inference_mode():
        expected = classifier.probabilities((pixels - 255 * part) * scale)
        apart = (theirs((pixels / 255 - part) / std).softmax(1) - expected).abs().max().item()
    if not apart <= MOST_APART:
        raise RuntimeError(f"torchvision's network gives probabilities that are {apart:.2g} apart")

"""Weights of others, for the preset that is their network."""

import re
from collections.abc import Mapping

from torch import Tensor

from alexnet_exp.network.alexnet import AlexNet, weighted_layers


def from_torchvision(model: AlexNet, state: Mapping[str, Tensor]) -> AlexNet:
    """Load the weights of ``torchvision.models.alexnet`` into the ``torchvision`` preset.

    Args:
        model: Network of the preset ``torchvision``.
        state: State dict of torchvision's model (features.0.weight, ..., classifier.6.bias).

    Returns:
        ``model``, changed in place.

    Raises:
        ValueError: A layer's shape differs or a key is missing.
    """
    foreign = [key for key in state if not re.fullmatch(r"(features|classifier)\.\d+\.\w+", key)]
    if foreign:
        raise ValueError(f"{foreign[0]} is not of torchvision's alexnet: pass its state dict")
    # Both lists run in network order; torchvision numbers its layers within each Sequential.
    theirs = sorted(
        {key.rpartition(".")[0] for key in state},
        key=lambda name: (name.split(".")[0] != "features", int(name.split(".")[1])),
    )
    ours = weighted_layers(model)
    if len(theirs) != len(ours):
        raise ValueError(
            f"torchvision's alexnet has {len(theirs)} layers, this has {len(ours)}: use"
            " model=torchvision"
        )
    pairs = []
    for (name, module), key in zip(ours, theirs, strict=True):
        for part in ("weight", "bias"):
            source, target = state.get(f"{key}.{part}"), getattr(module, part)
            if source is None:
                raise ValueError(f"{key}.{part} is missing from torchvision's state dict")
            if source.shape != target.shape:
                raise ValueError(
                    f"{key}.{part} has shape {tuple(source.shape)}, {name} needs"
                    f" {tuple(target.shape)}: use model=torchvision"
                    f" and model.classes={state[theirs[-1] + '.weight'].shape[0]}"
                )
            pairs.append((target, source))
    for target, source in pairs:
        target.data.copy_(source)
    return model

"""Weights of others, for the preset that is their network."""

from collections.abc import Mapping

from torch import Tensor

from alexnet_exp.network.alexnet import AlexNet

_LAYERS = (*(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6)))


def from_torchvision(model: AlexNet, state: Mapping[str, Tensor]) -> AlexNet:
    """Load the weights of ``torchvision.models.alexnet`` into the ``torchvision`` preset.

    Args:
        model: Network of the preset ``torchvision``.
        state: State dict of torchvision's model (features.0.weight, ..., classifier.6.bias).

    Returns:
        ``model``, changed in place.

    Raises:
        ValueError: A layer's shape differs, or a key is missing or of another network.
    """
    keys = [f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")]
    for key in keys:
        if key not in state:
            raise ValueError(f"{key} is missing from the state dict of torchvision's alexnet")
    for key in state:
        if key not in keys:
            raise ValueError(f"{key} is not of torchvision's alexnet: pass its state dict")
    ours = dict(model.named_parameters())  # in network order, as theirs
    if [parameter.shape for parameter in ours.values()] != [state[key].shape for key in keys]:
        raise ValueError(
            "the shapes are not those of torchvision's alexnet: use model=torchvision and"
            f" model.classes={len(state[keys[-1]])}"
        )
    model.load_state_dict({name: state[key] for name, key in zip(ours, keys, strict=True)})
    return model

"""Weights of others, for the preset that is their network.

Our networks are given pixels from 0 to 255, RGB, less a mean image. Caffe's images were warped to
256 x 256 pixels, where ours are cut; so its weights' errors differ a little from those published.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet_exp.config import Config, leaves
from alexnet_exp.config.model import DropoutScaling, ModelConfig
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.caffemodel import read_layers, read_mean, unreadable
from alexnet_exp.network.presets import preset

_LAYERS = (*(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6)))
_OURS = (*(f"features.conv{i}" for i in range(1, 6)), *(f"classifier.fc{i}" for i in (6, 7, 8)))
_PARTS = ("weight", "bias")

# Fields that say nothing of how a network computes.
_ASIDE = {"name", "init", "classes", "input_channels", "weights", "weights_mean", "weights_digest"}
# Those of which shapes tell, and those that a used network knows nothing of if it was scaled in
# training.
_SHAPES, _DROPOUT = {"fc", "width", "input_size"}, {"dropout", "dropout_after"}

# What torchvision's weights expect: of pixels over 255, RGB.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (123.0, 117.0, 104.0)  # RGB, of Caffe's examples


@dataclass(frozen=True)
class Weights:
    """What a file holds, as one of our networks takes it.

    Attributes:
        path: The file.
        presets: ``model=`` of the networks that it may be of.
        state: State dict by our names.
        mean: Mean image that is subtracted from pixels, (S, S, C), or of each channel (C,).
        mean_image: Whether it was subtracted: ``augmentation.mean_image``.
        scale: Factor of the pixels that its first layer expects: ``augmentation.scale``.
        model: Of our own: fields of the network that was trained.
        class_names: Of our own: its classes in order.
        note: What was assumed.
    """

    path: Path
    presets: tuple[str, ...]
    state: dict[str, Tensor]
    mean: Tensor
    mean_image: bool = True
    scale: float = 1.0
    model: Mapping[str, Any] | None = None
    class_names: Sequence[str] = ()
    note: str = ""

    @property
    def classes(self) -> int:
        """Number of its output units."""
        return len(self.state[list(self.state)[-1]])

    def is_for(self, class_names: Sequence[str]) -> bool:
        """Whether its output is for these classes in this order, as far as the file tells."""
        known = self.class_names or class_names
        return self.classes == len(class_names) and list(known) == list(class_names)


def load_weights(
    network: AlexNet, weights: Weights, config: Config, class_names: Sequence[str]
) -> tuple[Tensor, list[str]]:
    """Have ``network`` start from ``weights``, in place.

    An output layer for other classes keeps its own first weights.

    Returns:
        Mean image (S, S, C) float32 that is to be subtracted, and lines that say what was done.

    Raises:
        UserError: They are of another network, or expect other images.
    """
    path, model = weights.path, config.model
    ours, theirs = network.state_dict(), dict(weights.state)
    output, same = network.plan[-1].name, weights.is_for(class_names)
    for name in () if same else ours.keys() & theirs.keys():
        if name.split(".")[-2] == output and ours[name].shape[1:] == theirs[name].shape[1:]:
            theirs[name] = ours[name]
    for name in {**ours, **theirs}:
        here, there = (tuple(s[name].shape) if name in s else "missing" for s in (ours, theirs))
        if here != there:
            raise UserError(
                f"model.weights={path}: {name.partition('.')[2]} is {there} in the file and {here}"
                f" in model={model.name}: {_way_out(weights, model, config.recipe)}"
            )
        if name in theirs and not theirs[name].isfinite().all():
            raise UserError(
                f"model.weights={path}: {name.partition('.')[2]} has values that are not finite:"
                " the file is damaged, or its training diverged"
            )
    theirs_as = [weights.model] if weights.model else [asdict(preset(n)) for n in weights.presets]
    others = [differing_fields(asdict(model), other) for other in theirs_as]
    if differing := min(others, key=len):
        raise UserError(
            f"model.weights={path} is of a network that computes otherwise than this one, by model."
            f"{', model.'.join(sorted(differing))}: {_way_out(weights, model, config.recipe)}"
        )
    if config.augmentation.mean_image != weights.mean_image:
        raise UserError(
            f"model.weights={path} was trained with augmentation.mean_image={weights.mean_image}:"
            " set it"
        )
    mean, data = weights.mean.float(), config.data
    if mean.ndim == 1:
        mean = mean.expand(data.image_size, data.image_size, -1)
    if len(mean) not in (data.image_size, data.upscale_to) or mean.shape[0] != mean.shape[1]:
        fits = mean.shape[0] == mean.shape[1] >= config.model.input_size
        raise UserError(
            f"the mean image of model.weights={path} is {mean.shape[1]} x {len(mean)} pixels and"
            f" those of data={data.name} are {data.image_size} wide: "
            + (f"set data.image_size={len(mean)}" if fits else "no data.image_size fits it")
        )
    first = f"features.{network.plan[0].name}.weight"
    theirs[first] = theirs[first] * (weights.scale / config.augmentation.scale)
    network.load_state_dict(theirs)
    kept = f"is kept for {weights.classes} classes, taken to be those of data={data.name} in order"
    if not same:
        kept = f"starts anew: {weights.classes} classes there, {model.classes} here"
        kept += ", of other names" * (weights.classes == model.classes)
    lines = [f"weights: from {path}{weights.note}"]
    lines += [f"weights: {output} {kept}"] * (not same or not weights.class_names)
    return mean.contiguous(), lines


def differing_fields(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Fields of ``ModelConfig`` by which two networks with the same shapes compute otherwise.

    Both are as ``asdict`` or a checkpoint has them.
    """
    scaled = own["dropout_scaling"] == other.get("dropout_scaling") == DropoutScaling.train
    binding = own.keys() - _ASIDE - _SHAPES - (_DROPOUT if scaled else set())
    return [name for name in binding if own[name] != other.get(name)]


def _way_out(weights: Weights, model: ModelConfig, recipe: str) -> str:
    """What to set so that the network is that of the weights."""
    if weights.model is None:
        changed = model.name in weights.presets and recipe != "paper"
        return (
            f"use model={' or model='.join(weights.presets)} as it is, or weights of this one"
        ) + f" (recipe={recipe} may change it, recipe=paper does not)" * changed
    theirs, ours = (dict(leaves(dict(one))) for one in (weights.model, asdict(model)))
    binding = {name for name in theirs if name.partition(".")[0] not in _ASIDE}
    differing = [name for name in theirs if name in binding and theirs[name] != ours.get(name)]
    if not differing:
        return "another version of alexnet_exp wrote the file; train it again"
    if weights.model["name"] != model.name:
        return f"set model={weights.model['name']}"
    values = {name: theirs[name] for name in differing}
    said = (f"model.{n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in values.items())
    return f"set {shlex.join(said)}"


def read_weights(model: ModelConfig) -> Weights:
    """What ``model.weights`` and ``model.weights_mean`` hold.

    Raises:
        UserError: A file is missing, damaged, or of another kind.
    """
    path = _file(model)
    if path.suffix == ".caffemodel":
        return _of_caffe(path, _file(model, "weights_mean") if model.weights_mean else None)
    if model.weights_mean is not None:
        raise UserError(f"model.weights_mean goes with a .caffemodel, and {path} has its own mean")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any kind, of which torch's reader may raise anything
        raise _unreadable(path) from error
    if isinstance(content, Mapping) and {"statistics", "hyper_parameters"} <= content.keys():
        return _of_ours(path, content)
    state = content if isinstance(content, Mapping) else {}
    state = state.get("state_dict", state.get("model", state))
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _unreadable(path)
    return _of_torchvision(path, {key.replace("module.", ""): v for key, v in state.items()})


def weights_files(model: ModelConfig) -> dict[str, Path]:
    """The files that ``model.weights`` and ``model.weights_mean`` name, by field.

    Raises:
        UserError: There is no such file.
    """
    names = [name for name in ("weights", "weights_mean") if getattr(model, name) is not None]
    return {name: _file(model, name) for name in names}


def digest(model: ModelConfig, recorded: Mapping[str, Any]) -> str | None:
    """SHA-256, 16 digits, of the files' content; None without weights.

    Of files that are gone since the run began it is the one that the run recorded: only its start
    reads them. ``recorded`` is the model of the run's config.yaml.

    Raises:
        UserError: There is no such file.
    """
    if model.weights is None:
        return None
    names = [name for name in ("weights", "weights_mean") if getattr(model, name) is not None]
    same = all(recorded.get(name) == getattr(model, name) for name in names)
    gone = not all(Path(getattr(model, name)).expanduser().exists() for name in names)
    if gone and same and recorded.get("weights_digest"):
        return str(recorded["weights_digest"])
    hashed = hashlib.sha256()
    for name, file in weights_files(model).items():
        try:
            with file.open("rb") as opened:
                hashed.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise UserError(f"model.{name}={file} can't be read: {error.strerror}") from error
    return hashed.hexdigest()[:16]


def from_torchvision(model: AlexNet, state: Mapping[str, Tensor]) -> AlexNet:
    """Load the weights of ``torchvision.models.alexnet`` into the ``torchvision`` preset.

    It is then their network, which expects pixels as theirs does: over 255, less a mean, over a
    standard deviation. (``model.weights=<file>`` makes one that is given pixels from 0 to 255.)

    Args:
        model: Network of the preset ``torchvision``.
        state: State dict of torchvision's model (features.0.weight, ..., classifier.6.bias).

    Returns:
        ``model``, changed in place.

    Raises:
        ValueError: A layer's shape differs, or a key is missing or of another network.
    """
    named = _by_our_names(state)
    ours = dict(model.named_parameters())
    if {k: p.shape for k, p in ours.items()} != {k: p.shape for k, p in named.items()}:
        raise ValueError(
            "the shapes are not those of torchvision's alexnet: use model=torchvision and"
            f" model.classes={len(named['classifier.fc8.bias'])}"
        )
    model.load_state_dict(named)
    return model


def to_torchvision(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The state dict of ``torchvision.models.alexnet`` for weights of the preset ``torchvision``.

    Its inputs are pixels over 255, less what ours are less, over 255, and over ``STD``.

    Args:
        state: Of our network.
        scale: Factor of its pixels: ``augmentation.scale``.
    """
    keys = (f"{layer}.{part}" for layer in _LAYERS for part in _PARTS)
    names = (f"{layer}.{part}" for layer in _OURS for part in _PARTS)
    named = {key: state[name] for key, name in zip(keys, names, strict=True)}
    std = 255 * torch.tensor(STD, dtype=torch.float64)
    first = named["features.0.weight"]
    named["features.0.weight"] = (first * (scale * std[:, None, None])).to(first.dtype)
    return named


def _by_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's state dict by the names of our preset."""
    keys = [f"{layer}.{part}" for layer in _LAYERS for part in _PARTS]
    for key in keys:
        if key not in state:
            raise ValueError(f"{key} is missing from the state dict of torchvision's alexnet")
    for key in state:
        if key not in keys:
            raise ValueError(f"{key} is not of torchvision's alexnet: pass its state dict")
    names = (f"{layer}.{part}" for layer in _OURS for part in _PARTS)
    return {name: state[key] for name, key in zip(names, keys, strict=True)}


def _of_torchvision(path: Path, state: Mapping[str, Tensor]) -> Weights:
    """``W ((x / 255 - m) / s)`` is ``W / (255 s) (x - 255 m)``; what pads is 0 in both."""
    try:
        named = _by_our_names(state)
    except ValueError as error:
        raise UserError(f"model.weights={path}: {error}") from error
    if not all(map(_is_weight, named.values())):
        raise _unreadable(path)
    mean, std = (255 * torch.tensor(v, dtype=torch.float64) for v in (MEAN, STD))
    first = named["features.conv1.weight"]
    if first.ndim == 4 and first.shape[1] == len(std):
        named["features.conv1.weight"] = first.double() / std[:, None, None]
    return Weights(path, ("torchvision",), named, mean)


def _of_caffe(path: Path, mean_file: Path | None) -> Weights:
    layers = read_layers(path)
    state: dict[str, Tensor] = {}
    for ours in _OURS:
        name = ours.partition(".")[2]
        blobs = layers.get(name, [])
        if len(blobs) != len(_PARTS):
            raise UserError(
                f"model.weights={path} has no layer {name} with weight and bias: it is not Caffe's"
                " bvlc_alexnet or bvlc_reference_caffenet, or not all of it"
            )
        weight, bias = blobs
        if name.startswith("fc") and weight.shape[:-2] == (1, 1):  # in old files
            weight = weight[0, 0]
        if weight.ndim != (2 if name.startswith("fc") else 4):
            raise unreadable(path)
        state |= {f"{ours}.weight": weight, f"{ours}.bias": bias.flatten()}
    state["features.conv1.weight"] = state["features.conv1.weight"].flip(1)  # BGR
    order = [name for name in layers if name in ("norm1", "pool1")]
    presets: tuple[str, ...] = ("bvlc_alexnet", "caffenet")
    if len(order) == 2:
        presets = ("bvlc_alexnet",) if order[0] == "norm1" else ("caffenet",)
    if mean_file is not None:
        return Weights(path, presets, state, read_mean(mean_file))
    note = ", less Caffe's channel means (model.weights_mean=<file>.binaryproto: its mean image)"
    return Weights(path, presets, state, torch.tensor(_CAFFE_MEAN), note=note)


def _of_ours(path: Path, content: Mapping[str, Any]) -> Weights:
    """A checkpoint that training wrote."""
    recorded = content["hyper_parameters"]["config"]
    state = {name.removeprefix("network."): value for name, value in content["state_dict"].items()
             if name.startswith("network.")}  # fmt: skip
    mean, names = content["statistics"]["mean"], content["hyper_parameters"]["class_names"]
    augmentation, model = recorded["augmentation"], recorded["model"]
    return Weights(path, (model["name"],), state, mean, augmentation["mean_image"],
                   augmentation["scale"], model, names)  # fmt: skip


def _file(model: ModelConfig, name: str = "weights") -> Path:
    """The file that ``model.<name>`` names; of a run folder its best checkpoint."""
    path = Path(getattr(model, name)).expanduser()
    path = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"model.{name}={path} does not exist: name a file or a run folder, or leave it out"
        )
    return path


def _is_weight(value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout == torch.strided
    return dense and value.is_floating_point() and value.ndim > 0


def _unreadable(path: Path) -> UserError:
    return UserError(
        f"model.weights={path} is damaged or holds no weights: it takes what"
        " torch.save(model.state_dict(), file) wrote, Caffe's <file>.caffemodel, or a run folder"
    )

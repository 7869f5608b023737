"""Reading the checkpoints that training wrote."""

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from alexnet_exp.config import Config, leaves, to_config, to_plain
from alexnet_exp.config.arguments import no_field
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.errors import UserError
from alexnet_exp.runs.identity import bearing
from alexnet_exp.runs.read import run_folders

_CHANGED = {"data": "root", "evaluation": "views", "trainer": "precision", "speed": "kernels"}
"""Of some groups a field that one would change in a run that is over."""

_GIVEN = {
    "data": ["image_size", "channels", "upscale_to"],
    "augmentation": ["scale", "mean_image"],
}
"""What decides how an image is given to a network, and so belongs to its weights."""

SAFETENSORS_KEY, STATISTICS = "alexnet_exp", "statistics."
"""In a .safetensors file: what of its metadata is ours, and how names of statistics begin."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, or of a run folder's best one, memory-mapped on the CPU.

    Also of a .safetensors file that ``alexnet_exp.export`` wrote, or of a folder with one.

    Raises:
        UserError: There is no such file, it is damaged, or another program wrote it.
    """
    folder = path
    if path.is_dir():
        exported = path / "model.safetensors"
        path = exported if exported.exists() else path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        inside = [run for run in run_folders(folder) if run != folder]
        if inside:
            raise UserError(
                f"{folder} is no run, it holds {len(inside)}: name one of them, such as {inside[0]}"
            )
        if folder.is_dir():
            raise UserError(
                f"{folder} has no {path.relative_to(folder)}: name a run folder that has one, or"
                " train this one to its end"
            )
        raise UserError(f"{path} does not exist: {_way_out(path)}")
    if path.suffix == ".safetensors":
        return _exported(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        recorded = content["hyper_parameters"]["config"]
        _ = content["state_dict"], content["statistics"], recorded["model"], recorded["data"]
        _ = content["hyper_parameters"]["class_names"]
    except (
        OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, TypeError,
    ) as error:  # fmt: skip
        raise damaged(path) from error
    return content


def digest(module: torch.nn.Module) -> bytes:
    """Of all weights of a network: the same for the same ones."""
    found = hashlib.blake2b()
    for tensor in module.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.digest()


def run_of(path: Path) -> Path:
    """The run folder that a path is, or is a checkpoint of; or the folder around the file."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def is_unfinished(path: Path) -> bool:
    """Whether a path is, or is a checkpoint of, a run that has not finished."""
    run = run_of(path)
    return (run / "config.yaml").exists() and not (run / "result.json").exists()


def _exported(path: Path) -> dict[str, Any]:
    """The content of a .safetensors file that ``alexnet_exp.export`` wrote, as a checkpoint's."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(
            f"{path} needs the library safetensors: pip install 'alexnet-exp[export]'"
        ) from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            recorded = json.loads(file.metadata()[SAFETENSORS_KEY])
        _ = recorded["config"]["model"], recorded["config"]["data"], recorded["class_names"]
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(path) from error
    parts: dict[str, dict[str, Any]] = {"": {}, STATISTICS: {}}
    for name, tensor in tensors.items():
        prefix = STATISTICS if name.startswith(STATISTICS) else ""
        parts[prefix][name.removeprefix(prefix)] = tensor
    return {"hyper_parameters": recorded, "state_dict": parts[""], "statistics": parts[STATISTICS]}


def damaged(path: Path) -> UserError:
    """What a checkpoint is that can't be used."""
    return UserError(f"{path} is no checkpoint of alexnet_exp, or damaged: {_way_out(path)}")


def _way_out(path: Path) -> str:
    again = f", or remove {run_of(path)} to train again" * path.match("checkpoints/*.ckpt")
    return f"name a run folder or another checkpoint{again}"


def recorded_config(recorded: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration that a checkpoint holds, with ``path=value`` changes.

    Raises:
        UserError: An override names no field or has a wrong value, or the network had fewer fields
            when it was recorded.
    """
    composed = OmegaConf.structured(Config(model=ModelConfig(conv={})))  # the recorded ones alone
    named = [override.partition("=")[0] for override in overrides]
    for name in named:
        if name.startswith(("~", "+")):
            raise UserError(
                f"{name}: values of a recorded configuration can be changed, as in"
                " evaluation.views=one; nothing is added or taken out"
            )
        if "." not in name and isinstance(composed.get(name), DictConfig):
            such = f", such as {name}.{_CHANGED[name]}=..." if name in _CHANGED else ""
            raise UserError(
                f"{name}=...: that was chosen in training; single fields can be changed{such}"
            )
    try:
        changes = OmegaConf.from_dotlist(list(overrides))
        merged = OmegaConf.merge(composed, dict(recorded), changes)
    except (OmegaConfBaseException, YAMLError) as error:
        if isinstance(error, ConfigKeyError) and is_dataclass(error.object_type):
            names = [field.name for field in fields(error.object_type)]
            raise no_field(str(error.full_key), names) from error
        reason = str(error).splitlines()[0]
        raise UserError(f"{' '.join(overrides)}: {reason}" if overrides else reason) from error
    assert isinstance(merged, DictConfig)
    config = to_config(merged)
    told = {*named, *(f"model.{path}" for path, _ in leaves(dict(recorded["model"])))}
    silent = [path for path, _ in leaves({"model": to_plain(config)["model"]}) if path not in told]
    if silent:
        raise UserError(
            f"the checkpoint does not say {', '.join(silent)}: another version of alexnet_exp wrote"
            " it. Load it with that version, or say what it was, as in"
            f" Classifier.load(path, '{silent[0]}=...')"
        )
    return config


def refuse_other_network(content: dict[str, Any], config: Config, path: Path) -> None:
    """See that a checkpoint's network is the one that ``config`` describes, began with the same
    weights, and is given images as it was in training.

    Raises:
        UserError: It is another; the message names the fields that differ.
    """
    theirs, ours = content["hyper_parameters"]["config"], to_plain(config)
    given = {"model": [*bearing(ours["model"], "model.")], **_GIVEN}
    changed = [
        f"{group}.{key} is {ours[group][key]} here and {theirs[group].get(key)} there"
        for group, keys in given.items()
        for key in keys
        if ours[group][key] != theirs.get(group, {}).get(key, ours[group][key])
    ]
    if changed:
        is_other = any(change.startswith("model.") for change in changed)
        what = "holds another network" if is_other else "was trained on images of another kind"
        raise UserError(
            f"checkpoint {path} {what}: {'; '.join(changed)}. Use its own"
            " configuration, or another checkpoint"
        )

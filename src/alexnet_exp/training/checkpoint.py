"""Reading the checkpoints that training wrote."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from alexnet_exp.config import Config, to_config, to_plain
from alexnet_exp.errors import UserError


def find_checkpoint(path: Path) -> Path:
    """``path``, or of a run folder its best checkpoint.

    Raises:
        UserError: There is no such file.
    """
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"checkpoint {file} does not exist: choose another, or remove its run folder to train"
            " again"
        )
    return file


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, its arrays memory-mapped on the CPU.

    Raises:
        UserError: There is no such file, it is damaged, or another program wrote it.
    """
    path = find_checkpoint(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        known = {"model", "data"} <= set(content["hyper_parameters"]["config"])
        known = known and "state_dict" in content
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise UserError(
            f"checkpoint {path} is damaged or not one of alexnet_exp's: choose another, or remove"
            " its run folder to train again"
        ) from error
    if not known:
        raise UserError(f"checkpoint {path} is not one of alexnet_exp's")
    return content


def recorded_config(recorded: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration that a checkpoint or config.yaml holds, with changes.

    Args:
        recorded: Plain dicts.
        overrides: ``path=value`` each, as on the command line.

    Raises:
        UserError: An override names no field or has a wrong value.
    """
    composed = OmegaConf.structured(Config)
    for name in (override.partition("=")[0] for override in overrides):
        if "." not in name and isinstance(composed.get(name), DictConfig):
            raise UserError(
                f"{name}=...: a checkpoint keeps its options; single fields can be changed, such as"
                f" {name}.{next(field for field in composed[name] if field != 'name')}=..."
            )
    try:
        changes = OmegaConf.from_dotlist(list(overrides))
        merged = OmegaConf.merge(composed, dict(recorded), changes)
    except (OmegaConfBaseException, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{' '.join(overrides)}: {reason}" if overrides else reason) from error
    assert isinstance(merged, DictConfig)
    return to_config(merged)


def refuse_other_network(content: dict[str, Any], config: Config, path: Path) -> None:
    """Check that a checkpoint's network is the one that ``config`` describes.

    Raises:
        UserError: It is another; the message names the fields that differ.
    """
    theirs = content["hyper_parameters"]["config"]["model"]
    ours = to_plain(config)["model"]
    changed = [
        f"model.{key} is {ours[key]} here and {theirs.get(key)} there"
        for key in ours
        if ours[key] != theirs.get(key)
    ]
    if changed:
        raise UserError(
            f"checkpoint {path} holds another network: {'; '.join(changed)}. Use its own"
            " configuration, or another checkpoint"
        )

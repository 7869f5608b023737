"""The presets of conf/model/ by name, without Hydra: for notebooks and for others' Hydra apps."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from alexnet_exp.config import conf_folder
from alexnet_exp.config.model import ModelConfig


def preset(name: str, **changes: Any) -> ModelConfig:
    """The model that ``model=name`` gives a command, with fields changed.

    Args:
        name: paper, original, caffenet, ...
        changes: Fields of ``ModelConfig``; enums may be strings, nested fields dicts, such as
            ``lrn={"alpha": 5e-4}``. Where neither these nor the preset say otherwise there are
            1000 classes and 3 input channels.

    Raises:
        ValueError: There is no such preset or field, or a value is out of range.
    """
    known = sorted(["paper", *(file.stem for file in (conf_folder() / "model").glob("*.yaml"))])
    if name not in known:
        raise ValueError(f"there is no model {name!r}; {_did_you_mean(name, known)}")
    try:
        merged = OmegaConf.merge(_read(name), changes)
    except (ConfigKeyError, ConfigAttributeError) as error:
        owner = error.object_type
        names = [item.name for item in fields(owner)] if is_dataclass(owner) else []
        raise ValueError(
            f"a model has no field {error.full_key}; {_did_you_mean(str(error.key), names)}"
        ) from error
    except OmegaConfBaseException as error:
        raise ValueError(f"model.{error.full_key}: {str(error).splitlines()[0]}") from error
    model = OmegaConf.to_object(merged)
    assert isinstance(model, ModelConfig)
    model.classes = model.classes or 1000
    model.input_channels = model.input_channels or 3
    return model


def _read(name: str) -> DictConfig:
    """What Hydra composes of a preset and those that it begins with."""
    if name == "paper":
        return OmegaConf.structured(ModelConfig)
    values = OmegaConf.load(conf_folder() / "model" / f"{name}.yaml")
    assert isinstance(values, DictConfig)
    bases = [_read(base) for base in values.pop("defaults", []) if base != "_self_"]
    merged = OmegaConf.merge(OmegaConf.structured(ModelConfig(conv={})), *bases, values)
    assert isinstance(merged, DictConfig)
    return merged


def _did_you_mean(wrong: str, known: list[str]) -> str:
    return f"did you mean {' or '.join(get_close_matches(wrong, known, 3) or known)}?"

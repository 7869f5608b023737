"""The presets of conf/model/ by name, for notebooks and for others' Hydra apps."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from alexnet_exp.config import compose, composing, conf_folder
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
    with composing():
        composed = compose([f"model={name}", "~recipe"])
    try:
        merged = OmegaConf.merge(composed, {"model": changes})
    except (ConfigKeyError, ConfigAttributeError) as error:
        owner = error.object_type
        names = [item.name for item in fields(owner)] if is_dataclass(owner) else []
        meant = f"; {_did_you_mean(str(error.key), names)}" if names else ""
        raise ValueError(f"there is no field {error.full_key}{meant}") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    model = OmegaConf.to_object(merged.model)
    assert isinstance(model, ModelConfig)
    model.classes = model.classes or 1000
    model.input_channels = model.input_channels or 3
    return model


def _did_you_mean(wrong: str, known: list[str]) -> str:
    return f"did you mean {' or '.join(get_close_matches(wrong, known, 3) or known)}?"

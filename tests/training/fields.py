"""Single fields of a configuration, set without composing it anew."""

from functools import cache
from typing import Any

import yaml
from omegaconf import OmegaConf

from alexnet_exp.config import Config, to_config
from tests.conftest import ComposeConfig


def quick(compose: ComposeConfig) -> ComposeConfig:
    """``compose``, asked for groups alone; fields are set and checked as Hydra would."""
    node = cache(lambda *groups: OmegaConf.structured(compose(*groups)))

    def composed(*overrides: str) -> Config:
        fields = [one for one in overrides if "." in one.partition("=")[0]]
        changed: Any = node(*(one for one in overrides if one not in fields)).copy()
        for field in fields:
            path, _, value = field.lstrip("+").partition("=")
            OmegaConf.update(changed, path, yaml.safe_load(value), force_add=True)
        added = any(field.startswith("+") for field in fields)  # which has yet to find its place
        config: Any = to_config(changed) if added else OmegaConf.to_object(changed)
        return config

    return composed

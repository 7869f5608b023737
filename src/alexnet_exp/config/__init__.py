"""The typed configuration: its schema, and how it is composed and checked."""

from alexnet_exp.config.compose import compose, composing, conf_folder, register, to_config
from alexnet_exp.config.schema import Config, completed, leaves, mistyped, to_plain

__all__ = [
    "Config", "completed", "compose", "composing", "conf_folder", "leaves", "mistyped", "register",
    "to_config", "to_plain",
]  # fmt: skip

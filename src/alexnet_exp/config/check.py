"""From what Hydra composed to checked dataclasses."""

from dataclasses import fields

from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config.arguments import (
    check_arguments,
    check_optimizer,
    check_targets,
    fold_added,
)
from alexnet_exp.config.compose import less_hydra
from alexnet_exp.config.schema import Config
from alexnet_exp.config.training import LoggerConfig, OptimConfig, TrainerConfig
from alexnet_exp.errors import UserError


def to_config(composed: DictConfig) -> Config:
    """The composed configuration as checked dataclasses.

    Args:
        composed: By Hydra, or read back.

    Raises:
        UserError: A field that does not exist was added (+name=...), or a value is out of range;
            the message names the override.
    """
    folded = fold_added(less_hydra(composed))
    try:
        config = OmegaConf.to_object(folded)
    except ValueError as error:
        raise UserError(str(error)) from error
    assert isinstance(config, Config)
    if not config.model.conv:
        raise UserError("there is no network: choose one with model=paper, model=original, ...")
    check_arguments(config.trainer.arguments, _names(TrainerConfig))
    check_optimizer(config.optim._target_, config.optim.arguments, _names(OptimConfig))
    check_targets("callbacks", config.callbacks, [])
    check_targets("logger", config.logger.others, _names(LoggerConfig))
    return config


def _names(schema: type) -> list[str]:
    return [item.name for item in fields(schema)]

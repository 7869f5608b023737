"""From what Hydra composed to checked dataclasses."""

from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config.arguments import check_arguments, fold_added
from alexnet_exp.config.compose import less_hydra
from alexnet_exp.config.schema import Config
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
    check_arguments(config)
    return config

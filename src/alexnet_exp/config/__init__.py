"""The typed schema of the whole configuration; conf/ holds its values."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config.arguments import (
    check_arguments,
    check_optimizer,
    check_targets,
    fold_added,
)
from alexnet_exp.config.bearing import NEUTRAL
from alexnet_exp.config.data import DataConfig
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.config.sweep import SweepConfig
from alexnet_exp.config.training import (
    AugmentationConfig,
    EvaluationConfig,
    LoggerConfig,
    OptimConfig,
    SpeedConfig,
    StrategyConfig,
    TrainerConfig,
)
from alexnet_exp.errors import UserError


@dataclass
class Config:
    """One run."""

    experiment: str = "baseline"
    """Name of the factor that is changed; set by +experiment=..."""

    recipe: str = "paper"
    """Name of the training recipe; set by recipe=..."""

    seed: int = 0
    """Seed of weights, order of images, augmentation and dropout."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig, metadata=NEUTRAL)
    logger: LoggerConfig = field(default_factory=LoggerConfig, metadata=NEUTRAL)
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name, each with _target_; set by callbacks=[lr_monitor,...]."""

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        for path, value in leaves(asdict(self)):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{path}={value} must be finite")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must lie between 0 and 2147483647")


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below the top of nested dicts, by its dotted path; a list is one value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def register() -> None:
    """Tell Hydra the schema that conf/config.yaml is merged into, and the option model=paper.

    A preset states all its convolutions: those of the schema would shine through.
    """
    schema = OmegaConf.structured(Config(model=ModelConfig(conv={})))
    for group in ("trainer", "optim", "logger"):  # a file may add arguments of a library
        OmegaConf.set_struct(schema[group], False)
    store = ConfigStore.instance()
    store.store(name="schema", node=schema)
    store.store(group="model", name="paper", node=ModelConfig)


def to_config(composed: DictConfig) -> Config:
    """The composed configuration as checked dataclasses.

    Args:
        composed: By Hydra, or read back.

    Raises:
        UserError: A field that does not exist was added (+name=...), or a value is out of range;
            the message names the override.
    """
    folded = fold_added(composed)
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


def to_plain(config: Config) -> dict[str, Any]:
    """Plain dicts, lists, numbers and strings, as checkpoints and JSON hold them."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def conf_folder() -> Path:
    """The Hydra tree: inside the package when installed from a wheel, else beside ``src``."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"

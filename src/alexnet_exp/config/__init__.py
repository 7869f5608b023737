"""The typed schema of the whole configuration; conf/ holds its values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.config.data import DataConfig
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.config.training import (
    AugmentationConfig,
    EvaluationConfig,
    LoggerConfig,
    OptimConfig,
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
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must lie between 0 and 2147483647")
        processes = self.trainer.devices * self.trainer.num_nodes
        if self.strategy.name == "single" and processes > 1:
            raise ValueError(
                f"trainer.devices={self.trainer.devices} trainer.num_nodes="
                f"{self.trainer.num_nodes}: strategy=single runs on one device"
            )


def register() -> None:
    """Tell Hydra the schema that conf/config.yaml is merged into."""
    ConfigStore.instance().store(name="schema", node=Config)


def to_config(composed: DictConfig) -> Config:
    """The composed configuration as checked dataclasses.

    Raises:
        UserError: A value is out of range; the message names the override.
    """
    try:
        config = OmegaConf.to_object(composed)
    except ValueError as error:
        raise UserError(str(error)) from error
    assert isinstance(config, Config)
    return config


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

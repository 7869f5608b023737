"""The typed schema of one run; conf/ holds its values."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import EnumType
from types import UnionType
from typing import Any, get_args, get_origin

from alexnet_exp.config import training
from alexnet_exp.config.data import DataConfig
from alexnet_exp.config.model import ModelConfig, unknown_layers
from alexnet_exp.config.rules import NEUTRAL, kinds


@dataclass
class Config:
    """One run."""

    experiment: str = "baseline"
    """Names of the chosen experiments, sorted and joined by +; what +experiment=... chose."""

    recipe: str = "paper"
    """Name of the training recipe; set by recipe=..."""

    seed: int = 0
    """Seed of weights, order of images, augmentation and dropout."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: training.AugmentationConfig = field(default_factory=training.AugmentationConfig)
    optim: training.OptimConfig = field(default_factory=training.OptimConfig)
    trainer: training.TrainerConfig = field(default_factory=training.TrainerConfig)
    strategy: training.StrategyConfig = field(default_factory=training.StrategyConfig)
    speed: training.SpeedConfig = field(default_factory=training.SpeedConfig, metadata=NEUTRAL)
    logger: training.LoggerConfig = field(default_factory=training.LoggerConfig, metadata=NEUTRAL)
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by name, each with _target_; set by callbacks=[lr_monitor,...]."""

    evaluation: training.EvaluationConfig = field(default_factory=training.EvaluationConfig)
    sweep: training.SweepConfig = field(default_factory=training.SweepConfig, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        """Fill in the fold; raise ValueError naming the override to change."""
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must lie between 0 and 2147483647")
        if self.data.folds is not None and self.data.fold is None:
            self.data.fold = self.seed % self.data.folds
        if self.model.conv:
            layers = [*self.model.conv, *self.model.fc_names(), training.OUTPUT]
            path = f"optim.layers (optim={self.optim.name}, model={self.model.name})"
            if unknown := unknown_layers(path, self.optim.layers, layers):
                raise ValueError(unknown[0])


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below the top of nested dicts, by its dotted path; a list is one value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


_SCALARS: dict[Any, Any] = {bool: bool, int: int, float: (int, float)}  # and words
_LARGE = 1e300  # so are infinity and what no float holds


def mistyped(value: Any, kind: Any = Config, path: str = "") -> Iterator[tuple[str, Any]]:
    """What of nested dicts is of another type than the schema's, with its dotted path.

    OmegaConf would take "0.9" for a number and 5 for a word, in a hundred times as long. A field
    that either lacks may be another version's.
    """
    is_optional = get_origin(kind) is UnionType
    if kind is Any or (is_optional and value is None):
        return
    if is_optional:
        kind = get_args(kind)[0]  # the other is None
    is_group = is_dataclass(kind)
    types = dict if is_group else get_origin(kind) or _SCALARS.get(kind, str)
    fits = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
    fits = fits and (not isinstance(kind, EnumType) or value in kind.__members__)
    if not fits or (isinstance(value, int | float) and not abs(value) < _LARGE):
        yield path, value
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from mistyped(item, get_args(kind)[0], f"{path}[{place}]")
    elif isinstance(value, dict):
        known = kinds(kind) if is_group else dict.fromkeys(value, get_args(kind)[-1])
        for name, below in known.items():
            if name in value:
                yield from mistyped(value[name], below, f"{path}.{name}".lstrip("."))


def completed(values: Any, kind: Any = Config) -> Any:
    """Nested dicts, with the default of each field of the schema that they lack.

    That is what a run recorded before the field was invented: a new one's default is to compute
    what was computed without it.
    """
    is_group = is_dataclass(kind)
    if not isinstance(values, dict) or not (is_group or get_origin(kind) is dict):
        return values
    if is_group and any(item.name not in values for item in fields(kind)):
        values = to_plain(kind()) | values
    known = kinds(kind) if is_group else dict.fromkeys(values, get_args(kind)[-1])
    return {name: completed(value, known.get(name)) for name, value in values.items()}


def to_plain(config: Any) -> dict[str, Any]:
    """Plain dicts, lists, numbers and strings, as checkpoints and JSON hold them."""
    return dict(json.loads(json.dumps(asdict(config), default=str)))

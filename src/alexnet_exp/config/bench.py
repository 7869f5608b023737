"""The typed schema of what ``python -m alexnet_exp.bench`` measures; no part of a run's."""

from copy import deepcopy
from dataclasses import dataclass, field, fields
from enum import StrEnum

from omegaconf import OmegaConf

from alexnet_exp.config import Config
from alexnet_exp.config.compose import register_schema
from alexnet_exp.config.rules import POSITIVE, Ruled, ruled

Part = StrEnum("Part", ["throughput", "parallel", "options", "evaluation", "kernels"])
"""What is measured."""

StoreKind = StrEnum("StoreKind", ["resident", "mapped", "jpeg"])
"""Where the images lie while they are trained on."""


@dataclass
class BenchConfig(Ruled, group="bench"):
    """One benchmark."""

    profile: str = "cpu"
    """Kind of machine; set by profile=cpu or profile=gpu."""

    parts: list[Part] = field(default_factory=lambda: [Part.throughput, Part.parallel])
    """throughput (one device), parallel (strategies), options (``variants``), evaluation (the
    test of a run), kernels (of a GPU)."""

    batches: list[int] = field(default_factory=lambda: [128])
    """Batch sizes on one device; options and evaluation take the first one."""

    stores: list[StoreKind] = field(default_factory=lambda: [StoreKind.mapped])
    """resident (in the device's memory), mapped (read from a raw file), jpeg (decoded as read)."""

    rounds: int = ruled(3, POSITIVE)
    """Turns that each measurement has, if time is left; medians over them are reported."""

    minutes: float = ruled(4.0, POSITIVE)
    """Time for all; after one round each, further ones begin only if they end within it."""

    seconds: float = ruled(2.0, POSITIVE)
    """Least time of one measurement."""

    variants: list[list[str]] = field(default_factory=list)
    """Lists of overrides, which part options compares with none."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        for name in ("parts", "batches", "stores"):
            if not getattr(self, name):
                raise ValueError(f"bench.{name}=[] leaves nothing to measure: name one at least")
        if min(self.batches) < 1:
            raise ValueError(f"bench.batches={self.batches} must be sizes from 1 on")


@dataclass
class BenchRun(Config):
    """A run's configuration, and what of it is measured."""

    bench: BenchConfig = field(default_factory=BenchConfig)

    def run_config(self) -> Config:
        """The run's configuration alone, a copy."""
        return deepcopy(Config(**{item.name: getattr(self, item.name) for item in fields(Config)}))


def register_bench() -> None:
    """Tell Hydra the schema that conf/bench.yaml is merged into, and which profile is its own."""
    register_schema("bench_schema", BenchRun)
    OmegaConf.register_new_resolver("this_machine", _profile, replace=True)


def _profile() -> str:
    import torch  # seconds, which reading a configuration does not need

    return "gpu" if torch.cuda.is_available() else "cpu"

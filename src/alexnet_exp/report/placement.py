"""Over which devices a run was laid, and what they were: neither bears on its result."""

from dataclasses import dataclass
from typing import Any

from alexnet_exp.config.training import StrategyName

_ORDER = tuple(name.value for name in StrategyName)


@dataclass(frozen=True)
class Placement:
    """Strategy and devices of a run.

    Attributes:
        strategy: Its name, such as ``towers``.
        devices: Number of devices in all.
        nodes: Number of machines.
    """

    strategy: str = "single"
    devices: int = 1
    nodes: int = 1

    @property
    def rank(self) -> tuple[int, int, int]:
        """The plainest comes first: few devices, then the order of the strategies."""
        known = _ORDER.index(self.strategy) if self.strategy in _ORDER else len(_ORDER)
        return self.devices, known, self.nodes


def placement_of(content: dict[str, Any]) -> Placement:
    """That of a recorded configuration; an earlier version's is one device.

    Args:
        content: ``config.yaml``.
    """
    trainer, strategy = content.get("trainer") or {}, content.get("strategy") or {}
    nodes = int(trainer.get("num_nodes", 1))
    devices = int(trainer.get("devices", 1)) * nodes
    return Placement(str(strategy.get("name", "single")), devices, nodes)


def device_name(environment: dict[str, Any], accelerator: str) -> tuple[str, bool]:
    """Processor or GPU that a run was trained on, and whether it was a GPU.

    Args:
        environment: ``environment.json``.
        accelerator: ``trainer.accelerator``.
    """
    gpus = environment.get("gpus") or []
    if accelerator == "cpu" or not gpus:
        return str(environment.get("cpu", "unknown processor")), False
    return str(gpus[0]), True


def laid_over(placement: Placement, device: str, is_gpu: bool) -> str:
    """``towers, 2 x NVIDIA H200``; devices of a CPU are processes, ``ddp, 2 processes on ...``."""
    name = device
    if placement.devices > 1:
        times = "x" if is_gpu else "processes on"
        name = f"{placement.devices} {times} {device}"
    if placement.nodes > 1:
        name += f" on {placement.nodes} nodes"
    return name if placement.strategy == "single" else f"{placement.strategy}, {name}"

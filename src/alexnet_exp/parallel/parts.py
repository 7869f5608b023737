"""Weights that lie in parts on several devices, whole in checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor, distribute_tensor

from alexnet_exp.network.alexnet import AlexNet


class Divided(Protocol):
    """How one tensor is divided among processes."""

    def cut(self, whole: Tensor) -> Tensor:
        """This process's part of a whole tensor that it has."""

    def join(self, part: Tensor) -> Tensor:
        """The whole tensor; every process has to ask for it."""


@dataclass(frozen=True)
class Rows:
    """A tensor whose first dimension (kernels, units) is divided among a group.

    Attributes:
        sizes: Rows of each process.
        group: The processes in the order of their rows.
    """

    sizes: tuple[int, ...]
    group: ProcessGroup

    @staticmethod
    def of(total: int, group: ProcessGroup) -> "Rows":
        """Equal parts, the first ones larger by one where ``total`` does not divide."""
        share, left = divmod(total, group.size())
        return Rows(tuple(share + (rank < left) for rank in range(group.size())), group)

    def cut(self, whole: Tensor) -> Tensor:
        """This process's rows, in memory of their own."""
        return whole.split(list(self.sizes))[self.group.rank()].clone()

    def join(self, part: Tensor) -> Tensor:
        """All rows, in ``part``'s memory format."""
        most, rest = max(self.sizes), part.shape[1:]
        mine = part.new_zeros(most, *rest)  # equal parts are what every backend gathers
        mine[: len(part)] = part
        gathered = mine.new_empty(most * len(self.sizes), *rest)
        dist.all_gather_into_tensor(gathered, mine, group=self.group)
        parts = zip(gathered.split(most), self.sizes, strict=True)
        return torch.cat([rows[:size] for rows, size in parts])


@dataclass(frozen=True)
class Sharded:
    """A tensor that FSDP2 divides.

    Attributes:
        like: The parameter, a DTensor.
    """

    like: DTensor

    def cut(self, whole: Tensor) -> Tensor:
        """As a DTensor like the parameter."""
        mesh, placements = self.like.device_mesh, self.like.placements
        on_device = whole.to(self.like.device)
        return distribute_tensor(on_device, mesh, placements, src_data_rank=None)

    def join(self, part: Tensor) -> Tensor:
        """As a plain tensor."""
        assert isinstance(part, DTensor)
        return part.full_tensor()


def network_of(strategy: Strategy) -> AlexNet:
    """The network that a strategy trains."""
    assert strategy.lightning_module is not None
    network = strategy.lightning_module.network
    assert isinstance(network, AlexNet)
    return network


class PartsInCheckpoints(Strategy):
    """A strategy that holds parts, its checkpoints the whole, as of one device.

    Comes before the other strategy among the bases of a class.
    """

    parts: dict[str, Divided]
    """By name in the state dict of the network."""

    def whole_state(self, module: nn.Module) -> dict[str, Tensor]:
        """State dict of the network as one device has it; every process has to ask for it."""
        return {
            name: self.parts[name].join(value) if name in self.parts else value
            for name, value in module.state_dict().items()
        }

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of the module; every process has to ask for it."""
        assert self.lightning_module is not None
        return self._each(self.lightning_module.state_dict(), lambda part, value: part.join(value))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's parts of a checkpoint's weights, or all before there are parts."""
        assert self.lightning_module is not None
        state = self._each(checkpoint["state_dict"], lambda part, value: part.cut(value))
        self.lightning_module.load_state_dict(state, strict=strict)

    def _each(
        self, state: Mapping[str, Any], change: Callable[[Divided, Tensor], Tensor]
    ) -> dict[str, Any]:
        changed = {}
        for name, value in state.items():
            part = self.parts.get(name.removeprefix("network."))
            changed[name] = value if part is None else change(part, value)
        return changed

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What a checkpoint holds of the optimizer; every process has to ask for it."""
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        state = optimizer.state_dict()
        return self._each_state(optimizer, state, lambda part, value: part.join(value))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's parts of the optimizer's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            cut = self._each_state(optimizer, state, lambda part, value: part.cut(value))
            optimizer.load_state_dict(cut)

    def _each_state(
        self,
        optimizer: torch.optim.Optimizer,
        state: Mapping[str, Any],
        change: Callable[[Divided, Tensor], Tensor],
    ) -> dict[str, Any]:
        names = {p: name for name, p in network_of(self).named_parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        changed = {}
        for index, values in state["state"].items():
            part = self.parts.get(names[parameters[index]])
            changed[index] = {
                key: change(part, value) if part is not None and _is_array(value) else value
                for key, value in values.items()
            }
        return {**state, "state": changed}


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0

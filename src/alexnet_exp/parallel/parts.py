"""Weights that lie in parts on several devices, whole in checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import Strategy
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor, distribute_tensor

from alexnet_exp.network.alexnet import AlexNet


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
        """This process's rows of a whole tensor that it has, in memory of their own."""
        return whole.split(list(self.sizes))[self.group.rank()].clone()

    def join(self, part: Tensor) -> Tensor:
        """All rows, in ``part``'s memory format; every process has to ask for it."""
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
        """As a plain tensor; every process has to ask for it."""
        assert isinstance(part, DTensor)
        return part.full_tensor()


Divided = Rows | Sharded
"""How one tensor is divided among processes."""


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

    def whole(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state dict as one device has it; every process has to ask for it."""
        return self._each(state, "join")

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of the module; every process has to ask for it."""
        assert self.lightning_module is not None
        return self.whole(self.lightning_module.state_dict())

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's parts of a checkpoint's weights, or all before there are parts."""
        assert self.lightning_module is not None
        state = self._each(checkpoint["state_dict"], "cut")
        self.lightning_module.load_state_dict(state, strict=strict)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What a checkpoint holds of the optimizer; every process has to ask for it."""
        return self._each_of(optimizer, optimizer.state_dict(), "join")

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's parts of the optimizer's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(self._each_of(optimizer, state, "cut"))

    def _each(self, state: Mapping[str, Any], how: Literal["cut", "join"]) -> dict[str, Any]:
        names = {name: name.removeprefix("network.") for name in state}
        return {
            name: getattr(self.parts[names[name]], how)(value)
            if names[name] in self.parts
            else value
            for name, value in state.items()
        }

    def _each_of(
        self, optimizer: torch.optim.Optimizer, state: dict[str, Any], how: Literal["cut", "join"]
    ) -> dict[str, Any]:
        """The same for all that an optimizer keeps of a parameter, but for its numbers."""
        names = {parameter: name for name, parameter in network_of(self).named_parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        changed = dict(state["state"])
        for index, values in state["state"].items():
            part = self.parts.get(names[parameters[index]])
            if part is not None:
                changed[index] = {
                    key: getattr(part, how)(value) if getattr(value, "ndim", 0) else value
                    for key, value in values.items()
                }
        return {**state, "state": changed}

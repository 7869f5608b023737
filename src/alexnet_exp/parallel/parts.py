"""A network laid over devices: weights in parts there, whole in checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor, distribute_tensor

from alexnet_exp.network.alexnet import AlexNet


@dataclass(frozen=True)
class Rows:
    """A tensor whose first dimension (kernels, units) is divided among a group."""

    sizes: tuple[int, ...]
    """Rows of each process."""

    group: ProcessGroup
    """The processes in the order of their rows."""

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
    """A tensor that FSDP2 divides."""

    like: DTensor
    """The parameter."""

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


class LaidOut(Strategy):
    """A strategy that lays the network out; its checkpoints are the whole, as of one device.

    Comes before the other strategy among the bases of a class.

    Attributes:
        parts: How parameters and buffers are divided, by name in the state dict of the network.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parts: Mapping[str, Divided] = {}
        self._is_laid_out = False

    def lay_out(self, network: AlexNet) -> Mapping[str, Divided]:
        """Change the network in place to what this device has of it.

        Returns:
            ``parts``.
        """
        raise NotImplementedError

    def setup(self, trainer: L.Trainer) -> None:
        """Move to the device, lay out once, build the optimizer.

        Lightning's own would send rank 0's weights to all before a test, or ask the module to lay
        itself out.
        """
        assert self.accelerator is not None
        assert self.model is not None
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if not self._is_laid_out:
            self.parts = self.lay_out(network_of(self))
            self._is_laid_out = True
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

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
        changed = dict(state)
        for name, value in state.items():
            part = self.parts.get(name.removeprefix("network."))
            if part is not None:
                changed[name] = getattr(part, how)(value)
        return changed

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

"""strategy=fsdp: weights, gradients and optimizer state in parts, gathered where needed."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.parallel.layout import Share, lay_out_rows, world
from alexnet_exp.parallel.parts import Divided, PartsInCheckpoints, Sharded, network_of


class FullySharded(PartsInCheckpoints, ModelParallelStrategy):
    """Fully sharded data parallel, FSDP2: one unit of all convolutions, one of each layer after."""

    def __init__(self) -> None:
        super().__init__(dist.get_world_size(), 1, save_distributed_checkpoint=False)
        self.parts: dict[str, Divided] = {}

    # Lightning's own reads checkpoints after the layout, in a format of its own.
    restore_checkpoint_after_setup = False
    lightning_restore_optimizer = True

    def setup(self, trainer: L.Trainer) -> None:
        """Lay out once, build the optimizer; Lightning's own asks the module to lay itself out."""
        assert self.accelerator is not None
        assert self.model is not None
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if not self.parts:
            self._lay_out(network_of(self))
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
            self._fused = [group.get("fused") for group in self._groups()]
            self._step_unfused()
        self.setup_precision_plugin()

    def _lay_out(self, network: AlexNet) -> None:
        lay_out_rows(network, Share(self.global_rank, self.world_size), world())
        # FSDP2 divides no channels-last weights; convolutions take them as they come.
        network.to(memory_format=torch.contiguous_format)
        mesh = self.device_mesh["data_parallel"]
        fully_shard(network.features, mesh=mesh)
        for layer in network.classifier.children():
            if next(layer.parameters(), None) is not None:
                fully_shard(layer, mesh=mesh)
        fully_shard(network, mesh=mesh)
        for name, parameter in network.named_parameters():
            assert isinstance(parameter, DTensor)
            self.parts[name] = Sharded(parameter)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _step_unfused(self) -> None:
        """torch has no fused step of SGD for tensors in parts."""
        for group in self._groups():
            if "fused" in group:
                group["fused"] = False

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What a checkpoint holds of the optimizer, fused or not as one device has it."""
        state = super().optimizer_state(optimizer)
        groups = zip(state["param_groups"], self._fused, strict=True)
        return state | {"param_groups": [group | {"fused": fused} for group, fused in groups]}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's parts of the optimizer's state."""
        super().load_optimizer_state_dict(checkpoint)
        self._step_unfused()

    def load_checkpoint(self, *args: Any, **options: Any) -> Any:
        """The whole file, on every process."""
        return Strategy.load_checkpoint(self, *args, **options)

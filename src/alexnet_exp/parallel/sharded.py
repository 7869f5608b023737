"""strategy=fsdp: weights, gradients and optimizer state in parts, gathered where needed."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.parallel.layout import Share, lay_out_rows, world
from alexnet_exp.parallel.parts import Divided, LaidOut, Sharded


class FullySharded(LaidOut, ModelParallelStrategy):
    """Fully sharded data parallel, FSDP2: one unit of all convolutions, one of each layer after."""

    def __init__(self) -> None:
        super().__init__(dist.get_world_size(), 1, save_distributed_checkpoint=False)

    # Lightning's own reads checkpoints after the layout, in a format of its own.
    restore_checkpoint_after_setup = False
    lightning_restore_optimizer = True

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        """Build the optimizer; torch has no fused step of SGD for tensors in parts."""
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            if optimizer.defaults.get("fused"):  # as a checkpoint has it, too
                optimizer.register_step_pre_hook(lambda one, *_: _set_fused(one, False))
                optimizer.register_step_post_hook(lambda one, *_: _set_fused(one, True))

    def lay_out(self, network: AlexNet) -> Mapping[str, Divided]:
        lay_out_rows(network, Share(self.global_rank, self.world_size), world())
        # FSDP2 divides no channels-last weights; convolutions take them as they come.
        network.to(memory_format=torch.contiguous_format)
        mesh = self.device_mesh["data_parallel"]
        fully_shard(network.features, mesh=mesh)
        for layer in network.classifier.children():
            if next(layer.parameters(), None) is not None:
                fully_shard(layer, mesh=mesh)
        fully_shard(network, mesh=mesh)
        named = cast(Iterable[tuple[str, DTensor]], network.named_parameters())
        return {name: Sharded(parameter) for name, parameter in named}

    def load_checkpoint(self, *args: Any, **options: Any) -> Any:
        """The whole file, on every process."""
        return Strategy.load_checkpoint(self, *args, **options)


def _set_fused(optimizer: torch.optim.Optimizer, fused: bool) -> None:
    for group in optimizer.param_groups:
        group["fused"] = fused

"""strategy=ddp, towers and one_weird_trick: gradients are averaged by DistributedDataParallel."""

from collections.abc import Mapping
from datetime import timedelta
from inspect import signature
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed import ProcessGroup
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.parallel.layout import (
    Share,
    lay_out_fully_connected,
    lay_out_rows,
    lay_out_towers,
    world,
)
from alexnet_exp.parallel.parts import Divided, LaidOut, network_of


class DataParallel(LaidOut, DDPStrategy):
    """The whole network on every device; ``options`` are of ``DistributedDataParallel``."""

    def __init__(self, bf16_gradients: bool = False, **options: Any) -> None:
        # Weights and buffers are equal anyway, and to send buffers would take as many batches on
        # every device.
        known = signature(DistributedDataParallel.__init__).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options |= {sync: False, "init_sync": False, "gradient_as_bucket_view": True}
        super().__init__(**options)
        self._bf16_gradients = bf16_gradients

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        self.configure_ddp()
        super().setup_optimizers(trainer)

    def lay_out(self, network: AlexNet) -> Mapping[str, Divided]:
        lay_out_rows(network, Share(self.global_rank, self.world_size), world())
        return {}

    def configure_ddp(self) -> None:
        """Wrap the module, and have its gradients sent in bf16 where that is asked for."""
        super().configure_ddp()
        if self._bf16_gradients:
            assert isinstance(self.model, DistributedDataParallel)
            self.model.register_comm_hook(None, sent_in_bf16)


def sent_in_bf16(
    state: Any,
    bucket: dist.GradBucket,  # type: ignore[name-defined]  # torch insists on this annotation
) -> torch.futures.Future[torch.Tensor]:
    """``bf16_compress_hook``, which under its own name torch refuses without NCCL."""
    return bf16_compress_hook(state, bucket)


class InParts(DataParallel):
    """Each device has a part of some layers."""

    model_group: ProcessGroup
    """The processes that hold the parts of one network."""


class Towers(InParts):
    """The paper's own (section 3.2): one tower on each of a group of neighbors in rank."""

    def __init__(self, towers: int, timeout: timedelta, **options: Any) -> None:
        size = dist.get_world_size()
        # Every process has to take part in making every group.
        groups = [range(start, start + towers) for start in range(0, size, towers)]
        self.model_group = _own(groups, timeout)
        self._data_group = _own([range(tower, size, towers) for tower in range(towers)], timeout)
        super().__init__(process_group=self._data_group, **options)

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """All devices of a group see the same images."""
        return {"num_replicas": self._data_group.size(), "rank": self._data_group.rank()}

    def lay_out(self, network: AlexNet) -> Mapping[str, Divided]:
        rows = Share(self._data_group.rank(), self._data_group.size())
        return lay_out_towers(network, rows, self.model_group, self._data_group)

    def configure_ddp(self) -> None:
        """Average gradients over the devices with the same tower, where there are several."""
        if self._data_group.size() > 1:
            super().configure_ddp()


class OneWeirdTrick(InParts):
    """Convolutions by data, fully connected layers by units (Krizhevsky 2014, arXiv:1404.5997)."""

    def lay_out(self, network: AlexNet) -> Mapping[str, Divided]:
        self.model_group = world()
        rows = Share(self.global_rank, self.world_size)
        return lay_out_fully_connected(network, rows, self.model_group)

    def configure_ddp(self) -> None:
        """Average the gradients of the convolutions alone: DDP looks for what requires one."""
        classifier = network_of(self).classifier
        classifier.requires_grad_(False)
        super().configure_ddp()
        classifier.requires_grad_(True)


class ClipParts(Callback):
    """Clips by the norm of the whole gradient, of which this process has a part."""

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = clip_norm

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Scale all gradients as ``torch.nn.utils.clip_grad_norm_`` does."""
        strategy = trainer.strategy
        assert isinstance(strategy, InParts)
        gradients: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        for name, parameter in network_of(strategy).named_parameters():
            assert parameter.grad is not None
            gradients[name in strategy.parts].append(parameter.grad)
        total = nn.utils.get_total_norm(gradients[True]).square()
        dist.all_reduce(total, group=strategy.model_group)
        total += nn.utils.get_total_norm(gradients[False]).square()
        nn.utils.clip_grads_with_norm_(pl_module.parameters(), self.clip_norm, total.sqrt())


def _own(groups: list[range], timeout: timedelta) -> ProcessGroup:
    """Make all groups of ranks; the one that this process is in."""
    made = [dist.new_group(list(ranks), timeout) for ranks in groups]
    (own,) = [group for group in made if isinstance(group, ProcessGroup)]
    return own

"""What Lightning is given for each ``strategy=...``, and what each asks of network and devices.

| strategy        | convolutions                       | fully connected layers                    |
|-----------------|------------------------------------|-------------------------------------------|
| ddp             | whole on every device, for its share of each batch; gradients are averaged     |
| fsdp            | the same; weights, gradients, momentum lie in parts, gathered when needed      |
| towers          | each device of a group has one tower; they meet where a layer sees all         |
| one_weird_trick | as in ddp                          | some units of each layer on every device, |
|                 |                                    | for the whole batch                       |
"""

from collections.abc import Mapping
from datetime import timedelta
from inspect import signature
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.distributed import ProcessGroup
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.errors import PlacementError
from alexnet_exp.network.alexnet import AlexNet, LayerPlan
from alexnet_exp.parallel.layout import (
    Share,
    lay_out_fully_connected,
    lay_out_rows,
    lay_out_towers,
)
from alexnet_exp.parallel.parts import Divided, PartsInCheckpoints, Sharded
from alexnet_exp.parallel.whole import WholeNetwork


def check(config: Config, layers: list[LayerPlan]) -> None:
    """See that the strategy can lay this network and batch over these devices.

    Args:
        config: Settled configuration; ``to_config`` has looked at devices and towers already.
        layers: Every layer of the network.

    Raises:
        PlacementError: It can't; the message names what would work.
    """
    strategy, batch = config.strategy.name, config.data.batch_size
    devices = config.trainer.devices * config.trainer.num_nodes
    shares = devices // (config.model.towers if strategy == StrategyName.towers else 1)
    if batch % shares:
        fitting = [str(size) for size in (batch // shares * shares, -(-batch // shares) * shares)]
        raise PlacementError(
            f"data.batch_size={batch} is global and does not divide among {shares} shares"
            f" (strategy={strategy} on {devices} devices): set data.batch_size="
            f"{' or '.join(size for size in fitting if size != '0')}"
        )
    in_parts = (StrategyName.fsdp, StrategyName.towers, StrategyName.one_weird_trick)
    if strategy in in_parts and config.trainer.precision in ("16-mixed", "16"):
        raise PlacementError(
            f"trainer.precision={config.trainer.precision} skips a step where gradients overflow,"
            f" and under strategy={strategy} each device sees its own part of them: set"
            " trainer.precision=bf16-mixed or 32-true, or strategy=ddp"
        )
    if strategy == StrategyName.fsdp and config.trainer.precision.startswith("64"):
        raise PlacementError(
            f"trainer.precision={config.trainer.precision}: Lightning has no FSDP2 in fp64; set"
            " trainer.precision=32-true or bf16-mixed, or strategy=ddp"
        )
    if strategy != StrategyName.one_weird_trick:
        return
    for layer in [layer for layer in layers if layer.kind == "fc"][:-1]:
        if layer.groups > 1:
            raise PlacementError(
                f"strategy=one_weird_trick gives every device units of {layer.name} that see all"
                f" of its inputs, and here they see one tower: add {layer.name} to"
                " model.sees_both_towers, or choose strategy=ddp or strategy=towers"
            )
        if layer.outputs % devices:
            raise PlacementError(
                f"strategy=one_weird_trick can't divide the {layer.outputs} units of {layer.name}"
                f" equally among {devices} devices: choose widths (model.fc, model.width) or"
                " trainer.devices so that they divide, or strategy=ddp"
            )


def make_strategy(config: Config) -> Strategy | str:
    """``strategy`` of Lightning's Trainer; needs ``dist`` to be initialized unless it is single."""
    settings = config.strategy
    buckets = {"bucket_cap_mb": settings.bucket_mb}
    if settings.name == StrategyName.ddp:
        return DataParallel(settings.bf16_gradients, **buckets)
    if settings.name == StrategyName.fsdp:
        return FullySharded()
    if settings.name == StrategyName.towers:
        return Towers(config.model.towers, timedelta(seconds=settings.timeout), **buckets)
    if settings.name == StrategyName.one_weird_trick:
        return OneWeirdTrick(**buckets)
    return "auto"


def make_callbacks(config: Config, network: nn.Module) -> list[Callback]:
    """What the strategy adds to Lightning's callbacks.

    Args:
        config: ``strategy`` and ``optim.clip_norm`` of it.
        network: Before a strategy changes it.
    """
    if config.strategy.name in (StrategyName.single, StrategyName.ddp):
        return []
    callbacks: list[Callback] = [WholeNetwork(network)]
    if config.optim.clip_norm is not None and not clips_by_itself(config):
        callbacks.append(ClipParts(config.optim.clip_norm))
    return callbacks


def clips_by_itself(config: Config) -> bool:
    """Whether Lightning's own clipping sees the norm of the whole gradient."""
    return config.strategy.name not in (StrategyName.towers, StrategyName.one_weird_trick)


class ClipParts(Callback):
    """Clips by the norm of the whole gradient, of which this process has a part.

    Args:
        clip_norm: Largest norm.
    """

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = clip_norm

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Scale all gradients as ``torch.nn.utils.clip_grad_norm_`` does."""
        strategy = trainer.strategy
        assert isinstance(strategy, _InParts)
        norms: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        gradients = []
        for name, parameter in pl_module.network.named_parameters():  # type: ignore[union-attr]
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            dtype = torch.promote_types(parameter.grad.dtype, torch.float32)
            norms[name in strategy.parts].append(parameter.grad.norm(dtype=dtype))
        divided = torch.stack(norms[True]).square().sum()
        dist.all_reduce(divided, group=strategy.model_group)
        if norms[False]:
            divided += torch.stack(norms[False]).square().sum()
        factor = (self.clip_norm / (divided.sqrt() + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, factor)


class DataParallel(DDPStrategy):
    """The whole network on every device, for its share of each batch.

    Args:
        bf16_gradients: Send gradients in bf16.
        options: Of ``DistributedDataParallel``.
    """

    def __init__(self, bf16_gradients: bool = False, **options: Any) -> None:
        # Buffers are equal anyway, and to send them would take as many batches on every device.
        known = signature(DistributedDataParallel.__init__).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options |= {sync: False, "gradient_as_bucket_view": True}
        super().__init__(**options)
        self._bf16_gradients = bf16_gradients
        self._is_laid_out = False

    def setup(self, trainer: L.Trainer) -> None:
        """Lay out once, move to the device, wrap, build the optimizer.

        Lightning's own would send rank 0's weights to all before a test.
        """
        assert self.accelerator is not None
        assert self.model is not None
        self.accelerator.setup(trainer)
        if not self._is_laid_out:
            self.lay_out(_network(self))
            self._is_laid_out = True
        self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if trainer.state.fn == TrainerFn.FITTING:
            self.configure_ddp()
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def lay_out(self, network: AlexNet) -> None:
        """Change the network in place to what this device has of it."""
        lay_out_rows(network, Share(self.global_rank, self.world_size), _world())

    def _register_ddp_hooks(self) -> None:
        if self._bf16_gradients:
            assert isinstance(self.model, DistributedDataParallel)
            self.model.register_comm_hook(None, _sent_in_bf16)


class _InParts(PartsInCheckpoints, DataParallel):
    """Data parallel strategies in which each device has a part of some layers.

    Attributes:
        model_group: The processes that hold the parts of one network.
        data_group: The processes that hold the same part.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parts: dict[str, Divided] = {}
        self.model_group = self.data_group = _world()

    def configure_ddp(self) -> None:
        """Average gradients over ``data_group``, where it has more than one process."""
        if self.data_group.size() > 1:
            super().configure_ddp()


class Towers(_InParts):
    """The paper's own: each device of a group has one tower (section 3.2).

    Args:
        towers: Devices of a group; neighbors in rank, so that they are neighbors on a machine.
        timeout: How long one waits for another.
        options: Of ``DistributedDataParallel``, over the devices with the same tower.
    """

    def __init__(self, towers: int, timeout: timedelta, **options: Any) -> None:
        super().__init__(**options)
        size = dist.get_world_size()
        # Every process has to take part in making every group.
        for start in range(0, size, towers):
            group = _group(range(start, start + towers), timeout)
            self.model_group = group or self.model_group
        for tower in range(towers):
            group = _group(range(tower, size, towers), timeout)
            self.data_group = group or self.data_group
        self._ddp_kwargs["process_group"] = self.data_group

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """All devices of a group see the same images."""
        return {"num_replicas": self.data_group.size(), "rank": self.data_group.rank()}

    def lay_out(self, network: AlexNet) -> None:
        """Keep this device's tower."""
        rows = Share(self.data_group.rank(), self.data_group.size())
        self.parts = lay_out_towers(network, rows, self.model_group, self.data_group)


class OneWeirdTrick(_InParts):
    """Convolutions by data, fully connected layers by units (Krizhevsky 2014, arXiv:1404.5997)."""

    def lay_out(self, network: AlexNet) -> None:
        """Keep this device's units of the fully connected layers."""
        rows = Share(self.global_rank, self.world_size)
        self.parts = lay_out_fully_connected(network, rows, _world())

    def configure_ddp(self) -> None:
        """Average the gradients of the convolutions alone."""
        assert self.model is not None
        names = [f"network.{name}" for name in self.parts]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.model, names)
        super().configure_ddp()


class FullySharded(PartsInCheckpoints, ModelParallelStrategy):
    """Fully sharded data parallel, FSDP2: one unit of all convolutions, one of each layer after."""

    def __init__(self) -> None:
        size = dist.get_world_size()
        super().__init__(size, 1, save_distributed_checkpoint=False)
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
            self._lay_out(_network(self))
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
            self._fused = [group["fused"] for group in self._groups()]
            self._step_unfused()
        self.setup_precision_plugin()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _step_unfused(self) -> None:
        """torch has no fused step for tensors in parts."""
        for group in self._groups():
            group["fused"] = False

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What a checkpoint holds of the optimizer, fused or not as one device has it."""
        state = super().optimizer_state(optimizer)
        groups = zip(state["param_groups"], self._fused, strict=True)
        return state | {"param_groups": [group | {"fused": fused} for group, fused in groups]}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's parts of the momentum."""
        super().load_optimizer_state_dict(checkpoint)
        self._step_unfused()

    def _lay_out(self, network: AlexNet) -> None:
        lay_out_rows(network, Share(self.global_rank, self.world_size), _world())
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

    def load_checkpoint(self, *args: Any, **options: Any) -> Any:
        """The whole file, on every process."""
        return Strategy.load_checkpoint(self, *args, **options)


def _world() -> ProcessGroup:
    group = dist.group.WORLD
    assert group is not None
    return group


def _group(ranks: range, timeout: timedelta) -> ProcessGroup | None:
    """A group of some processes; None to the others, who have to ask for it too."""
    group = dist.new_group(list(ranks), timeout)
    return group if isinstance(group, ProcessGroup) else None


def _network(strategy: Strategy) -> AlexNet:
    assert strategy.lightning_module is not None
    network = strategy.lightning_module.network
    assert isinstance(network, AlexNet)
    return network


def _sent_in_bf16(
    state: Any,
    bucket: dist.GradBucket,  # type: ignore[name-defined]  # torch insists on this annotation
) -> torch.futures.Future[torch.Tensor]:
    # Under its own name torch refuses it without NCCL, which it does not need.
    return bf16_compress_hook(state, bucket)

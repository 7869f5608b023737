"""What Lightning is given for each ``strategy=...``."""

from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from torch import nn

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.parallel.data_parallel import ClipParts, DataParallel, OneWeirdTrick, Towers
from alexnet_exp.parallel.sharded import FullySharded
from alexnet_exp.parallel.watch import Watch
from alexnet_exp.parallel.whole import WholeNetwork


def make_strategy(config: Config) -> Strategy | str:
    """``strategy`` of Lightning's Trainer; needs ``dist`` to be initialized unless it is single."""
    settings = config.strategy
    buckets: dict[str, Any] = {"bucket_cap_mb": settings.bucket_mb}
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
    """What the strategy adds to Lightning's callbacks; ``network`` is not yet laid out."""
    if config.strategy.name == StrategyName.single:
        return []
    callbacks: list[Callback] = []
    if dist.get_world_size() > 1:
        callbacks.append(Watch(config.strategy.timeout))
    if config.strategy.name != StrategyName.ddp:
        callbacks.append(WholeNetwork(network))
    in_parts = config.strategy.name in (StrategyName.towers, StrategyName.one_weird_trick)
    if in_parts and config.optim.clip_norm is not None:
        callbacks.append(ClipParts(config.optim.clip_norm))
    return callbacks

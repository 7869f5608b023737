"""Which devices a run takes, and what each strategy asks of devices, network and batch."""

import torch

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.errors import PlacementError
from alexnet_exp.hardware import uses_gpu
from alexnet_exp.network.plan import LayerPlan

# Optimizers that look at a whole matrix, of which a device may have a part.
_WHOLE_MATRIX = ("Adafactor", "LBFGS", "Muon")


def device_ids(config: Config) -> list[int]:
    """The devices of this machine that the run takes; on a CPU the numbers of its processes.

    ``trainer.devices`` is a number, a list of GPUs, -1 for all, or auto: all, but one with
    strategy=single. A CPU is one device unless more are asked for.
    """
    given, gpus = config.trainer.devices, 0
    if uses_gpu(config.trainer.accelerator):
        gpus = torch.cuda.device_count()
    if given == "auto" and config.strategy.name == StrategyName.single:
        return [0]
    if given in (-1, "auto"):
        return list(range(max(1, gpus)))
    return list(range(given)) if isinstance(given, int) else list(given)


def device_count(config: Config) -> int:
    """Devices of each machine; see ``device_ids``."""
    return len(device_ids(config))


def lightning_devices(config: Config) -> int | list[int]:
    """``devices`` of Lightning's Trainer."""
    ids = device_ids(config)
    return ids if uses_gpu(config.trainer.accelerator) else len(ids)


def check_devices(config: Config) -> None:
    """See that the strategy can have these devices, on whatever machine.

    Raises:
        PlacementError: It wants another number of them.
    """
    trainer, strategy = config.trainer, config.strategy.name
    devices = device_count(config) * trainer.num_nodes
    given = f"trainer.devices={trainer.devices}"
    if trainer.num_nodes > 1:
        given += f" trainer.num_nodes={trainer.num_nodes}"
    if strategy == StrategyName.single and devices > 1:
        raise PlacementError(
            f"{given}: strategy=single runs on one device; choose strategy=ddp (or fsdp, towers,"
            " one_weird_trick), or set both to 1"
        )
    if config.strategy.bf16_gradients and strategy != StrategyName.ddp:
        raise PlacementError(
            f"strategy.bf16_gradients=true is for strategy=ddp, not for strategy={strategy}"
        )
    towers = config.model.towers
    if strategy == StrategyName.towers and towers < 2:
        raise PlacementError(
            f"strategy=towers gives each device one tower, and model={config.model.name} has one"
            " tower: choose model=paper or original, or strategy=ddp"
        )
    if strategy == StrategyName.towers and devices % towers:
        raise PlacementError(
            f"{given}: strategy=towers puts the {towers} towers of model={config.model.name} on"
            f" {towers} devices: set trainer.devices={towers} or a multiple of it, or strategy=ddp"
        )
    if strategy == StrategyName.one_weird_trick and devices < 2:
        raise PlacementError(
            f"{given}: strategy=one_weird_trick divides the fully connected layers among devices:"
            " set trainer.devices=2 or more, or strategy=single"
        )


def check(config: Config, layers: list[LayerPlan]) -> None:
    """See that the strategy can lay this network and batch over these devices.

    Raises:
        PlacementError: It can't; the message names what would work.
    """
    check_devices(config)
    strategy, batch = config.strategy.name, config.data.batch_size
    devices = device_count(config) * config.trainer.num_nodes
    shares = devices // (config.model.towers if strategy == StrategyName.towers else 1)
    if batch % shares:
        less = batch // shares * shares
        raise PlacementError(
            f"data.batch_size={batch} is global and does not divide among {shares} shares"
            f" (strategy={strategy} on {devices} devices): set data.batch_size="
            f"{f'{less} or ' if less else ''}{less + shares}"
        )
    if strategy == StrategyName.towers and config.model.lrn.across_towers:
        raise PlacementError(
            f"strategy=towers: the norms of model={config.model.name} sum over both towers: choose"
            " strategy=ddp, or set model.lrn.across_towers=false"
        )
    in_parts = strategy not in (StrategyName.single, StrategyName.ddp)
    if in_parts and config.trainer.precision in ("16-mixed", "16"):
        raise PlacementError(
            f"trainer.precision={config.trainer.precision} looks for overflow in all gradients, of"
            f" which a device has a part under strategy={strategy}: set"
            " trainer.precision=bf16-mixed or 32-true, or strategy=ddp"
        )
    optimizer = str(config.optim._target_).rpartition(".")[2]
    if in_parts and optimizer in _WHOLE_MATRIX:
        raise PlacementError(
            f"optim._target_={config.optim._target_} looks at whole matrices, of which a device has"
            f" a part under strategy={strategy}: choose strategy=ddp, or another optimizer"
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

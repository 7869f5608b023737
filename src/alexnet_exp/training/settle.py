"""What every command does between reading its configuration and building a network."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from alexnet_exp.config import Config
from alexnet_exp.config.training import Compile
from alexnet_exp.data.store.store import Store
from alexnet_exp.errors import PlacementError, UserError
from alexnet_exp.hardware import resolve_precision, uses_gpu
from alexnet_exp.network.plan import LayerPlan, plan
from alexnet_exp.parallel.placement import check, device_count, lightning_devices


def settle(config: Config, store: Store) -> list[LayerPlan]:
    """Set, in place, what data and hardware decide, and plan the network's layers.

    The data decides classes, channels and fingerprint, the hardware what precision=auto means.

    Raises:
        UserError: The network does not fit the data.
        PlacementError: The strategy can't lay it over the devices.
    """
    model, data, classes = config.model, config.data, len(store.classes)
    data.fingerprint = store.meta["fingerprint"]
    settle_hardware(config)
    if config.trainer.arguments.get("limit_val_batches", 1) == 0:
        raise UserError(
            "trainer.limit_val_batches=0 leaves no validation error to choose the best epoch by:"
            " set it to 1 or more"
        )
    if model.classes is None:
        model.classes = classes
    if model.classes < classes:
        raise UserError(
            f"data={data.name} has labels 0 to {classes - 1} and model.classes="
            f"{model.classes}: set model.classes={classes} or more, or leave it out"
        )
    if model.input_channels is None:
        model.input_channels = data.channels
    if model.input_channels != data.channels:
        raise UserError(
            f"model.input_channels={model.input_channels} and data.channels={data.channels}"
            " differ: leave model.input_channels out"
        )
    side = data.upscale_to or data.image_size
    if side < model.input_size:
        raise UserError(
            f"the images of data={data.name} are {side} pixels wide and model={model.name}"
            f" sees {model.input_size}: choose another model (model=cifar_small sees 32), or set"
            f" data.upscale_to={model.input_size} or model.input_size={side}"
        )
    images = len(store.indices("train"))
    if data.batch_size > images:
        raise UserError(
            f"data.batch_size={data.batch_size} is more than the {images} training images"
            f" of data={data.name}: set data.batch_size={images} or less"
        )
    try:
        layers = plan(model)
    except ValueError as error:
        raise UserError(str(error)) from error
    check(config, layers)
    processes = device_count(config) * config.trainer.num_nodes
    for split in ("val", "test"):
        if store.counts[split] < processes:
            raise PlacementError(
                f"the {store.counts[split]} {split} images of data={data.name} are fewer"
                f" than the {processes} processes: lower trainer.devices"
            )
    return layers


def settle_hardware(config: Config) -> None:
    """Set, in place, the precision and memory format that the hardware decides.

    Raises:
        UserError: A speed option needs hardware that is not there.
    """
    trainer = config.trainer
    trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)
    if trainer.channels_last is None:
        half = "16" in trainer.precision
        trainer.channels_last = half or uses_gpu(trainer.accelerator)
    if config.speed.compile == Compile.graphs and not uses_gpu(trainer.accelerator):
        raise UserError(
            "speed.compile=graphs records CUDA graphs, and there is no GPU: set"
            " speed.compile=network or none"
        )


def precision_here(precision: str) -> str:
    """Of a run whose hardware may have had arithmetic that this one lacks: ``auto`` then."""
    on_gpu = torch.cuda.is_available()
    lacks = precision == "bf16-mixed" or (precision == "16-mixed" and not on_gpu)
    return "auto" if lacks else precision


def make_trainer(config: Config, **settings: Any) -> L.Trainer:
    """Lightning's Trainer on the hardware and in the precision that ``config.trainer`` names.

    It is given ``settings`` too; ``trainer.arguments`` stand above them.

    Raises:
        UserError: This machine lacks the hardware.
    """
    _quiet_lightning()
    trainer = config.trainer
    arguments: dict[str, Any] = {
        "accelerator": trainer.accelerator,
        "devices": lightning_devices(config),
        "num_nodes": trainer.num_nodes,
        "precision": trainer.precision,
        "deterministic": trainer.deterministic,
        "benchmark": config.speed.autotune and not trainer.deterministic,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
    }
    try:
        made = L.Trainer(**(arguments | settings | trainer.arguments))
    except (MisconfigurationException, ValueError) as error:
        given = {"accelerator": trainer.accelerator, "devices": trainer.devices}
        given |= {"precision": trainer.precision, **trainer.arguments}
        words = " ".join(f"trainer.{name}={value}" for name, value in given.items())
        raise UserError(f"{words} can't be had on this machine: {error}") from error
    if trainer.precision.startswith("16") and made.strategy.root_device.type == "cpu":
        raise UserError(  # Lightning would train in bf16 instead
            f"trainer.precision={trainer.precision} needs a GPU: set trainer.precision=bf16-mixed"
            " or 32-true"
        )
    return made


@contextmanager
def ctrl_c_raises() -> Iterator[None]:
    """KeyboardInterrupt for what Lightning makes of it, the end of the process without a word."""
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop


def _quiet_lightning() -> None:
    """Keep Lightning's notes on hardware and on settings that were chosen on purpose quiet."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # it was asked for
    for message in (
        "does not have many workers",
        "exists and is not empty",
        "smaller than the logging interval",
        "Trying to infer the `batch_size`",
        "You called `self.log",
        "isinstance\\(treespec, LeafSpec\\)",
        "`srun` command is available",
        "on epoch level in distributed setting",  # what is logged is summed over processes
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")

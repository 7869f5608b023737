"""Real training steps under every strategy: how long they take, and how many bytes they send."""

import os
import socket
import struct
import tempfile
import time
import warnings
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from statistics import mean
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch.utils.data import DataLoader

from alexnet_exp.bench.clock import Course, now_on
from alexnet_exp.bench.show import show
from alexnet_exp.bench.subject import Subject
from alexnet_exp.config import Config
from alexnet_exp.config.bench import BenchRun
from alexnet_exp.config.training import StrategyName
from alexnet_exp.console import say
from alexnet_exp.errors import PlacementError
from alexnet_exp.hardware import cores, uses_gpu
from alexnet_exp.network.plan import plan
from alexnet_exp.parallel.launch import run_processes
from alexnet_exp.parallel.placement import check
from alexnet_exp.parallel.strategies import make_callbacks, make_strategy
from alexnet_exp.parallel.team import Place, gather, make_plugins, meet, place
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.settle import make_trainer

WARM_UP, STEPS, ROUNDS, ENOUGH = 2, 2, 2, 30
"""Steps before the clock starts, as memory is allocated and DDP makes its buckets anew; steps that
count; rounds, in which every strategy has its turn; and seconds of a round that are enough."""


# struct tcp_info of linux/tcp.h (since 4.19): tcpi_bytes_sent, tcpi_bytes_retrans.
_SENT_AND_RESENT = struct.Struct("200x2Q")


def measure(run: BenchRun, case: Subject, course: Course) -> dict[str, Any]:
    """Steps of every strategy that can lay the network over all devices of this machine.

    Those are its GPUs, or two processes of its CPU. ``strategy`` and ``data.batch_size`` are the
    run's. Gives the ``parallel`` of bench.json.
    """
    config = deepcopy(case.config)
    config.strategy, config.data.batch_size = run.strategy, run.data.batch_size
    devices = torch.cuda.device_count() if case.device.type == "cuda" else min(2, cores())
    found = course.take("steps of every strategy", lambda: observe(config, devices))
    rows = [
        [one["strategy"], f"{one['devices']}", f"{1e3 * one['seconds']:.0f}",
         f"{found[0]['seconds'] / one['seconds']:.2f}",
         "-" if one["sent"] is None else f"{one['sent'] / 1e6:.3f}"]
        for one in found
    ]  # fmt: skip
    title = f"Steps on {config.data.batch_size} images, {config.trainer.precision}"
    heads = ["strategy", "devices", "ms", "times as fast", "MB sent by each"]
    show(f"{title} (single: every device by itself, all at once)", heads, rows)
    return {"precision": config.trainer.precision, "observed": found}


def observe(config: Config, devices: int) -> list[dict[str, Any]]:
    """Train on random images, with the strategies in turn, in so many processes.

    Under ``single`` each device trains by itself, all at once.

    Returns:
        ``strategy``, ``devices``, ``batch`` (global), ``seconds`` of the fastest step (the slowest
        device counts), and bytes ``sent`` by each device in a step, mean over devices and steps;
        None where the kernel does not see them (NCCL).
    """
    strategies = _fitting(config, devices)
    first = _under(config, strategies[-1], devices)
    if devices == 1:
        turns = in_turns(first, Path())["turns"]
    else:
        with tempfile.TemporaryDirectory() as folder:
            turns = run_processes(first, Path(folder), in_turns)["turns"]
    found = []
    for number, strategy in enumerate(strategies):
        mine = turns[number :: len(strategies)]
        counts = [sent for turn in mine for _, sent in turn]
        found.append({
            "strategy": str(strategy),
            "devices": 1 if strategy == StrategyName.single else devices,
            "batch": config.data.batch_size,
            "seconds": min(max(taken for taken, _ in turn) for turn in mine),
            "sent": None if None in counts else mean(counts),
        })  # fmt: skip
    return found


def _fitting(config: Config, devices: int) -> list[StrategyName]:
    """The strategies that can lay network and batch over these devices, single first."""
    found = [StrategyName.single]
    for strategy in [name for name in StrategyName if name not in found and devices > 1]:
        try:
            check(_under(config, strategy, devices), plan(config.model))
            found.append(strategy)
        except PlacementError as error:
            say(f"{strategy} is left out: {error}")
    return found


def _under(config: Config, strategy: StrategyName, devices: int) -> Config:
    """A copy for one strategy."""
    own = deepcopy(config)
    own.strategy.name, own.trainer.devices = strategy, devices
    return own


def in_turns(config: Config, folder: Path) -> dict[str, Any]:
    """What one process does; by turn and process, seconds of a step and bytes sent in it."""
    here, on_gpu = place(config), uses_gpu(config.trainer.accelerator)
    assert here is not None
    found: list[tuple[float, float | None]] = []
    everyones: list[Any] = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for strategy in _fitting(config, here.size):
            own, ours = _under(config, strategy, here.size), here
            if strategy == StrategyName.single:  # on a GPU of its own
                ours, own.trainer.devices = Place(), [here.local_rank] if on_gpu else 1
            with meet(own, ours):
                found.append(_steps(own, ours, on_gpu))
            if here.rank == 0:
                say(f"{strategy}: {1e3 * found[-1][0]:.0f} ms a step")
        with meet(config, here):
            everyones = gather((time.perf_counter() - begin, found))
        if max(taken for taken, _ in everyones) > ENOUGH:
            break
    return {"turns": list(zip(*(turns for _, turns in everyones), strict=True))}


def _steps(config: Config, here: Place, on_gpu: bool) -> tuple[float, float | None]:
    """Seconds of the fastest of a few steps on the same random images, and bytes sent in each."""
    warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
    L.seed_everything(config.seed, verbose=False)
    classifier = Classifier(config)
    times: list[float] = []
    sent: list[dict[str, int]] = []

    def read(trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        times.append(now_on(module.device))
        sent.append({} if on_gpu else tcp_bytes_sent())

    reader = LambdaCallback(on_train_batch_start=read, on_train_batch_end=read)
    trainer = make_trainer(
        config,
        max_steps=WARM_UP + STEPS,
        strategy=make_strategy(config),
        callbacks=[*make_callbacks(config, classifier.network), reader],
        plugins=make_plugins(config, here),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )
    model: Any = config.model
    towers = model.towers if config.strategy.name == StrategyName.towers else 1
    images, side = config.data.batch_size * towers // here.size, model.input_size
    x = torch.randn(images, model.input_channels, side, side)
    batches: Any = [(x, torch.randint(model.classes, (images,)))] * (WARM_UP + STEPS)
    trainer.fit(classifier, DataLoader(batches, batch_size=None))
    begins, ends = times[2 * WARM_UP :: 2], times[2 * WARM_UP + 1 :: 2]
    fastest = min(end - begin for begin, end in zip(begins, ends, strict=True))
    # Sockets of a group that has ended may be closed at any time, and take their counts along.
    during = sum(count - sent[2 * WARM_UP].get(one, 0) for one, count in sent[-1].items())
    return fastest, None if on_gpu else during / STEPS


def tcp_bytes_sent() -> dict[str, int]:
    """Bytes that each open TCP socket of this process has sent so far, by its name.

    Payload alone, as the kernel (Linux 4.19 or later) counts it, without what was sent again.
    gloo sends through such sockets, NCCL does not.
    """
    counts: dict[str, int] = {}
    for entry in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            name = os.readlink(f"/proc/self/fd/{entry}")
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry))) as connection:
                    if connection.family in (socket.AF_INET, socket.AF_INET6):
                        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                        sent, resent = _SENT_AND_RESENT.unpack_from(info)
                        counts[name] = sent - resent
    return counts

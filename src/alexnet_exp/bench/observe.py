"""Real training steps under every strategy: how long they take, and how many bytes they send."""

import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch._C._distributed_c10d import TCPStore
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader

from alexnet_exp.bench.counter import tcp_bytes_sent
from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.console import say
from alexnet_exp.hardware import keep_freed_memory, uses_gpu
from alexnet_exp.parallel.strategies import make_callbacks, make_strategy
from alexnet_exp.parallel.team import Place, make_plugins, meet
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.settle import make_trainer

WARM_UP = 3
"""Steps before the clock starts: memory is allocated, and DDP makes its buckets anew."""


@dataclass(frozen=True)
class Observation:
    """Steps of one strategy.

    Attributes:
        strategy, devices, batch: What was run; the batch is global.
        seconds: Of the fastest step; the slowest device counts.
        sent: Bytes that each device sent in a step, mean over devices and steps; None where the
            kernel does not see them (NCCL).
    """

    strategy: str
    devices: int
    batch: int
    seconds: float
    sent: float | None


def observe(
    config: Config, strategies: Sequence[StrategyName], devices: int, steps: int, rounds: int = 1
) -> list[Observation]:
    """Train on random images, with the strategies in turn.

    Under ``single`` each device trains by itself, all at once.

    Args:
        config: ``model``, ``optim``, ``trainer``, ``strategy`` and ``data.batch_size`` of it;
            classes, channels and precision set.
        strategies: In this order.
        devices: Processes on this machine.
        steps: That are counted, in each round.
        rounds: How many times every strategy has its turn.
    """
    runs = list(strategies) * rounds
    with tempfile.TemporaryDirectory() as folder:
        # Kept by this process, so that no port has to be guessed.
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        spawn(_rank, (devices, config, runs, steps, store.port, folder), devices)
        files = [Path(folder) / f"{rank}.json" for rank in range(devices)]
        by_rank = [json.loads(file.read_text()) for file in files]
    observations = []
    for strategy in strategies:
        mine = [[run for run in runs if run["strategy"] == strategy] for runs in by_rank]
        seconds = min(max(run["seconds"] for run in turn) for turn in zip(*mine, strict=True))
        counts = [run["sent"] for turn in mine for run in turn]
        sent = None if None in counts else mean(counts)
        batch = config.data.batch_size
        observations.append(Observation(str(strategy), devices, batch, seconds, sent))
    return observations


def _rank(
    rank: int,
    devices: int,
    config: Config,
    runs: list[StrategyName],
    steps: int,
    port: int,
    folder: str,
) -> None:
    keep_freed_memory()
    on_gpu = uses_gpu(config.trainer.accelerator)
    if not on_gpu:
        torch.set_num_threads(max(1, torch.get_num_threads() // devices))
    found = []
    for strategy in runs:
        own = deepcopy(config)
        own.strategy.name = strategy
        own.trainer.devices = 1 if strategy == StrategyName.single else devices
        place = Place(rank, devices, rank, port=port, has_host=True)
        if strategy == StrategyName.single:
            place = Place(local_rank=rank)
        counter = StepCounter(steps, counts_bytes=not on_gpu)
        with meet(own, place):
            _train(own, place, counter)
        found.append({"strategy": strategy, "seconds": counter.fastest, "sent": counter.sent})
        if rank == 0:
            say(f"{strategy} on {own.trainer.devices}: {1e3 * counter.fastest:.0f} ms a step")
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))


def _train(config: Config, place: Place, counter: "StepCounter") -> None:
    """A few steps on the same random images."""
    model = config.model
    assert model.classes is not None
    assert model.input_channels is not None
    warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
    L.seed_everything(config.seed, verbose=False)
    classifier = Classifier(config, [str(number) for number in range(model.classes)])
    # On its own each process takes its own GPU.
    alone = config.strategy.name == StrategyName.single and uses_gpu(config.trainer.accelerator)
    trainer = make_trainer(
        config,
        devices=[place.local_rank] if alone else config.trainer.devices,
        max_steps=WARM_UP + counter.steps,
        strategy=make_strategy(config),
        callbacks=[*make_callbacks(config, classifier.network), counter],
        plugins=make_plugins(config, place),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )
    shares = place.size
    if config.strategy.name == StrategyName.towers:
        shares //= model.towers
    images = config.data.batch_size // shares
    side = model.input_size
    batch = {
        "images": torch.randn(images, model.input_channels, side, side),
        "labels": torch.randint(model.classes, (images,)),
    }
    batches: list[Any] = [batch] * (WARM_UP + counter.steps)
    trainer.fit(classifier, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]


class StepCounter(Callback):
    """Times steps and counts what this process sends in them.

    Args:
        steps: After the warm-up.
        counts_bytes: Whether the kernel sees what is sent.

    Attributes:
        fastest: Seconds of the fastest step.
        sent: Bytes of a step, mean; None where they are not counted.
    """

    def __init__(self, steps: int, counts_bytes: bool) -> None:
        self.steps, self.counts_bytes = steps, counts_bytes
        self.fastest = float("inf")
        self.sent: float | None = None
        self._before, self._start = 0, 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Read counter and clock."""
        if batch_idx == WARM_UP and self.counts_bytes:
            self._before = tcp_bytes_sent()
        self._start = _now()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Read them again."""
        if batch_idx >= WARM_UP:
            self.fastest = min(self.fastest, _now() - self._start)
        if batch_idx == WARM_UP + self.steps - 1 and self.counts_bytes:
            self.sent = (tcp_bytes_sent() - self._before) / self.steps


def _now() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()

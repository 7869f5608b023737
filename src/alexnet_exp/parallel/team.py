"""The processes of one run: which of them this is, how they meet, what they agree on."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch.distributed import HashStore, PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import end_with_parent, uses_gpu
from alexnet_exp.parallel.placement import check_devices, device_count, device_ids
from alexnet_exp.parallel.watch import expect_progress

T = TypeVar("T")

# Seconds to wait longer than for a step: processes start one after another on few cores, the first
# one speaks to a logger's server, machines start at their own times.
_START, _LOGGERS, _MACHINES = 30.0, 90.0, 1800.0

_meetings = itertools.count()


@dataclass(frozen=True)
class Place:
    """Which of the processes of a run this one is: among all, and on which machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node: int = 0


def place(config: Config) -> Place | None:
    """This process's place, by what started it; None where it has to start the processes itself.

    torchrun, srun and ``launch`` start every process of a machine.

    Raises:
        PlacementError: The strategy can't have these devices.
        UserError: As many processes were started as the configuration does not ask for, or the
            machine has fewer GPUs.
    """
    check_devices(config)
    devices, nodes = device_count(config), config.trainer.num_nodes
    found = _started_by()
    if found is None and nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes}: start every process with srun, or on each machine"
            f" torchrun --nnodes={nodes} --node-rank=<which> --nproc-per-node={devices}"
            " --master-addr=<the first> --master-port=29500 -m alexnet_exp.train ..."
        )
    if found is None:
        _refuse_missing_gpus(config, max(device_ids(config)) + 1)
        return Place() if devices == 1 else None
    starter, given = found
    if starter == "torchrun":
        end_with_parent()  # its agent, where that is killed, leaves its processes behind
    if given.size != devices * nodes:
        raise UserError(
            f"{starter} started {given.size} processes, and strategy={config.strategy.name}"
            f" trainer.devices={config.trainer.devices} trainer.num_nodes={nodes} asks for"
            f" {devices * nodes}: choose strategy=ddp trainer.devices=<processes on each machine>"
            " trainer.num_nodes=<machines>"
        )
    _refuse_missing_gpus(config, device_ids(config)[given.local_rank] + 1)
    return given


def _refuse_missing_gpus(config: Config, needed: int) -> None:
    """See that this process finds ``needed`` GPUs, where it trains on any."""
    accelerator, gpus = config.trainer.accelerator, torch.cuda.device_count()
    on_gpu = accelerator in ("gpu", "cuda") or uses_gpu(accelerator)
    if on_gpu and needed > gpus:
        raise UserError(
            f"trainer.accelerator={accelerator} trainer.devices={config.trainer.devices}: torch"
            f" finds {gpus} GPUs on this machine; ask for less, let every process see all of them"
            " (srun without --gpus-per-task), or set trainer.accelerator=cpu"
        )


def _started_by() -> tuple[str, Place] | None:
    """Who started this process as one of several, and its place, as the environment has it."""
    variables, starter = os.environ, "torchrun"
    if "TORCHELASTIC_RUN_ID" not in variables:
        if int(variables.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
            return None
        starter, slurm = "srun", SLURMEnvironment(auto_requeue=False)
        variables |= {
            "RANK": str(slurm.global_rank()),
            "WORLD_SIZE": variables["SLURM_STEP_NUM_TASKS"],
            "LOCAL_RANK": str(slurm.local_rank()),
            "GROUP_RANK": str(slurm.node_rank()),
            "MASTER_ADDR": slurm.main_address,
            "MASTER_PORT": str(slurm.main_port),
        }
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")
    return starter, Place(*(int(variables[name]) for name in names))


def gather(value: T) -> list[T]:
    """The ``value`` of every process that has met, in their order."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def meet(config: Config, here: Place) -> Iterator[None]:
    """Connect the processes of a run, of which this is one, until the end of the block.

    Raises:
        UserError: Some on other machines did not come in time.
    """
    if config.strategy.name == StrategyName.single:
        yield
        return
    device = None
    if uses_gpu(config.trainer.accelerator):
        device = torch.device("cuda", device_ids(config)[here.local_rank])
        torch.cuda.set_device(device)
    dist.init_process_group(
        "gloo" if device is None else "nccl",
        store=_store(here, config),
        rank=here.rank,
        world_size=here.size,
        timeout=timedelta(seconds=config.strategy.timeout),
        device_id=device,
    )
    done = False
    try:
        yield
        done = True
    finally:
        # After an error it could wait for the others, which wait for this process.
        if done or here.size == 1:
            dist.destroy_process_group()


def _store(here: Place, config: Config) -> Store:
    if here.size == 1:
        return HashStore()
    several = config.trainer.num_nodes > 1
    seconds = config.strategy.timeout + (_MACHINES if several else _START)
    if config.logger.wandb or config.logger.others:
        seconds += _LOGGERS
    expect_progress(seconds)
    patience = timedelta(seconds=seconds)
    try:
        store, _, _ = next(rendezvous("env://", timeout=patience))
        # A name of its own for every time that the same processes meet.
        meeting = PrefixStore(str(next(_meetings)), store)
        meeting.set(f"here/{here.rank}", "")
        meeting.wait([f"here/{rank}" for rank in range(here.size)], patience)
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        if not several:
            raise  # whoever started them says which is missing
        raise UserError(
            f"not all {here.size} processes of the run met at {os.environ['MASTER_ADDR']} within"
            f" {seconds:.0f} s: see whether each machine runs the same command and reaches that"
            f" address ({str(error).splitlines()[0]})"
        ) from error
    return meeting


def make_plugins(config: Config, here: Place) -> list[LightningEnvironment]:
    """What the strategy adds to Lightning's plugins."""
    return [] if config.strategy.name == StrategyName.single else [RankEnvironment(here)]


class RankEnvironment(LightningEnvironment):
    """Tells Lightning which of the processes this one is; they have met already.

    Its own for torchrun and SLURM look for more variables and may have SLURM queue a run again.
    """

    def __init__(self, here: Place) -> None:
        super().__init__()
        self._here = here

    creates_processes_externally = True

    def local_rank(self) -> int:
        return self._here.local_rank

    def node_rank(self) -> int:
        return self._here.node

    def teardown(self) -> None:
        """The next run of the same processes finds the same variables."""

"""The processes of one run: which of them this is, how they find each other, what they agree on."""

import contextlib
import fcntl
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch._C._distributed_c10d import HashStore, PrefixStore, Store, TCPStore

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyName
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import uses_gpu
from alexnet_exp.parallel.heartbeat import CHANNEL, report
from alexnet_exp.sweep.process import end_with_parent

T = TypeVar("T")

WANDB_PATIENCE = 90.0
"""Seconds more to wait for the first process, which speaks to W&B's server."""

_MACHINES = 1800.0  # seconds, for machines that start one after another

_SIOCGIFADDR = 0x8915  # Linux

_meetings = itertools.count()


@dataclass(frozen=True)
class Place:
    """Which of the processes of a run this one is.

    Attributes:
        rank, size: Among all.
        local_rank, node: On its machine, and which machine that is.
        address, port: Where they meet.
        has_host: Whether somebody else keeps the meeting place open; else rank 0 does.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 0
    has_host: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0


def place(config: Config) -> Place | None:
    """This process's place, by what started it; None where it has to start the processes itself.

    torchrun, srun and ``alexnet_exp.parallel.supervisor`` start every process of a machine.

    Args:
        config: ``strategy`` and ``trainer`` of it.

    Raises:
        UserError: As many processes were started as the configuration does not ask for, or the
            machine has fewer GPUs.
    """
    devices, nodes = config.trainer.devices, config.trainer.num_nodes
    found = _started_by()
    if found is None:
        if devices * nodes == 1:
            return Place()
        _refuse_missing_gpus(config, devices)
        return None
    starter, given = found
    if starter == "torchrun":
        end_with_parent()  # its agent, where that is killed, leaves its processes behind
    if config.strategy.name == StrategyName.single:
        raise UserError(
            f"{starter} started {given.size} processes, and strategy=single is one: choose"
            f" strategy=ddp trainer.devices=<processes on each machine>, or start one process"
        )
    if given.size != devices * nodes:
        raise UserError(
            f"{starter} started {given.size} processes, and trainer.devices={devices}"
            f" trainer.num_nodes={nodes} asks for {devices * nodes}: set trainer.devices to the"
            " processes on each machine and trainer.num_nodes to the machines"
        )
    _refuse_missing_gpus(config, given.local_rank + 1)
    return given


def _refuse_missing_gpus(config: Config, needed: int) -> None:
    """See that a process of this machine finds ``needed`` GPUs, where it trains on any."""
    accelerator, gpus = config.trainer.accelerator, torch.cuda.device_count()
    on_gpu = accelerator in ("gpu", "cuda") or uses_gpu(accelerator)
    if on_gpu and needed > gpus:
        raise UserError(
            f"trainer.accelerator={accelerator} trainer.devices={config.trainer.devices}: torch"
            f" finds {gpus} GPUs on this machine; set trainer.devices to that or less, let every"
            " process see all of the machine's (srun without --gpus-per-task), or set"
            " trainer.accelerator=cpu"
        )


def _started_by() -> tuple[str, Place] | None:
    """Who started this process as one of several, and its place."""
    variables = os.environ
    if CHANNEL in variables or "TORCHELASTIC_RUN_ID" in variables:
        rank, size, local_rank = (
            int(variables[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        )
        hosted = variables.get("TORCHELASTIC_USE_AGENT_STORE", "True") == "True"
        node = int(variables.get("GROUP_RANK", "0"))
        address, port = variables["MASTER_ADDR"], int(variables["MASTER_PORT"])
        return "torchrun", Place(rank, size, local_rank, node, address, port, hosted)
    if int(variables.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        slurm = SLURMEnvironment(auto_requeue=False)
        return "srun", Place(
            slurm.global_rank(),
            int(variables["SLURM_STEP_NUM_TASKS"]),
            slurm.local_rank(),
            slurm.node_rank(),
            slurm.main_address,
            slurm.main_port,
        )
    return None


@dataclass(frozen=True)
class Team:
    """The processes of a run after they have met.

    Attributes:
        place: Of this process.
    """

    place: Place

    def agree(self, value: T) -> T:
        """The first process's ``value``."""
        if self.place.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Every process's ``value``, in their order."""
        if self.place.size == 1:
            return [value]
        values: list[Any] = [None] * self.place.size
        dist.all_gather_object(values, value)
        return values


@contextlib.contextmanager
def meet(config: Config, here: Place) -> Iterator[Team]:
    """Connect the processes of a run, until the end of the block.

    Args:
        config: ``trainer``, ``strategy`` and ``logger`` of it.
        here: This process.

    Raises:
        UserError: Some did not come in time.
    """
    if config.strategy.name == StrategyName.single:
        yield Team(here)
        return
    on_gpu = uses_gpu(config.trainer.accelerator)
    if on_gpu:
        torch.cuda.set_device(here.local_rank)
    patience = config.strategy.timeout
    if config.trainer.num_nodes > 1:
        patience = max(patience, _MACHINES)
    elif config.logger.wandb:
        patience += WANDB_PATIENCE
    if config.trainer.num_nodes > 1:
        _choose_interface(here.address)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=_store(here, timedelta(seconds=patience)),
        rank=here.rank,
        world_size=here.size,
        timeout=timedelta(seconds=config.strategy.timeout),
        device_id=torch.device("cuda", here.local_rank) if on_gpu else None,
    )
    done = False
    try:
        yield Team(here)
        done = True
    finally:
        # After an error it could wait for the others, which wait for this process.
        if done or here.size == 1:
            dist.destroy_process_group()


def _store(here: Place, patience: timedelta) -> Store:
    if here.size == 1:
        return HashStore()
    try:
        store = TCPStore(
            here.address,
            here.port,
            here.size,
            is_master=here.is_first and not here.has_host,
            timeout=patience,
            wait_for_workers=False,
        )
        # A name of its own for every time that the same processes meet, or are started again.
        name = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(_meetings)}"
        meeting = PrefixStore(name, store)
        report(batches=0, collectives=0)
        meeting.set(f"here/{here.rank}", "")
        meeting.wait([f"here/{rank}" for rank in range(here.size)], patience)
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        raise UserError(
            f"not all {here.size} processes of the run met at {here.address}:{here.port} within"
            f" {patience.total_seconds():.0f} s: see whether each machine runs the same command and"
            f" reaches that address ({str(error).splitlines()[0]})"
        ) from error
    return meeting


def _choose_interface(address: str) -> None:
    """Have gloo use the network through which the meeting place is reached.

    It would use the one that the host name resolves to, which on many machines is the loopback.

    Raises:
        UserError: The address is not known.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            own = probe.getsockname()[0]
            if own.startswith("127.") and not address.startswith(("127.", "localhost")):
                return  # this machine's name for itself, which tells nothing
            for _, name in socket.if_nameindex():
                if _address_of(probe, name) == own:
                    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    except socket.gaierror as error:
        raise UserError(f"MASTER_ADDR={address} is not known on this machine: {error}") from error
    except OSError:  # no IPv4 way there: gloo's own choice
        return


def _address_of(probe: socket.socket, interface: str) -> str | None:
    """IPv4 address of a network interface."""
    request = struct.pack("256s", interface.encode()[:15])
    try:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
    except OSError:  # it has none
        return None
    return socket.inet_ntoa(answer[20:24])


def make_plugins(config: Config, here: Place) -> list[ClusterEnvironment]:
    """What the strategy adds to Lightning's plugins."""
    return [] if config.strategy.name == StrategyName.single else [RankEnvironment(here)]


class RankEnvironment(ClusterEnvironment):
    """Tells Lightning which of the processes this one is; they have met already.

    Args:
        here: This process.
    """

    def __init__(self, here: Place) -> None:
        super().__init__()
        self._here = here

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Where they have met."""
        return self._here.address

    @property
    def main_port(self) -> int:
        """Where they have met."""
        return self._here.port

    @staticmethod
    def detect() -> bool:
        """It is passed to the Trainer, not found."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self._here.size

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        """Among all."""
        return self._here.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        """On its machine."""
        return self._here.local_rank

    def node_rank(self) -> int:
        """Which machine."""
        return self._here.node

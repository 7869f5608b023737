"""Jobs in a Ray queue, each pinned to its own GPUs or CPU cores."""

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from alexnet_exp.errors import UserError
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import Ending, child_environment
from alexnet_exp.sweep.ray_nodes import run_on_nodes, run_there

# Of the environment of this process, what jobs on another machine need too.
_CARRIED = ("PYTHONPATH", "WANDB_", "HYDRA_", "GLOO_", "NCCL_")

_BETWEEN = 0.2  # seconds between two questions to Ray


class RayBackend:
    """A backend that queues all jobs at a Ray cluster.

    Args:
        extra: Arguments that come before the overrides of every job.
        settings: Fields of ``conf/hydra/launcher/ray.yaml``, which says what they mean.

    Raises:
        UserError: One is wrong, or there is no such cluster.
    """

    def __init__(self, extra: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        self._extra, self._settings = extra, settings
        for name in ("gpus_per_job", "cpus_per_job", "num_cpus", "num_gpus"):
            _check_number(name, settings[name])
        existing = settings["address"] or os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {}
        if existing:
            _refuse_silence(existing)
        else:
            own = {name: settings[name] for name in ("num_cpus", "num_gpus")}
        try:
            ray.init(
                address=existing or "local",
                include_dashboard=None if existing else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **own,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"hydra.launcher.address={existing}: no Ray cluster answers there"
                f" ({str(error).splitlines()[0]}); without it Ray is started on this machine"
            ) from error
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._open: list[ray.ObjectRef[Ending]] = []
        self._ended: set[ray.ObjectRef[Ending]] = set()
        self._asked = 0.0

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job that the machines of the cluster can't hold."""
        for job in jobs:
            self._demand(job)

    def room(self, waiting: Sequence[Job]) -> Sequence[Job]:
        """All: Ray keeps the queue."""
        return list(waiting)

    def start(self, jobs: Sequence[Job]) -> list["RayJob"]:
        """Queue jobs."""
        endings = [self._queue(job) for job in jobs]
        self._open += endings
        return [RayJob(ending, self) for ending in endings]

    def _queue(self, job: Job) -> "ray.ObjectRef[Ending]":
        carried = {k: v for k, v in child_environment().items() if k.startswith(_CARRIED)}
        spec, demand = job.spec(self._extra), self._demand(job)
        machines = job.config.trainer.num_nodes
        if machines == 1:
            return ray.remote(run_there).options(max_retries=0, **demand).remote(spec, carried)
        there = ray.remote(run_on_nodes).options(max_retries=0, num_cpus=0)
        return there.remote(spec, machines, job.devices(here=False), demand, carried)

    def _demand(self, job: Job) -> dict[str, float]:
        return demand(
            self._nodes,
            job.config.trainer.num_nodes,
            job.devices(here=False),
            job.config.trainer.accelerator != "cpu",
            self._settings["gpus_per_job"],
            self._settings["cpus_per_job"],
        )

    def has_ended(self, ending: "ray.ObjectRef[Ending]") -> bool:
        """Whether a job has; Ray is asked about all of them at once, and not too often."""
        now = time.monotonic()
        if self._open and now - self._asked > _BETWEEN:
            self._asked = now
            ended, self._open = ray.wait(self._open, num_returns=len(self._open), timeout=0)
            self._ended.update(ended)
        return ending in self._ended

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


class RayJob:
    """A job in Ray's hands.

    Args:
        ending: Reference to how it will have ended.
        backend: Asks Ray for all jobs.
    """

    def __init__(self, ending: "ray.ObjectRef[Ending]", backend: RayBackend) -> None:
        self._ending, self._backend = ending, backend

    def poll(self) -> Ending | None:
        """How it ended, or None while it waits or runs."""
        if not self._backend.has_ended(self._ending):
            return None
        try:
            return ray.get(self._ending)
        except (RayError, KeyboardInterrupt) as error:  # its machine is gone, or it was canceled
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Ending(None, 0.0, f"Ray: {lines[0]}")

    def stop(self) -> None:
        """Take it out of the queue, or end it."""
        ray.cancel(self._ending, force=False, recursive=False)


def _check_number(name: str, value: Any) -> None:
    """Of at least 0, whole where Ray wants it so, or null."""
    whole = name.startswith("num_")
    number = isinstance(value, int) or (isinstance(value, float) and not whole)
    if value is not None and not (number and value >= 0):
        what = "whole number" if whole else "number"
        raise UserError(f"hydra.launcher.{name}={value} must be a {what} of at least 0, or null")


def _refuse_silence(address: str) -> None:
    """Ray itself would try for minutes and then end the process.

    Raises:
        UserError: Nothing listens at ``host:port``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # auto, or a name that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"hydra.launcher.address={address}: nothing answers there ({error}); without an address"
            " and without RAY_ADDRESS Ray is started on this machine"
        ) from error


def demand(
    nodes: Sequence[Mapping[str, float]],
    machines: int,
    devices: int,
    on_gpus: bool,
    gpus_per_job: float | None,
    cpus_per_job: float | None,
) -> dict[str, float]:
    """What a job holds while it runs, on each of its machines.

    Args:
        nodes: CPU and GPU of every machine of the cluster.
        machines: Of the job.
        devices: Of the job on each.
        on_gpus: Whether it uses GPUs where there are any.
        gpus_per_job: As asked for.
        cpus_per_job: As asked for.

    Raises:
        UserError: Fewer machines have that much, so that the job would wait forever, or it has
            more devices than GPUs.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) > 0]
    gpus = gpus_per_job
    if gpus is None:
        gpus = float(devices) if with_gpus and on_gpus else 0.0
    if gpus > 1 and gpus != int(gpus):
        raise UserError(
            f"hydra.launcher.gpus_per_job={gpus:g} must be a share of one, such as .5, or a whole"
            " number"
        )
    if on_gpus and devices > 1 and 0 < gpus < devices:
        raise UserError(
            f"hydra.launcher.gpus_per_job={gpus:g} is less than trainer.devices={devices}: leave it"
            " out, and each job gets as many GPUs as it has devices"
        )
    cpus = cpus_per_job
    if cpus is None:
        shares = [node.get("CPU", 0) / node["GPU"] * gpus for node in with_gpus]
        cpus = max(1, int(min(shares))) if gpus and shares else devices
    fitting = sum(node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus for node in nodes)
    if fitting < machines:
        there = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise UserError(
            f"a job with trainer.num_nodes={machines} trainer.devices={devices} takes"
            f" hydra.launcher.gpus_per_job={gpus:g} hydra.launcher.cpus_per_job={cpus:g} on each of"
            f" its machines: {fitting or 'none'} of those that Ray has here ({there}) can hold"
            " that. Lower them, or set hydra.launcher.address=<a larger cluster>"
        )
    return {"num_gpus": gpus, "num_cpus": cpus}

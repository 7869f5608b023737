"""Jobs in a Ray queue, each pinned to its own GPUs or CPU cores."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from alexnet_exp.errors import UserError
from alexnet_exp.sweep.engine import Backend
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import Ending, child_environment
from alexnet_exp.sweep.ray_nodes import run_on_nodes, run_there

# Of the environment of this process, what jobs on another machine need too.
_CARRIED = ("PYTHONPATH", "WANDB_", "HYDRA_", "GLOO_", "NCCL_")


class RayBackend(Backend):
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
            value, kind = settings[name], int if name.startswith("num_") else (int, float)
            if value is not None and not (isinstance(value, kind) and value >= 0):
                what = "whole number" if kind is int else "number"
                raise UserError(
                    f"hydra.launcher.{name}={value} must be a {what} of at least 0, or null"
                )
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

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job that the machines of the cluster can't hold."""
        for job in jobs:
            self._demand(job)

    def start(self, jobs: Sequence[Job]) -> list["RayJob"]:
        return [RayJob(self._queue(job)) for job in jobs]

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

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


class RayJob:
    """A job in Ray's hands, by the reference to how it will have ended."""

    def __init__(self, ending: "ray.ObjectRef[Ending]") -> None:
        self._ending = ending

    def poll(self) -> Ending | None:
        ended, _ = ray.wait([self._ending], timeout=0)
        if not ended:
            return None
        try:
            return ray.get(self._ending)
        except (RayError, KeyboardInterrupt) as error:  # its machine is gone, or it was canceled
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Ending(None, 0.0, f"Ray: {lines[0]}")

    def stop(self) -> None:
        """Take it out of the queue, or end it."""
        ray.cancel(self._ending, force=False, recursive=False)


def _refuse_silence(address: str) -> None:
    """Raise UserError if nothing listens there: Ray itself would try for minutes, then exit."""
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
    """What a job holds on each of its machines while it runs.

    ``nodes`` lists CPU and GPU of every machine of the cluster, ``devices`` counts those of the job
    on one machine, ``on_gpus`` says whether it uses GPUs where there are any.

    Raises:
        UserError: The job would wait forever, or has more devices than GPUs.
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

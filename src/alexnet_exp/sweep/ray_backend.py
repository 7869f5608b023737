"""Jobs in a Ray queue, each pinned to its own GPUs or CPU cores."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from alexnet_exp.errors import UserError
from alexnet_exp.sweep.child import ChildSpec, Ending, child_environment, run_child
from alexnet_exp.sweep.jobs import Job

# Of the environment of this process, what jobs on another machine need too.
_CARRIED = ("PYTHONPATH", "WANDB_", "HYDRA_")


class RayBackend:
    """A backend that queues all jobs at a Ray cluster.

    Args:
        extra: Arguments that come before the overrides of every job.
        address: Of an existing cluster, ``auto``, or None: ``RAY_ADDRESS``, else Ray is started
            on this machine.
        gpus_per_job: GPUs of a job, fractions share one; None: 1 where there are GPUs, else 0.
        cpus_per_job: Cores of a job; None: with GPUs its share of the cores, else 1.
        num_cpus: Cores that a Ray started here may use; None: all.
        num_gpus: GPUs likewise.

    Raises:
        UserError: There is no such cluster, or it lacks what one job asks for.
    """

    slots: int | None = None

    def __init__(
        self,
        extra: tuple[str, ...],
        address: str | None,
        gpus_per_job: float | None,
        cpus_per_job: float | None,
        num_cpus: int | None,
        num_gpus: int | None,
    ) -> None:
        self._extra = extra
        existing = address or os.environ.get("RAY_ADDRESS")
        if existing:
            _refuse_silence(existing)
        own: dict[str, Any] = {} if existing else {"num_cpus": num_cpus, "num_gpus": num_gpus}
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
        try:
            self._demand = _demand(ray.cluster_resources(), gpus_per_job, cpus_per_job)
        except UserError:
            ray.shutdown()
            raise
        self._run = ray.remote(_run_there).options(max_retries=0, **self._demand)

    def start(self, jobs: Sequence[Job]) -> list["RayJob"]:
        """Queue jobs."""
        carried = {k: v for k, v in child_environment().items() if k.startswith(_CARRIED)}
        return [RayJob(self._run.remote(job.spec(self._extra), carried)) for job in jobs]

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


class RayJob:
    """A job in Ray's hands.

    Args:
        ending: Reference to how it will have ended.
    """

    def __init__(self, ending: "ray.ObjectRef[Ending]") -> None:
        self._ending = ending

    def poll(self) -> Ending | None:
        """How it ended, or None while it waits or runs."""
        ready, _ = ray.wait([self._ending], timeout=0)
        if not ready:
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


def _demand(
    resources: Mapping[str, float], gpus_per_job: float | None, cpus_per_job: float | None
) -> dict[str, float]:
    """What each job holds while it runs.

    Raises:
        UserError: The cluster has less, so that jobs would wait forever.
    """
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    if gpus_per_job is None:
        gpus_per_job = 1.0 if gpus >= 1 else 0.0
    _check("gpus", gpus_per_job, gpus)
    if cpus_per_job is None:
        cpus_per_job = max(1, int(cpus / gpus * gpus_per_job)) if gpus_per_job else 1
    _check("cpus", cpus_per_job, cpus)
    return {"num_gpus": gpus_per_job, "num_cpus": cpus_per_job}


def _check(name: str, wanted: float, there: float) -> None:
    if wanted < 0 or (name == "gpus" and wanted > 1 and wanted != int(wanted)):
        raise UserError(
            f"hydra.launcher.{name}_per_job={wanted:g} must be a share of one, such as .5, or a"
            " whole number"
        )
    if wanted > there:
        raise UserError(
            f"hydra.launcher.{name}_per_job={wanted:g} is more than the {there:g} that Ray has"
            " here: lower it"
        )


def _run_there(spec: ChildSpec, carried: dict[str, str]) -> Ending:
    """In a worker, whose environment says which GPUs the job may see."""
    return run_child(spec, {**child_environment(), **carried})

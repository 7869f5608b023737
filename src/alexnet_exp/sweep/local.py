"""Jobs as processes on this machine, each on GPUs of its own."""

import sys
from collections.abc import Sequence

from alexnet_exp.errors import UserError
from alexnet_exp.hardware import cores, gpus
from alexnet_exp.sweep.engine import Backend
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import Child, child_environment


class Processes(Backend):
    """A backend that starts processes here.

    A job of k devices owns k GPUs while it runs: the only ones that it sees. A job with
    ``trainer.accelerator=cpu``, or on a machine without GPUs, owns none.

    Args:
        jobs: Most at once; None: as many as there are GPUs for, and one that owns none.
        extra: Arguments that come before the overrides of every job.

    Raises:
        UserError: ``jobs`` is no number of jobs.
    """

    def __init__(self, jobs: int | None, extra: tuple[str, ...]) -> None:
        if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
            raise UserError(f"hydra.launcher.jobs={jobs} must be a whole number from 1 on, or null")
        self._jobs, self._extra = jobs, extra
        self._gpus = gpus()
        self._running: list[tuple[Job, list[str], Child]] = []

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job of more machines or GPUs than there are here."""
        for job in jobs:
            trainer, devices = job.config.trainer, job.devices(here=True)
            if trainer.num_nodes > 1:
                raise UserError(
                    f"{job.name}: trainer.num_nodes={trainer.num_nodes}: hydra/launcher=processes"
                    " starts jobs on this machine alone. Choose hydra/launcher=slurm or ray, start"
                    " each such run by itself (on every machine torchrun"
                    f" --nnodes={trainer.num_nodes} --nproc-per-node={devices} ... -m"
                    " alexnet_exp.train ...), or set trainer.num_nodes=1"
                )
            if self._owned(job) > len(self._gpus):
                raise UserError(
                    f"{job.name}: trainer.devices={devices}, and GPUs that this sweep may use:"
                    f" {', '.join(self._gpus) or 'none'}. Set trainer.devices to less, or"
                    " trainer.accelerator=cpu"
                )

    def at_once(self, job: Job) -> int:
        """How many jobs like this one run side by side."""
        owned = self._owned(job)
        most = len(self._gpus) // owned if owned else self._jobs or 1
        return min(most, self._jobs or most)

    def room(self, waiting: Sequence[Job]) -> list[Job]:
        """Those that can be started now: a job passes one that waits for more GPUs."""
        free, chosen = len(self._free()), []
        together = [job for job, _, _ in self._running]
        for job in waiting:
            owned = self._owned(job)
            full = self._jobs is not None and len(together) >= self._jobs
            if self._jobs is None and not owned:
                full = any(not self._owned(other) for other in together)
            if owned <= free and not full:
                free -= owned
                together.append(job)
                chosen.append(job)
        return chosen

    def start(self, jobs: Sequence[Job]) -> list[Child]:
        for job in jobs:
            own = self._free()[: self._owned(job)]
            child = Child(job.spec(self._extra), self._environment(job, own))
            self._running.append((job, own, child))
        return [child for _, _, child in self._running[-len(jobs) :]]

    def _owned(self, job: Job) -> int:
        """GPUs of a job; on a Mac they are of no CUDA, and nothing to share out."""
        accelerator = job.config.trainer.accelerator
        asked = accelerator in ("gpu", "cuda") and sys.platform != "darwin"
        on_gpus = asked or (self._gpus and accelerator != "cpu")
        return job.devices(here=True) if on_gpus else 0

    def _free(self) -> list[str]:
        self._running = [one for one in self._running if not one[-1].has_ended]
        owned = [gpu for _, gpus, _ in self._running for gpu in gpus]
        return [gpu for gpu in self._gpus if gpu not in owned]

    def _environment(self, job: Job, own: list[str]) -> dict[str, str]:
        environment, at_once = child_environment(), self.at_once(job)
        if at_once > 1:  # each with all cores would be in the others' way
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // at_once)))
        return environment | ({"CUDA_VISIBLE_DEVICES": ",".join(own)} if self._gpus else {})

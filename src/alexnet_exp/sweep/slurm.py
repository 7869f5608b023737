"""Jobs as SLURM job arrays, through submitit."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from alexnet_exp.errors import UserError
from alexnet_exp.sweep.jobs import Job, refuse_many_nodes
from alexnet_exp.sweep.process import ChildSpec, Ending, child_environment, run_child

# Seconds in which a shared file system shows a result that was written on another machine.
_FILE_LAG = 15.0


class SlurmBackend:
    """A backend that submits every job to SLURM, those with as many devices as one array.

    Batch script and SLURM's own logs lie in ``<sweep folder>/slurm``.

    Args:
        extra: Arguments that come before the overrides of every job.
        folder: Of the sweep, on a file system that the nodes see too.
        gpus_per_job: GPUs of a job; None: its ``trainer.devices``, with trainer.accelerator=cpu
            none; 0: none is asked for.
        cpus_per_device: Cores for each device of a job.
        mem_gb: Memory of a job in GiB.
        timeout_min: Minutes after which SLURM ends a job.
        array_parallelism: Jobs at once.
        setup: Shell lines before each job.
        additional: Further options of sbatch.
        named: partition, account, qos, constraint; None: SLURM's default.

    Raises:
        UserError: There is no SLURM here.
    """

    slots: int | None = None

    def __init__(
        self,
        extra: tuple[str, ...],
        folder: Path,
        gpus_per_job: int | None,
        cpus_per_device: int,
        mem_gb: float,
        timeout_min: int,
        array_parallelism: int,
        setup: list[str],
        additional: Mapping[str, Any],
        **named: str | None,
    ) -> None:
        self._extra = extra
        self._gpus_per_job, self._cpus_per_device = gpus_per_job, cpus_per_device
        try:
            self.executor = submitit.SlurmExecutor(folder / "slurm")
        except RuntimeError as error:
            raise UserError(
                "hydra/launcher=slurm: there is no sbatch on this machine; run it on a login node,"
                " or without hydra/launcher=slurm"
            ) from error
        options = {name: value for name, value in named.items() if value is not None}
        self.executor.update_parameters(
            job_name="alexnet_exp",
            nodes=1,
            ntasks_per_node=1,
            mem=f"{round(1024 * mem_gb)}M",
            time=timeout_min,
            array_parallelism=array_parallelism,
            setup=setup,
            additional_parameters=dict(additional),
            **options,
        )

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job that has fewer GPUs than devices, or is on many nodes."""
        refuse_many_nodes(jobs)
        for job in jobs:
            gpus, devices = self._gpus(job), job.config.trainer.devices
            if 0 < gpus < devices and job.config.trainer.accelerator != "cpu":
                raise UserError(
                    f"hydra.launcher.gpus_per_job={gpus} is less than trainer.devices={devices}:"
                    " leave it out, and each job gets as many GPUs as it has devices"
                )

    def start(self, jobs: Sequence[Job]) -> list["SlurmJob"]:
        """Submit jobs, those that need the same as one array: an array's tasks are all alike.

        Raises:
            UserError: SLURM refuses them.
        """
        arrays: dict[tuple[int, int], list[Job]] = {}
        for job in jobs:
            need = self._gpus(job), self._cpus_per_device * job.config.trainer.devices
            arrays.setdefault(need, []).append(job)
        handles: dict[int, SlurmJob] = {}
        try:
            for (gpus, cpus), alike in arrays.items():
                submitted = self._submit(alike, gpus, cpus)
                handles |= {job.number: own for job, own in zip(alike, submitted, strict=True)}
        except UserError:
            for handle in handles.values():  # nobody would wait for them
                handle.stop()
            raise
        return [handles[job.number] for job in jobs]

    def _gpus(self, job: Job) -> int:
        if self._gpus_per_job is not None:
            return self._gpus_per_job
        trainer = job.config.trainer
        return 0 if trainer.accelerator == "cpu" else trainer.devices

    def _submit(self, jobs: Sequence[Job], gpus: int, cpus: int) -> list["SlurmJob"]:
        gres = f"gpu:{gpus}" if gpus else None
        self.executor.update_parameters(cpus_per_task=cpus, gres=gres)
        try:
            with self.executor.batch():
                submitted = [self.executor.submit(_Task(job.spec(self._extra))) for job in jobs]
            return [SlurmJob(job) for job in submitted]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise UserError(f"SLURM refused the jobs: {error}; see hydra.launcher.*") from error

    def close(self) -> None:
        """Nothing is held."""


class SlurmJob:
    """A submitted job.

    Args:
        job: Submitit's.
    """

    def __init__(self, job: "submitit.Job[Ending]") -> None:
        self._job = job
        self._stopped = False
        self._without_result: float | None = None

    def poll(self) -> Ending | None:
        """How it ended, or None while it waits or runs."""
        if not self._job.done():
            return None
        if not self._job.paths.result_pickle.exists():
            now = time.monotonic()
            self._without_result = self._without_result or now
            if not self._stopped and now - self._without_result < _FILE_LAG:
                return None  # submitit would wait as long, and all other jobs with it
            return Ending(None, 0.0, f"SLURM job {self._job.job_id}: {self._job.state}")
        try:
            return self._job.result()
        except (FailedJobError, UncompletedJobError) as error:
            return Ending(None, 0.0, f"SLURM job {self._job.job_id}: {str(error).splitlines()[0]}")

    def stop(self) -> None:
        """Cancel it."""
        self._stopped = True
        self._job.cancel(check=False)
        self._job.watcher.clear()  # or sacct would be asked in up to ten minutes


class _Task:
    """What SLURM runs on a node; where it is preempted it is queued again and goes on."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec

    def __call__(self) -> Ending:
        stop = threading.Event()
        # Submitit ignores it, and whether SLURM sends it to the job itself depends on the cluster.
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        ending = run_child(self.spec, child_environment(), stop)
        if stop.is_set():
            # No result: SLURM knows whether the job is canceled or queued again.
            sys.exit(128 + signal.SIGTERM)
        return ending

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        return submitit.helpers.DelayedSubmission(self)

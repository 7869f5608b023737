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
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import ChildSpec, Ending, child_environment, run_child

# Seconds in which a shared file system shows a result that was written on another machine.
_FILE_LAG = 15.0


class SlurmBackend:
    """A backend that submits every job to SLURM, those that need the same as one array.

    A job with ``trainer.num_nodes`` above 1 has one task on each node, which runs torchrun.
    Batch script and SLURM's own logs lie in ``<sweep folder>/slurm``.

    Args:
        extra: Arguments that come before the overrides of every job.
        folder: Of the sweep, on a file system that the nodes see too.
        gpus_per_job: GPUs of a job on each node; None: its ``trainer.devices``, with
            trainer.accelerator=cpu none; 0: none is asked for.
        cpus_per_device: Cores for each device of a job.
        mem_gb: Memory of a job on each node in GiB.
        timeout_min: Minutes after which SLURM ends a job.
        array_parallelism: Jobs at once.
        setup: Shell lines before each job.
        additional: Further options of sbatch.
        named: partition, account, qos, constraint; None: SLURM's default.

    Raises:
        UserError: There is no SLURM here.
    """

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
            ntasks_per_node=1,
            mem=f"{round(1024 * mem_gb)}M",
            time=timeout_min,
            array_parallelism=array_parallelism,
            setup=setup,
            srun_args=["--kill-on-bad-exit=1"],  # a node that is lost ends the others
            additional_parameters=dict(additional),
            **options,
        )

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job that has fewer GPUs than devices."""
        for job in jobs:
            gpus, devices = self._gpus(job), job.devices(here=False)
            if 0 < gpus < devices and job.config.trainer.accelerator != "cpu":
                raise UserError(
                    f"hydra.launcher.gpus_per_job={gpus} is less than trainer.devices={devices}:"
                    " leave it out, and each job gets as many GPUs as it has devices"
                )

    def room(self, waiting: Sequence[Job]) -> Sequence[Job]:
        """All: SLURM keeps the queue."""
        return list(waiting)

    def start(self, jobs: Sequence[Job]) -> list["SlurmJob"]:
        """Submit jobs, those that need the same as one array: an array's tasks are all alike.

        Raises:
            UserError: SLURM refuses them.
        """
        arrays: dict[tuple[int, int, int], list[Job]] = {}
        for job in jobs:
            need = job.config.trainer.num_nodes, job.devices(here=False), self._gpus(job)
            arrays.setdefault(need, []).append(job)
        handles: dict[Job, SlurmJob] = {}
        try:
            for (nodes, devices, gpus), alike in arrays.items():
                submitted = self._submit(alike, nodes, devices, gpus)
                handles |= dict(zip(alike, submitted, strict=True))
        except UserError:
            for handle in handles.values():  # nobody would wait for them
                handle.stop()
            raise
        return [handles[job] for job in jobs]

    def _gpus(self, job: Job) -> int:
        if self._gpus_per_job is not None:
            return self._gpus_per_job
        return 0 if job.config.trainer.accelerator == "cpu" else job.devices(here=False)

    def _submit(self, jobs: Sequence[Job], nodes: int, devices: int, gpus: int) -> list["SlurmJob"]:
        self.executor.update_parameters(
            nodes=nodes,
            cpus_per_task=self._cpus_per_device * devices,
            gres=f"gpu:{gpus}" if gpus else None,
        )
        tasks = [_Task(job.spec(self._extra), nodes, devices) for job in jobs]
        try:
            with self.executor.batch():
                submitted = [self.executor.submit(task) for task in tasks]
            return [SlurmJob(job) for job in submitted]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise UserError(f"SLURM refused the jobs: {error}; see hydra.launcher.*") from error

    def close(self) -> None:
        """Nothing is held."""


class SlurmJob:
    """A submitted job.

    Args:
        job: Submitit's; of several nodes the first one's task says how it ended.
    """

    def __init__(self, job: "submitit.Job[Ending]") -> None:
        self._job = job.task(0)
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
    """What SLURM runs on each node of a job; where it is preempted it is queued again and goes on.

    Args:
        spec: Of the job.
        nodes: Of the job.
        devices: On each.
    """

    def __init__(self, spec: ChildSpec, nodes: int, devices: int) -> None:
        self._given = spec, nodes, devices

    def __call__(self) -> Ending:
        spec, nodes, devices = self._given
        stop = threading.Event()
        # Submitit ignores it, and whether SLURM sends it to the job itself depends on the cluster.
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        if nodes > 1:
            here = submitit.JobEnvironment()
            port = 15000 + int(here.raw_job_id) % 15000  # the same on all nodes, and of this job
            spec = spec.on_machine(here.node, nodes, devices, here.hostnames[0], port)
        ending = run_child(spec, child_environment(), stop)
        if stop.is_set():
            # No result: SLURM knows whether the job is canceled or queued again.
            sys.exit(128 + signal.SIGTERM)
        return ending

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        return submitit.helpers.DelayedSubmission(self)

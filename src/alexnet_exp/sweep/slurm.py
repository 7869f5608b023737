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
from alexnet_exp.sweep.engine import Backend
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import ChildSpec, Ending, child_environment, run_child

# Seconds in which a shared file system shows a result that was written on another machine.
_FILE_LAG = 15.0


class SlurmBackend(Backend):
    """A backend that submits every job to SLURM, those that need the same as one array.

    A job with ``trainer.num_nodes`` above 1 has one task on each node, which runs torchrun.
    Batch script and SLURM's own logs lie in ``<sweep folder>/slurm``.

    Args:
        extra: Arguments that come before the overrides of every job.
        folder: Of the sweep, on a file system that the nodes see too.
        settings: Fields of ``conf/hydra/launcher/slurm.yaml``, which says what they mean.

    Raises:
        UserError: There is no SLURM here.
    """

    def __init__(self, extra: tuple[str, ...], folder: Path, settings: Mapping[str, Any]) -> None:
        self._extra, self._settings = extra, settings
        try:
            self._executor = submitit.SlurmExecutor(folder / "slurm")
        except RuntimeError as error:
            raise UserError(
                "hydra/launcher=slurm: there is no sbatch on this machine; run it on a login node,"
                " or without hydra/launcher=slurm"
            ) from error
        named = {name: settings[name] for name in ("partition", "account", "qos", "constraint")}
        self._executor.update_parameters(
            job_name="alexnet_exp",
            ntasks_per_node=1,
            mem=f"{round(1024 * settings['mem_gb'])}M",
            time=settings["timeout_min"],
            array_parallelism=settings["array_parallelism"],
            setup=list(settings["setup"]),
            srun_args=["--kill-on-bad-exit=1"],  # a node that is lost ends the others
            additional_parameters=dict(settings["additional"]),
            **{name: value for name, value in named.items() if value is not None},
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
        asked: int | None = self._settings["gpus_per_job"]
        if asked is not None:
            return asked
        return 0 if job.config.trainer.accelerator == "cpu" else job.devices(here=False)

    def _submit(self, jobs: Sequence[Job], nodes: int, devices: int, gpus: int) -> list["SlurmJob"]:
        self._executor.update_parameters(
            nodes=nodes,
            cpus_per_task=self._settings["cpus_per_device"] * devices,
            gres=f"gpu:{gpus}" if gpus else None,
        )
        tasks = [_Task(job.spec(self._extra), nodes, devices) for job in jobs]
        try:
            with self._executor.batch():
                submitted = [self._executor.submit(task) for task in tasks]
            return [SlurmJob(job) for job in submitted]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise UserError(f"SLURM refused the jobs: {error}; see hydra.launcher.*") from error


class SlurmJob:
    """A submitted job; of several nodes the first one's task says how it ended."""

    def __init__(self, job: "submitit.Job[Ending]") -> None:
        self._job = job.task(0)
        self._stopped = False
        self._without_result: float | None = None

    def poll(self) -> Ending | None:
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
        self._stopped = True
        self._job.cancel(check=False)
        self._job.watcher.clear()  # or sacct would be asked in up to ten minutes


class _Task:
    """What SLURM runs on each node of a job; when preempted it is queued again and goes on."""

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

"""Jobs as processes on this machine, a fixed number at once."""

import os

from alexnet_exp.sweep.child import Child, Ending, child_environment
from alexnet_exp.sweep.jobs import Job


class Processes:
    """A backend that starts processes here.

    Args:
        jobs: At once.
        extra: Arguments that come before the overrides of every job.
    """

    def __init__(self, jobs: int, extra: tuple[str, ...]) -> None:
        self.slots = jobs
        self._extra = extra
        # Jobs side by side share the cores; each with all of them would only be in the others' way.
        cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else _cores()
        shared = jobs > 1 and "OMP_NUM_THREADS" not in os.environ
        self._threads = max(1, (cores or 1) // jobs) if shared else None

    def start(self, job: Job) -> "RunningProcess":
        """Run a job now."""
        return RunningProcess(Child(job.spec(self._extra), child_environment(self._threads)))

    def close(self) -> None:
        """Nothing is held."""


class RunningProcess:
    """A job that runs here.

    Args:
        child: Its process.
    """

    def __init__(self, child: Child) -> None:
        self._child = child

    def poll(self) -> Ending | None:
        """How it ended, or None."""
        return self._child.poll()

    def stop(self) -> None:
        """Ask it to end."""
        self._child.stop("stopped with the sweep")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Jobs as processes on this machine, a fixed number at once."""

import os
from collections.abc import Sequence

from alexnet_exp.hardware import cores
from alexnet_exp.sweep.jobs import Job, refuse_many_nodes
from alexnet_exp.sweep.process import Child, ChildSpec, Ending, child_environment


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
        shared = jobs > 1 and "OMP_NUM_THREADS" not in os.environ
        self._threads = max(1, cores() // jobs) if shared else None

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise UserError for a job on more machines than this one."""
        refuse_many_nodes(jobs)

    def start(self, jobs: Sequence[Job]) -> list["RunningProcess"]:
        """Run jobs now."""
        return [RunningProcess(job.spec(self._extra), self._threads) for job in jobs]

    def close(self) -> None:
        """Nothing is held."""


class RunningProcess:
    """A job that runs here.

    Args:
        spec: What to run.
        threads: Most threads of its arithmetic; None: its own choice.
    """

    def __init__(self, spec: ChildSpec, threads: int | None) -> None:
        self._child: Child | None = None
        self._reason = ""
        try:
            self._child = Child(spec, child_environment(threads))
        except OSError as error:  # no memory for another process, no room in its folder
            self._reason = f"could not be started: {error}"

    def poll(self) -> Ending | None:
        """How it ended, or None."""
        return self._child.poll() if self._child else Ending(None, 0.0, self._reason)

    def stop(self) -> None:
        """Ask it to end."""
        if self._child:
            self._child.stop("stopped with the sweep")

"""Hydra's door to the sweeps of alexnet_exp; Hydra looks for launchers in this namespace alone.

Nothing heavy is imported here: Hydra reads this file whenever it starts.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class _SweepLauncher(Launcher):
    """Hands the jobs of a multirun to the command that was started.

    Args:
        settings: Fields of ``hydra.launcher``.
    """

    backend = ""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._command, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from alexnet_exp.sweep.multirun import launch

        return launch(
            self._command, self._context, self._config, job_overrides, initial_job_idx,
            self.backend, self._settings,
        )  # fmt: skip


class ProcessLauncher(_SweepLauncher):
    """Processes on this machine."""

    backend = "processes"


class RayLauncher(_SweepLauncher):
    """A Ray cluster, or Ray on this machine."""

    backend = "ray"


class SlurmLauncher(_SweepLauncher):
    """SLURM, through submitit."""

    backend = "slurm"

"""Hydra's door to the sweeps of alexnet_exp; Hydra looks for plugins in this namespace alone.

Nothing heavy is imported here: Hydra reads this file whenever it starts.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # private: hydra#2759
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SweepLauncher(Launcher):
    """Hands the jobs of a multirun to the command that was started.

    ``backend`` is processes, ray or slurm; ``settings`` are the other fields of ``hydra.launcher``.
    """

    def __init__(self, backend: str, **settings: Any) -> None:
        self._chosen = backend, settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._given = task_function, hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from alexnet_exp.hardware import importing

        with importing():
            from alexnet_exp.sweep.multirun import launch
        return launch(*self._given, job_overrides, initial_job_idx, *self._chosen)


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, less what the launcher does itself: compose and check every job, and
    write multirun.yaml where there is something to run. ``sweep.factors`` are combined.
    """

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [*self._parse_config(), *arguments]
        assert self.config is not None
        factors, asked = self.config.sweep.factors, self.config.hydra.overrides.task
        is_design = factors or any(item.startswith("sweep.factors=") for item in asked)
        if is_design and not any(item.startswith("+experiment=") for item in given):
            from alexnet_exp.sweep.design import combinations

            # The last, so that one seed of all combinations is done before the next begins.
            names = combinations(factors, self.config.sweep.runs)
            given.append(f"+experiment={','.join(names)}")
        overrides = parser.parse_overrides(given)
        if self.max_batch_size is not None:
            raise ValueError("hydra.launcher.jobs=2, not max_batch_size, is how many run at once")
        (jobs,) = self.split_arguments(overrides, None)
        return [self.launcher.launch(jobs, 0)]

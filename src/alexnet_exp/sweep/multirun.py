"""From Hydra's lists of overrides to a finished sweep."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from alexnet_exp.console import say
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from alexnet_exp.sweep.engine import Backend, run_sweep
from alexnet_exp.sweep.jobs import LEFT_ALONE, Outcome, State
from alexnet_exp.sweep.local import Processes
from alexnet_exp.sweep.planning import plan_jobs
from alexnet_exp.sweep.table import show_plan, show_sweep


def launch(
    command: Any,
    context: HydraContext,
    base: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    backend_name: str,
    settings: dict[str, Any],
) -> list[JobReturn]:
    """Plan the jobs, run those that are not finished, and show what became of all.

    ``command`` is what Hydra was started with, whose ``undone_jobs`` is raised; ``base`` is the
    sweep's own configuration; ``settings`` are the fields of ``hydra.launcher``.

    Returns:
        For the sweeper: the validation error of each job, NaN where there is none.

    Raises:
        UserError: Nothing was started; the message says why.
        SweepStoppedError: After Ctrl-C or SIGTERM.
    """
    if not command.sweeps:
        raise UserError("-m and +sweep are for alexnet_exp.train")
    if any(str(item).startswith("hydra.run.dir=") for item in base.hydra.overrides.hydra):
        raise UserError(
            "hydra.run.dir is the folder of one run: a sweep's is sweep.name=<name> below"
            " runs/<data>, or hydra.sweep.dir=<folder>"
        )
    progress = bool(OmegaConf.select(base, "trainer.progress", default=True))
    folder, dry = Path(base.hydra.sweep.dir).absolute(), base.sweep.dry_run
    backend = Backend()
    if not dry or backend_name == "processes":
        backend = make_backend(backend_name, settings, _hydra_arguments(base), folder)
    pack = partial(prepare, progress=progress)
    packs = None if dry or backend_name == "slurm" else pack  # not on a login node
    jobs, notes = plan_jobs(context, base, job_overrides, first, packs)
    backend.check([job for job in jobs if job.state not in LEFT_ALONE])
    # Jobs on several data sets lie in folders beside each other.
    folder = Path(os.path.commonpath([folder, *(job.folder for job in jobs)]))
    for note in notes if progress else ():
        say(note)
    if dry:
        show_plan(jobs, folder, backend.at_once if isinstance(backend, Processes) else None)
        return []
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(base, folder / "multirun.yaml")
    outcomes = run_sweep(jobs, backend, progress, folder)
    command.undone_jobs += sum(each.state in (State.failed, State.elsewhere) for each in outcomes)
    show_sweep(outcomes, folder)
    return [_job_return(outcome) for outcome in outcomes]


def make_backend(
    name: str, settings: dict[str, Any], extra: tuple[str, ...], folder: Path
) -> Backend:
    """The backend that ``hydra/launcher=...`` chose.

    Raises:
        UserError: Its settings can't be had, or what it needs is not installed.
    """
    try:
        if name == "ray":
            from alexnet_exp.sweep.ray import RayBackend

            return RayBackend(extra, settings)
        if name == "slurm":
            from alexnet_exp.sweep.slurm import SlurmBackend

            return SlurmBackend(extra, folder, settings)
    except ImportError as error:
        raise UserError(
            f"hydra/launcher={name} needs a package that is missing ({error}):"
            f" pip install 'alexnet-exp[{name}]'"
        ) from error
    return Processes(settings["jobs"], extra)


def _hydra_arguments(base: DictConfig) -> tuple[str, ...]:
    """What a job needs to compose what the sweep has composed: other folders of configuration."""
    arguments: list[str] = []
    for source in base.hydra.runtime.config_sources:
        if source.provider == "command-line":
            arguments += ["--config-dir", source.path]
    name = base.hydra.job.config_name
    if name != "config":
        arguments += ["--config-name", name]
    given = map(str, base.hydra.overrides.hydra)
    return (*arguments, *(item for item in given if "searchpath" in item))


def _job_return(outcome: Outcome) -> JobReturn:
    result = outcome.result
    made = JobReturn(overrides=list(outcome.job.overrides), status=JobStatus.COMPLETED)
    made.return_value = float("nan") if result is None else result["metrics"]["val/top1_error"]
    return made

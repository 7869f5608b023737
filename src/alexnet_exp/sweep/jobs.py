"""The jobs of a sweep: composed and checked before the first one starts."""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from alexnet_exp.config import Config, to_config
from alexnet_exp.data.store.store import Store
from alexnet_exp.errors import OtherRunError, PlacementError, UserError
from alexnet_exp.experiments import check_overrides
from alexnet_exp.network.alexnet import plan
from alexnet_exp.parallel.placement import check, check_devices
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep.process import GRACE, ChildSpec
from alexnet_exp.training.settle import settle

# Already in the path of a job's folder.
_IN_PATH = ("experiment", "seed", "data")
_LONGEST_NAME = 120
_SHOWN = 5


class State(StrEnum):
    """What lies in a job's folder before the sweep, and what became of it in the end."""

    new = "new"
    half_done = "half done"
    skipped = "skipped"
    left_out = "left out"
    finished = "finished"
    resumed = "resumed"
    diverged = "diverged"
    failed = "failed"
    elsewhere = "running elsewhere"
    stopped = "stopped"


@dataclass
class Job:
    """One training of a sweep.

    Args:
        number: From 0, in the order of the sweep.
        name: What tells it from the others: its folder within the sweep.
        overrides: As on a command line.
        config: Checked configuration.
        folder: Run folder, absolute.
        state: What lies in the folder.
        reason: Why it can't run: its folder is damaged, or no devices can be had that it fits.
        settled: Overrides that an earlier run in the folder decided.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    folder: Path
    state: State
    reason: str = ""
    settled: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Look into the folder again.

        Raises:
            OtherRunError: It holds a run of another configuration.
        """
        try:
            self.state = _state(self)
        except OtherRunError:
            raise
        except UserError as error:
            self.state, self.reason = State.failed, str(error)

    def spec(self, extra: Sequence[str]) -> ChildSpec:
        """The process that trains it."""
        arguments = (
            "-m", "alexnet_exp.train", *extra, *self.overrides, *self.settled,
            "hydra.mode=RUN", f"hydra.run.dir={_quoted(self.folder)}",
        )  # fmt: skip
        return ChildSpec(self.name, self.folder, arguments, self.config.sweep.job_timeout)


@dataclass
class Outcome:
    """What became of a job.

    Args:
        job: The job, with its state at the end.
        seconds: Time in this sweep.
        reason: Why it failed or diverged.
        lines: Last lines of its log if it failed.
        result: ``result.json`` if it finished.
    """

    job: Job
    state: State
    seconds: float = 0.0
    reason: str = ""
    lines: tuple[str, ...] = ()
    result: dict[str, Any] | None = None


def plan_jobs(
    context: HydraContext,
    base: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    pack: Callable[[Config], Store] | None,
) -> tuple[list[Job], list[str]]:
    """Compose and check every job.

    Args:
        context: Hydra's, to compose with.
        base: The sweep's own configuration.
        job_overrides: Of each job.
        first: Number of the first job.
        pack: Packs the data of a configuration, so that no two jobs do; None: the jobs do so.

    Returns:
        The jobs, and notes for the user. Those whose strategy can't lay the network over the
        devices are left out, as in a grid of strategies and numbers of devices some are.

    Raises:
        UserError: A job can't run, all are left out, two have the same folder, or a folder holds a
            run of another configuration.
    """
    compose = _Composer(context, base)
    checked: dict[tuple[str, ...], list[str]] = {}
    stores: dict[str, Store] = {}
    jobs: list[Job] = []
    owners: dict[Path, Job] = {}
    changed: list[str] = []
    for number, overrides in enumerate(job_overrides, first):
        config, name, folder, misfit = compose(overrides, number)
        job = Job(number, name, tuple(overrides), config, folder, State.new)
        jobs.append(job)
        if misfit:
            job.state, job.reason = State.left_out, misfit
            continue
        same = _less_seed(overrides)
        if same not in checked:
            checked[same] = check_overrides(config, list(overrides))
        if folder in owners:
            raise UserError(
                f"two jobs of the sweep have the same folder {folder}:"
                f" {' '.join(owners[folder].overrides)} and {' '.join(overrides)}"
            )
        owners[folder] = job
        if pack is not None:
            key = repr(config.data)
            if key not in stores:
                stores[key] = pack(config)
            _settle(job, stores[key])
        elif job.state != State.left_out:
            _check_without_data(job)
        if job.state == State.left_out:
            continue
        try:
            job.refresh()
        except OtherRunError as error:
            changed.append(error.changed)
    if changed:
        more = [f"and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else []
        way_out = (
            "Set them as they were, keep both with sweep.name=<another name> (or another"
            " hydra.sweep.dir, where that is set), or remove the folders; nothing was started"
        )
        raise UserError("\n  ".join([*changed[:_SHOWN], *more, way_out]))
    _wait_for_the_dying(jobs)
    if len({job.name for job in jobs}) < len(jobs):
        for job in jobs:
            job.name = f"{job.config.data.name}/{job.name}"
    left_out = [f"left out: {line}" for line in reasons_left_out(jobs)]
    if all(job.state == State.left_out for job in jobs):
        raise UserError("\n  ".join(["none of the jobs can run", *left_out]))
    notes = dict.fromkeys(note for notes in checked.values() for note in notes)
    return jobs, [*notes, *left_out]


def reasons_left_out(jobs: Sequence[Job]) -> list[str]:
    """``4 jobs: <why>`` for each reason to leave some out."""
    counts = Counter(job.reason for job in jobs if job.state == State.left_out)
    return [f"{n} job{'' if n == 1 else 's'}: {reason}" for reason, n in counts.items()]


def refuse_many_nodes(jobs: Sequence[Job]) -> None:
    """Raise UserError for a job of more machines than the one that it would be started on."""
    for job in jobs:
        trainer = job.config.trainer
        if trainer.num_nodes > 1:
            raise UserError(
                f"{job.name}: trainer.num_nodes={trainer.num_nodes}: here a job of a sweep runs on"
                " one machine. Start each such run by itself, with srun or torchrun"
                f" --nnodes={trainer.num_nodes} --nproc-per-node={trainer.devices} -m"
                " alexnet_exp.train ..., or set trainer.num_nodes=1"
            )


def folder_name(overrides: Sequence[str], constant: set[str]) -> str:
    """A folder for what tells a job from others besides experiment, seed and data.

    Args:
        overrides: Of the job.
        constant: Those that all jobs of the sweep share.
    """
    varied = [item.lstrip("+") for item in overrides if item not in constant]
    varied = [item for item in varied if item.partition("=")[0] not in _IN_PATH]
    name = ",".join(sorted(varied)).replace("\\", "").replace("/", "_").strip(".")
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + f"-{digest}"
    return name


def _wait_for_the_dying(jobs: Sequence[Job]) -> None:
    """Jobs of a sweep that was killed a moment ago need seconds to end."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        held = [job for job in jobs if job.state == State.elsewhere]
        for job in held:
            job.refresh()
        if not held:
            return
        time.sleep(0.2)


class _Composer:
    """Composes the configuration of jobs; those that differ in their seed alone only once.

    Args:
        context: Hydra's.
        base: The sweep's own configuration.
    """

    def __init__(self, context: HydraContext, base: DictConfig) -> None:
        self._context, self._base = context, base
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        parser = OverridesParser.create(config_loader=context.config_loader)
        given = parser.parse_overrides(list(base.hydra.overrides.task))
        # As the sweeper writes them.
        self._constant = {
            f"{item.get_key_element()}={item.get_value_element_as_str()}"
            for item in given
            if not item.is_sweep_override()
        }

    def __call__(self, overrides: Sequence[str], number: int) -> tuple[Config, str, Path, str]:
        """Configuration, name and folder of a job, and why no devices fit it; empty if some do."""
        same = _less_seed(overrides)
        seeds = [item.partition("=")[2] for item in overrides if item.startswith("seed=")]
        composed = self._composed.get(same)
        if composed is None or not (seeds and seeds[-1].isdecimal()):
            loader = self._context.config_loader
            composed = loader.load_sweep_config(self._base, list(overrides))
            self._composed[same] = composed
        else:
            composed.seed = int(seeds[-1])
        with open_dict(composed):
            composed.hydra.job.num = number
            composed.hydra.job.id = str(number)
            composed.hydra.job.override_dirname = folder_name(overrides, self._constant)
            name = str(Path(composed.hydra.sweep.subdir))
            folder = Path(composed.hydra.sweep.dir, name).absolute()
            hydra = composed.pop("hydra")
            try:
                config, misfit = _configured(composed)
            finally:
                composed.hydra = hydra
        return config, name, folder, misfit


def _configured(composed: DictConfig) -> tuple[Config, str]:
    """The checked configuration, and why no devices fit it; empty if some do."""
    config = to_config(composed)
    try:
        check_devices(config)
    except PlacementError as error:
        return config, str(error)
    return config, ""


def _less_seed(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(item for item in overrides if not item.startswith("seed="))


def _settle(job: Job, store: Store) -> None:
    """Fill in what data and this machine decide, as the job itself will.

    A job whose strategy can't lay the network over the devices is left out.

    Raises:
        UserError: The network does not fit the data.
    """
    trainer = job.config.trainer
    asked = trainer.precision, trainer.channels_last
    try:
        settle(job.config, store)
    except PlacementError as error:
        job.state, job.reason = State.left_out, str(error)
    except UserError as error:
        raise UserError(f"{' '.join(job.overrides)}: {error}") from error
    trainer.precision, trainer.channels_last = asked  # the job may run on another machine


def _check_without_data(job: Job) -> None:
    """Leave a job out whose strategy can't lay the network, of however many classes, out."""
    model = job.config.model
    classes, channels = model.classes or 1000, model.input_channels or job.config.data.channels
    try:
        check(job.config, plan(replace(model, classes=classes, input_channels=channels)))
    except PlacementError as error:
        job.state, job.reason = State.left_out, str(error)
    except ValueError as error:
        raise UserError(f"{' '.join(job.overrides)}: {error}") from error


def _state(job: Job) -> State:
    """What lies in the job's folder.

    Raises:
        OtherRunError: A run of another configuration.
        UserError: The folder is damaged.
    """
    run = RunFolder(job.folder)
    recorded = run.recorded_config()
    if recorded is None:
        return State.new
    _adopt(job, recorded)
    run.refuse_other_run(job.config, recorded)
    if run.result(job.config) is not None:
        run.check_predictions()
        return State.skipped
    if run.divergence() is not None:
        return State.diverged
    if run.is_running():
        return State.elsewhere
    return State.half_done if run.last.exists() else State.new


def _adopt(job: Job, recorded: dict[str, Any]) -> None:
    """Take over what an earlier run's data and machine decided, where nothing was asked for.

    Data that was not packed here has no fingerprint yet; a job that runs compares it.
    """
    config = job.config
    data, model = recorded.get("data", {}), recorded.get("model", {})
    if config.data.fingerprint is None:
        config.data.fingerprint = data.get("fingerprint")
    if config.model.classes is None:
        config.model.classes = model.get("classes")
    if config.model.input_channels is None:
        config.model.input_channels = model.get("input_channels")
    precision = recorded.get("trainer", {}).get("precision")
    if config.trainer.precision == "auto" and precision is not None:
        config.trainer.precision = precision
        job.settled = (f"trainer.precision={precision}",)


def _quoted(path: Path) -> str:
    """As Hydra's override grammar reads it: a backslash counts as such except before a quote."""
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), str(path))
    return f"'{text}'"

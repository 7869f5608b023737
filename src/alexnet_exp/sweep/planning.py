"""Every job of a sweep, composed and checked before the first one starts."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from alexnet_exp.config import Config, to_config
from alexnet_exp.config.compose import as_hydra, chosen_experiments, own_seed
from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.store.store import Store
from alexnet_exp.errors import PlacementError, UserError
from alexnet_exp.experiments import check_overrides, with_experiments
from alexnet_exp.network.plan import plan
from alexnet_exp.parallel.placement import check, check_devices
from alexnet_exp.sweep.design import combinations, describe
from alexnet_exp.sweep.jobs import Job, State, reasons_left_out
from alexnet_exp.sweep.process import GRACE
from alexnet_exp.training.settle import settle

# Already in the path of a job's folder.
_IN_PATH = ("experiment", "seed", "data", "data.fold")  # a fold has seeds of its own
_LONGEST_NAME = 120
_SHOWN = 5

Pack = Callable[[DataConfig], Store]


def plan_jobs(
    context: HydraContext,
    base: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    pack: Pack | None,
) -> tuple[list[Job], list[str]]:
    """Compose and check every job.

    Args:
        context: Hydra's, to compose with.
        base: The sweep's own configuration.
        job_overrides: Of each job.
        first: Number of the first job.
        pack: Packs data, so that no two jobs do; None: the jobs do so.

    Returns:
        The jobs, and notes for the user. Those whose strategy can't lay the network over the
        devices are left out, as in a grid of strategies and numbers of devices some are. Where the
        sweep says which fold a job is of, ``seed`` counts the seeds of that fold.

    Raises:
        UserError: A job can't run, all are left out, two have the same folder, or a folder holds a
            run of another configuration.
    """
    every = more_of_baseline(job_overrides, base.sweep.baseline_seeds)
    compose = _Composer(context, base, every)
    checked: dict[tuple[str, ...], list[str]] = {}
    stores: dict[str, Store] = {}
    owners: dict[Path, Job] = {}
    jobs: list[Job] = []
    for number, given in enumerate(every, first):
        job = compose(as_hydra(given), number)  # a preset's, too
        overrides = list(job.overrides)
        jobs.append(job)
        if job.config.trainer.arguments.get("fast_dev_run"):
            raise UserError(
                "+trainer.fast_dev_run records no result, so that a sweep of such jobs is never"
                " done: leave it out, or try one of them without -m and +sweep"
            )
        try:
            check_devices(job.config)
        except PlacementError as error:
            job.state, job.reason = State.left_out, str(error)
            continue
        factors, asked = base.sweep.factors, overrides
        if factors and {*chosen_experiments(overrides)} <= {*factors, Config.experiment}:
            # All at once: what holds for them holds for each combination.
            asked = with_experiments(factors, overrides)
        same = _less_seed(asked)
        if same not in checked:
            try:
                one = job if asked is overrides else compose(asked, number)
                checked[same] = check_overrides(one.config, list(one.overrides))  # its own seed
            except UserError as error:
                if asked is overrides:
                    raise
                raise UserError(f"sweep.factors puts them all together: {error}") from error
        other = owners.setdefault(job.folder, job)
        if other is not job:
            raise UserError(
                f"two jobs of the sweep have the same folder {job.folder}:"
                f" {' '.join(other.overrides)} and {' '.join(overrides)}"
            )
        try:
            _fit(job, stores, pack)
            job.look()
            if job.state == State.new and job.config.model.weights is not None:
                from alexnet_exp.network.pretrained import weights_files  # and torch: seconds

                weights_files(job.config.model)
        except PlacementError as error:
            job.state, job.reason = State.left_out, str(error)
    changed = [job.changed for job in jobs if job.changed]
    if changed:
        more = [f"and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else []
        way_out = (
            "Set them as they were, keep both with sweep.name=<another name> (or another"
            " hydra.sweep.dir, where that is set), or remove the folders; nothing was started"
        )
        raise UserError("\n  ".join([*changed[:_SHOWN], *more, way_out]))
    left_out = [f"left out: {line}" for line in reasons_left_out(jobs)]
    if all(job.state == State.left_out for job in jobs):
        raise UserError("\n  ".join(["none of the jobs can run", *left_out]))
    _wait_for_the_dying(jobs)
    if len({job.name for job in jobs}) < len(jobs):
        for job in jobs:
            job.name = f"{job.config.data.name}/{job.name}"
    notes = dict.fromkeys(note for notes in checked.values() for note in notes)
    design = [describe(base.sweep.factors, base.sweep.runs)] if compose.is_design else []
    return jobs, [*design, *notes, *compose.notes, *left_out]


def more_of_baseline(job_overrides: Sequence[Sequence[str]], times: int) -> list[tuple[str, ...]]:
    """The jobs, and those of the baseline with the seeds that follow, until they are ``times`` as
    many.

    Of folds that share out the seeds, the next of each.
    """
    jobs = [tuple(job) for job in job_overrides]
    named = [[item for item in job if item.startswith("seed=")] for job in jobs]
    words = [found[-1].partition("=")[2] for found in named if found]
    if times == 1 or not words or not all(map(str.isdecimal, words)):
        return jobs
    seeds = [int(word) for word in words]
    count = (times - 1) * len(set(seeds))
    bases = dict.fromkeys(_less_seed(job) for job in jobs if "+experiment=baseline" in job)
    more = range(max(seeds) + 1, max(seeds) + 1 + count)
    return [*jobs, *((*base, f"seed={seed}") for base in bases for seed in more)]


class _Composer:
    """Composes the configuration of jobs; those that differ in their seed alone only once."""

    def __init__(
        self, context: HydraContext, base: DictConfig, jobs: Sequence[Sequence[str]]
    ) -> None:
        self._loader, self._base = context.config_loader, base
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self.notes: set[str] = set()
        self._places: dict[tuple[str, ...], int] = {}
        if base.sweep.factors and not chosen_experiments(base.hydra.overrides.task):
            names = combinations(base.sweep.factors, base.sweep.runs)
            options = [tuple(chosen_experiments([f"+experiment={name}"])) for name in names]
            if {*options} <= {tuple(chosen_experiments(as_hydra(job))) for job in jobs}:
                self._places = {option: place for place, option in enumerate(options)}
        parser = OverridesParser.create(config_loader=context.config_loader)
        # As the sweeper writes them.
        self._constant = {
            f"{item.get_key_element()}={item.get_value_element_as_str()}"
            for item in parser.parse_overrides(list(base.hydra.overrides.task))
            if not item.is_sweep_override()
        }

    @property
    def is_design(self) -> bool:
        """Whether the sweep makes the combinations itself."""
        return bool(self._places)

    def __call__(self, overrides: Sequence[str], number: int) -> Job:
        """A job, of which nothing is checked yet but its configuration.

        A fold that is given has seeds of its own: in two folds the same initial weights would tie
        their results together. So has each combination of a design that the sweep makes itself:
        what its runs differ by is then chance, where it is not their ideas.
        """
        same = _less_seed(overrides)
        seeds = [item.partition("=")[2] for item in overrides if item.startswith("seed=")]
        composed = self._composed.get(same)
        if composed is None or not (seeds and seeds[-1].isdecimal()):
            composed = self._loader.load_sweep_config(self._base, list(overrides))
            composed.experiment = str(composed.experiment)  # which asks Hydra's node
            self._composed[same] = composed
        else:
            composed.seed = int(seeds[-1])
        seed, fold, folds = composed.seed, composed.data.fold, composed.data.folds or 1
        if fold is None or composed.data.folds is None:
            seed, fold = divmod(seed, folds)
        else:
            self.notes.add(
                "note: each fold has seeds of its own: data.fold=f seed=s runs as seed"
                f" s * {folds} + f, as it does with data.folds={folds} alone"
            )
        place = self._places.get(tuple(chosen_experiments(overrides)))
        if place is not None:
            self.notes.add(
                f"note: each of the {len(self._places)} combinations has seeds of its own"
            )
        seed = own_seed(seed, fold, folds, place or 0, 1 if place is None else len(self._places))
        if composed.seed != seed:
            composed.seed = seed
            overrides = [*same, f"seed={composed.seed}"]
        with open_dict(composed):
            composed.hydra.job.num = number
            composed.hydra.job.id = str(number)
            composed.hydra.job.override_dirname = folder_name(overrides, self._constant)
            name = str(Path(composed.hydra.sweep.subdir))
            folder = Path(composed.hydra.sweep.dir, name).absolute()
            config = to_config(composed)
        return Job(number, name, tuple(overrides), config, folder)


def folder_name(overrides: Sequence[str], constant: set[str]) -> str:
    """A folder for what tells a job from others besides experiment, seed and data.

    Overrides in ``constant`` are those that all jobs of the sweep share.
    """
    varied = [item.lstrip("+") for item in overrides if item not in constant]
    varied = [item for item in varied if item.partition("=")[0] not in _IN_PATH]
    name = ",".join(sorted(varied)).replace("\\", "").replace("/", "_").strip(".")
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + f"-{digest}"
    return name


def _less_seed(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(item for item in overrides if not item.startswith("seed="))


def _fit(job: Job, stores: dict[str, Store], pack: Pack | None) -> None:
    """Fill in what the data decides, as the job itself will; without data, see what can be seen.

    Raises:
        PlacementError: Its strategy can't lay the network over the devices.
        UserError: The network does not fit the data.
    """
    config = job.config
    model, asked = config.model, (config.trainer.precision, config.trainer.channels_last)
    try:
        if pack is not None:
            key = repr(config.data)
            if key not in stores:
                stores[key] = pack(config.data)
            settle(config, stores[key])
        else:  # of however many classes
            channels = model.input_channels or config.data.channels
            sized = replace(model, classes=model.classes or 1000, input_channels=channels)
            check(config, plan(sized))
    except PlacementError:
        raise
    except (UserError, ValueError) as error:
        raise UserError(f"{' '.join(job.overrides)}: {error}") from error
    config.trainer.precision, config.trainer.channels_last = asked  # another machine may run it


def _wait_for_the_dying(jobs: Sequence[Job]) -> None:
    """Jobs of a sweep that was killed a moment ago need seconds to end."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        held = [job for job in jobs if job.state == State.elsewhere]
        for job in held:
            job.look()
        if not held:
            return
        time.sleep(0.2)

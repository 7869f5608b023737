"""The command that repeats runs, from what their own command lines recorded."""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet_exp.report.results import Run
from alexnet_exp.runs.identity import is_neutral

_TRAIN = "python -m alexnet_exp.train"


Place = tuple[str, ...]
"""Overrides that lead to a sweep's folder: ``sweep.name``, ``hydra.sweep.dir``,
``hydra.sweep.subdir``, as far as they are not the default."""


def command(runs: Sequence[Run]) -> str:
    """The shell command that repeats these runs, and skips those that are still in their folders.

    Several commands, where runs were given different overrides or lie in different sweeps.

    Args:
        runs: Of one or more experiments, any number of seeds each.
    """
    sides: dict[tuple[str, Place | None, frozenset[str]], list[Run]] = {}
    for run in runs:
        devices = frozenset(item for item in run.overrides if is_placement(item))
        sides.setdefault((_experiment(run), place_of(run), devices), []).append(run)
    alike: dict[tuple[frozenset[str], Place | None], list[Run]] = {}
    for (_, place, _), side in sides.items():
        alike.setdefault((_bearing(shared_overrides(side)), place), []).extend(side)
    return " && ".join(
        train_command(
            shared_overrides(group),
            list(dict.fromkeys(map(_experiment, group))),
            seeds_of(group),
            place,
        )
        for (_, place), group in alike.items()
    )


def train_command(
    overrides: Iterable[str],
    experiments: Sequence[str],
    seeds: Sequence[int],
    place: Place | None = None,
) -> str:
    """``python -m alexnet_exp.train -m ...``; without ``-m`` for a single run of no sweep."""
    many = len(experiments) > 1 or len(seeds) > 1 or place is not None
    words = [
        *overrides,
        *(place or ()),
        f"+experiment={','.join(experiments)}",
        f"seed={','.join(map(str, seeds))}",
    ]
    return " ".join([_TRAIN, *(["-m"] if many else []), *map(shlex.quote, words)])


def sweep_command(preset: str, overrides: Iterable[str] = ()) -> str:
    """The command of a preset of conf/sweep."""
    return " ".join([f"{_TRAIN} -m +sweep={preset}", *map(shlex.quote, overrides)])


def _experiment(run: Run) -> str:
    """What its ``experiment=`` was: ``two_gpus`` too is the baseline."""
    given = [item.partition("=")[2] for item in run.overrides if _name(item) == "experiment"]
    return given[-1] if given else run.experiment


def place_of(run: Run) -> Place | None:
    """Where the sweep of a run put it; None for a run of no sweep.

    The launcher gives each job ``hydra.mode=RUN`` and its folder, which is
    ``<sweep>/<experiment>/[<what varied>/]seed_<seed>``.
    """
    given = {_name(item): item.partition("=")[2] for item in run.overrides}
    if given.get("hydra.mode") != "RUN" or "hydra.run.dir" not in given:
        return None
    folder = Path(_unquoted(given["hydra.run.dir"]))
    varied = folder.parent.name if folder.parent.name != run.experiment else ""
    sweep = folder.parents[2 if varied else 1]
    if folder != Path(sweep, run.experiment, varied, f"seed_{run.seed}"):
        return None  # a hydra.sweep.subdir that somebody chose
    settings = []
    if "sweep.name" in given:
        settings.append(f"sweep.name={given['sweep.name']}")
    name = given.get("sweep.name", given.get("sweep", "multirun"))
    if sweep.parts[-3:] != ("runs", run.data, name):
        settings.append(f"hydra.sweep.dir={_quoted(str(sweep))}")
    if varied:
        # What is one value in this command is not in the folder's name by itself.
        subdir = "${experiment}/" + varied + "/seed_${seed}"
        settings.append(f"hydra.sweep.subdir={_quoted(subdir)}")
    return tuple(settings)


def _quoted(text: str) -> str:
    """For Hydra, if it needs that; in double quotes, since a shell's are single."""
    if re.fullmatch(r"[\w./+-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


def seeds_of(runs: Iterable[Run]) -> list[int]:
    """Each seed once, ascending."""
    return sorted({run.seed for run in runs})


def shared_overrides(runs: Sequence[Run]) -> list[str]:
    """Overrides that all runs were given, less experiment, seed, sweep and logger."""
    kept = [item for item in runs[0].overrides if _is_kept(item)]
    return [item for item in kept if all(item in run.overrides for run in runs)]


def _name(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _is_kept(override: str) -> bool:
    # A sweep's own settings: each of its runs records what it was given.
    name = _name(override)
    own = ("experiment", "seed", "hydra", "logger")
    return name not in own and not name.startswith(("hydra.", "hydra/", "sweep.", "logger."))


def is_placement(override: str) -> bool:
    """Whether it says over which devices a run is laid."""
    return _name(override) in (
        "strategy", "strategy.name", "trainer.devices", "trainer.num_nodes",
    )  # fmt: skip


def _bearing(overrides: Iterable[str]) -> frozenset[str]:
    """Without what has no bearing on the result; strategy and devices stay, which must agree."""
    return frozenset(
        item for item in overrides if is_placement(item) or not is_neutral(_name(item))
    )

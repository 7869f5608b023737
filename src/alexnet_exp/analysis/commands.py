"""The command that repeats runs, from what their own command lines recorded."""

import shlex
from collections.abc import Iterable, Sequence

from alexnet_exp.analysis.results import Run
from alexnet_exp.runs import NEUTRAL

_TRAIN = "python -m alexnet_exp.train"


def command(runs: Sequence[Run]) -> str:
    """The shell command that repeats these runs; two, where the two sides were given different
    overrides.

    Args:
        runs: Of one or more experiments, any number of seeds each.
    """
    sides: dict[str, list[Run]] = {}
    for run in runs:
        sides.setdefault(run.experiment, []).append(run)
    shared = _common(runs)
    own = {name: _common(side) for name, side in sides.items()}
    if all(_bearing(overrides) == _bearing(shared) for overrides in own.values()):
        return train_command(shared, list(sides), _seeds(runs))
    return " && ".join(
        train_command(own[name], [name], _seeds(side)) for name, side in sides.items()
    )


def train_command(
    overrides: Iterable[str], experiments: Sequence[str], seeds: Sequence[int]
) -> str:
    """``python -m alexnet_exp.train -m ...``; without ``-m`` for a single run."""
    many = len(experiments) > 1 or len(seeds) > 1
    words = [
        *overrides,
        f"+experiment={','.join(experiments)}",
        f"seed={','.join(map(str, seeds))}",
    ]
    return " ".join([_TRAIN, *(["-m"] if many else []), *map(shlex.quote, words)])


def sweep_command(preset: str) -> str:
    """The command of a preset of conf/sweep."""
    return f"{_TRAIN} -m +sweep={preset}"


def _seeds(runs: Iterable[Run]) -> list[int]:
    return sorted({run.seed for run in runs})


def _common(runs: Sequence[Run]) -> list[str]:
    """Overrides that all runs were given, less those that tell the runs of a row apart."""
    kept = [item for item in runs[0].overrides if _is_kept(item)]
    return [item for item in kept if all(item in run.overrides for run in runs)]


def _name(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _is_kept(override: str) -> bool:
    # A sweep's own settings: each of its runs records what it was given.
    name = _name(override)
    own = ("experiment", "seed", "hydra")
    return name not in own and not name.startswith(("hydra.", "hydra/", "sweep."))


def _bearing(overrides: Iterable[str]) -> set[str]:
    """Without what has no bearing on the result."""

    def is_neutral(name: str) -> bool:
        group, _, field = name.partition(".")
        if group not in NEUTRAL:
            return False
        fields = NEUTRAL[group]
        return fields is None or field in fields

    return {item for item in overrides if not is_neutral(_name(item))}

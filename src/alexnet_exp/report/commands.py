"""The command that repeats runs, and the one that makes those that a claim lacks."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet_exp.config.changes import factor_fields
from alexnet_exp.console import visible
from alexnet_exp.report.claims import Claim, Kind
from alexnet_exp.report.pairing import Cell
from alexnet_exp.runs.identity import is_neutral
from alexnet_exp.runs.read import RECORDED_CLASSES
from alexnet_exp.runs.results import Run

ENOUGH_SEEDS, AVERAGED = 3, 5
_NAMED_SEEDS = 5

_TRAIN = "python -m alexnet_exp.train"
_PLACEMENT = ("strategy", "strategy.name", "trainer.devices", "trainer.num_nodes")
_DESIGN = ("sweep.factors", "sweep.runs")
_OWN = ("experiment", "seed", "hydra", "logger")

Place = tuple[str, ...]
"""Overrides that lead to a sweep's folder: ``sweep.name``, ``hydra.sweep.dir``,
``hydra.sweep.subdir``, as far as they are not the default."""


def command(
    runs: Sequence[Run], seeds: Sequence[int] | None = None, more: Sequence[str] = ()
) -> str:
    """The shell command that repeats these runs, and skips those that are still in their folders.

    Several commands, where runs were given different overrides or lie in different sweeps. With
    ``seeds`` it trains those, with further overrides of ``more``, which may name another sweep.
    """
    sides: dict[tuple[str, Place | None, frozenset[str]], list[Run]] = {}
    for run in runs:
        devices = frozenset(item for item in run.overrides if _is_placement(item))
        sides.setdefault((_experiment(run), _place(run), devices), []).append(run)
    own = own_seeds(runs)  # a design, whose sweep made the combinations and their seeds
    share = 1 << (len(sides) - 1).bit_length() if own else 1  # one may have been lost
    alike: dict[tuple[frozenset[str], Place | None, tuple[int, ...]], list[Run]] = {}
    for (_, place, _), side in sides.items():
        # On the result, or on the devices, which must agree too.
        shared = _shared_overrides(side)
        bearing_ones = frozenset(i for i in shared if _is_placement(i) or not is_neutral(_name(i)))
        numbers = tuple(sweep_seeds(side) if seeds is None and not own else ())
        alike.setdefault((bearing_ones, place, numbers), []).extend(side)
    # A design that W&B's agents made has no sweep of ours yet.
    names = sorted({part for run in runs for part in run.experiment.split("+")} - {"baseline"})
    design = ["+sweep=factorial", f"sweep.factors=[{','.join(names)}]", f"sweep.runs={share}"]
    if not own or any(_name(item) == "sweep" for run in runs for item in run.overrides):
        design = []
    return " && ".join(
        _train(
            [*design, *_shared_overrides(group, _DESIGN if own else ()), *more],
            () if own else map(_experiment, group),
            sweep_seeds(group, share) if seeds is None else seeds,
            () if any(item.startswith("sweep.name=") for item in more) else place,
        )
        for (_, place, _), group in alike.items()
    )


def whole_groups(claim: Claim, seeds: int) -> int:
    """So many seeds, or the fewest more that count: five by five where they are averaged."""
    return seeds + -seeds % AVERAGED if claim.kind is Kind.average else seeds


def missing_command(claim: Claim, cells: Sequence[Cell]) -> str:
    """The command for a claim without runs.

    Claims on data of their own name that data, with the folder that runs on it were given. All
    others repeat the data, overrides and seeds of the one baseline there is, so that the new runs
    pair with those in hand; where there is none, or more than one, the preset has to do.
    """
    # Where runs found this data set, if one of them was told.
    of_data = [run for cell in cells if cell.data == claim.data_name for run in cell.runs.values()]
    given = [item for run in of_data for item in run.overrides]
    root = [item for item in given if item.startswith("data.root=")][:1]
    if claim.sweep:
        return " ".join([f"{_TRAIN} -m +sweep={claim.sweep}", *map(_for_shell, root)])
    experiments = (claim.baseline, claim.changed)
    if claim.kind is Kind.level:
        named = [] if claim.data_name == "imagenet" else [f"data.name={claim.data_name}"]
        data = [] if claim.is_of_others else ["data=imagenet", *named]
        return _train([*data, *root], experiments, range(ENOUGH_SEEDS))
    about = [cell for cell in cells if claim.is_about(cell.model)]
    bases = [cell for cell in about if cell.experiment == claim.baseline]
    averages = claim.kind is Kind.average
    if len(bases) != 1:
        return _train([], experiments, range(AVERAGED if averages else ENOUGH_SEEDS))
    runs = list(bases[0].runs.values())
    if averages and runs[0].result["classes"] > RECORDED_CLASSES:
        return ""  # of which no training records what is averaged
    overrides = _shared_overrides(runs)
    placed = [item for item in overrides if _is_placement(item)]
    if placed and "model.towers" in factor_fields(claim.changed):  # the strategy may need towers
        overrides = [item for item in overrides if item not in placed]
    if claim.kind is Kind.views:
        overrides = [item for item in overrides if not item.startswith("evaluation")]
        overrides += ["evaluation.views=ten"]  # which a recipe may set to one
    places = {_place(run) for run in runs}
    place = places.pop() if len(places) == 1 else None
    changed = [cell for cell in cells if cell.experiment == claim.changed]
    taken = {_place(run) for cell in changed for run in cell.runs.values()}
    seeds = sweep_seeds(runs)
    if averages:
        folds = int(runs[0].fields.get("data.folds") or 1)
        seeds = sorted({*seeds, *range(AVERAGED * folds)})
        taken = taken if any(run.probabilities is None for run in runs) else set()
    if place is not None and place in taken:
        # Its folders hold another configuration, or finished runs that lack what is measured.
        place = (f"sweep.name={claim.name.partition('/')[0]}",)
    return _train(overrides, experiments, seeds, place)


def _train(
    overrides: Iterable[str],
    experiments: Iterable[str],
    seeds: Sequence[int],
    place: Place | None = None,
) -> str:
    """``python -m alexnet_exp.train -m ...``; without ``-m`` for a single run of no sweep."""
    named = dict.fromkeys(experiments)  # none: a sweep's own
    names = [f"[{name.replace('+', ',')}]" if "+" in name else name for name in named]
    many = len(names) != 1 or len(seeds) > 1 or place is not None
    chosen_ones = [f"+experiment={','.join(names)}"] if names else []
    words = [*overrides, *(place or ()), *chosen_ones, f"seed={_numbers(seeds)}"]
    settings = {*map(_name, words)}
    if "baseline" in names and "sweep" in settings and "sweep.baseline_seeds" not in settings:
        words.insert(-1, "sweep.baseline_seeds=1")  # all seeds are named
    return " ".join([_TRAIN, *(["-m"] if many else []), *map(_for_shell, words)])


def _for_shell(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + visible(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def _numbers(seeds: Sequence[int]) -> str:
    """``0,1,2``; many in a row as ``range(10)``."""
    if len(seeds) > _NAMED_SEEDS and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"range({f'{seeds[0]},' if seeds[0] else ''}{seeds[-1] + 1})"
    return ",".join(map(str, seeds))


def _experiment(run: Run) -> str:
    """What its ``experiment=`` was: ``two_gpus`` too is the baseline."""
    given = [item.partition("=")[2] for item in run.overrides if _name(item) == "experiment"]
    return given[-1] if given else run.experiment


def _place(run: Run) -> Place | None:
    """Where the sweep of a run put it; None for a run of no sweep.

    The launcher gives each job ``hydra.mode=RUN`` and its folder, which is
    ``<sweep>/<experiment>/[<what varied>/]seed_<seed>``.
    """
    given = {_name(item): item.partition("=")[2] for item in run.overrides}
    if given.get("hydra.mode") != "RUN" or "hydra.run.dir" not in given:
        return None
    folder = Path(_unquoted(given["hydra.run.dir"]))
    if len(folder.parents) < 3:
        return None
    varied = folder.parent.name if folder.parent.name != run.experiment else ""
    sweep = folder.parents[2 if varied else 1]
    if folder != Path(sweep, run.experiment, varied, f"seed_{run.seed}"):
        return None  # a hydra.sweep.subdir that somebody chose
    settings = []
    if "sweep.name" in given:
        settings.append(f"sweep.name={given['sweep.name']}")
    name = given.get("sweep.name", given.get("sweep", "multirun"))
    if sweep.parts[-3:] != ("runs", run.result["data"], name):
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


def own_seeds(runs: Iterable[Run]) -> bool:
    """Whether they are of a design, most of whose runs have seeds that few combinations share."""
    names = {(run.replicate, run.experiment) for run in runs}
    experiments, times = {name for _, name in names}, Counter(one for one, _ in names)
    shared = sum(many for many in times.values() if 2 * many > len(experiments))
    return len(experiments) > 3 and "+" in "".join(experiments) and 2 * shared < len(names)


def sweep_seeds(runs: Iterable[Run], share: int = 1) -> list[int]:
    """What a sweep was given, each combination of which has one of ``share`` seeds in its place;
    not what few combinations have more.
    """
    folds = ((run.seed, int(run.fields.get("data.folds") or 1)) for run in runs)
    found = Counter(seed // many // share * many + seed % many for seed, many in folds)
    return sorted(seed for seed in found if share == 1 or 2 * found[seed] > share)


def _shared_overrides(runs: Sequence[Run], also: Sequence[str] = ()) -> list[str]:
    """Overrides that all runs were given, less experiment, seed, logger and sweep but ``also``."""
    kept = [item for item in runs[0].overrides if _is_kept(item) or _name(item) in also]
    return [item for item in kept if all(item in run.overrides for run in runs)]


def _name(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _is_kept(override: str) -> bool:
    # A sweep's own settings: each of its runs records what it was given.
    name = _name(override)
    own = name in _OWN or name.startswith(("hydra.", "hydra/", "sweep.", "logger."))
    return name == "sweep.margin" or not own


def _is_placement(override: str) -> bool:
    """Whether it says over which devices a run is laid."""
    return _name(override) in _PLACEMENT

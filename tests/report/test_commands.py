"""A pasted command leads to the runs that it was made from, or makes those that are missing."""

import shlex
from itertools import product
from pathlib import Path

import hydra
import pytest

from alexnet_exp.config import composing
from alexnet_exp.config.compose import as_hydra
from alexnet_exp.report.__main__ import make_report
from alexnet_exp.report.commands import command
from alexnet_exp.runs.read import run_folders
from alexnet_exp.runs.results import Run, read_run, read_runs
from alexnet_exp.sweep.design import combinations

TRAIN = "python -m alexnet_exp.train"
PLAIN = f"{TRAIN} -m"
FLOWERS = ("data=flowers", "data.root=photos/", "optim.lr=0.1", "logger=wandb")


def read_all(folder):
    return list(read_runs(run_folders(folder)).runs)


@pytest.fixture
def swept(tmp_path, made):
    """``swept(sweep, experiment, *overrides)``: a job as a sweep's launcher starts it."""

    def make(sweep: Path, experiment: str, *overrides: str, seed: int = 0, varied: str = "") -> Run:
        folder = sweep / experiment / varied / f"seed_{seed}"
        words = [f"+experiment={experiment}", *overrides]
        given = [*words, f"seed={seed}", "hydra.mode=RUN", f"hydra.run.dir='{folder}'"]
        name = f"{len(list(tmp_path.iterdir()))}"  # a copy: what is recorded counts
        return read_run(made(name, *words, seed=seed, recorded=given))

    return make


def folders(line: str, here: Path) -> set[Path]:
    """Where the jobs of a command find their runs."""
    found = set()
    for part in line.split(" && "):
        words = shlex.split(part)
        assert words[:4] == ["python", "-m", "alexnet_exp.train", "-m"]
        axes = ("+experiment=", "seed=")
        experiments, seeds = (
            next(w.removeprefix(axis) for w in words if w.startswith(axis)).split(",")
            for axis in axes
        )
        rest = [word for word in words[4:] if not word.startswith(axes)]
        for experiment in experiments:
            given = as_hydra([*rest, f"+experiment={experiment}"])
            with composing():
                config = hydra.compose("config", given, return_hydra_config=True)
            config.hydra.job.override_dirname = ""  # all else is the same in all jobs
            for seed in map(int, seeds):
                config.seed = seed
                found.add(here / config.hydra.sweep.dir / Path(config.hydra.sweep.subdir))
    return found


def test_one_command_repeats_both_sides(tmp_path, made) -> None:
    shared = "data=flowers", "model.fc=[16,16]"
    for seed in (0, 1):
        made("a", *shared, "data.root=/a", "+experiment=baseline", seed=seed)
        made("b", *shared, "data.root=/b", "+experiment=no_lrn", seed=seed)
    assert command(read_all(tmp_path)) == (
        f"{PLAIN} data=flowers 'model.fc=[16,16]' +experiment=baseline,no_lrn seed=0,1"
    )


def test_several_experiments_at_once_are_chosen_again(tmp_path, made) -> None:
    made("two", "+experiment=[no_dropout,no_lrn]")
    made("by_name", "+experiment=[no_dropout,no_lrn]", recorded=["seed=1"], seed=1)
    assert [command([run]) for run in reversed(read_all(tmp_path))] == [
        f"{TRAIN} '+experiment=[no_dropout,no_lrn]' seed=0",
        f"{TRAIN} '+experiment=[no_dropout,no_lrn]' seed=1",
    ]


@pytest.mark.parametrize("folds", [None, 2])
def test_combinations_with_seeds_of_their_own_are_asked_for_as_they_were(
    tmp_path, made, folds
) -> None:
    """``seed=s`` of N combinations runs as ``s * N + place``, in each fold (sweep/planning.py)."""
    names = ("baseline", "no_dropout", "no_lrn", "no_dropout,no_lrn")
    for place, name in enumerate(names):
        given = (
            "+sweep=factorial",
            "sweep.factors=[no_lrn,no_dropout]",
            f"+experiment=[{name}]" if "," in name else f"+experiment={name}",
        )
        for seed in (1, 4):
            number, fold = divmod(seed, folds or 1)
            own = (number * 4 + place) * (folds or 1) + fold
            recorded = [*given, *([f"data.folds={folds}"] if folds else []), f"seed={own}"]
            made(name, given[-1], recorded=recorded, seed=own, folds=folds)
    fold = f"data.folds={folds} " if folds else ""
    expected = f"{PLAIN} +sweep=factorial 'sweep.factors=[no_lrn,no_dropout]' {fold}seed=1,4"
    assert command(read_all(tmp_path)) == expected


@pytest.mark.parametrize("lost", [None, 5])
def test_a_design_that_agents_of_wandb_made_is_asked_for_as_a_sweep(tmp_path, made, lost) -> None:
    factors = ["no_crops", "no_dropout", "no_lrn"]
    for place, name in enumerate(combinations(factors, 8)):
        if place != lost:
            experiment, seed = f"+experiment={name}", 8 + place
            recorded = ["data=flowers", experiment, f"seed={seed}"]
            made(name.strip("[]"), experiment, recorded=recorded, seed=seed)
    design = "+sweep=factorial 'sweep.factors=[no_crops,no_dropout,no_lrn]' sweep.runs=8"
    assert command(read_all(tmp_path)) == f"{PLAIN} {design} data=flowers seed=1"


def test_preset_stays_and_what_else_belongs_to_a_sweep_does_not(tmp_path, made) -> None:
    """A preset may have set fields; every override of its own is in the recorded ones."""
    recorded = ["--config-dir", "mine", "+sweep=ablations", "hydra.run.dir=x", "hydra/launcher=ray"]
    recorded += ["sweep.margin=.05", "sweep.folds=x", "model.dropout=0.3", "seed=7"]
    made("a", "model.dropout=0.3", recorded=recorded, seed=7)
    assert command(read_all(tmp_path)) == (
        f"{TRAIN} --config-dir=mine +sweep=ablations sweep.margin=.05 model.dropout=0.3"
        " +experiment=baseline sweep.baseline_seeds=1 seed=7"
    )


@pytest.mark.parametrize(
    ("folder", "overrides", "expected"),
    [
        ("synthetic/multirun", "logger=wandb logger.mode=offline optim.lr=0.1", "optim.lr=0.1"),
        ("synthetic_small/smoke", "+sweep=smoke optim.lr=0.1", "+sweep=smoke optim.lr=0.1"),
        ("synthetic_small/other", "+sweep=smoke sweep.name=other", "+sweep=smoke sweep.name=other"),
        ("else where", "sweep.job_timeout=60", "'hydra.sweep.dir=\"/w/runs/else where\"'"),
    ],
)
def test_a_row_leads_back_to_its_sweep(swept, folder, overrides, expected) -> None:
    sweep, jobs = Path("/w/runs", folder), [*product(("baseline", "no_lrn"), (0, 1))]
    line = command([swept(sweep, name, *overrides.split(), seed=seed) for name, seed in jobs])
    once = " sweep.baseline_seeds=1" * expected.startswith("+sweep")  # all seeds are named
    assert line == f"{PLAIN} {expected} +experiment=baseline,no_lrn{once} seed=0,1"
    assert folders(line, Path("/w")) == {sweep / name / f"seed_{seed}" for name, seed in jobs}


def test_a_value_that_a_sweep_varied_is_in_the_folder(swept) -> None:
    sweep = Path("/w/runs/synthetic/multirun")
    rates = {"baseline": "optim.lr=0.1", "no_lrn": "optim.lr=0.02"}
    line = command([swept(sweep, name, rate, varied=rate) for name, rate in rates.items()])
    assert line.count(" && ") == 1
    assert folders(line, Path("/w")) == {sweep / name / rates[name] / "seed_0" for name in rates}


def test_commands_keep_the_strategies_of_their_runs(tmp_path, made) -> None:
    two, four = (f"strategy=towers trainer.devices={devices}" for devices in (2, 4))
    for seed in (0, 1):
        made("base", *two.split(), seed=seed)
        made("changed", "+experiment=no_lrn", *four.split(), seed=seed)
    assert missing(tmp_path)["no_lrn/top1"] == (
        f"{PLAIN} {two} +experiment=baseline seed=0,1 && {PLAIN} {four} +experiment=no_lrn seed=0,1"
    )


def missing(folder):
    return {f.claim.name: f.command for f in make_report(folder).findings}


def test_what_is_missing_has_data_overrides_and_seeds_of_the_only_baseline(tmp_path, made) -> None:
    for seed in (3, 5):
        made("baseline", *FLOWERS, seed=seed)
    found = missing(tmp_path)
    given = f"{PLAIN} data=flowers data.root=photos/ optim.lr=0.1"
    assert found["no_lrn/top1"] == f"{given} +experiment=baseline,no_lrn seed=3,5"
    views = f"{given} evaluation.views=ten +experiment=baseline seed=3,5"
    assert found["views/top1"] == views
    # Claims on data of their own are not about flowers.
    assert found["tanh/epochs"] == f"{PLAIN} +sweep=relu_vs_tanh"
    assert found["level_2012/top1"] == f"{PLAIN} data=imagenet +experiment=baseline seed=0,1,2"


def test_what_is_missing_is_asked_for_on_devices_that_fit(tmp_path, made) -> None:
    made("base", "strategy=towers", "trainer.devices=2")
    found = missing(tmp_path)
    assert found["one_gpu/top1"] == f"{PLAIN} +experiment=baseline,one_gpu seed=0"
    assert found["no_lrn/top1"] == (
        f"{PLAIN} strategy=towers trainer.devices=2 +experiment=baseline,no_lrn seed=0"
    )


def test_several_baselines_leave_it_to_the_preset(tmp_path, made) -> None:
    made("one", *FLOWERS)
    made("two", "data=flowers", "optim.lr=0.2")
    expected = f"{PLAIN} +experiment=baseline,no_lrn seed=0,1,2"
    assert missing(tmp_path)["no_lrn/top1"] == expected


def test_presets_get_the_folder_of_their_data(tmp_path, made) -> None:
    made("flowers", *FLOWERS)
    made("cifar", "data=cifar10", "data.root=my data", "+experiment=no_flips")
    made("imagenet", "data=imagenet", "data.root=i", "+experiment=no_flips")
    found = missing(tmp_path)
    assert found["tanh/epochs"] == f"{PLAIN} +sweep=relu_vs_tanh 'data.root=my data'"
    assert found["no_lrn_cifar10/top1"] == f"{PLAIN} +sweep=lrn_cifar 'data.root=my data'"
    level = f"{PLAIN} data=imagenet data.root=i +experiment=baseline seed=0,1,2"
    assert found["level_2012/top1"] == level
    assert "data.root" not in found["level_2010_ten/top1"]
    others = f"{PLAIN} data.root=i +experiment=torchvision seed=0,1,2"
    assert found["torchvision/top5"] == others, "which brings its data"
    assert found["d2l/top1"] == f"{PLAIN} +experiment=d2l seed=0,1,2"


def test_it_goes_to_the_sweep_of_the_baseline_where_nothing_is_in_the_way(tmp_path, swept) -> None:
    swept(Path("/w/elsewhere"), "baseline", "evaluation.views=one")
    swept(Path("/w/elsewhere"), "no_lrn", "evaluation.views=one", "optim.lr=0.3")  # refused
    found = missing(tmp_path)
    given = f"{PLAIN} evaluation.views=one"
    assert found["no_crops/top1"] == (
        f"{given} hydra.sweep.dir=/w/elsewhere +experiment=baseline,no_crops seed=0"
    )
    assert found["no_lrn/top1"] == f"{given} sweep.name=no_lrn +experiment=baseline,no_lrn seed=0"
    views = "evaluation.views=ten sweep.name=views +experiment=baseline seed=0"
    assert found["views/top1"] == f"{PLAIN} {views}"


def test_ten_views_are_asked_for_where_the_recipe_has_one(tmp_path, made, compose_config) -> None:
    made("base", "data=synthetic_small")
    words = shlex.split(missing(tmp_path)["views/top1"])[3:]
    assert compose_config("data=synthetic_small").evaluation.views == "one"
    assert compose_config(*words).evaluation.views == "ten"

"""A pasted command leads to the runs that it was made from."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from alexnet_exp.config import conf_folder
from alexnet_exp.report.commands import command
from alexnet_exp.report.results import Run, read_run
from tests.report.made_runs import write_run


@pytest.fixture
def swept(tmp_path, compose_config):
    """``swept(sweep, experiment, *overrides)``: a job as a sweep's launcher starts it."""

    def make(sweep: Path, experiment: str, *overrides: str, seed: int = 0, varied: str = "") -> Run:
        folder = sweep / experiment / varied / f"seed_{seed}"
        words = [f"+experiment={experiment}", *overrides]
        given = [*words, f"seed={seed}", "hydra.mode=RUN", f"hydra.run.dir='{folder}'"]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"  # a copy: what is recorded counts
        wrong = np.ones(9, bool)
        return read_run(
            write_run(path, compose_config, *words, wrong=wrong, seed=seed, recorded=given)
        )

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
            for seed in seeds:
                GlobalHydra.instance().clear()
                with initialize_config_dir(str(conf_folder()), version_base="1.3"):
                    config = compose(
                        "config",
                        [*rest, f"+experiment={experiment}", f"seed={seed}"],
                        return_hydra_config=True,
                    )
                config.hydra.job.override_dirname = ""  # all else is the same in all jobs
                found.add(here / config.hydra.sweep.dir / Path(config.hydra.sweep.subdir))
    return found


PLAIN = "python -m alexnet_exp.train -m"


@pytest.mark.parametrize(
    ("folder", "overrides", "expected"),
    [
        ("runs/synthetic/multirun", (), PLAIN),
        (
            "runs/synthetic_small/smoke",
            ("+sweep=smoke", "trainer.max_epochs=6"),
            f"{PLAIN} +sweep=smoke trainer.max_epochs=6",
        ),
        (
            "runs/synthetic_small/other",
            ("+sweep=smoke", "sweep.name=other"),
            f"{PLAIN} +sweep=smoke sweep.name=other",
        ),
        ("else/where", ("sweep.job_timeout=60",), f"{PLAIN} hydra.sweep.dir=/w/else/where"),
        (
            "else where",
            ("sweep.name=other",),
            f"{PLAIN} sweep.name=other 'hydra.sweep.dir=\"/w/else where\"'",
        ),
    ],
)
def test_a_row_leads_back_to_its_sweep(swept, folder, overrides, expected) -> None:
    here = Path("/w")
    runs = [
        swept(here / folder, experiment, *overrides, seed=seed)
        for experiment in ("baseline", "no_lrn")
        for seed in (0, 1)
    ]
    line = command(runs)
    assert line == f"{expected} +experiment=baseline,no_lrn seed=0,1"
    assert folders(line, here) == {
        here / folder / name / f"seed_{seed}" for name in ("baseline", "no_lrn") for seed in (0, 1)
    }


def test_one_run_of_a_sweep_is_found_again(swept) -> None:
    line = command([swept(Path("/w/runs/synthetic/multirun"), "no_lrn", seed=3)])
    assert line == f"{PLAIN} +experiment=no_lrn seed=3"


def test_a_value_that_a_sweep_varied_is_in_the_folder(swept) -> None:
    here, folder = Path("/w"), "runs/synthetic/multirun"
    rates = {"baseline": "0.1", "tanh": "0.02"}
    runs = [
        swept(here / folder, name, f"optim.lr={rate}", varied=f"optim.lr={rate}")
        for name, rate in rates.items()
    ]
    line = command(runs)
    assert line.count(" && ") == 1
    assert folders(line, here) == {
        here / folder / name / f"optim.lr={rate}" / "seed_0" for name, rate in rates.items()
    }


def test_two_sweeps_need_two_commands(swept) -> None:
    here = Path("/w")
    runs = [
        swept(here / "runs/synthetic" / name, experiment, f"sweep.name={name}")
        for name, experiment in (("one", "baseline"), ("two", "no_lrn"))
    ]
    line = command(runs)
    assert line == (
        f"{PLAIN} sweep.name=one +experiment=baseline seed=0"
        f" && {PLAIN} sweep.name=two +experiment=no_lrn seed=0"
    )


def test_loggers_have_no_part_in_a_command(swept) -> None:
    run = swept(
        Path("/w/runs/synthetic/multirun"), "no_lrn", "logger=wandb", "logger.mode=offline",
        "optim.lr=0.1",
    )  # fmt: skip
    assert command([run]) == f"{PLAIN} optim.lr=0.1 +experiment=no_lrn seed=0"

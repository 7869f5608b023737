"""The jobs of a command line: where they lie, what is in their folders, what is refused."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from alexnet_exp import cli
from alexnet_exp.config import Config, conf_folder
from alexnet_exp.config.training import StrategyName
from alexnet_exp.data.store import store
from alexnet_exp.data.store.packing import pack
from alexnet_exp.errors import PlacementError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep import multirun, planning
from alexnet_exp.sweep.jobs import Job, Outcome, State, quoted
from alexnet_exp.sweep.planning import folder_name, more_of_baseline
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY

SMALL = (*TINY, "trainer.max_epochs=1")
ENDED = {"metrics": {"val/top1_error": 0.5, "test/top1_error": 0.25}, "epochs": 1}


def start(config: Config, folder: Path) -> RunFolder:
    """A run that was begun and has let go of its folder."""
    run = RunFolder(folder)
    run.start(config)
    run.release()
    return run


def finish(config: Config, folder: Path) -> None:
    start(config, folder).record(ENDED, {}, np.zeros((2, 3, 11, 11)), keep_last=False)


@pytest.fixture
def look(compose_config, tmp_path):
    """``look({"seed": 1})``: a job after a look into the folder ``tmp_path / "job"``."""

    def found(changed: dict[str, object] | None = None) -> Job:
        job = Job(0, "job", (), compose_config(*SMALL), tmp_path / "job")
        for path, value in (changed or {}).items():
            group, _, name = path.partition(".")
            setattr(getattr(job.config, group), name, value)
        job.look()
        return job

    return found


def test_finished_half_done_and_diverged_jobs_are_told_apart(look, tmp_path) -> None:
    job = look()
    assert job.state == State.new
    run = start(job.config, job.folder)
    assert look().state == State.new, "killed before its first checkpoint"
    torch.save({}, run.last)
    assert look().state == State.half_done
    held = RunFolder(job.folder)
    held.start(job.config)
    assert look().state == State.elsewhere
    held.release()
    run.record_divergence("the loss is nan")
    diverged = look()
    assert (diverged.state, diverged.reason) == (State.diverged, "the loss is nan")
    (job.folder / "diverged.json").unlink()
    run.record(ENDED, {}, np.zeros((2, 3, 11, 11)), keep_last=False)
    assert look().state == State.skipped
    assert look().as_found().result == ENDED


def test_what_one_strategy_began_another_may_finish(look) -> None:
    job = look({"strategy.name": StrategyName.ddp, "trainer.devices": 2})
    torch.save({}, start(job.config, job.folder).last)
    assert look().state == State.half_done
    assert look({"logger.tensorboard": True, "sweep.job_timeout": 5}).state == State.half_done
    changed = look({"strategy.bf16_gradients": True}).changed
    assert "bf16_gradients was False, is True" in changed


def test_a_job_takes_from_the_record_only_what_was_not_asked_for(look) -> None:
    job = look()
    job.config.trainer.precision = "bf16-mixed"
    job.config.model.classes = 5
    torch.save({}, start(job.config, job.folder).last)
    job = look()
    assert job.state == State.half_done
    assert job.spec(()).arguments[2] == "trainer.precision=bf16-mixed"
    for path, asked in (("trainer.precision", "32-true"), ("model.classes", 10)):
        assert path in look({path: asked}).changed


@pytest.mark.parametrize("file", ["result.json", "diverged.json", "config.yaml", "predictions.npz"])
def test_damaged_folder_is_a_failure_of_its_job(look, file: str) -> None:
    job = look()
    (finish if file == "predictions.npz" else start)(job.config, job.folder)
    (job.folder / file).write_bytes(b"{")
    job = look()
    assert job.state == State.failed
    assert file in job.reason
    assert "remove" in job.reason or "is not of a run" in job.reason


@pytest.fixture
def sweep(monkeypatch, tmp_path, capsys, stores):
    """The command, in an empty folder; gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    small = (*SMALL, f"data.stores={stores}", "trainer.progress=false")

    def run(*overrides: str, sweeps: bool = True) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["train", *overrides[:1], *small, *overrides[1:]])
        code = 0
        try:
            cli.run(train, sweeps=sweeps)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def planned(monkeypatch, sweep):
    """A sweep whose jobs all end as told; gives them besides."""

    def run(*overrides: str, ending: State = State.finished) -> tuple[int, list[Job], str, str]:
        jobs: list[Job] = []

        def record(planned: Sequence[Job], *rest: object) -> list[Outcome]:
            jobs.extend(planned)
            return [Outcome(job, ending) for job in planned]

        monkeypatch.setattr(multirun, "run_sweep", record)
        code, *shown = sweep(*overrides)
        return code, jobs, *shown

    return run


def test_jobs_have_folders_by_experiment_what_varies_and_seed(planned, tmp_path) -> None:
    swept = ("experiment=baseline,no_lrn+no_dropout", "seed=range(2)", "optim.lr=choice(.1)")
    code, jobs, _, error = planned("-m", *swept, ending=State.diverged)
    assert code == 0, error
    assert [job.name for job in jobs] == [
        f"{experiment}/optim.lr=0.1/seed_{seed}"
        for experiment in ("baseline", "no_dropout+no_lrn")
        for seed in (0, 1)
    ]
    assert {job.state for job in jobs} == {State.new}
    assert (tmp_path / "runs/synthetic/multirun/multirun.yaml").is_file(), "as Hydra's sweeper does"
    job, config = jobs[1], jobs[3].config
    assert job.folder == tmp_path / "runs/synthetic/multirun/baseline/optim.lr=0.1/seed_1"
    assert (job.config.experiment, job.config.optim.lr, job.config.seed) == ("baseline", 0.1, 1)
    assert config.experiment == "no_dropout+no_lrn"
    assert (config.model.dropout, config.model.normalization) == (0.0, "none")
    arguments = job.spec(()).arguments
    assert arguments[:2] == ("-m", "alexnet_exp.train")
    assert arguments[-2:] == ("hydra.mode=RUN", f"hydra.run.dir='{job.folder}'")
    assert {"seed=1", "optim.lr=0.1", *SMALL} <= {*arguments}


def test_preset_is_a_sweep_by_itself_and_takes_overrides(planned) -> None:
    changed = ("seed=3,4", "optim.lr=.1", "sweep.job_timeout=60")
    code, jobs, _, _ = planned("+sweep=learning_rate", *changed, ending=State.failed)
    assert (code, len(jobs)) == (1, 2), "that of a sweep with diverged jobs is 0"
    assert jobs[0].folder.parts[-4:-2] == ("synthetic", "learning_rate")
    assert {job.config.seed for job in jobs} == {3, 4}
    assert jobs[0].spec(()).timeout == 60


def test_a_factorial_sweep_combines_its_factors_seed_by_seed(planned) -> None:
    given = ("+sweep=factorial", "sweep.factors=[no_lrn,no_dropout]", "seed=0,1")
    code, jobs, _, said = planned(*given, "trainer.progress=true")
    assert code == 0, said
    assert "4 of 4 combinations of 2 experiments, each on in 2; 1 of 1 interactions" in said
    assert "each of the 4 combinations has seeds of its own" in said
    names = ("baseline", "no_dropout", "no_lrn", "no_dropout+no_lrn")
    assert [job.name for job in jobs] == [
        f"{name}/seed_{4 * seed + place}" for seed in (0, 1) for place, name in enumerate(names)
    ]
    assert [job.config.seed for job in jobs] == [*range(8)]
    assert "seed=7" in jobs[7].spec(()).arguments
    both = jobs[3].config
    assert (both.model.normalization, both.model.dropout) == ("none", 0)
    assert "+experiment=[no_dropout,no_lrn]" in jobs[3].spec(()).arguments
    _, jobs, _, _ = planned(*given, "+experiment=tanh")
    assert [job.name for job in jobs] == ["tanh/seed_0", "tanh/seed_1"], "as in every sweep"
    _, jobs, _, _ = planned(*given, "+experiment=baseline,no_lrn")
    assert {job.config.seed for job in jobs} == {0, 1}, "what is given is meant"
    for folds in (("data.folds=2", "seed=range(4)"), ("data.folds=2", "data.fold=0,1", "seed=0,1")):
        _, jobs, _, _ = planned("+sweep=factorial", given[1], *folds)
        assert sorted(job.config.seed for job in jobs) == [*range(16)]
        for job in jobs:
            seed, place = job.config.seed, names.index(job.config.experiment)
            assert (job.config.data.fold, seed // 2 % 4) == (seed % 2, place)


def test_folds_have_seeds_of_their_own_and_one_store(planned, monkeypatch, tmp_path) -> None:
    packed = []

    def counted(*given: object, **more: object) -> None:
        packed.append(given)
        pack(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "pack", counted)
    given = ("-m", "data.folds=2", f"data.stores={tmp_path}")
    _, jobs, _, _ = planned(*given, "seed=range(3)", ending=State.diverged)
    assert [(job.config.data.fold, job.config.seed) for job in jobs] == [(0, 0), (1, 1), (0, 2)]
    assert jobs[2].name == "baseline/seed_2"
    crossed = ("data.fold=range(2)", "seed=0,1", "trainer.progress=true")
    _, jobs, _, said = planned(*given, *crossed, ending=State.diverged)
    assert [job.name for job in jobs] == [f"baseline/seed_{seed}" for seed in (0, 2, 1, 3)]
    for job in jobs:
        arguments = [item for item in job.spec(()).arguments if "fold=" in item or "seed=" in item]
        fold, seed = job.config.data.fold, job.config.seed
        assert sorted(arguments) == [f"data.fold={fold}", f"seed={seed}"]
        assert fold == seed % 2
    assert "data.fold=f seed=s runs as seed s * 2 + f" in said
    assert len(packed) == 1


def test_make_runs_as_many_seeds_of_each_fold() -> None:
    def seeds(*given: str) -> str:
        plan = ["make", "-C", str(conf_folder().parent), "-n", "-o", "install", "ablations", *given]
        return subprocess.run(plan, capture_output=True, text=True, check=True).stdout

    assert "data.folds" not in seeds("SEEDS=4")
    assert '"seed=range(4)"' in seeds("SEEDS=4")
    plan = seeds("DATA=flowers", "FOLDS=5", "SEEDS=2")
    assert "data=flowers data.folds=5" in plan
    assert '"seed=range(10)"' in plan


def test_dry_run_packs_nothing_and_asks_no_scheduler(planned, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(planning, "settle", lambda *given: pytest.fail("data was packed"))
    code, jobs, shown, _ = planned("-m", "seed=0,1,2", "sweep.dry_run=true", "hydra/launcher=slurm")
    assert (code, jobs) == (0, [])
    assert "3 jobs: 3 new" in shown
    assert "3 jobs to run, one after the other; cost unknown" in shown
    assert "val error" not in shown, "the room is for the names"
    assert list(tmp_path.iterdir()) == []


def test_changed_configuration_under_the_same_name_shows_the_difference(planned) -> None:
    _, jobs, _, _ = planned("-m", "seed=0,1")
    for job in jobs:
        finish(job.config, job.folder)
    code, jobs, _, error = planned("-m", "seed=0,1", "optim.lr=.007")
    assert (code, jobs) == (2, [])
    assert "optim.lr was 0.01, is 0.007" in error
    assert "baseline/seed_1" in error
    assert "sweep.name=<another name>" in error
    assert "hydra.run.dir" not in error


def test_a_grid_of_strategies_leaves_out_what_no_devices_fit(planned, monkeypatch) -> None:
    def settle(config: Config, store: object) -> None:
        if config.strategy.name == "towers":
            raise PlacementError("an odd batch")

    monkeypatch.setattr(planning, "settle", settle)
    code, jobs, shown, _ = planned("-m", "strategy=ddp,single,towers", "trainer.devices=2")
    assert code == 0
    assert [job.state for job in jobs] == [State.new, State.left_out, State.left_out]
    assert jobs[1].name == "baseline/strategy=single/seed_0"
    assert jobs[1].reason.startswith("trainer.devices=2: strategy=single runs on one device")
    assert f"left out: 1 job: {jobs[1].reason}" in shown.replace("\n", " ")
    assert jobs[2].reason == "an odd batch", "what is found in the data"
    code, jobs, _, error = planned("-m", "strategy=single", "trainer.devices=3", "seed=0,1")
    assert (code, jobs) == (2, [])
    assert "none of the jobs can run" in error
    assert "2 jobs: trainer.devices=3: strategy=single runs on one device" in error


MISTAKES = [
    (("-m", "seed=0", "trainer.accelerator=gpu"), "GPUs that this sweep may use: none"),
    (("-m", "seed=0,1", "hydra.run.dir=x"), "a sweep's is sweep.name=<name>"),
    (("-m", "seed=0", "hydra.sweeper.max_batch_size=1"), "hydra.launcher.jobs=2, not max_batch_s"),
    (("-m", "seed=0", "hydra.launcher.jobs=0"), "hydra.launcher.jobs=0"),
    (("-m", "seed=0", "hydra/launcher=ray"), "pip install 'alexnet-exp[ray]'"),
    (("-m", "+experiment=no_lrn", "model.normalization=lrn,none"), "+experiment=no_lrn sets"),
    (("-m", "sweep.factors=[no_lrn,original]"), "puts them all together: +experiment=no_lrn sets"),
    (("-m", "sweep.factors=[no_crops,no_crops_flips]"), "both set augmentation.crops=False"),
    (("-m", "sweep.factors=[no_lrn,no_norm2]"), ") changes nothing beside +experiment=no_lrn ("),
    (("-m", "sweep.factors=[no_lrn,no_lrm]"), "did you mean no_lrn"),
    (("-m", "sweep.factors=[no_lrn,tanh]", "sweep.runs=3"), "sweep.runs=3 must be a power of 2"),
    (("-m", "+sweep=ablation"), "did you mean ablations"),
    (("-m", "optim.lr=.1,.2", "hydra.sweep.subdir=x"), "the same folder"),
    (("-m", "optim.lr=.1,-1"), "optim.lr=-1"),
    (("-m", "data.folds=3", "data.fold=3"), "data.fold=3 data.folds=3: there is no such"),
    (("-m", "model.weights=null,gone.pth"), "model.weights=gone.pth does not exist"),
    (("-m", "seed=0", "+trainer.fast_dev_run=true"), "+trainer.fast_dev_run records no result"),
    (("seed=0", "sweep.dry_run=true"), "sweep.dry_run=true lists the jobs of a sweep"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES)
def test_mistakes_end_in_one_message_before_any_job_starts(
    planned, tmp_path, monkeypatch, overrides, message
) -> None:
    monkeypatch.setitem(sys.modules, "alexnet_exp.sweep.ray", None)
    code, jobs, _, error = planned(*overrides)
    assert (code, jobs) == (2, [])
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_sweeps_are_for_training(sweep) -> None:
    code, _, error = sweep("-m", "seed=0,1", sweeps=False)
    assert code == 2
    assert "-m and +sweep are for alexnet_exp.train" in error


def test_folder_names_hold_what_varies_and_fit_any_file_system() -> None:
    overrides = ["+experiment=tanh", "seed=1", "data=flowers", "optim.lr=0.1", "data.root=a/b"]
    assert folder_name(overrides, {"data=flowers"}) == "data.root=a_b,optim.lr=0.1"
    assert folder_name(overrides, set(overrides)) == ""
    assert folder_name(["logger.tags=[a\\ b]"], set()) == "logger.tags=[a b]", "no escapes"
    long = [f"model.conv.conv{i}.channels={i}{n}" for i in range(1, 9) for n in range(9)]
    names = {folder_name(long[:k], set()) for k in range(60, 72)}
    assert len(names) == 12
    assert all(len(name.encode()) <= 120 for name in names)


@pytest.mark.parametrize(
    "folder", ["/a b/c", "/it's/x", "/back\\slash/x", "/ends\\", "/both\\'s", "/a,b=[c]{d}(e)"]
)
def test_run_folder_comes_through_hydras_grammar_as_it_is(folder: str) -> None:
    text = f"hydra.run.dir={quoted(Path(folder))}"
    (override,) = OverridesParser.create().parse_overrides([text])
    value = override.value()
    assert getattr(value, "text", value) == folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("failing", [False, pytest.param(True, marks=pytest.mark.long)])
def test_jobs_for_real(sweep, tmp_path, failing: bool) -> None:
    """One that ends, and another that fails; test_long_sweep goes on with stopped processes."""
    root = tmp_path / "runs" / "synthetic" / "multirun" / "baseline"
    given = ("-m", "hydra.launcher.jobs=2")
    if failing:
        broken = root / "seed_1"
        broken.mkdir(parents=True)
        (broken / "checkpoints").write_text("a file where a folder should be")
    code, shown, _ = sweep(*given, "seed=0,1" if failing else "seed=0")
    assert code == failing, shown
    if failing:
        assert "2 jobs: 1 finished, 1 failed" in shown
        assert "failed: baseline/seed_1: exit code 2" in shown
        assert f"can't write the run folder {broken}" in shown, shown
        assert f"log: {broken / 'log.txt'}" in shown
        assert "the same command runs what is not done" in shown
    code, shown, _ = sweep(*given, "sweep.dry_run=true", "seed=0,1,2")
    assert code == 0
    assert "3 jobs: 1 skipped, 2 new" in shown
    assert "2 jobs to run, 2 at once; cost about " in shown
    assert "by the 1 job that finished; nothing was started" in shown
    assert not (root / "seed_2").exists()


def test_the_baseline_gets_more_seeds_than_the_others() -> None:
    def jobs(*seeds: str, fold: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        names = ("baseline", "no_lrn")
        return [(f"+experiment={name}", *fold, f"seed={seed}") for name in names for seed in seeds]

    given = jobs("0", "4")
    more = more_of_baseline(given, 3)
    assert more[:4] == given
    assert more[4:] == [("+experiment=baseline", f"seed={seed}") for seed in (5, 6, 7, 8)]
    assert more_of_baseline(given, 1) == given
    assert more_of_baseline(jobs("a"), 2) == jobs("a")  # which is refused later
    both = [*jobs("0", fold=("data.fold=0",)), *jobs("0", fold=("data.fold=1",))]
    assert more_of_baseline(both, 2)[4:] == [
        ("+experiment=baseline", f"data.fold={fold}", "seed=1") for fold in (0, 1)
    ]

"""The jobs of a command line: where they lie, what is in their folders, what is refused."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from alexnet_exp import cli
from alexnet_exp.config import Config
from alexnet_exp.errors import PlacementError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep import multirun, planning
from alexnet_exp.sweep.jobs import Job, Outcome, State, quoted
from alexnet_exp.sweep.planning import folder_name
from alexnet_exp.sweep.table import show_sweep
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY

SMALL = (*TINY, "trainer.max_epochs=4")
ENDED = {"metrics": {"val/top1_error": 0.5, "test/top1_error": 0.25}, "epochs": 4}


def start(config: Config, folder: Path, *, checkpoint: bool = False) -> RunFolder:
    """A run that was begun and has let go of its folder."""
    run = RunFolder(folder)
    run.start(config)
    run.held.release()
    if checkpoint:
        torch.save({}, run.last)
    return run


def finish(config: Config, folder: Path, **result: object) -> None:
    start(config, folder).record({**ENDED, **result}, {}, keep_last=False)


@pytest.fixture
def look(compose_config, tmp_path: Path):
    """``look(*overrides)``: a job after a look into the folder ``tmp_path / "job"``."""

    def found(*overrides: str) -> Job:
        job = Job(0, "job", overrides, compose_config(*SMALL, *overrides), tmp_path / "job")
        job.look()
        return job

    return found


def test_finished_half_done_and_diverged_jobs_are_told_apart(look, tmp_path: Path) -> None:
    job = look()
    assert job.state == State.new
    run = start(job.config, job.folder)
    assert look().state == State.new, "killed before its first checkpoint"
    torch.save({}, run.last)
    assert look().state == State.half_done
    held = RunFolder(job.folder)
    held.start(job.config)
    assert look().state == State.elsewhere
    held.held.release()
    run.record_divergence("the loss is nan")
    diverged = look()
    assert (diverged.state, diverged.reason) == (State.diverged, "the loss is nan")
    (job.folder / "diverged.json").unlink()
    run.record(ENDED, {}, keep_last=False)
    assert look().state == State.skipped
    assert look().as_found().result == ENDED


def test_a_job_goes_on_in_the_precision_that_it_began_with(look) -> None:
    job = look()
    job.config.trainer.precision = "bf16-mixed"
    start(job.config, job.folder, checkpoint=True)
    job = look()
    assert job.state == State.half_done
    assert job.spec(()).arguments[2] == "trainer.precision=bf16-mixed"


def test_what_one_strategy_began_another_may_finish(look) -> None:
    job = look("strategy=ddp", "trainer.devices=2")
    start(job.config, job.folder, checkpoint=True)
    assert look().state == State.half_done
    assert look("logger=tensorboard", "sweep.job_timeout=5").state == State.half_done
    changed = look("strategy=ddp", "strategy.bf16_gradients=true").changed
    assert "bf16_gradients was False, is True" in changed


@pytest.mark.parametrize("override", ["trainer.precision=32-true", "model.classes=10"])
def test_what_was_asked_for_is_never_taken_from_the_record(look, override: str) -> None:
    job = look()
    job.config.trainer.precision = "bf16-mixed"
    job.config.model.classes = 5
    finish(job.config, job.folder)
    assert look().state == State.skipped
    assert override.partition("=")[0] in look(override).changed


@pytest.mark.parametrize(
    ("file", "content"),
    [("result.json", b"{"), ("result.json", b"{}"), ("result.json", b"3"),
     ("diverged.json", b"{}"), ("config.yaml", b"\xff"), ("config.yaml", b""),
     ("predictions.npz", b"PK")],
)  # fmt: skip
def test_damaged_folder_is_a_failure_of_its_job(look, file: str, content: bytes) -> None:
    job = look()
    if file == "predictions.npz":
        finish(job.config, job.folder)
    else:
        start(job.config, job.folder)
    (job.folder / file).write_bytes(content)
    job = look()
    assert job.state == State.failed
    assert file in job.reason
    assert "remove" in job.reason or "is not of a run" in job.reason


@pytest.fixture
def planned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], stores
):
    """Plan a sweep in an empty folder; gives exit code, the jobs, standard output and error."""
    monkeypatch.chdir(tmp_path)
    small = (*SMALL, f"data.stores={stores}", "trainer.progress=false")

    def run(*overrides: str, ending: State = State.finished) -> tuple[int, list[Job], str, str]:
        jobs: list[Job] = []

        def record(planned: Sequence[Job], *rest: object) -> list[Outcome]:
            jobs.extend(planned)
            return [Outcome(job, ending) for job in planned]

        monkeypatch.setattr(multirun, "run_sweep", record)
        monkeypatch.setattr(sys, "argv", ["train", *overrides[:1], *small, *overrides[1:]])
        code = 0
        try:
            cli.run(train, sweeps=True)
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, jobs, printed.out, printed.err

    return run


def test_jobs_have_folders_by_experiment_what_varies_and_seed(planned, tmp_path: Path) -> None:
    code, jobs, _, _ = planned("-m", "+experiment=no_lrn,tanh", "seed=range(2)", "optim.lr=.1,.2")
    assert code == 0
    assert [job.name for job in jobs] == [
        f"{experiment}/optim.lr={lr}/seed_{seed}"
        for experiment in ("no_lrn", "tanh")
        for seed in (0, 1)
        for lr in ("0.1", "0.2")
    ]
    assert {job.state for job in jobs} == {State.new}
    job = jobs[2]
    assert job.folder == tmp_path / "runs/synthetic/multirun/no_lrn/optim.lr=0.1/seed_1"
    assert (job.config.experiment, job.config.optim.lr, job.config.seed) == ("no_lrn", 0.1, 1)
    spec = job.spec(())
    assert spec.arguments[:2] == ("-m", "alexnet_exp.train")
    assert spec.arguments[-2:] == ("hydra.mode=RUN", f"hydra.run.dir='{job.folder}'")
    assert {"+experiment=no_lrn", "seed=1", "optim.lr=0.1", *SMALL} <= set(spec.arguments)


def test_several_experiments_of_one_job(planned) -> None:
    code, jobs, _, error = planned("-m", "experiment=baseline,no_lrn+no_dropout", "seed=0,1")
    assert code == 0, error
    assert [job.name for job in jobs] == [
        f"{name}/seed_{seed}" for name in ("baseline", "no_dropout+no_lrn") for seed in (0, 1)
    ]  # fmt: skip
    config = jobs[3].config
    assert config.experiment == "no_dropout+no_lrn"
    assert (config.model.dropout, config.model.normalization) == (0.0, "none")


@pytest.mark.parametrize(("preset", "count"), [("learning_rate", 14), ("smoke", 8)])
def test_preset_is_a_sweep_by_itself_and_takes_overrides(planned, preset: str, count: int) -> None:
    code, jobs, _, _ = planned(f"+sweep={preset}", "seed=3,4", "sweep.job_timeout=60")
    assert (code, len(jobs)) == (0, count)
    assert {"runs", preset} <= {*jobs[0].folder.parts}
    assert {job.config.seed for job in jobs} == {3, 4}
    assert jobs[0].spec(()).timeout == 60


@pytest.mark.parametrize(
    ("state", "expected"), [(State.skipped, 0), (State.diverged, 0), (State.failed, 1)]
)
def test_exit_code_says_whether_all_is_done(planned, state: State, expected: int) -> None:
    assert planned("-m", "seed=0", ending=state)[0] == expected


def test_dry_run_packs_nothing_and_asks_no_scheduler(
    planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "settle", lambda *given: pytest.fail("data was packed"))
    dry = ("+experiment=no_lrn,tanh", "seed=0,1,2", "sweep.dry_run=true", "hydra/launcher=slurm")
    code, jobs, shown, _ = planned("-m", *dry)
    assert (code, jobs) == (0, [])
    assert "6 jobs: 6 new" in shown
    assert "6 jobs to run, one after the other; cost unknown" in shown


def test_changed_configuration_under_the_same_name_shows_the_difference(planned) -> None:
    _, jobs, _, _ = planned("-m", "seed=0,1")
    for job in jobs:
        finish(job.config, job.folder)
    code, jobs, _, error = planned("-m", "seed=0,1", "optim.lr=.007")
    assert (code, jobs) == (2, [])
    assert "optim.lr was 0.002, is 0.007" in error
    assert "baseline/seed_1" in error
    assert "sweep.name=<another name>" in error
    assert "hydra.run.dir" not in error
    code, jobs, _, _ = planned("-m", "seed=0,1", "optim.lr=.007", "sweep.name=faster")
    assert [job.state for job in jobs] == [State.new] * 2


def test_a_grid_of_strategies_leaves_out_what_no_devices_fit(
    planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(config: Config, store: object) -> None:
        if config.seed == 1:
            raise PlacementError("an odd batch")

    monkeypatch.setattr(planning, "settle", settle)
    grid = ("-m", "strategy=single,towers", "trainer.devices=1,2")
    code, jobs, shown, _ = planned(*grid)
    assert code == 0
    left = {job.name: job.reason for job in jobs if job.state == State.left_out}
    single, towers = "strategy=single,trainer.devices=2", "strategy=towers,trainer.devices=1"
    assert left.keys() == {f"baseline/{single}/seed_0", f"baseline/{towers}/seed_0"}
    reason = left[f"baseline/{single}/seed_0"]
    assert reason.startswith("trainer.devices=2: strategy=single runs on one device")
    assert f"left out: 1 job: {reason}" in shown.replace("\n", " ")
    code, jobs, _, error = planned("-m", "strategy=single", "trainer.devices=3", "seed=0,1")
    assert (code, jobs) == (2, [])
    assert "none of the jobs can run" in error
    assert "2 jobs: trainer.devices=3: strategy=single runs on one device" in error
    code, jobs, _, _ = planned("-m", "seed=0,1")
    assert [job.reason for job in jobs] == ["", "an odd batch"], "what is found in the data"


def test_end_of_a_sweep_says_what_is_left(
    compose_config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose_config()
    jobs = [Job(n, name, (), config, tmp_path / name) for n, name in enumerate("abc")]
    jobs[1].state, jobs[1].reason = State.left_out, "no devices fit it"
    done = Outcome(jobs[0], State.finished, 75.0, result=ENDED)
    show_sweep([done, jobs[1].as_found()], tmp_path)
    shown = capsys.readouterr().out
    assert "left out: 1 job: no devices fit it" in shown
    assert "2 jobs: 1 finished, 1 left out" in shown
    assert "25.0 %" in shown
    assert "1 min 15 s" in shown
    assert "the same command" not in shown, "nothing is left to do"
    failed = Outcome(jobs[2], State.failed, reason="exit code 1", lines=("[why]",))
    show_sweep([done, failed], tmp_path)
    shown = capsys.readouterr().out
    assert "failed: c: exit code 1\n  [why]\n" in shown
    assert "the same command runs what is not done" in shown


MISTAKES = [
    (("-m", "seed=0", "strategy=ddp", "trainer.num_nodes=1,2"), "torchrun --nnodes=2"),
    (("-m", "seed=0", "trainer.accelerator=gpu"), "GPUs that this sweep may use: none"),
    (("-m", "seed=0", "sweep.job_timeout=-1"), "sweep.job_timeout=-1"),
    (("-m", "seed=0,1", "hydra.run.dir=x"), "a sweep's is sweep.name=<name>"),
    (("-m", "seed=0", "sweep.name=a/b"), "sweep.name=a/b names a folder"),
    (("-m", "seed=0", "hydra.launcher.jobs=0"), "hydra.launcher.jobs=0"),
    (("-m", "seed=0", "hydra.launcher.job=2"), "hydra.launcher.job"),
    (("-m", "seed=0", "hydra/launcher=slurm"), "there is no sbatch on this machine"),
    (("-m", "seed=0", "hydra/launcher=ray"), "pip install 'alexnet-exp[ray]'"),
    (("-m", "seed=0", "hydra/launcher=rai"), "did you mean ray"),
    (("-m", "+experiment=no_lrn", "model.normalization=lrn,none"), "+experiment=no_lrn sets"),
    (("-m", "+sweep=ablation"), "did you mean ablations"),
    (("-m", "optim.lr=.1,.2", "hydra.sweep.subdir=x"), "the same folder"),
    (("-m", "optim.lr=.1,-1"), "optim.lr=-1"),
    (("-m", "model=torchvision,paper", "+experiment=no_lrn"), "changes nothing here"),
    (("seed=0", "sweep.dry_run=true"), "sweep.dry_run=true lists the jobs of a sweep"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES)
def test_mistakes_end_in_one_message_before_any_job_starts(
    planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # this machine may have sbatch
    monkeypatch.setitem(sys.modules, "alexnet_exp.sweep.ray", None)
    code, jobs, _, error = planned(*overrides)
    assert (code, jobs) == (2, [])
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("log.txt"))


def test_sweeps_are_for_training(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", "-m", "seed=0,1"])
    with pytest.raises(SystemExit) as stop:
        cli.run(train)
    assert stop.value.code == 2
    assert "-m and +sweep are for alexnet_exp.train" in capsys.readouterr().err


def test_folder_names_hold_what_varies_and_fit_any_file_system() -> None:
    overrides = ["+experiment=tanh", "seed=1", "data=flowers", "optim.lr=0.1", "model.fc=[8,8]"]
    assert folder_name(overrides, {"data=flowers", "model.fc=[8,8]"}) == "optim.lr=0.1"
    assert folder_name([*overrides, "data.root=a/b"], {"model.fc=[8,8]"}) == (
        "data.root=a_b,optim.lr=0.1"
    )
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

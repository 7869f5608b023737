"""The jobs of a command line: where they lie, and what is refused before the first one starts."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from alexnet_exp import cli
from alexnet_exp.config import Config, conf_folder, to_plain
from alexnet_exp.errors import PlacementError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.sweep import launch
from alexnet_exp.sweep.engine import Backend, run_sweep
from alexnet_exp.sweep.jobs import Job, Outcome, State
from alexnet_exp.sweep.jobs import quoted as _quoted
from alexnet_exp.sweep.local import Processes
from alexnet_exp.sweep.planning import folder_name
from alexnet_exp.sweep.table import show_sweep as show_outcomes
from alexnet_exp.training.fit import train
from tests.sweep.pretend import finish, pretend_jobs

TINY = (
    "model.width=0.02", "model.fc=[16,16]", "data.image_size=64", "model.input_size=64",
    "data.synthetic_images=60", "data.batch_size=8", "trainer.max_epochs=1",
)  # fmt: skip


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Plan a sweep in an empty folder; gives exit code, the jobs and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, ending: State = State.finished) -> tuple[int, list[Job], str]:
        jobs: list[Job] = []

        def record(
            planned: Sequence[Job], backend: Backend, show: bool, folder: Path
        ) -> list[Outcome]:
            jobs.extend(planned)
            assert not show
            return [Outcome(job, ending) for job in planned]

        monkeypatch.setattr(launch, "run_sweep", record)
        monkeypatch.setattr(sys, "argv", ["train", *overrides, *TINY, "trainer.progress=false"])
        code = 0
        try:
            cli.run(train, sweeps=True)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, jobs, capsys.readouterr().err

    return run


def test_jobs_have_folders_by_experiment_what_varies_and_seed(planned, tmp_path: Path) -> None:
    code, jobs, _ = planned("-m", "+experiment=no_lrn,tanh", "seed=range(2)", "optim.lr=.1,.2")
    assert code == 0
    assert [job.name for job in jobs] == [
        f"{experiment}/optim.lr={lr}/seed_{seed}"
        for experiment in ("no_lrn", "tanh")
        for seed in (0, 1)
        for lr in ("0.1", "0.2")
    ]
    assert {job.state for job in jobs} == {State.new}
    first = jobs[0]
    assert first.folder == tmp_path / "runs/synthetic/multirun/no_lrn/optim.lr=0.1/seed_0"
    assert first.config.optim.lr == 0.1
    assert first.config.experiment == "no_lrn"
    spec = first.spec(())
    assert spec.arguments[:2] == ("-m", "alexnet_exp.train")
    assert spec.arguments[-2:] == ("hydra.mode=RUN", f"hydra.run.dir='{first.folder}'")
    assert {"+experiment=no_lrn", "seed=0", "optim.lr=0.1", *TINY} <= set(spec.arguments)


def test_preset_is_a_sweep_by_itself_and_takes_overrides(planned) -> None:
    code, jobs, _ = planned("+sweep=learning_rate", "seed=3,4", "sweep.job_timeout=60")
    assert code == 0
    assert len(jobs) == 14
    assert jobs[0].folder.parts[-5:-3] == ("synthetic", "learning_rate")
    assert {job.config.seed for job in jobs} == {3, 4}
    assert jobs[0].spec(()).timeout == 60


def _start(job: Job, *, checkpoint: bool = False) -> RunFolder:
    run = RunFolder(job.folder)
    run.start(job.config)
    run.held.release()
    if checkpoint:
        torch.save({}, run.last)
    return run


def test_finished_half_done_and_diverged_jobs_are_told_apart(planned) -> None:
    overrides = ("-m", "seed=0,1,2,3,4")
    _, jobs, _ = planned(*overrides)
    _start(jobs[0]).record({"metrics": {}}, {}, keep_last=False)
    _start(jobs[1], checkpoint=True)
    _start(jobs[2])
    _start(jobs[3]).record_divergence("diverged")
    code, jobs, _ = planned(*overrides)
    assert code == 0
    states = [State.skipped, State.half_done, State.new, State.diverged, State.new]
    assert [job.state for job in jobs] == states
    held = RunFolder(jobs[4].folder)
    held.start(jobs[4].config)
    _, jobs, _ = planned(*overrides)
    assert jobs[4].state == State.elsewhere


def test_precision_of_another_machine_is_no_other_configuration(planned) -> None:
    _, (job,), _ = planned("-m", "seed=0")
    other = "32-true" if job.config.trainer.precision == "bf16-mixed" else "bf16-mixed"
    job.config.trainer.precision = other
    _start(job).record({"metrics": {}}, {}, keep_last=False)
    code, (job,), _ = planned("-m", "seed=0")
    assert (code, job.state) == (0, State.skipped)


def test_half_done_job_goes_on_in_the_precision_that_it_began_with(planned) -> None:
    _, (job,), _ = planned("-m", "seed=0")
    job.config.trainer.precision = "bf16-mixed"
    _start(job, checkpoint=True)
    _, (job,), _ = planned("-m", "seed=0")
    assert job.state == State.half_done
    arguments = job.spec(()).arguments
    assert arguments.index("trainer.precision=bf16-mixed") > arguments.index("seed=0")


@pytest.mark.parametrize("override", ["trainer.precision=32-true", "model.classes=10"])
def test_what_was_asked_for_is_never_taken_from_the_record(planned, override: str) -> None:
    _, (job,), _ = planned("-m", "seed=0")
    job.config.trainer.precision = "bf16-mixed"
    job.config.model.classes = 5
    _start(job).record({"metrics": {}}, {}, keep_last=False)
    code, jobs, error = planned("-m", "seed=0", override)
    assert (code, jobs) == (2, [])
    assert override.replace("=", " was ").rpartition(" ")[0] in error


@pytest.mark.parametrize(
    ("file", "content"),
    [("result.json", b"{"), ("result.json", b"{}"), ("result.json", b"3"),
     ("diverged.json", b"{}"), ("config.yaml", b"\xff"), ("config.yaml", b""),
     ("predictions.npz", b"PK")],
)  # fmt: skip
def test_damaged_folder_fails_its_own_job_alone(planned, file: str, content: bytes) -> None:
    _, jobs, _ = planned("-m", "seed=0,1")
    run = _start(jobs[0])
    if file == "predictions.npz":
        run.record({"metrics": {}}, {}, keep_last=False)
    (jobs[0].folder / file).write_bytes(content)
    _start(jobs[1]).record({"metrics": {}}, {}, keep_last=False)
    code, jobs, _ = planned("-m", "seed=0,1")
    assert code == 0, "run_sweep, which is stood in for, would count it"
    assert [job.state for job in jobs] == [State.failed, State.skipped]
    assert file in jobs[0].reason
    assert "remove" in jobs[0].reason or "is not of a run" in jobs[0].reason


def test_run_of_an_earlier_version_is_the_same_run(planned) -> None:
    """A field that did not exist then, and is null now, makes no other configuration."""
    _, (job,), _ = planned("-m", "seed=0")
    run = _start(job)
    run.record({"metrics": {}}, {}, keep_last=False)
    before = OmegaConf.load(job.folder / "config.yaml")
    del before["sweep"], before["trainer"]["stop_at_train_error"]
    del before["strategy"]["bf16_gradients"]
    OmegaConf.save(before, job.folder / "config.yaml")
    code, (job,), _ = planned("-m", "seed=0")
    assert (code, job.state) == (0, State.skipped)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.finished, 0), (State.skipped, 0), (State.diverged, 0), (State.failed, 1),
        (State.elsewhere, 1),
    ],
)  # fmt: skip
def test_exit_code_says_whether_all_is_done(
    planned, monkeypatch: pytest.MonkeyPatch, state: State, expected: int
) -> None:
    code, _, _ = planned("-m", "seed=0,1", ending=state)
    assert code == expected


def test_missing_extra_is_named(planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alexnet_exp.sweep.ray", None)
    code, _, error = planned("-m", "seed=0,1", "hydra/launcher=ray")
    assert code == 2
    assert "pip install 'alexnet-exp[ray]'" in error


def test_changed_configuration_under_the_same_name_shows_the_difference(planned) -> None:
    _, jobs, _ = planned("-m", "seed=0,1")
    for job in jobs:
        _start(job).record({"metrics": {}}, {}, keep_last=False)
    code, jobs, error = planned("-m", "seed=0,1", "optim.lr=.007")
    assert (code, jobs) == (2, [])
    assert "optim.lr was 0.002, is 0.007" in error
    assert "baseline/seed_1" in error
    assert "sweep.name=<another name>" in error
    assert "hydra.run.dir" not in error
    code, jobs, _ = planned("-m", "seed=0,1", "optim.lr=.007", "sweep.name=faster")
    assert (code, len(jobs)) == (0, 2)
    code, jobs, _ = planned("-m", "seed=0,1", "logger=tensorboard", "sweep.job_timeout=5")
    assert code == 0, "neither changes a result"
    assert {job.state for job in jobs} == {State.skipped}


def test_a_grid_of_strategies_leaves_out_what_no_devices_fit(planned) -> None:
    grid = ("-m", "strategy=single,ddp,towers,one_weird_trick", "trainer.devices=1,2")
    code, jobs, _ = planned(*grid)
    assert code == 0
    left = {job.name: job.reason for job in jobs if job.state == State.left_out}
    assert {name.removesuffix("/seed_0").removeprefix("baseline/") for name in left} == {
        "strategy=single,trainer.devices=2", "strategy=towers,trainer.devices=1",
        "strategy=one_weird_trick,trainer.devices=1",
    }  # fmt: skip
    reason = left["baseline/strategy=single,trainer.devices=2/seed_0"]
    assert reason.startswith("trainer.devices=2: strategy=single runs on one device")
    assert sum(job.state == State.new for job in jobs) == 5


def test_what_a_strategy_finds_in_the_data_leaves_a_job_out_too(
    planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: Config, store: object) -> None:
        if config.trainer.devices > 1:
            raise PlacementError("an odd batch")

    monkeypatch.setattr("alexnet_exp.sweep.jobs.settle", refuse)
    code, jobs, _ = planned("-m", "strategy=ddp", "trainer.devices=1,2,3", "seed=0,1")
    assert (code, len(jobs)) == (0, 6)
    assert {job.config.trainer.devices for job in jobs if job.state == State.left_out} == {2, 3}
    assert {job.reason for job in jobs if job.state == State.left_out} == {"an odd batch"}


def test_a_sweep_of_nothing_but_misfits_is_a_mistake(planned) -> None:
    code, jobs, error = planned("-m", "strategy=single,towers", "trainer.devices=3", "seed=0,1")
    assert (code, jobs) == (2, [])
    assert "none of the jobs can run" in error
    assert "2 jobs: trainer.devices=3: strategy=single runs on one device" in error
    assert "2 jobs: trainer.devices=3: strategy=towers puts the 2 towers" in error


def test_jobs_left_out_stand_in_the_table_and_the_others_run(
    compose_config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = pretend_jobs(compose_config(), tmp_path, {"a": finish(), "b": "", "c": finish()})
    jobs[1].state, jobs[1].reason = State.left_out, "no devices fit it"
    outcomes = run_sweep(jobs, Processes(1, ()), False, tmp_path)
    assert [o.state for o in outcomes] == [State.finished, State.left_out, State.finished]
    assert not jobs[1].folder.exists()
    show_outcomes(outcomes, tmp_path)
    shown = capsys.readouterr().out
    assert "left out: 1 job: no devices fit it" in shown
    assert "3 jobs: 2 finished, 1 left out" in shown
    assert "the same command" not in shown, "nothing is left to do"


def test_strategy_and_devices_make_no_other_run(planned, tmp_path: Path) -> None:
    """What two devices began, one may finish."""
    subdir = "hydra.sweep.subdir=${experiment}/seed_${seed}"
    before = ("-m", "seed=0", "strategy=ddp", "trainer.devices=2", subdir)
    _, (job,), _ = planned(*before)
    _start(job, checkpoint=True)
    code, (job,), _ = planned("-m", "seed=0", subdir)
    assert (code, job.state) == (0, State.half_done)
    code, _, error = planned(*before, "strategy.bf16_gradients=true")
    assert code == 2
    assert "strategy.bf16_gradients was False, is True" in error


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("-m", "seed=0", "strategy=ddp", "trainer.num_nodes=1,2"), "torchrun --nnodes=2"),
        (("-m", "seed=0", "sweep.job_timeout=-1"), "sweep.job_timeout=-1"),
        (("-m", "seed=0,1", "hydra.run.dir=x"), "a sweep's is sweep.name=<name>"),
        (("-m", "seed=0", "sweep.name=a/b"), "sweep.name=a/b names a folder"),
        (("-m", "seed=0", "hydra.launcher.jobs=0"), "hydra.launcher.jobs=0"),
        (("-m", "seed=0", "hydra.launcher.job=2"), "hydra.launcher.job"),
        (("-m", "seed=0", "hydra/launcher=slurm"), "there is no sbatch on this machine"),
        (("-m", "seed=0", "hydra/launcher=rai"), "did you mean ray"),
        (("-m", "+experiment=no_lrn", "model.normalization=lrn,none"), "+experiment=no_lrn sets"),
        (("-m", "+sweep=ablation"), "did you mean ablations"),
        (("-m", "seed=0", "hydra.sweep.subdir=x,y", "optim.lr=.1,.2"), "the same folder"),
        (("-m", "optim.lr=.1,-1"), "optim.lr=-1"),
        (("-m", "model=torchvision,paper", "+experiment=no_lrn"), "changes nothing here"),
    ],
)
def test_mistakes_end_in_one_message_before_any_job_starts(
    planned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # this machine may have sbatch
    if "hydra.sweep.subdir=x,y" in overrides:
        overrides = ("-m", "optim.lr=.1,.2", "hydra.sweep.subdir=x")
    code, jobs, error = planned(*overrides)
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
    long = [f"model.conv.conv{i}.channels={i}{n}" for i in range(1, 9) for n in range(9)]
    names = {folder_name(long[:k], set()) for k in range(60, 72)}
    assert len(names) == 12
    assert all(len(name.encode()) <= 120 for name in names)


@pytest.mark.parametrize(
    "folder", ["/a b/c", "/it's/x", "/back\\slash/x", "/ends\\", "/both\\'s", "/a,b=[c]{d}(e)"]
)
def test_run_folder_comes_through_hydras_grammar_as_it_is(folder: str) -> None:
    text = f"hydra.run.dir={_quoted(Path(folder))}"
    (override,) = OverridesParser.create().parse_overrides([text])
    value = override.value()
    assert getattr(value, "text", value) == folder


def test_folder_names_hold_no_escapes() -> None:
    assert folder_name(["logger.tags=[a\\ b]"], set()) == "logger.tags=[a b]"


def _preset_jobs() -> list[tuple[str, tuple[str, ...]]]:
    """One job for each combination of the presets, with the first seed."""
    jobs = []
    for file in sorted((conf_folder() / "sweep").glob("*.yaml")):
        params = OmegaConf.to_container(OmegaConf.load(file).hydra.sweeper.params)
        assert isinstance(params, dict)
        jobs_of_file: list[tuple[str, ...]] = [(f"+sweep={file.stem}",)]
        for name, values in params.items():
            (override,) = OverridesParser.create().parse_overrides([f"{name}={values}"])
            each = list(override.sweep_string_iterator())
            if name == "seed":
                each = each[:1]
            jobs_of_file = [(*job, f"{name}={value}") for job in jobs_of_file for value in each]
        jobs += [(file.stem, job) for job in jobs_of_file]
    return jobs


@pytest.mark.parametrize(("preset", "overrides"), _preset_jobs())
def test_every_job_of_every_preset_composes(
    compose_config, preset: str, overrides: tuple[str, ...]
) -> None:
    config = compose_config(*overrides)
    assert config.sweep.name == preset
    experiment = [item.partition("=")[2] for item in overrides if "experiment" in item]
    recorded = {"two_gpus": "baseline"}
    assert [config.experiment] == [recorded.get(name, name) for name in experiment or ["baseline"]]
    assert to_plain(config)["data"]["name"] == config.data.name


def test_ablations_hold_every_published_factor() -> None:
    content = OmegaConf.load(conf_folder() / "sweep" / "ablations.yaml")
    experiments = set(content.hydra.sweeper.params["+experiment"].split(","))
    assert experiments == {
        "baseline", "no_lrn", "no_norm2", "non_overlapping_pooling", "one_gpu", "tanh",
        "no_tower_communication", "no_color_noise", "no_crops", "no_dropout",
        "no_conv2", "no_conv3", "no_conv4", "no_conv5",
    }  # fmt: skip
    assert all((conf_folder() / "experiment" / f"{name}.yaml").exists() for name in experiments)


@pytest.mark.parametrize("file", sorted((conf_folder() / "sweep").glob("*.yaml")), ids=str)
def test_preset_opens_with_its_question_command_cost_and_result(file: Path) -> None:
    lines = file.read_text().splitlines()
    header = [line for line in lines[: lines.index("sweep:")] if line.startswith("# ")][1:]
    text = "\n".join(header)
    assert "?" in text or "Figure" in text or "Section" in text
    assert f"-m +sweep={file.stem}" in text
    assert "# Cost: " in text
    assert "# Measured: " in text

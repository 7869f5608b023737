"""SLURM without a cluster: the batch script, run by commands that pretend to be SLURM."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_exp.errors import UserError
from alexnet_exp.sweep.engine import run_sweep
from alexnet_exp.sweep.jobs import State
from alexnet_exp.sweep.slurm import SlurmBackend
from tests.sweep.pretend import FAIL, finish, pretend_jobs

SETTINGS = {
    "partition": "gpu", "account": None, "qos": "long", "constraint": None,
    "gpus_per_job": None, "cpus_per_device": 3, "mem_gb": 24.5, "timeout_min": 90,
    "array_parallelism": 3,
    "setup": ["module load cuda"], "additional": {"reservation": "mine"},
}  # fmt: skip

# Runs each task of an array at once, in the background, as a node would.
SBATCH = """#!{python}
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
open({kept!r}, "a").write(text)
array = re.search(r"--array=0-(\\d+)", text)
tasks = range(int(array.group(1)) + 1) if array else [None]
print("Submitted batch job 77")
for task in tasks:
    environment = dict(os.environ, SLURM_JOB_ID="77", SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1",
                       SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0",
                       SLURM_JOB_NODELIST="node1")
    if task is not None:
        environment.update(SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID=str(task),
                           SLURM_JOB_ID=str(78 + task))
    subprocess.Popen(["bash", sys.argv[-1]], env=environment, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
"""
SRUN = """#!{python}
import os, sys
command = [word for word in sys.argv[1:]]
while command[0].startswith("-"):
    option = command.pop(0)
    if option in ("--output", "--error"):
        command.pop(0)
os.execvp(command[0], command)
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands of SLURM's names on the PATH; gives the file that sbatch keeps its script in."""
    folder, kept = tmp_path / "bin", tmp_path / "kept.sh"
    folder.mkdir()
    scripts = {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\necho 'JobID|State'\n",
               "scancel": "#!/bin/sh\n"}  # fmt: skip
    for name, text in scripts.items():
        file = folder / name
        script = (
            text
            if text.startswith("#!/bin/sh")
            else text.format(python=sys.executable, kept=str(kept))
        )
        file.write_text(script)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return kept


def test_batch_script_asks_for_what_was_set_and_runs_the_job(
    compose_config, cluster: Path, tmp_path: Path
) -> None:
    scripts = {"a": finish(), "b": FAIL, "c": finish()}
    config = compose_config("strategy=ddp", "trainer.devices=2")
    jobs = pretend_jobs(config, tmp_path, scripts)
    backend = SlurmBackend((), tmp_path, **SETTINGS)  # type: ignore[arg-type]
    outcomes = run_sweep(jobs, backend, False, tmp_path)
    assert [o.state for o in outcomes] == [State.finished, State.failed, State.finished]
    assert outcomes[1].reason == "exit code 3"
    assert outcomes[1].lines[-1] == "something went wrong"
    lines = cluster.read_text().splitlines()
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert {
        "--array=0-2%3", "--partition=gpu", "--qos=long", "--gres=gpu:2", "--cpus-per-task=6",
        "--mem=25088M", "--time=90", "--nodes=1", "--ntasks-per-node=1", "--job-name=alexnet_exp",
        "--reservation=mine",
    } <= options  # fmt: skip
    assert not any(option.startswith(("--account", "--constraint")) for option in options)
    assert "module load cuda" in lines
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert f"{sys.executable} -u -m submitit.core._submit {tmp_path / 'slurm'}" in command


def test_jobs_of_more_devices_are_an_array_of_their_own(
    compose_config, cluster: Path, tmp_path: Path
) -> None:
    jobs = pretend_jobs(compose_config(), tmp_path, dict.fromkeys("abc", finish()))
    jobs[1].config = compose_config("strategy=ddp", "trainer.devices=4")
    backend = SlurmBackend((), tmp_path, **SETTINGS)  # type: ignore[arg-type]
    outcomes = run_sweep(jobs, backend, False, tmp_path)
    assert [(o.job.name, o.state) for o in outcomes] == [(n, State.finished) for n in "abc"]
    text = cluster.read_text()
    wanted = [line.removeprefix("#SBATCH ") for line in text.splitlines()]
    asked = [line for line in wanted if line.startswith(("--gres", "--cpus-per-task", "--array"))]
    assert sorted(asked) == [
        "--array=0-1%2", "--cpus-per-task=12", "--cpus-per-task=3", "--gres=gpu:1", "--gres=gpu:4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus_per_job", "overrides", "message"),
    [
        (1, ("strategy=ddp", "trainer.devices=2"), "gpus_per_job=1 is less than trainer.devices=2"),
        (None, ("strategy=ddp", "trainer.num_nodes=2"), "srun or torchrun --nnodes=2"),
    ],
)
def test_jobs_that_cannot_run_are_refused_before_any_is_submitted(
    compose_config, cluster: Path, tmp_path: Path, gpus_per_job, overrides, message: str
) -> None:
    jobs = pretend_jobs(compose_config(*overrides), tmp_path, {"a": finish()})
    settings = {**SETTINGS, "gpus_per_job": gpus_per_job}
    with pytest.raises(UserError, match=message):
        SlurmBackend((), tmp_path, **settings).check(jobs)
    assert not cluster.exists()


@pytest.mark.parametrize("change", [{"gpus_per_job": 0}, {"accelerator": "cpu"}])
def test_no_gpu_is_asked_for_where_none_is_wanted(
    compose_config, cluster: Path, tmp_path: Path, change
) -> None:
    (job,) = pretend_jobs(compose_config(), tmp_path, {"a": finish()})
    job.config.trainer.accelerator = change.pop("accelerator", "auto")
    settings = {**SETTINGS, "setup": [], "additional": {}, **change}
    backend = SlurmBackend((), tmp_path, **settings)  # type: ignore[arg-type]
    (outcome,) = run_sweep([job], backend, False, tmp_path)
    assert outcome.state == State.finished
    assert "gres" not in cluster.read_text()
    check = subprocess.run(["bash", "-n", str(cluster)], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_without_slurm_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch on this machine"):
        SlurmBackend((), tmp_path, **SETTINGS)  # type: ignore[arg-type]


def test_refused_submission_is_one_message(compose_config, cluster: Path, tmp_path: Path) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'invalid partition specified: gpu' >&2; exit 1\n")
    (job,) = pretend_jobs(compose_config(), tmp_path, {"a": finish()})
    backend = SlurmBackend((), tmp_path, **SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="SLURM refused the jobs"):
        run_sweep([job], backend, False, tmp_path)

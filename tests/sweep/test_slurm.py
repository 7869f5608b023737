"""SLURM without a cluster: the batch script, run by commands that pretend to be SLURM."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from alexnet_exp.errors import UserError
from alexnet_exp.sweep import slurm
from alexnet_exp.sweep.engine import run_sweep
from alexnet_exp.sweep.jobs import State
from alexnet_exp.sweep.process import ChildSpec, Ending
from alexnet_exp.sweep.slurm import SlurmBackend, SlurmJob, _Task
from tests.sweep.pretend import FAIL, WAIT, finish, pretend_jobs, process_of, wait_for

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
print("Submitted batch job 77")
for task in range(int(re.search(r"--array=0-(\\d+)", text)[1]) + 1):
    environment = dict(os.environ, SLURM_JOB_ID=str(78 + task), SLURM_ARRAY_JOB_ID="77",
                       SLURM_ARRAY_TASK_ID=str(task), SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1",
                       SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0",
                       SLURM_JOB_NODELIST="node1")
    subprocess.Popen(["bash", sys.argv[-1]], env=environment, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
"""
SRUN = '#!/bin/sh\nwhile [ "$1" != "{python}" ]; do shift; done; exec "$@"\n'


@pytest.fixture
def cluster(monkeypatch, tmp_path) -> Path:
    """Commands of SLURM's names on the PATH; gives the file that sbatch keeps its script in."""
    folder, kept = tmp_path / "bin", tmp_path / "kept.sh"
    folder.mkdir()
    fill = {"python": sys.executable, "kept": str(kept)}
    scripts = {
        "sbatch": SBATCH.format(**fill), "srun": SRUN.format(**fill),
        "sacct": "#!/bin/sh\necho 'JobID|State'\n", "scancel": "#!/bin/sh\n",
    }  # fmt: skip
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return kept


def backend(folder: Path, **changes: object) -> SlurmBackend:
    return SlurmBackend((), folder, {**SETTINGS, **changes})


def options(script: Path) -> list[str]:
    lines = script.read_text().splitlines()
    return [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]


def test_batch_script_asks_for_what_was_set_and_runs_the_job(
    compose_config, cluster: Path, tmp_path
) -> None:
    config = compose_config()
    config.trainer.devices = 2
    jobs = pretend_jobs(config, tmp_path, {"a": finish(), "b": FAIL})
    outcomes = run_sweep(jobs, backend(tmp_path, array_parallelism=1), False, tmp_path)
    assert [o.state for o in outcomes] == [State.finished, State.failed]
    assert outcomes[1].reason == "exit code 3"
    assert outcomes[1].lines[-1] == "something went wrong"
    assert {
        "--array=0-1%1", "--partition=gpu", "--qos=long", "--gres=gpu:2", "--cpus-per-task=6",
        "--mem=25088M", "--time=90", "--nodes=1", "--ntasks-per-node=1", "--job-name=alexnet_exp",
        "--reservation=mine",
    } <= set(options(cluster))  # fmt: skip
    assert not any(option.startswith(("--account", "--constraint")) for option in options(cluster))
    lines = cluster.read_text().splitlines()
    assert "module load cuda" in lines
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert f"{sys.executable} -u -m submitit.core._submit {tmp_path / 'slurm'}" in command


def test_jobs_that_need_the_same_are_one_array(compose_config, cluster: Path, tmp_path) -> None:
    """By devices, GPUs and nodes; a task on each node starts torchrun there."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(f"#!/bin/sh\ncat $1 >> {cluster}\necho Submitted batch job 77\n")
    jobs = pretend_jobs(compose_config(), tmp_path, dict.fromkeys("abcde", ""))
    jobs[1].config.trainer.devices = jobs[4].config.trainer.devices = 4
    jobs[3].config.trainer.accelerator = "cpu"
    jobs[4].config.trainer.num_nodes = 2
    made = backend(tmp_path)
    made.check(jobs)
    assert made.room(jobs) == jobs
    assert len(made.start(jobs)) == 5
    kinds = ("--array", "--cpus-per-task", "--gres", "--nodes")
    asked = [option for option in options(cluster) if option.startswith(kinds)]
    assert asked == [
        "--array=0-1%2", "--cpus-per-task=3", "--gres=gpu:1", "--nodes=1",
        "--cpus-per-task=12", "--gres=gpu:4", "--nodes=1",
        "--cpus-per-task=3", "--nodes=1",
        "--cpus-per-task=12", "--gres=gpu:4", "--nodes=2",
    ]  # fmt: skip


def test_on_several_nodes_each_task_is_torchruns(monkeypatch, tmp_path) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm, "run_child", lambda spec, *rest: ran.append(spec.arguments))
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    told = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "30007", "SLURM_JOB_NUM_NODES": "2",
            "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "gpu-[07-08]"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    _Task(ChildSpec(tmp_path, ("-m", "alexnet_exp.train", "seed=1")), 2, 4)()
    assert ran == [
        ("-m", "torch.distributed.run", "--nnodes=2", "--node-rank=1", "--nproc-per-node=4",
         "--master-addr=gpu-07", "--master-port=15007", "-m", "alexnet_exp.train", "seed=1")
    ]  # fmt: skip


def test_job_without_a_result_holds_up_no_other(tmp_path) -> None:
    canceled = Mock(job_id="7_1", state="CANCELLED by 0")  # submitit's
    canceled.task.return_value, canceled.done.return_value = canceled, True
    canceled.paths.result_pickle = tmp_path / "none.pkl"
    job = SlurmJob(canceled)
    begun = time.monotonic()
    assert job.poll() is None, "its result may be on its way"
    job.stop()
    assert job.poll() == Ending(None, 0.0, "SLURM job 7_1: CANCELLED by 0")
    assert time.monotonic() - begun < 1


def test_task_that_is_told_to_end_leaves_no_result(tmp_path) -> None:
    """Or a job that SLURM queues again would be counted as failed."""
    task = _Task(ChildSpec(tmp_path, ("-c", WAIT)), 1, 1)
    process = multiprocessing.get_context("fork").Process(target=task)
    process.start()
    wait_for(lambda: process_of(tmp_path) is not None, 60)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM


def test_what_slurm_can_not_run_is_one_message(
    compose_config, cluster: Path, tmp_path, monkeypatch
) -> None:
    jobs = pretend_jobs(compose_config(), tmp_path, {"a": finish()})
    jobs[0].config.trainer.devices = 2
    with pytest.raises(UserError, match=r"gpus_per_job=1 is less than trainer\.devices=2"):
        backend(tmp_path, gpus_per_job=1).check(jobs)
    backend(tmp_path, gpus_per_job=0).check(jobs)
    jobs[0].config.trainer.devices = -1
    with pytest.raises(UserError, match=r"trainer\.devices=-1: here the sweep deals out"):
        backend(tmp_path).check(jobs)
    jobs[0].config.trainer.devices = 2
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition' >&2; exit 1\n")
    with pytest.raises(UserError, match="SLURM refused the jobs"):
        run_sweep(jobs, backend(tmp_path), False, tmp_path)
    assert not cluster.exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch on this machine"):
        backend(tmp_path)

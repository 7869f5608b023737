"""A job on several machines, as Ray and SLURM end it."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alexnet_exp.errors import UserError
from alexnet_exp.sweep import ray_nodes
from alexnet_exp.sweep.process import ChildSpec, Ending
from alexnet_exp.sweep.slurm import SlurmJob, _Task
from tests.sweep.pretend import WAIT


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def test_ray_cluster_without_enough_machines_is_named() -> None:
    nodes = [{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}]
    ray_nodes.check_nodes(nodes, {"num_cpus": 8, "num_gpus": 2}, 2)
    with pytest.raises(UserError, match=r"num_nodes=2: of Ray's 3 machines 1 have 8 CPUs and 4"):
        ray_nodes.check_nodes(nodes, {"num_cpus": 8, "num_gpus": 4}, 2)


def test_first_machine_that_fails_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(tasks: list[Ending], num_returns: int) -> tuple[list[Ending], list[Ending]]:
        ordered = sorted(tasks, key=lambda ending: ending.seconds)
        return ordered[:1], ordered[1:]

    monkeypatch.setattr(ray_nodes, "ray", SimpleNamespace(wait=wait, get=lambda ending: ending))
    well, later = Ending(0, 5.0), Ending(0, 9.0)
    killed, lost = Ending(-9, 2.0, "killed by SIGKILL"), Ending(1, 3.0, "exit code 1")
    assert ray_nodes.first_failure([later, well]) is later  # type: ignore[list-item]
    ended = ray_nodes.first_failure([lost, killed])  # type: ignore[list-item]
    assert (ended.returncode, ended.reason) == (-9, "machine 1: killed by SIGKILL")


class Canceled:
    """A job of submitit's that SLURM has ended."""

    job_id, state = "7_1", "CANCELLED by 0"

    def __init__(self, folder: Path) -> None:
        self.paths = SimpleNamespace(result_pickle=folder / "none.pkl")
        self.watcher = SimpleNamespace(clear=lambda: None)

    def done(self) -> bool:
        """SLURM says so."""
        return True

    def cancel(self, check: bool) -> None:
        """Nothing to cancel."""


def test_slurm_job_without_a_result_holds_up_no_other(tmp_path: Path) -> None:
    job = SlurmJob(Canceled(tmp_path))  # type: ignore[arg-type]
    begun = time.monotonic()
    assert job.poll() is None, "its result may be on its way"
    job.stop()
    assert job.poll() == Ending(None, 0.0, "SLURM job 7_1: CANCELLED by 0")
    assert time.monotonic() - begun < 1


def test_slurm_task_that_is_told_to_end_leaves_no_result(tmp_path: Path) -> None:
    """Or a job that SLURM queues again would be counted as failed."""
    task = _Task(ChildSpec("a", tmp_path, ("-c", WAIT)))
    process = multiprocessing.get_context("spawn").Process(target=task)
    process.start()
    wait_for(lambda: "waiting\n" in read(tmp_path / "log.txt"), 60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM

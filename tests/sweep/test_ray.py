"""Ray for real, with CPU slots: two jobs at once, one failing; the long tests stop and kill."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from alexnet_exp.errors import SweepStoppedError, UserError
from alexnet_exp.sweep import ray_nodes
from alexnet_exp.sweep.engine import run_sweep
from alexnet_exp.sweep.jobs import State
from alexnet_exp.sweep.process import Ending
from alexnet_exp.sweep.ray import RayBackend, demand
from tests.sweep.pretend import FAIL, WAIT, finish, gone, pretend_jobs, process_of, wait_for

# They wait for each other, so that jobs one at a time would never end.
MEET = """
import os, time
from pathlib import Path
Path("begun").touch()
while len(list(Path.cwd().parent.glob("*/begun"))) < 2:
    time.sleep(.01)
""" + finish()
NODES = {
    "eight": {"GPU": 8.0, "CPU": 64.0}, "head": {"CPU": 2.0}, "small": {"GPU": 1.0, "CPU": 1.0},
}  # fmt: skip


def backend(**changes: object) -> RayBackend:
    settings = {
        "address": None, "gpus_per_job": None, "cpus_per_job": None, "num_cpus": 2, "num_gpus": 0,
    }  # fmt: skip
    return RayBackend((), {**settings, **changes})


@pytest.fixture
def clean(monkeypatch) -> Iterator[None]:
    """No trace of a Ray of somebody else's, none left behind."""
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("clean")
def test_two_at_once_three_in_all_one_failing(compose_config, tmp_path) -> None:
    scripts = {"a": MEET, "b": FAIL, "c": MEET}
    jobs = pretend_jobs(compose_config(), tmp_path, scripts, 120)
    outcomes = run_sweep(jobs, backend(), False, tmp_path)
    states = [outcome.state for outcome in outcomes]
    assert states == [State.finished, State.failed, State.finished]
    assert outcomes[1].reason == "exit code 3"
    assert outcomes[1].lines[-1] == "something went wrong"
    results = [outcome.result for outcome in outcomes if outcome.result]
    assert {result["OMP_NUM_THREADS"] for result in results} == {"1"}


@pytest.mark.usefixtures("clean")
@pytest.mark.long
def test_stop_empties_the_queue_and_ends_what_runs(compose_config, tmp_path) -> None:
    jobs = pretend_jobs(compose_config(), tmp_path, dict.fromkeys("abcd", WAIT))
    pressed: list[float] = []

    def running() -> list[int]:
        found = (process_of(tmp_path / name) for name in "abcd")
        return [pid for pid in found if pid is not None]

    def press() -> None:
        wait_for(lambda: len(running()) == 2, 200)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=press).start()
    with pytest.raises(SweepStoppedError):
        run_sweep(jobs, backend(), False, tmp_path)
    assert time.monotonic() - pressed[0] < 30
    assert len(running()) == 2, "a queued job was started by the stop"
    wait_for(lambda: all(map(gone, running())), 10)


@pytest.mark.usefixtures("clean")
@pytest.mark.long
def test_worker_that_dies_takes_its_own_job_alone(compose_config, tmp_path) -> None:
    murder = f"import os, signal; os.kill(os.getppid(), signal.SIGKILL); {WAIT}"
    jobs = pretend_jobs(compose_config(), tmp_path, {"a": murder, "b": finish()})
    outcomes = run_sweep(jobs, backend(), False, tmp_path)
    assert [outcome.state for outcome in outcomes] == [State.failed, State.finished]


@pytest.mark.parametrize(
    ("nodes", "asked", "held"),
    [
        (["eight"], (1, 1, True, None, None), (1, 8)),
        (["eight"], (1, 1, True, 0.5, None), (0.5, 4)),
        (["eight"], (1, 1, True, 2, 3), (2, 3)),
        (["eight"], (1, 4, True, None, None), (4, 32)),
        (["eight"], (1, 4, False, None, None), (0, 4)),
        (["eight"], (1, 2, False, 1, 2), (1, 2)),
        (["head"], (1, 2, True, None, None), (0, 2)),
        (["head", "small"], (1, 1, True, None, None), (1, 1)),
        (["head", "eight", "eight"], (2, 2, True, None, None), (2, 16)),
        (["head"], (1, 1, True, 1, None), r"gpus_per_job=1 .*none of .* \(2 CPUs, 0 GPUs\)"),
        (["head"], (1, 1, True, 0, 4), r"cpus_per_job=4 on each of its machines: none"),
        (["eight"], (1, 1, True, 1.5, 1), r"gpus_per_job=1.5 must be a share"),
        (["eight"], (1, 2, True, 1, None), r"gpus_per_job=1 is less than trainer\.devices=2"),
        (["head"], (1, 4, True, None, None), r"trainer\.devices=4 takes .*: none"),
        (["eight", "head"], (2, 4, True, None, None), r"num_nodes=2 .*: 1 of those that Ray has"),
    ],
)
def test_a_job_holds_gpus_and_cores_by_its_devices_or_is_refused(nodes, asked, held) -> None:
    machines = [NODES[name] for name in nodes]
    if isinstance(held, str):
        with pytest.raises(UserError, match=held):
            demand(machines, *asked)
    else:
        assert demand(machines, *asked) == dict(zip(("num_gpus", "num_cpus"), held, strict=True))


def test_first_machine_that_fails_decides(monkeypatch) -> None:
    def wait(tasks: list[Ending], num_returns: int) -> tuple[list[Ending], list[Ending]]:
        ordered = sorted(tasks, key=lambda ending: ending.seconds)
        return ordered[:1], ordered[1:]

    monkeypatch.setattr(ray_nodes, "ray", SimpleNamespace(wait=wait, get=lambda ending: ending))
    well, later = Ending(0, 5.0), Ending(0, 9.0)
    killed, lost = Ending(-9, 2.0, "killed by SIGKILL"), Ending(1, 3.0, "exit code 1")
    assert ray_nodes.first_failure([later, well]) is later
    ended = ray_nodes.first_failure([lost, killed])
    assert (ended.returncode, ended.reason) == (-9, "machine 1: killed by SIGKILL")


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_cpus", "two"), ("num_cpus", -1), ("num_cpus", 1.5), ("num_gpus", -1),
     ("cpus_per_job", -1), ("gpus_per_job", "half"), ("gpus_per_job", -0.5),
     ("address", "127.0.0.1:1")],
)  # fmt: skip
def test_wrong_settings_are_named_before_ray_starts(clean, field: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"hydra\.launcher\.{field}={value}(:| must be a)"):
        backend(**{field: value})

"""Slots of one machine: as many jobs at once as asked for, each on GPUs of its own."""

from itertools import combinations

import pytest
import torch

from alexnet_exp import hardware
from alexnet_exp.errors import UserError
from alexnet_exp.sweep import local
from alexnet_exp.sweep.engine import run_sweep
from alexnet_exp.sweep.jobs import Outcome, State
from alexnet_exp.sweep.local import Processes
from tests.sweep.pretend import Pretend, finish, pretend_jobs


@pytest.fixture
def make(compose_config, tmp_path, monkeypatch):
    """``make(devices, ...)``: jobs of as many devices each, 0 for one on the CPU; on 4 GPUs."""
    monkeypatch.setattr(local, "gpus", lambda: ["0", "1", "GPU-5e", "7"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local, "cores", lambda: 16)

    def jobs(*devices: int) -> list[Pretend]:
        made = pretend_jobs(compose_config(), tmp_path, {f"{n}": finish(0.2) for n in range(9)})
        for job, count in zip(made, devices, strict=False):
            trainer = job.config.trainer
            trainer.devices, trainer.accelerator = count or 1, "auto" if count else "cpu"
        return made[: len(devices)]

    return jobs


def pairs_at_once(outcomes: list[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Those that ran at the same time."""
    times = {id(o): o.result["times"] for o in outcomes if o.result}
    return [
        (a, b)
        for a, b in combinations(outcomes, 2)
        if times[id(a)][0] < times[id(b)][1] and times[id(b)][0] < times[id(a)][1]
    ]


def test_each_job_owns_its_gpus_while_it_runs(make, tmp_path) -> None:
    devices = (1, 2, 4, 1, 2, 0, 1)
    jobs, backend = make(*devices), Processes(None, ())
    assert [job.name for job in backend.room(jobs)] == ["0", "1", "3", "5"], "who fits, in order"
    outcomes = run_sweep(jobs, backend, False, tmp_path)
    assert [outcome.state for outcome in outcomes] == [State.finished] * 7
    results = [outcome.result for outcome in outcomes if outcome.result]
    owned = [{*result["CUDA_VISIBLE_DEVICES"].split(",")} - {""} for result in results]
    assert [len(gpus) for gpus in owned] == list(devices)
    assert owned[2] == {"0", "1", "GPU-5e", "7"}
    together = pairs_at_once(outcomes)
    assert not any(owned[a.job.number] & owned[b.job.number] for a, b in together)
    threads = [result["OMP_NUM_THREADS"] for result in results]
    assert threads == ["4", "8", None, "4", "8", None, "4"], "one's share of the cores"


def test_as_many_jobs_at_once_as_asked_for_and_without_gpus_one(
    make, tmp_path, monkeypatch
) -> None:
    jobs, backend = make(1, 1, 1, 0, 0), Processes(2, ())
    assert backend.room(jobs) == jobs[:2]
    outcomes = run_sweep(jobs, backend, False, tmp_path / "two")
    at_once = {(a.job.name, b.job.name) for a, b in pairs_at_once(outcomes)}
    for three in combinations("01234", 3):
        assert not set(combinations(three, 2)) <= at_once, three
    monkeypatch.setattr(local, "gpus", list)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    outcomes = run_sweep(make(1, 2, 0), Processes(None, ()), False, tmp_path)
    assert not pairs_at_once(outcomes)
    assert {o.result["CUDA_VISIBLE_DEVICES"] for o in outcomes if o.result} == {None}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("devices", 5, r"^1: trainer\.devices=5, and GPUs that .*: 0, 1, GPU-5e, 7\. Set"),
        ("devices", [0, 1], r"trainer\.devices=\[0, 1\].*such as trainer\.devices=2"),
        ("num_nodes", 2, r"num_nodes=2.*slurm or ray.*torchrun --nnodes=2"),
    ],
)
def test_what_can_not_run_here_is_refused(make, field: str, value: object, message: str) -> None:
    jobs = make(1, 1)
    setattr(jobs[1].config.trainer, field, value)
    with pytest.raises(UserError, match=message):
        Processes(None, ()).check(jobs)


@pytest.mark.parametrize(
    ("given", "count", "names"),
    [
        (None, 3, ["0", "1", "2"]), ("5, 3", 2, ["5", "3"]), ("1,-1,0", 1, ["1"]),
        ("GPU-a1,MIG-b2", 2, ["GPU-a1", "MIG-b2"]), ("", 0, []), (None, 0, []),
    ],
)  # fmt: skip
def test_gpus_have_the_names_that_this_process_was_given(monkeypatch, given, count, names) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert hardware.gpus() == names

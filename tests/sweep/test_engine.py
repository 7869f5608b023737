"""No job of a sweep takes another along, and none outlives it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from alexnet_exp.errors import SweepStoppedError
from alexnet_exp.sweep import engine
from alexnet_exp.sweep import process as child
from alexnet_exp.sweep.engine import run_sweep
from alexnet_exp.sweep.jobs import State
from alexnet_exp.sweep.local import Processes
from alexnet_exp.sweep.process import Child, ChildSpec, child_environment
from tests.sweep.pretend import (
    FAIL,
    HANG,
    KILLED,
    WAIT,
    Pretend,
    finish,
    gone,
    pretend_jobs,
    process_of,
    wait_for,
)


@pytest.fixture
def config(compose_config):
    return compose_config("trainer.accelerator=cpu")


# As train ends where the folder is locked, by another sweep's job.
TAKEN = """
import fcntl, subprocess, sys
lock = open(".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"], pass_fds=[lock.fileno()],
                 start_new_session=True)
sys.exit(2)
"""
DIVERGED = 'open("diverged.json", "w").write(\'{"message": "loss is nan"}\'); raise SystemExit(2)'
# Script, what becomes of it, why, and what it has said last.
ENDINGS = {
    "failed": (FAIL, State.failed, "exit code 3", "something went wrong"),
    "finished": (finish(), State.finished, "", ""),
    "hanging": (HANG, State.failed, "ran longer than sweep.job_timeout=2 s", ""),
    "killed": (KILLED, State.failed, "killed by SIGKILL", ""),
    "resumed": (finish(), State.resumed, "", ""),
    "empty": ("print('nothing to do')", State.failed, "ended without a result", "nothing to do"),
    "taken": (TAKEN, State.elsewhere, "another process is at work", ""),
    "damaged": ("open('result.json', 'w').write('{')", State.failed, "", ""),
    "diverged": (DIVERGED, State.diverged, "loss is nan", ""),
}


def test_no_job_takes_others_along_and_the_folder_decides_what_became_of_it(
    config, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(child, "GRACE", 0.3)
    scripts = {name: ending[0] for name, ending in ENDINGS.items()}
    jobs = pretend_jobs(config, tmp_path, scripts)
    jobs[list(ENDINGS).index("hanging")].timeout = 2.0
    jobs[list(ENDINGS).index("resumed")].state = State.half_done
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "log.txt").write_text("first attempt\n")
    outcomes = {o.job.name: o for o in run_sweep(jobs, Processes(2, ()), False, tmp_path)}
    assert [*outcomes] == [*ENDINGS]
    for name, (_, state, reason, last) in ENDINGS.items():
        assert outcomes[name].state == state, name
        assert outcomes[name].reason.startswith(reason), name
        assert not last or outcomes[name].lines[-1] == last
    assert "first attempt" not in outcomes["empty"].lines, "lines of an earlier attempt"
    assert (tmp_path / "empty" / "log.txt").read_text().startswith("first attempt\n")
    assert "result.json is damaged" in outcomes["damaged"].reason
    assert 2.0 < outcomes["hanging"].seconds < 15.0
    result = outcomes["finished"].result
    assert result["metrics"] == {"val/top1_error": 0.5, "test/top1_error": 0.25}


def test_jobs_that_are_done_or_in_other_hands_are_not_started(
    config, tmp_path, monkeypatch
) -> None:
    jobs = pretend_jobs(config, tmp_path, dict.fromkeys("abcdef", KILLED))
    states = [State.skipped, State.diverged, State.elsewhere, State.left_out]
    for job, state in zip(jobs, states, strict=False):
        job.state, job.reason = state, f"because {job.name}"
    metrics = {"metrics": {"test/top1_error": 0.1, "val/top1_error": 0.1}}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text(json.dumps(metrics))

    def taken(self: Pretend) -> None:  # e and f, by another sweep, since this one was planned
        self.state = State.elsewhere

    monkeypatch.setattr(Pretend, "look", taken)
    outcomes = run_sweep(jobs, Processes(3, ()), False, tmp_path)
    assert [o.state for o in outcomes] == [*states, State.elsewhere, State.elsewhere]
    assert (outcomes[0].result, outcomes[1].reason) == (metrics, "because b")
    assert not list(tmp_path.rglob("log.txt"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_jobs_within_seconds(
    config, tmp_path, monkeypatch, capsys, number: signal.Signals
) -> None:
    monkeypatch.setattr(child, "GRACE", 0.5)
    monkeypatch.setattr(engine, "GRACE", 0.5)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    jobs = pretend_jobs(config, tmp_path, {"a": finish(), "b": WAIT, "c": HANG, "d": WAIT})

    def press() -> None:
        wait_for(lambda: None not in map(process_of, (tmp_path / "b", tmp_path / "c")))
        os.kill(os.getpid(), number)

    threading.Thread(target=press).start()
    begin = time.monotonic()
    with pytest.raises(SweepStoppedError) as stopped:
        run_sweep(jobs, Processes(2, ()), False, tmp_path)
    assert time.monotonic() - begin < 10
    assert (stopped.value.number, stopped.value.left) == (number, 0)
    assert all(gone(process_of(tmp_path / name)) for name in "bc")
    assert (tmp_path / "a" / "result.json").exists()
    assert not (tmp_path / "d" / "log.txt").exists()
    printed = capsys.readouterr().out
    for name, state in (("a", "finished"), ("b", "stopped"), ("c", "stopped"), ("d", "new")):
        assert re.search(rf"│ {name} +│ {state}", printed), (name, printed)


def test_job_is_its_own_session_and_nobodys_rank(tmp_path, monkeypatch) -> None:
    ranks = {
        *child.SCRUBBED, "TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID",
        "ALEXNET_EXP_STORE",
    }  # fmt: skip
    for name in ranks:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "yes")
    script = (
        "import json, os, signal; deaf = signal.getsignal(signal.SIGINT) == signal.SIG_IGN;"
        "print(json.dumps([os.getpid(), os.getsid(0), deaf, dict(os.environ)]))"
    )
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background
    try:
        job = Child(
            ChildSpec(tmp_path, ("-c", script)), {**child_environment(), "OMP_NUM_THREADS": "3"}
        )
        wait_for(lambda: job.poll() is not None)
    finally:
        signal.signal(signal.SIGINT, heeded)
    pid, session, deaf, around = json.loads((tmp_path / "log.txt").read_text().splitlines()[-1])
    assert pid == session == job.process.pid
    assert not deaf
    assert not ranks & set(around)
    assert (around["KEPT"], around["OMP_NUM_THREADS"]) == ("yes", "3")


def test_job_takes_its_own_children_along(tmp_path) -> None:
    """As the ranks of a distributed run would be."""
    script = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c',"
        "'import time; time.sleep(600)']); print(p.pid, flush=True); sys.exit(1)"
    )
    job = Child(ChildSpec(tmp_path, ("-c", script)), child_environment())
    wait_for(lambda: job.poll() is not None)
    orphan = int((tmp_path / "log.txt").read_text().splitlines()[-1])
    wait_for(lambda: gone(orphan), 5)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux tells children of a death")
def test_job_ends_with_a_sweep_that_was_killed(tmp_path) -> None:
    script = (
        "import sys, time; from pathlib import Path;"
        "from alexnet_exp.sweep.process import Child, ChildSpec, child_environment;"
        f"c = Child(ChildSpec(Path({str(tmp_path)!r}), ('-c', {HANG!r})),"
        "child_environment()); print(c.process.pid, flush=True); time.sleep(99)"
    )
    sweep = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(sweep.stdout.readline())
    assert not gone(pid)
    sweep.kill()
    sweep.wait()
    wait_for(lambda: gone(pid), 5)

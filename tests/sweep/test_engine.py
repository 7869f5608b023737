"""No job of a sweep takes another along, and none outlives it."""

import json
import os
import re
import signal
import subprocess
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
from tests.sweep.pretend import FAIL, HANG, KILLED, PYTHON, WAIT, Pretend, finish, pretend_jobs


@pytest.fixture
def config(compose_config):
    return compose_config()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status == "Z"


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("slots", [1, 3])
def test_failed_hanging_and_killed_jobs_leave_the_others_alone(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    monkeypatch.setattr(child, "GRACE", 0.3)
    scripts = {"a": FAIL, "b": finish(), "c": HANG, "d": KILLED, "e": finish()}
    jobs = pretend_jobs(config, tmp_path, scripts, {"c": 3.0})
    outcomes = run_sweep(jobs, Processes(slots, ()), False, tmp_path)
    assert [outcome.job.name for outcome in outcomes] == list("abcde")
    states = [outcome.state for outcome in outcomes]
    assert states == [State.failed, State.finished, State.failed, State.failed, State.finished]
    failed, _, hanging, killed, _ = outcomes
    assert failed.reason == "exit code 3"
    assert failed.lines[-1] == "something went wrong"
    assert hanging.reason.startswith("ran longer than sweep.job_timeout=3 s")
    assert hanging.lines[-1] == "hanging"
    assert 3.0 < hanging.seconds < 15.0
    assert killed.reason.startswith("killed by SIGKILL")
    assert outcomes[1].result == {
        "metrics": {"val/top1_error": 0.5, "test/top1_error": 0.25},
        "epochs": 1,
    }


def test_log_lines_are_of_this_attempt(config, tmp_path: Path) -> None:
    for text in ("first", "second"):
        script = f"import sys; print('{text} attempt'); sys.exit(1)"
        (outcome,) = run_sweep(
            pretend_jobs(config, tmp_path, {"a": script}), Processes(1, ()), False, tmp_path
        )
        assert outcome.lines[-1] == f"{text} attempt"
    assert "first attempt" not in outcome.lines
    assert "first attempt" in (tmp_path / "a" / "log.txt").read_text()


def test_as_many_jobs_at_once_as_there_are_slots(config, tmp_path: Path) -> None:
    """Each of a pair waits for the other, so that a sweep of one at a time would never end."""
    script = """
import json, time
from pathlib import Path
here = Path.cwd()
Path("begun").touch()
others = [p for p in here.parent.iterdir() if p != here]
while not any((p / "begun").exists() for p in others):
    time.sleep(.01)
most = len([p for p in others if (p / "begun").exists() and not (p / "result.json").exists()])
json.dump({"metrics": {"test/top1_error": 0}, "epochs": 1, "beside": most}, open("tmp", "w"))
Path("tmp").rename("result.json")
"""
    jobs = pretend_jobs(config, tmp_path, dict.fromkeys("abcd", script), dict.fromkeys("abcd", 60))
    outcomes = run_sweep(jobs, Processes(2, ()), False, tmp_path)
    beside = [outcome.result["beside"] for outcome in outcomes if outcome.result]
    assert len(beside) == 4
    assert max(beside) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_jobs_within_seconds(
    config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    monkeypatch.setattr(child, "GRACE", 0.5)
    monkeypatch.setattr(engine, "GRACE", 0.5)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started: list[Child] = []
    init = Child.__init__

    def watched(self: Child, *arguments: object) -> None:
        init(self, *arguments)  # type: ignore[arg-type]
        started.append(self)

    monkeypatch.setattr(Child, "__init__", watched)
    jobs = pretend_jobs(config, tmp_path, {"a": finish(), "b": WAIT, "c": HANG, "d": WAIT})

    def press() -> None:
        wait_for(lambda: (tmp_path / "c" / "log.txt").exists())
        wait_for(lambda: "hanging" in (tmp_path / "c" / "log.txt").read_text())
        os.kill(os.getpid(), number)

    threading.Thread(target=press).start()
    begin = time.monotonic()
    with pytest.raises(SweepStoppedError) as stopped:
        run_sweep(jobs, Processes(2, ()), False, tmp_path)
    assert time.monotonic() - begin < 10
    assert stopped.value.number == number
    assert len(started) >= 3
    assert all(gone(job.pid) for job in started)
    assert stopped.value.left == 0
    assert (tmp_path / "a" / "result.json").exists()
    assert not (tmp_path / "d" / "log.txt").exists()
    printed = capsys.readouterr().out
    for name, state in (("a", "finished"), ("b", "stopped"), ("c", "stopped"), ("d", "new")):
        assert re.search(rf"│ {name} +│ {state}", printed), (name, printed)


def test_finished_and_diverged_jobs_are_not_started(config, tmp_path: Path) -> None:
    jobs = pretend_jobs(config, tmp_path, dict.fromkeys("abc", KILLED))
    for name, file, content in (
        ("a", "result.json", {"metrics": {"test/top1_error": 0.1, "val/top1_error": 0.1}}),
        ("b", "diverged.json", {"message": "diverged: loss is nan"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(json.dumps(content))
    jobs[0].state, jobs[1].state, jobs[2].state = State.skipped, State.diverged, State.elsewhere
    outcomes = run_sweep(jobs, Processes(1, ()), False, tmp_path)
    assert [o.state for o in outcomes] == [State.skipped, State.diverged, State.elsewhere]
    assert outcomes[1].reason == "diverged: loss is nan"
    assert not list(tmp_path.rglob("log.txt"))


def test_finished_half_done_job_counts_as_resumed(config, tmp_path: Path) -> None:
    (job,) = pretend_jobs(config, tmp_path, {"a": finish()})
    job.state = State.half_done
    (outcome,) = run_sweep([job], Processes(1, ()), False, tmp_path)
    assert outcome.state == State.resumed


def test_job_that_ends_well_without_a_result_has_failed(config, tmp_path: Path) -> None:
    jobs = pretend_jobs(config, tmp_path, {"a": "print('nothing to do')"})
    (outcome,) = run_sweep(jobs, Processes(1, ()), False, tmp_path)
    assert outcome.state == State.failed
    assert outcome.reason == "ended without a result"


def test_damaged_result_is_a_failure_of_that_job_alone(config, tmp_path: Path) -> None:
    scripts = {"a": "open('result.json', 'w').write('{')", "b": finish()}
    outcomes = run_sweep(pretend_jobs(config, tmp_path, scripts), Processes(1, ()), False, tmp_path)
    assert [outcome.state for outcome in outcomes] == [State.failed, State.finished]
    assert "result.json is damaged" in outcomes[0].reason


def test_job_is_its_own_session_and_nobodys_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = {
        *child.SCRUBBED, "TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID",
        "ALEXNET_EXP_STORE",
    }  # fmt: skip
    for name in ranks:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "yes")
    script = "import json, os; print(json.dumps([os.getpid(), os.getsid(0), dict(os.environ)]))"
    job = Child(ChildSpec("a", tmp_path, ("-c", script)), child_environment(threads=3))
    wait_for(lambda: job.poll() is not None)
    pid, session, environment = json.loads((tmp_path / "log.txt").read_text().splitlines()[-1])
    assert pid == session == job.pid
    assert not ranks & set(environment)
    assert environment["KEPT"] == "yes"
    assert environment["OMP_NUM_THREADS"] == "3"


def test_a_new_process_heeds_ctrl_c_where_this_one_does_not() -> None:
    """Whatever this process does itself, as one in a shell's background ignores it."""
    script = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended = subprocess.run(
            [PYTHON, "-c", script], capture_output=True, text=True,
            preexec_fn=child.before_exec(),
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.stdout == "False\n"


def test_job_takes_its_own_children_along(tmp_path: Path) -> None:
    """As the ranks of a distributed run would be."""
    script = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c',"
        "'import time; time.sleep(600)']); print(p.pid, flush=True); sys.exit(1)"
    )
    job = Child(ChildSpec("a", tmp_path, ("-c", script)), child_environment())
    wait_for(lambda: job.poll() is not None)
    orphan = int((tmp_path / "log.txt").read_text().splitlines()[-1])
    wait_for(lambda: gone(orphan), 5)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux tells children of a death")
def test_job_ends_with_a_sweep_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path;"
        "from alexnet_exp.sweep.process import Child, ChildSpec, child_environment;"
        f"c = Child(ChildSpec('a', Path({str(tmp_path)!r}), ('-c', {HANG!r})),"
        "child_environment()); print(c.pid, flush=True); time.sleep(99)"
    )
    sweep = subprocess.Popen([PYTHON, "-c", script], stdout=subprocess.PIPE, text=True)
    assert sweep.stdout is not None
    pid = int(sweep.stdout.readline())
    assert not gone(pid)
    sweep.kill()
    sweep.wait()
    wait_for(lambda: gone(pid), 5)


def test_job_that_another_sweep_took_meanwhile_has_not_failed(config, tmp_path: Path) -> None:
    """As train ends where the folder is locked."""
    script = """
import fcntl, subprocess, sys
lock = open(".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"], pass_fds=[lock.fileno()],
                 start_new_session=True)
sys.exit(2)
"""
    (outcome,) = run_sweep(
        pretend_jobs(config, tmp_path, {"a": script}), Processes(1, ()), False, tmp_path
    )
    assert outcome.state == State.elsewhere


def test_every_job_of_a_batch_is_looked_at_before_it_starts(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those beside one that another sweep took."""
    jobs = pretend_jobs(config, tmp_path, dict.fromkeys("abc", KILLED))

    def taken(self: Pretend) -> None:
        self.state = State.elsewhere

    monkeypatch.setattr(Pretend, "refresh", taken)
    outcomes = run_sweep(jobs, Processes(3, ()), False, tmp_path)
    assert [outcome.state for outcome in outcomes] == [State.elsewhere] * 3
    assert not list(tmp_path.rglob("log.txt"))

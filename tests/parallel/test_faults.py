"""Processes of a run that raise, are killed or hang, and supervisors that are."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from alexnet_exp.config import Config
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import RankError, UserError
from alexnet_exp.parallel.member import Member
from alexnet_exp.parallel.supervisor import _Team
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.training.fit import train
from alexnet_exp.training.settle import settle
from tests.conftest import ComposeConfig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

TINY = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=120", "data.batch_size=16", "trainer.max_epochs=3",
    "trainer.limit_train_batches=2", "trainer.precision=32-true", "trainer.accelerator=cpu",
)  # fmt: skip
TWO = ("strategy=ddp", "trainer.devices=2")
WORKERS = ("data.resident=never", "data.workers=2")

# Python imports this at its start. FAULT=rank:where:what, the where a method of Heartbeat.
HOOK = """
import ctypes, importlib.util, os, signal, sys, time

rank, where, what = os.environ["FAULT"].split(":")

def faulty(*args):
    if what == "raise":
        raise ZeroDivisionError("the fault of the test")
    if what == "mend":
        from alexnet_exp.errors import UserError
        raise UserError("set this=that")
    if what == "hang":
        time.sleep(1e9)
    if what == "crash":
        ctypes.string_at(0)
    os.kill(os.getpid(), int(what))

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "alexnet_exp.parallel.heartbeat":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            setattr(module.Heartbeat, where, faulty)
        spec.loader.exec_module = exec_module
        return spec

if rank == os.environ.get("RANK"):
    faulty() if where == "start" else sys.meta_path.insert(0, Finder())
"""


@dataclass
class Bench:
    """Where runs are broken.

    Attributes:
        folder: For run folders and stores.
        mark: In the environment of every process of this test.
    """

    folder: Path
    mark: str
    monkeypatch: pytest.MonkeyPatch

    def break_at(self, rank: int, where: str, what: str) -> None:
        """Have a process of the runs to come do so."""
        hook = self.folder / "hook"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(HOOK)
        paths = [str(hook), *sys.path[:1], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        self.monkeypatch.setenv("FAULT", f"{rank}:{where}:{what}")

    def alive(self) -> list[int]:
        """Processes started by this test."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                zombie = "\nState:\tZ" in (process / "status").read_text()
            except OSError:
                continue
            if (
                self.mark.encode() in environment
                and not zombie
                and int(process.name) != os.getpid()
            ):
                found.append(int(process.name))
        return found

    def check_nothing_left(self, path: Path) -> None:
        """Look for processes, ports, temporary files and a lock that were left behind."""
        assert not self.alive()
        assert not listening_ports()
        assert not RunFolder(path).is_running()
        assert not list(path.rglob("*.partial*"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    mark = f"FAULTS_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    return Bench(tmp_path, mark, monkeypatch)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"data.stores={tmp_path_factory.mktemp('stores')}"


def listening_ports() -> list[int]:
    """TCP ports on which this process waits for connections."""
    sockets = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            sockets.add(os.readlink(entry))
        except OSError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
    ]
    listening = "0A"
    return [
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[3] == listening and f"socket:[{row[9]}]" in sockets
    ]


# -- one process fails -----------------------------------------------------------------------------


def test_process_that_raises_ends_the_run_with_its_own_traceback(
    bench: Bench, stores: str, compose_config: ComposeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.break_at(1, "on_validation_batch_start", "raise")
    path = bench.folder / "run"
    with pytest.raises(RankError, match=r"process 1 of 2 failed: ZeroDivisionError: the fault of"):
        train(compose_config(*TINY, *TWO, stores), path)
    printed = capfd.readouterr().err
    assert printed.count("Traceback (most recent call last)") == 1
    assert "sitecustomize.py" in printed
    assert "gloo" not in printed
    bench.check_nothing_left(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(11, marks=pytest.mark.long)])
def test_process_that_is_killed_ends_the_run(
    number: int,
    bench: Bench,
    stores: str,
    compose_config: ComposeConfig,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bench.break_at(0, "on_train_batch_start", str(int(number)))
    path = bench.folder / "run"
    name = signal.Signals(number).name
    with pytest.raises(RankError, match=f"process 0 of 2 was ended: killed by {name}"):
        train(compose_config(*TINY, *TWO, stores), path)
    assert "gloo" not in capfd.readouterr().err
    bench.check_nothing_left(path)


@pytest.mark.parametrize(
    ("rank", "where", "strategy", "devices"),
    [
        (1, "on_train_batch_start", "ddp", 2),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                (2, "on_train_batch_start", "towers", 4),
                (0, "on_validation_batch_start", "one_weird_trick", 2),
                (1, "on_test_batch_start", "fsdp", 2),
                (1, "start", "ddp", 2),
            )
        ),
    ],
)
def test_process_that_hangs_ends_the_run_and_shows_where_it_stands(
    rank: int,
    where: str,
    strategy: str,
    devices: int,
    bench: Bench,
    stores: str,
    compose_config: ComposeConfig,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bench.break_at(rank, where, "hang")
    path = bench.folder / "run"
    timeout = 8 if devices == 2 else 20  # four of them start one after another on two cores
    layout = (f"strategy={strategy}", f"trainer.devices={devices}", f"strategy.timeout={timeout}")
    message = f"process {rank} of {devices} did not answer for {timeout} s"
    with pytest.raises(RankError, match=message):
        train(compose_config(*TINY, *layout, stores), path)
    printed = capfd.readouterr().err
    assert f"process {rank} of {devices} (pid" in printed
    if where != "start":  # nothing can be asked of a Python that has not started yet
        assert 'sitecustomize.py", line' in printed
        assert "in faulty" in printed
    bench.check_nothing_left(path)


@pytest.mark.long
def test_mistake_found_by_one_process_is_one_message_and_leaves_no_folder(
    bench: Bench, stores: str, compose_config: ComposeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.break_at(1, "on_train_batch_start", "mend")
    path = bench.folder / "run"
    with pytest.raises(UserError, match=r"^set this=that$"):
        train(compose_config(*TINY, *TWO, stores), path)
    assert "Traceback" not in capfd.readouterr().err
    assert not path.exists()
    bench.check_nothing_left(path)


@pytest.mark.long
def test_divergence_is_one_message_and_recorded(
    bench: Bench, stores: str, compose_config: ComposeConfig
) -> None:
    path = bench.folder / "run"
    with pytest.raises(UserError, match="diverged: ") as caught:
        train(compose_config(*TINY, *TWO, stores, "optim.lr=1e10"), path)
    assert RunFolder(path).divergence() == str(caught.value)
    bench.check_nothing_left(path)


@pytest.mark.long
def test_run_that_another_command_is_in_keeps_its_files(
    bench: Bench, stores: str, compose_config: ComposeConfig
) -> None:
    config = compose_config(*TINY, *TWO, stores)
    settle(config, prepare(config.data, progress=False))
    path = bench.folder / "run"
    run = RunFolder(path)
    run.start(config)
    partial = run.checkpoints / "last.ckpt.partial"
    partial.write_text("half")
    with pytest.raises(UserError, match="another process is running"):
        train(config, path)
    assert partial.exists()
    assert run.recorded_config() is not None


# -- which process is to blame ---------------------------------------------------------------------


class Pretended:
    """What ``_Team`` asks of a process."""

    def __init__(self, rank: int, **said: Any) -> None:
        now = time.monotonic()
        self.rank = rank
        self.code: int | None = said.get("code")
        self.heard = now - said.get("idle", 0.0)
        self.failed = self.code is not None
        self.failed_at = said.get("at", 0.0)
        self.lost_others = said.get("lost", False)
        self.failure = {} if said.get("told") else None
        self.batches, self.collectives = said.get("batches", 0), said.get("collectives", 0)
        self.stopped_since = None

    def look(self) -> None:
        """Nothing changes."""

    def is_stopped(self) -> bool:
        return False


def team(config: Config, *members: Pretended) -> _Team:
    made = _Team(config, Path("nowhere"))
    made._members = [cast(Member, one) for one in members]
    return made


@pytest.fixture
def config(compose_config: ComposeConfig, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr("alexnet_exp.parallel.supervisor._LAST_WORDS", 0.0)
    return compose_config(*TWO)  # strategy.timeout is 40 s


LOST = {"code": 1, "lost": True, "told": True}
FAULTS = {
    "the one that was killed, though the other said something first": (
        [{**LOST, "at": 1.0}, {"code": -9, "at": 2.0}], 1,
    ),
    "the first of two with errors of their own": (
        [{"code": 1, "told": True, "at": 2.0}, {"code": 1, "told": True, "at": 1.0}], 1,
    ),
    "the one that has begun the least, not others that wait for it": (
        [
            {"idle": 42.0, "collectives": 20}, {"idle": 42.0, "collectives": 20},
            {"idle": 42.5, "collectives": 19}, LOST,
        ], 2,
    ),
    "the one that never came to the meeting": (
        [LOST, {"idle": 38.0, "collectives": 0}, {"idle": 45.0, "collectives": -1}], 2,
    ),
    "the one that hangs, not the one that NCCL's watchdog aborted": (
        [{"code": -6, "lost": True}, {"idle": 41.0}], 1,
    ),
    "the one that aborted, not one that evaluates on meanwhile": (
        [{"code": -6, "lost": True}, {"idle": 1.0}], 0,
    ),
    "the one that aborted, not one that lost it": (
        [{**LOST, "at": 1.0}, {"code": -6, "lost": True, "at": 1.1}], 1,
    ),
    "the first that lost one on another machine": (
        [{**LOST, "at": 2.0}, {**LOST, "at": 1.0}], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "to_blame"), FAULTS.values(), ids=FAULTS.keys())
def test_blame(said: list[dict[str, Any]], to_blame: int, config: Config) -> None:
    members = [Pretended(rank, **one) for rank, one in enumerate(said)]
    blamed = team(config, *members).watch()
    assert blamed is not None
    assert blamed.rank == to_blame


def member(batches: int = 0, collectives: int = 0, code: int | None = None) -> Member:
    """A process as far as it has come, without the process."""
    made = Member.__new__(Member)
    made.batches, made.collectives, made.code, made.heard = batches, collectives, code, 0.0
    made.behind_since = made.stopped_since = None
    return made


@pytest.mark.parametrize(
    ("other", "ahead"),
    [
        (member(8, 20), False),  # both stand still: a slow step of all
        (member(9, 20), False),  # has an image more to evaluate
        (member(11, 20), True),  # evaluates on
        (member(8, 21), True),  # waits
        (member(7, 19), False),
        (member(8, 20, code=0), True),  # is done
    ],
)
def test_process_hangs_once_another_is_ahead_for_longer_than_the_timeout(
    other: Member, ahead: bool, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = member(8, 20)
    monkeypatch.setattr(Member, "is_stopped", lambda self: False)
    whole = _Team(config, Path("nowhere"))
    whole._members = [other, one]

    def at(seconds: float) -> bool:
        monkeypatch.setattr("time.monotonic", lambda: seconds)
        return whole._hangs(one)

    assert not at(1000.0)  # it may have stood still for long, but nobody waited
    assert not at(1039.9)
    assert at(1040.1) == ahead
    one.heard = 1041.0
    assert not at(1042.0)
    assert at(1082.1) == ahead


# -- the supervisor goes ---------------------------------------------------------------------------


def start(path: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alexnet_exp.train", *TINY, f"hydra.run.dir={path}"]
    return subprocess.Popen(
        [*command, *overrides], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(run: subprocess.Popen[str]) -> tuple[int, str]:
    printed, _ = run.communicate(timeout=250)
    return run.returncode, printed


def wait_for(file: Path, run: subprocess.Popen[str]) -> None:
    while not file.exists() and run.poll() is None:
        time.sleep(0.05)


def wait_until_gone(bench: Bench, seconds: float) -> None:
    """Also workers of a DataLoader, which look for their process every five seconds."""
    deadline = time.monotonic() + seconds
    while bench.alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not bench.alive()


def assert_equal_runs(one: Path, other: Path) -> None:
    """The same numbers came out, in every digit."""
    first, second = (RunFolder(path).finished() for path in (one, other))
    assert first is not None
    assert second is not None
    for field in ("metrics", "best_epoch", "epochs", "steps", "config_hash"):
        assert first[field] == second[field]
    arrays = [np.load(path / "predictions.npz") for path in (one, other)]
    assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0])


def test_killed_supervisor_takes_its_processes_along(bench: Bench, stores: str) -> None:
    path = bench.folder / "run"
    run = start(path, *TWO, stores, *WORKERS, "trainer.max_epochs=1000")
    wait_for(RunFolder(path).last, run)
    assert len(bench.alive()) >= 3, run.poll()
    run.kill()
    code, printed = finish(run)
    assert code == -signal.SIGKILL, printed
    wait_until_gone(bench, 10)
    assert not RunFolder(path).is_running()


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_supervisor_told_to_end_leaves_nothing(
    number: signal.Signals, code: int, bench: Bench, stores: str
) -> None:
    path = bench.folder / "run"
    run = start(path, *TWO, stores, *WORKERS, "trainer.max_epochs=1000")
    wait_for(RunFolder(path).last, run)
    asked = time.monotonic()
    run.send_signal(number)
    ended, printed = finish(run)
    assert ended == code, printed
    assert "Traceback" not in printed
    assert time.monotonic() - asked < 15
    wait_until_gone(bench, 10)
    bench.check_nothing_left(path)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_run_killed_at_random_moments_ends_as_an_undisturbed_one(bench: Bench, stores: str) -> None:
    draw = random.Random(0)
    overrides = (*TWO, stores, "trainer.max_epochs=40")
    whole, disturbed = bench.folder / "whole", bench.folder / "disturbed"
    started = time.monotonic()
    code, printed = finish(start(whole, *overrides))
    assert code == 0, printed
    length = time.monotonic() - started
    disturbances = 0
    for _ in range(20):
        run = start(disturbed, *overrides)
        time.sleep(draw.uniform(0, length))
        processes = bench.alive()
        if not processes or run.poll() is not None:
            finish(run)
            continue
        victim = draw.choice(processes)
        number = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            continue
        disturbances += 1
        asked = time.monotonic()
        code, printed = finish(run)
        assert time.monotonic() - asked < 60
        assert code != 0 or (disturbed / "result.json").exists(), printed
        wait_until_gone(bench, 10)
        assert not RunFolder(disturbed).is_running()
    assert disturbances >= 5
    code, printed = finish(start(disturbed, *overrides))
    assert code == 0, printed
    assert_equal_runs(whole, disturbed)
    bench.check_nothing_left(disturbed)

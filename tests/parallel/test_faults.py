"""Ranks that raise, are killed or hang, and parents that are ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import DivergedError, RankError, UserError
from alexnet_exp.parallel.launch import run_processes, to_blame
from alexnet_exp.parallel.rank import TASK
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import read_config, read_diverged
from alexnet_exp.training.fit import train
from alexnet_exp.training.settle import settle
from tests.conftest import ComposeConfig
from tests.parallel.broken import break_alone, break_down, train_badly
from tests.parallel.conftest import Bench
from tests.parallel.together import TINY, TWO, start
from tests.sweep.pretend import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# -- one process fails -----------------------------------------------------------------------------


LONG = pytest.mark.long
RAISED = 1, "raise", RankError, "process 1 of 2 failed: ZeroDivisionError: the fault of"
KILLED = 0, "9", RankError, "process 0 of 2 was ended: killed by SIGKILL"
FAULTS = [
    pytest.param(break_alone, *RAISED, id="raise alone"),
    pytest.param(break_alone, *KILLED, id="SIGKILL alone"),
    *(
        pytest.param(break_down, *given, id=name, marks=LONG)
        for name, *given in (
            ("raise", *RAISED),
            ("SIGKILL", *KILLED),
            ("hang", 1, "hang", RankError, "process 1 of 2 did not answer"),
            ("mistake", 1, "mistake", UserError, "^set this=that$"),
            ("SIGTERM", 0, "15", RankError, "process 0 of 2 was ended: killed by SIGTERM"),
            ("diverged", 1, "diverged", DivergedError, "^diverged: the"),
            ("memory", 0, "memory", MemoryError, "process 0 of 2.*out of"),
            ("SIGSTOP", 1, "19", RankError, "process 1 of 2 did not answer"),
        )
    ),
]


@pytest.mark.parametrize(("entry", "rank", "what", "error", "message"), FAULTS)
def test_rank_that_fails_ends_the_run_and_is_named(
    entry: Callable[..., Any], rank: int, what: str, error: type[Exception], message: str,
    bench: Bench, compose_config: ComposeConfig, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FAULT", f"{rank}:{what}")
    config = compose_config(*TINY, *TWO, "strategy.timeout=4")
    heeded = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(error, match=message) as raised:
        run_processes(config, bench.folder, entry)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == heeded
    diverged = str(raised.value) if what == "diverged" else None
    assert read_diverged(bench.folder) == diverged
    printed = capfd.readouterr()
    assert printed.err.count("Traceback (most recent call last)") == (what == "raise")
    assert "gloo" not in printed.err
    assert "elastic" not in printed.err
    assert printed.out.count("last words") == (rank == 0)  # the first one's terminal
    if rank == 1 and error is RankError:
        assert printed.err.count("last words") == 1  # kept, shown since it failed
    if what in ("raise", "hang"):
        assert 'broken.py", line' in printed.err
    bench.check_nothing_left()


@pytest.mark.long
@pytest.mark.parametrize(
    ("rank", "where", "layout"),
    [
        (1, "on_train_batch_start", TWO),
        (2, "on_train_batch_start", ("strategy=towers", "trainer.devices=4")),
        (0, "on_validation_batch_start", ("strategy=one_weird_trick", "trainer.devices=2")),
        (1, "on_test_batch_start", ("strategy=fsdp", "trainer.devices=2")),
    ],
)
def test_training_that_hangs_ends_and_shows_where_it_stands(
    rank: int, where: str, layout: tuple[str, ...], bench: Bench, stores: Path,
    compose_config: ComposeConfig, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FAULT", f"{rank}:{where}:hang")
    timeout = 20 if "4" in layout[1] else 8  # four of them start one after another on two cores
    given = (*TINY, "trainer.max_epochs=3", f"data.stores={stores}")
    config = compose_config(*given, *layout, f"strategy.timeout={timeout}")
    with pytest.raises(RankError, match=f"process {rank} of . did not answer within"):
        run_processes(config, bench.folder / "run", train_badly)
    assert "in fault" in capfd.readouterr().err
    bench.check_nothing_left()


@pytest.mark.long
def test_run_that_another_command_is_in_keeps_its_files(
    bench: Bench, stores: Path, compose_config: ComposeConfig
) -> None:
    config = compose_config(*TINY, *TWO, f"data.stores={stores}")
    settle(config, prepare(config.data, progress=False))
    path = bench.folder / "run"
    run = RunFolder(path)
    run.start(config)
    partial = run.checkpoints / "last.ckpt.partial"
    partial.write_text("half")
    with pytest.raises(UserError, match="another process is running"):
        train(config, path)
    assert partial.exists()
    assert read_config(path) is not None


# -- which process is to blame ---------------------------------------------------------------------

LOST, FAILED, SHOT, ENDED, ABORTED = (1, "lost"), (1, "failure"), (-9, ""), (-15, ""), (-6, "")

# Ranks in the order of their ends, those whose stacks were printed, the one to blame, if it hangs.
BLAMED = [
    ({1: FAILED, 0: ENDED}, [], 1, False),  # the one that raised, not one that was ended for it
    ({1: SHOT, 0: LOST}, [1], 1, False),  # the one that was killed, not one that lost it
    ({0: LOST, 1: ENDED}, [0, 1], 1, True),  # the silent one, not the one that waited for it
    ({0: LOST, 1: ENDED, 2: ENDED}, [0, 2], 2, True),  # the one that stood, of two that were ended
    ({1: LOST, 0: ENDED}, [1], 0, True),  # one that never began
    ({0: LOST, 1: SHOT}, [0], 1, True),  # a stopped one
    ({0: ABORTED, 1: ENDED}, [0, 1], 1, True),  # not the one that NCCL's watchdog aborted
    ({1: ABORTED, 0: LOST}, [], 1, False),  # the one that aborted, not one that lost it
    ({0: LOST, 1: LOST}, [0, 1], 0, False),  # the first that lost one on another machine
]


@pytest.mark.parametrize(("ends", "stood", "rank", "hangs"), BLAMED)
def test_blame(
    ends: dict[int, tuple[int, str]], stood: list[int], rank: int, hangs: bool, tmp_path: Path
) -> None:
    for one in stood:
        (tmp_path / f"{one}.stack").write_text("Timeout")
    failures = {one: ProcessFailure(one, 0, code, "none") for one, (code, _) in ends.items()}
    for one, (_, kind) in ends.items():
        failures[one].error_file_data = {"kind": kind} if kind else {}
    assert to_blame(failures, tmp_path) == (rank, hangs)


# -- the parent goes -------------------------------------------------------------------------------


def test_process_ends_with_the_one_that_launched_it(bench: Bench) -> None:
    task = bench.folder / TASK
    os.mkfifo(task)
    rank = "[sys.executable, '-m', 'alexnet_exp.parallel.rank', sys.argv[1], str(os.getpid())]"
    code = f"import os, subprocess, sys; subprocess.run({rank})"
    launcher = subprocess.Popen([sys.executable, "-c", code, str(bench.folder)])
    with task.open("w"):  # once the process reads what to do, it is ready to end
        assert len(bench.alive()) == 2
        launcher.kill()
        launcher.wait()
        bench.check_nothing_left(5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        *((one, -one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)),
    ],
)
def test_parent_told_to_end_leaves_a_checkpoint_and_no_process(
    number: signal.Signals, code: int, bench: Bench, stores: Path
) -> None:
    path = bench.folder / "run"
    workers = ("data.resident=never", "data.workers=2")
    given = (f"data.stores={stores}", f"hydra.run.dir={path}", "trainer.max_epochs=1000")
    run = start(*given, *TWO, *workers)
    while not RunFolder(path).last.exists() and run.poll() is None:
        time.sleep(0.05)
    asked = time.monotonic()
    run.send_signal(number)
    printed, _ = run.communicate(timeout=250)
    assert run.returncode == code, printed
    assert "Traceback" not in printed
    assert time.monotonic() - asked < 25
    wait_for(lambda: not bench.alive(), 10)  # workers look for their own every five seconds
    if number != signal.SIGKILL:
        bench.check_nothing_left()
    assert RunFolder(path).last.exists()

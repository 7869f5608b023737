"""Sweeps that are stopped at random moments; takes many minutes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_exp.runs.read import read_predictions, read_result, run_folders
from tests.sweep.pretend import gone

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

TINY = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=300", "data.batch_size=16", "trainer.max_epochs=12",
    "trainer.precision=32-true", "trainer.accelerator=cpu",
)  # fmt: skip
MOMENTS = 20


def sweep(cwd: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alexnet_exp.train", "-m", *overrides]
    return subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """Jobs of a sweep that run now."""
    return [int(job) for job in subprocess.getoutput(f"ps -o pid= --ppid {pid}").split()]


def some_job(run: subprocess.Popen[str], draw: random.Random) -> int | None:
    """A job of a sweep as soon as there is one; None if the sweep ends without."""
    while run.poll() is None:
        if jobs := children(run.pid):
            return draw.choice(jobs)
        time.sleep(0.05)
    return None


def results(cwd: Path) -> dict[str, dict[str, Any]]:
    """What each finished run recorded, by its folder."""
    read = {str(folder.relative_to(cwd)): read_result(folder) for folder in run_folders(cwd)}
    return {name: result for name, result in read.items() if result is not None}


@pytest.mark.skipif(sys.platform != "linux", reason="finds the jobs of a sweep with ps")
def test_sweep_stopped_at_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """10 times a job is killed, 10 times the sweep is interrupted; nothing finished is lost."""
    draw = random.Random(0)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    seeds, kills, interrupts = 1, 0, 0
    while kills + interrupts < MOMENTS:
        overrides = (
            "+experiment=baseline,no_lrn", f"seed=range({seeds})", *TINY,
            f"data.stores={tmp_path / 'stores'}", "hydra.launcher.jobs=2",
        )  # fmt: skip
        before = results(stopped)
        run = sweep(stopped, *overrides)
        if kills < MOMENTS // 2:
            job = some_job(run, draw)
            time.sleep(draw.uniform(0, 8))
            killed = job is not None and job in children(run.pid)
            if killed:
                os.kill(job, signal.SIGKILL)
                kills += 1
            printed, code = run.communicate()[0], run.returncode
            # The job may have recorded its result by then.
            assert code in ((0, 1) if killed else (0,)), printed
            assert code == 0 or "killed by SIGKILL" in printed
        else:
            time.sleep(draw.uniform(0, 20))
            jobs, asked = children(run.pid), time.monotonic()
            run.send_signal(signal.SIGINT)
            printed, code = run.communicate()[0], run.returncode
            if code != 0:  # else it was done
                interrupts += 1
                assert code in (130, -signal.SIGINT), printed
                assert "Traceback" not in printed
                assert time.monotonic() - asked < 15
                assert all(gone(job) for job in jobs)
        assert before.items() <= results(stopped).items(), "a finished result was lost or changed"
        if code == 0:
            seeds += 1  # all is done: more jobs, or there is nothing left to stop
    for cwd in (stopped, whole):
        run = sweep(cwd, *overrides)
        printed = run.communicate()[0]
        assert run.returncode == 0, printed
    ours, theirs = results(whole), results(stopped)
    assert ours.keys() == theirs.keys()
    for name, result in ours.items():
        for field in ("metrics", "best_epoch", "epochs", "steps", "config_hash"):
            assert result[field] == theirs[name][field], name
        one, other = read_predictions(whole / name), read_predictions(stopped / name)
        assert all(np.array_equal(one[column], other[column]) for column in one)
    assert not list(stopped.rglob("*.partial*"))

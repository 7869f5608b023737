"""Tests that take minutes: a killed process goes on, a built wheel works."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from tests.sweep.test_long_sweep import TINY as TINY_SWEEP

ROOT = Path(__file__).resolve().parents[1]
TINY = (*TINY_SWEEP, "trainer.keep_last_checkpoint=true")

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def train(folder: Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alexnet_exp.train", *TINY, f"hydra.run.dir={folder}"],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell's job in the background, as these tests may be, ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def epochs_done(folder: Path) -> int:
    file = folder / "metrics.csv"
    return max(0, len(file.read_text().splitlines()) - 1) if file.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run = train(folder / "run", folder)
    printed, _ = run.communicate()
    assert run.returncode == 0, printed
    return folder / "run"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_run_goes_on_to_the_same_weights(
    whole: Path, tmp_path: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "killed"
    for stop_after in (1, 4, 7):
        run = train(folder, tmp_path)
        while epochs_done(folder) < stop_after and run.poll() is None:
            time.sleep(0.02)
        run.send_signal(how)
        run.wait()
        assert run.returncode != 0, "the run ended before it was stopped"
        assert not (folder / "result.json").exists()
    final = train(folder, tmp_path)
    printed, _ = final.communicate()
    assert final.returncode == 0, printed
    assert "going on from its last checkpoint" in printed
    ends = [
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (whole, folder)
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not list(folder.rglob("*.partial"))


def test_wheel_holds_the_configuration_and_runs_anywhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    assert (site / "alexnet_exp" / "conf" / "config.yaml").is_file()
    assert (site / "alexnet_exp" / "sweeps" / "ablations.yaml").is_file()
    own = empty / "my_conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nmodel: {dropout: 0.25}\n")
    command = [
        sys.executable, "-m", "alexnet_exp.train", "--config-dir", "my_conf",
        "experiment=mine+no_lrn", *TINY, "trainer.max_epochs=1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(command, cwd=empty, text=True, capture_output=True, env=environment)
    assert run.returncode == 0, run.stderr
    (result,) = (empty / "runs").rglob("result.json")
    assert json.loads(result.read_text())["experiment"] == "mine+no_lrn"
    assert result.parents[2].name == "mine+no_lrn"

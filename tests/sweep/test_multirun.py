"""A sweep for real, its jobs processes, of which one fails; test_long_sweep goes on with them."""

import sys

import pytest

from alexnet_exp import cli
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys, stores):
    """``sweep(*overrides)``: jobs of one epoch; gives exit code and what was shown."""
    monkeypatch.chdir(tmp_path)
    small = (*TINY, "trainer.max_epochs=1", f"data.stores={stores}", "hydra.launcher.jobs=2")

    def run(*overrides: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train", "-m", *small, *overrides])
        code = 0
        try:
            cli.run(train, sweeps=True)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().out

    return run


@pytest.mark.timeout(600)
def test_a_job_fails_and_the_other_ends(sweep, tmp_path) -> None:
    root = tmp_path / "runs" / "synthetic" / "multirun" / "baseline"
    broken = root / "seed_1"
    broken.mkdir(parents=True)
    (broken / "checkpoints").write_text("a file where a folder should be")
    code, shown = sweep("seed=0,1")
    assert code == 1, shown
    assert "2 jobs: 1 finished, 1 failed" in shown
    assert "failed: baseline/seed_1: exit code 2" in shown
    assert f"can't write the run folder {broken}" in shown, shown
    assert f"log: {broken / 'log.txt'}" in shown
    assert "the same command runs what is not done" in shown
    code, shown = sweep("sweep.dry_run=true", "seed=0,1,2")
    assert code == 0
    assert "3 jobs: 1 skipped, 2 new" in shown
    assert "2 jobs to run, 2 at once; cost about " in shown
    assert "by the 1 job that finished; nothing was started" in shown
    assert not (root / "seed_2").exists()

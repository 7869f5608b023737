"""A sweep for real, its jobs processes: one fails, the same command goes on."""

import sys
from types import SimpleNamespace

import pytest

from alexnet_exp import cli
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY

SMALL = (
    *TINY, "trainer.precision=32-true", "trainer.keep_last_checkpoint=true",
    "optim.schedule=constant", "seed=0", "hydra.launcher.jobs=2",
)  # fmt: skip
DRY = "sweep.dry_run=true"


@pytest.fixture
def begun(tmp_path, monkeypatch, capsys, stores) -> SimpleNamespace:
    """A sweep of two jobs for one epoch, of which one has failed: ``sweep(*overrides)``, which goes
    on with it, and the folders of both.
    """
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs" / "synthetic" / "multirun"
    whole, broken = root / "baseline" / "seed_0", root / "no_lrn" / "seed_0"
    broken.mkdir(parents=True)
    (broken / "checkpoints").write_text("a file where a folder should be")

    def sweep(*overrides: str) -> tuple[int, str]:
        argv = ["train", "-m", "+experiment=baseline,no_lrn", *SMALL, f"data.stores={stores}"]
        monkeypatch.setattr(sys, "argv", [*argv, *overrides])
        try:
            cli.run(train, sweeps=True)
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    code, shown = sweep("trainer.max_epochs=1")
    assert code == 1, shown
    assert "2 jobs: 1 finished, 1 failed" in shown
    assert "failed: no_lrn/seed_0: exit code 2" in shown
    assert f"can't write the run folder {broken}" in shown, shown
    assert f"log: {broken / 'log.txt'}" in shown
    assert "the same command runs what is not done" in shown
    (broken / "checkpoints").unlink()
    return SimpleNamespace(sweep=sweep, whole=whole, broken=broken)


@pytest.mark.timeout(600)
def test_a_job_fails_and_the_other_ends(begun) -> None:
    code, shown = begun.sweep("trainer.max_epochs=1", DRY, "seed=0,1")
    assert code == 0
    assert "4 jobs: 1 skipped, 3 new" in shown
    assert "3 jobs to run, 2 at once; cost about " in shown
    assert "by the 1 job that finished; nothing was started" in shown
    assert not begun.whole.with_name("seed_1").exists()


@pytest.mark.long
@pytest.mark.timeout(900)  # four jobs, of seconds each on idle cores
def test_the_same_command_goes_on(begun) -> None:
    first = read_metrics(begun.whole)[0]
    assert "2 jobs: 1 half done, 1 new" in begun.sweep("trainer.max_epochs=2", DRY)[1]
    code, shown = begun.sweep("trainer.max_epochs=2")
    assert code == 0, shown
    assert "2 jobs: 1 resumed, 1 finished" in shown
    rows = read_metrics(begun.whole)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["val/top1_error"] == first["val/top1_error"]
    assert read_result(begun.broken)["epochs"] == 2
    code, shown = begun.sweep("trainer.max_epochs=2")
    assert code == 0
    assert "2 jobs: 2 skipped" in shown
    assert "the same command" not in shown, "nothing is left to do"

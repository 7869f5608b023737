"""A sweep for real, its jobs processes: one fails, the same command goes on."""

import sys
from pathlib import Path

import pytest

from alexnet_exp import cli
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY

SMALL = (
    *TINY, "trainer.precision=32-true", "trainer.keep_last_checkpoint=true",
    "optim.schedule=constant", "evaluation.views=one",
)  # fmt: skip


@pytest.mark.timeout(900)  # four jobs, of seconds each on idle cores
def test_a_job_fails_and_the_same_command_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stores: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs" / "synthetic" / "multirun"
    broken = root / "no_lrn" / "seed_0"
    broken.mkdir(parents=True)
    (broken / "checkpoints").write_text("a file where a folder should be")

    def sweep(*overrides: str) -> tuple[int, str]:
        common = (*SMALL, f"data.stores={stores}", "seed=0", "hydra.launcher.jobs=2")
        argv = ["train", "-m", "+experiment=baseline,no_lrn", *common, *overrides]
        monkeypatch.setattr(sys, "argv", argv)
        try:
            cli.run(train, sweeps=True)
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    code, shown = sweep("trainer.max_epochs=1")
    assert code == 1, shown
    assert "2 jobs: 1 finished, 1 failed" in shown
    assert f"can't write the run folder {broken}" in shown, shown
    (broken / "checkpoints").unlink()
    first = read_metrics(root / "baseline" / "seed_0")[0]

    code, shown = sweep("trainer.max_epochs=2")
    assert code == 0, shown
    assert "2 jobs: 1 resumed, 1 finished" in shown
    rows = read_metrics(root / "baseline" / "seed_0")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["val/top1_error"] == first["val/top1_error"]
    result = read_result(broken)
    assert result is not None
    assert result["epochs"] == 2

    code, shown = sweep("trainer.max_epochs=2")
    assert code == 0
    assert "2 jobs: 2 skipped" in shown
    code, shown = sweep("trainer.max_epochs=3", "sweep.dry_run=true")
    assert code == 0
    assert "2 jobs: 2 half done" in shown
    assert "2 jobs to run, 2 at once; cost unknown" in shown
    code, shown = sweep("trainer.max_epochs=2", "sweep.dry_run=true", "seed=0,1")
    assert "4 jobs: 2 skipped, 2 new" in shown
    assert "2 jobs to run, 2 at once; cost about " in shown
    assert "by the 2 jobs that finished; nothing was started" in shown
    assert not (root / "baseline" / "seed_1").exists()

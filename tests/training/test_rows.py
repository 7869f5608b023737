"""The rows of metrics.csv that a continued run keeps."""

import csv
from types import SimpleNamespace
from typing import Any

import pytest

from alexnet_exp.training.callbacks import COLUMNS, Epochs
from alexnet_exp.training.progress import EpochProgress


def test_a_job_killed_while_it_drops_rows_keeps_the_old_ones(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.csv"
    rows = [",".join(str(epoch) for _ in COLUMNS) for epoch in (1, 2, 3)]
    before = "\r\n".join([",".join(COLUMNS), *rows]) + "\r\n"
    file.write_text(before, newline="")
    epochs = Epochs(tmp_path, EpochProgress.__new__(EpochProgress))
    trainer: Any = SimpleNamespace(current_epoch=2, is_global_zero=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writerow", killed)
        patched.setattr(csv.DictWriter, "writerows", killed)
        with pytest.raises(KeyboardInterrupt):
            epochs.on_train_start(trainer, None)  # type: ignore[arg-type]
    assert file.read_text().splitlines() == before.splitlines()
    epochs.on_train_start(trainer, None)  # type: ignore[arg-type]
    assert file.read_text().splitlines() == before.splitlines()[:3]
    assert not list(tmp_path.glob("*.partial"))

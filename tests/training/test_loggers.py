"""W&B offline and TensorBoard: what is written, also by a continued run, and the messages."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.cli import cli as wandb_cli

from alexnet_exp.config import to_plain
from alexnet_exp.errors import UserError
from alexnet_exp.runs.read import read_diverged, read_metrics
from alexnet_exp.training.fit import train
from tests.sweep.pretend import wait_for
from tests.training.test_continued import stop

SMALL = ("model.width=0.02", "model.fc=[16,16]", "data.image_size=64", "data.synthetic_images=60",
         "data.batch_size=8", "trainer.max_epochs=2", "trainer.progress=true")  # fmt: skip


def wandb_records(part: Path) -> Iterator[Any]:
    """The protobuf records of an offline run's file, which has the format of LevelDB's logs.

    https://github.com/google/leveldb/blob/main/doc/log_format.md, after seven bytes of W&B's own.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content = next(part.glob("*.wandb")).read_bytes()
    assert content.startswith(b":W&B") or not content
    place, whole = 7, b""
    while place + 7 <= len(content):
        if 2**15 - place % 2**15 < 7:  # no header fits into the rest of a block
            place += 2**15 - place % 2**15
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, last
            yield Record.FromString(whole)
            whole = b""


def read_wandb(part: Path) -> SimpleNamespace:
    """What an offline run holds: run, config, rows (each with its step), summary and exit code.

    W&B's own process, which writes it, may take a minute longer on a busy machine.
    """

    def ended() -> bool:
        return any(one.WhichOneof("record_type") == "exit" for one in wandb_records(part))

    def plain(items: Any) -> dict[str, Any]:
        return {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}

    read = SimpleNamespace(run=None, config={}, rows=[], summary={}, exit_code=None)
    wait_for(ended, 60)
    for record in wandb_records(part):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            read.run = record.run
            read.config = plain(record.run.config.update)
        elif kind == "config":
            read.config |= plain(record.config.update)
        elif kind == "history":
            read.rows.append({"_step": record.history.step.num} | plain(record.history.item))
        elif kind == "summary":
            read.summary |= plain(record.summary.update)
        elif kind == "exit":
            read.exit_code = record.exit.exit_code
    return read


class Kept(DummyLogger):
    """A logger of somebody else's, which keeps what it is given."""

    made: ClassVar[list["Kept"]] = []

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place, self.rows, self.ended = place, list[dict[str, float]](), ""
        Kept.made.append(self)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append(metrics)

    def finalize(self, status: str) -> None:
        self.ended = status


class Failing(Kept):
    """One whose server is gone in the end."""

    def finalize(self, status: str) -> None:
        raise ConnectionError(status)


class Counting(Callback):
    steps: ClassVar[int] = 0

    def __init__(self, by: int) -> None:
        self.by = by

    def on_train_batch_end(self, *arguments: Any) -> None:
        Counting.steps += self.by


def test_loggers_and_callbacks_of_ones_own_stand_beside_tensorboard(
    tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(
        *SMALL, "logger=tensorboard", f"+logger.mine._target_={__name__}.Kept",
        "+logger.mine.place=a shelf", f"+callbacks.mine._target_={__name__}.Counting",
        "+callbacks.mine.by=2", "callbacks=lr_monitor", "optim.schedule=steps",
        "optim.milestones=[1]", "optim.warmup_steps=0",
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert Counting.steps == 2 * result["steps"] == 20
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    rows = read_metrics(tmp_path / "run")
    for name in ("val/top1_error", "train/loss", "lr"):
        logged = [event.value for event in events.Scalars(name)]
        assert logged == pytest.approx([row[name] for row in rows], rel=1e-6)
    final = events.Scalars("final/test/top1_error")[-1].value
    assert final == pytest.approx(result["metrics"]["test/top1_error"], abs=1e-6)
    assert "tensorboard --logdir" in capsys.readouterr().out
    mine = Kept.made[-1]
    assert (mine.place, mine.ended) == ("a shelf", "success")
    losses = [row["train/loss"] for row in mine.rows if "train/loss" in row]
    assert losses == pytest.approx([row["train/loss"] for row in rows], rel=1e-6)
    assert mine.rows[-1]["final/test/top1_error"] == result["metrics"]["test/top1_error"]
    assert "final/test/top5_error" not in mine.rows[-1]  # of five classes
    rates = [row["lr-PaperSGD/pg1"] for row in mine.rows if "lr-PaperSGD/pg1" in row]
    assert rates == pytest.approx([config.optim.lr, config.optim.lr / 10], rel=1e-12)


def test_wandb_offline_run_holds_configuration_rows_and_final_errors_once_when_it_goes_on(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(
        *SMALL, "logger=wandb", "logger.mode=offline", "logger.tags=[mine]", "sweep.name=lrs",
        "trainer.max_epochs=4", "trainer.checkpoint_every=2",
    )  # fmt: skip
    stop(config, tmp_path / "run", monkeypatch, epoch=3)  # the third has no checkpoint
    written = tmp_path / "run" / "wandb"
    time.sleep(1)  # the names of the parts hold the second
    result = train(config, tmp_path / "run")

    assert f"wandb sync {written}" in capsys.readouterr().out.replace("\n", "")
    parts = sorted(written.glob("offline-run-*"))
    read = [read_wandb(part) for part in parts]
    assert [r.exit_code for r in read] == [1, 0]
    assert read[0].run.run_id == read[1].run.run_id
    assert read[1].run.resume
    for one in read:
        assert one.run.run_group == "baseline"
        assert list(one.run.tags) == ["synthetic", "paper", "baseline", "lrs", "mine"]
        assert one.run.display_name == "baseline seed 0"
        assert {k: one.config[k] for k in to_plain(config)} == to_plain(config)
        assert "config" not in one.config  # once is enough
    rows = [[row for row in r.rows if "val/top1_error" in row] for r in read]
    assert [[row["epoch"] for row in part] for part in rows] == [[1, 2, 3], [4]]
    assert [[row["_step"] for row in part] for part in rows] == [[4, 9, 14], [19]]
    logged = [
        {k: v for k, v in row.items() if not k.startswith("_")} for part in rows for row in part
    ]
    expected = read_metrics(tmp_path / "run")
    for row in expected:
        del row["step"], row["seconds"]
    del logged[2], expected[2]  # which was trained twice and logged once
    assert logged == [pytest.approx(row, rel=1e-6) for row in expected]
    listed = CliRunner().invoke(wandb_cli.sync, ["--dry-run", str(written)])
    assert "Would sync 2 run(s)" in listed.output

    summary = read[1].summary
    assert summary["final/test/top1_error"] == result["metrics"]["test/top1_error"]
    assert "final/test/top5_error" not in summary  # of five classes
    assert summary["images_per_second"] == result["images_per_second"]
    table = json.loads(next(parts[1].glob("files/media/table/final/errors*.json")).read_text())
    assert table["columns"] == ["split", "images", "views", "top-1 error", "top-5 error"]
    assert table["data"] == [
        [split, count, "ten", result["metrics"][f"{split}/top1_error"], None]
        for split, count in (("val", 5), ("test", 10))
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger=wandb", r"logger\.mode=offline"),
        (f"+logger.mine._target_={__name__}.Kept",
         r"^logger\.mine can't be made: .*place"),
    ],
)  # fmt: skip
def test_a_logger_without_what_it_needs_leaves_no_run(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match=message):
        train(tiny(*SMALL, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_logger_that_fails_hides_no_divergence(tiny, tmp_path: Path) -> None:
    config = tiny(
        *SMALL, f"+logger.mine._target_={__name__}.Failing", "+logger.mine.place=x",
        f"+logger.next._target_={__name__}.Kept", "+logger.next.place=y",
        "optim.lr=1e30", "optim.warmup_steps=0",
    )  # fmt: skip
    with pytest.raises(ConnectionError):
        train(config, tmp_path)
    assert "loss is" in read_diverged(tmp_path)
    assert Kept.made[-1].ended == "failed"

"""A run folder is of one run: held while it lasts, gone on with, refused to another."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from alexnet_exp.config.training import Schedule
from alexnet_exp.errors import OtherRunError, UserError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.identity import bearing
from alexnet_exp.runs.read import read_config, read_result

KERNELS = np.zeros((2, 3, 11, 11), np.float32)
RESULT = {
    "metrics": {"val/top1_error": 0.25, "test/top1_error": 0.5}, "epochs": 3, "train_seconds": 7.6,
}  # fmt: skip


def finished(folder: Path, config, keep_last: bool = False) -> RunFolder:
    run = RunFolder(folder)
    assert not run.start(config)
    run.last.write_bytes(b"weights")
    run.record(RESULT, {}, KERNELS, keep_last)
    run.release()
    return run


def test_a_folder_is_held_until_its_process_ends(compose_config, tmp_path) -> None:
    config, folder = compose_config(), tmp_path / "run"
    child = os.fork()
    if not child:
        RunFolder(folder).start(config)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert read_config(folder) is not None
    assert not RunFolder(folder).is_running(), "its holder is dead"
    run = RunFolder(folder)
    run.start(config)
    assert RunFolder(folder).is_running()
    with pytest.raises(UserError, match="another process is running in"):
        RunFolder(folder).start(config)


def test_result_is_of_the_same_run(compose_config, tmp_path) -> None:
    run = finished(tmp_path / "run", compose_config())
    config = compose_config()
    config.logger.tensorboard, config.trainer.devices = True, 2
    assert run.result(config) == RESULT
    assert not run.last.exists()
    config.trainer.arguments["accumulate_grad_batches"] = 2
    added = "trainer.arguments.accumulate_grad_batches was None, is 2"
    with pytest.raises(OtherRunError, match=rf"{added}. Set them as they were"):
        run.result(config)


def test_a_run_goes_further_where_its_schedule_allows(compose_config, tmp_path) -> None:
    config, longer = compose_config(), compose_config()
    config.trainer.max_epochs, longer.trainer.max_epochs = 3, 5
    config.optim.schedule = longer.optim.schedule = Schedule.cosine
    run = finished(tmp_path / "cosine", config, keep_last=True)
    with pytest.raises(OtherRunError, match=r"trainer.max_epochs was 3, is 5"):
        run.result(longer)
    config.optim.schedule = longer.optim.schedule = Schedule.constant
    run = finished(tmp_path / "run", config, keep_last=True)
    assert run.result(longer) is None
    assert run.start(longer), "there is a checkpoint to go on from"
    assert read_result(run.path) is None
    run.withdraw()
    assert read_result(run.path) == RESULT, "what was put aside is back"
    run.release()
    run.start(longer)
    run.record(RESULT | {"epochs": 5}, {}, KERNELS, keep_last=False)
    assert run.result(longer) == RESULT | {"epochs": 5}
    assert not list(run.path.glob("before_*"))


def test_a_run_recorded_before_a_field_was_invented_is_the_same(compose_config, tmp_path) -> None:
    """Whatever its default; but not where the field has another value now."""
    config = compose_config("model=original")
    run = finished(tmp_path / "run", config)
    file, whole = tmp_path / "run" / "config.yaml", read_config(tmp_path / "run")
    older = yaml.safe_load(file.read_text())
    for group, name in (("optim", "momentum"), ("trainer", "deterministic")):
        del older[group][name]
    del older["model"]["conv"]["conv2"]["local"]
    del older["evaluation"]
    file.write_text(yaml.dump(older))
    assert read_config(tmp_path / "run") == whole
    assert run.result(config) == RESULT
    config.trainer.deterministic = True
    with pytest.raises(OtherRunError, match=r"trainer\.deterministic was False, is True"):
        run.result(config)


def test_what_a_run_wrote_is_withdrawn(compose_config, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "runs" / "data" / "run")
    run.start(compose_config())
    run.withdraw()
    assert list(tmp_path.iterdir()) == []


def test_what_bears_on_the_result() -> None:
    observer, own = "lightning.pytorch.callbacks.LearningRateMonitor", "mine.LearningRateMonitor"
    plain = {"callbacks": {"a": {"_target_": observer}, "b": {"_target_": own}}, "speed": {"x": 1},
             "trainer": {"progress": True, "max_epochs": 3}}  # fmt: skip
    kept = {"callbacks": {"b": {"_target_": own}}, "trainer": {"max_epochs": 3}}
    assert json.loads(json.dumps(bearing(plain))) == kept

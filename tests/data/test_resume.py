"""A packing that is killed anywhere, again and again, ends with the bytes of an undisturbed one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.sources.source import open_source
from alexnet_exp.data.store import journal, packing
from alexnet_exp.data.store.images import shard_path
from alexnet_exp.data.store.pixel_totals import PixelTotals
from alexnet_exp.data.store.shards import ShardWriter
from alexnet_exp.data.store.store import Store, prepare, store_path
from alexnet_exp.errors import UserError
from tests.data.drawn import SIZE, config_of, folder_of

ROW = SIZE * SIZE * 3
TIMES = ("seconds", "images_per_second", "images_per_second_per_core")

# Forks a process for each line it reads, which is killed at the n-th call that reaches the disk.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from alexnet_exp.config.data import DataConfig
from torchvision.transforms.v2 import functional  # once, and not in every child
from alexnet_exp.data.store import journal
from alexnet_exp.data.store import packing
from alexnet_exp.data.decode import decoder_name
from alexnet_exp.data.store.shards import ShardWriter
from alexnet_exp.data.store.store import prepare
decoder_name()
journal.COMMIT_SECONDS = 0
def count_down(owner, name, before=lambda *a: None):
    call = getattr(owner, name)
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            before(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    setattr(owner, name, counted)
def half(writer, content, sizes):
    file = writer._open()
    file.write(bytes(content)[: len(content) // 2])
    file.flush()
for name in ("fsync", "replace", "unlink", "truncate"):
    count_down(os, name)
count_down(ShardWriter, "append", half)
for request in sys.stdin:
    fields, packing._CHUNK_BYTES, packing.SHARD_BYTES, left = json.loads(request)
    child = os.fork()
    if child == 0:
        prepare(DataConfig(**fields), progress=False)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def kill_packing() -> Iterator[Callable[[DataConfig, int], int]]:
    """Pack in a process that is killed at the n-th call that reaches the disk; its exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def kill(config: DataConfig, call: int) -> int:
            sizes = packing._CHUNK_BYTES, packing.SHARD_BYTES
            stdin.write(json.dumps([config.__dict__, *sizes, call]) + "\n")
            stdin.flush()
            return int(stdout.readline())

        yield kill
        stdin.close()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of five images, and two of them in a shard."""
    monkeypatch.setattr(packing, "_CHUNK_BYTES", 5 * ROW)
    monkeypatch.setattr(packing, "SHARD_BYTES", 12 * ROW)
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 0)


@pytest.fixture(params=list(Encoding))
def config(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> DataConfig:
    root = folder_of(tmp_path / "flowers", {"daisy": 30, "rose": 21})
    (root / "daisy" / "002.png").write_bytes(b"broken")
    if request.param == Encoding.jpeg:
        monkeypatch.setattr(packing, "SHARD_BYTES", 7000)  # one of noise takes 700
    return config_of(tmp_path, root, max_undecodable=0.1, encoding=request.param)


def interrupt(config: DataConfig, chunk: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pack, and interrupt it before a chunk is written; where it has been packed."""
    write, written = packing._Job._write, 0

    def interrupted(job: packing._Job, *chunk_and_commits: Any) -> None:
        nonlocal written
        written += 1
        if written == chunk:
            raise KeyboardInterrupt
        write(job, *chunk_and_commits)

    with monkeypatch.context() as patched:
        patched.setattr(packing._Job, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, progress=False)
    return packing.partial_path(store_path(config))


def contents(path: Path) -> dict[str, object]:
    """Bytes by file name, less how long the packing took."""
    held: dict[str, object] = {file.name: file.read_bytes() for file in path.iterdir()}
    meta = json.loads((path / "meta.json").read_text())
    held["meta.json"] = {k: v for k, v in meta.items() if k not in TIMES}
    return held


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_again_and_again(
    config: DataConfig,
    tmp_path: Path,
    seed: int,
    kill_packing: Callable[[DataConfig, int], int],
) -> None:
    undisturbed = prepare(config, progress=False)
    assert len(undisturbed.meta["shards"]) >= 5
    config.stores = str(tmp_path / "other")
    calls, kills = random.Random(seed), 0
    while (code := kill_packing(config, calls.randint(1, 40))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
        assert kills < 60
    assert kills >= 2
    assert contents(store_path(config)) == contents(undisturbed.path)
    left = {path.name for path in Path(config.stores).iterdir()}
    assert left == {store_path(config).name, f".{store_path(config).name}.lock"}


def test_only_the_last_shard_is_read_again(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(config, 6, monkeypatch)
    source = open_source(config, progress=False)
    read: list[int] = []
    read_stored = ShardWriter.read
    monkeypatch.setattr(
        ShardWriter, "read", lambda self, place: (read.append(place), read_stored(self, place))[1]
    )
    job = packing._Job(source, config, source.items, folder)
    job.resume()
    assert job.shards.counts == [9, 10, 5]  # one of the first ten is broken
    assert len(read) == sum(item.split == "train" for item in source.items[20:25])
    store = prepare(config, progress=False)
    expected = PixelTotals(SIZE, 3)
    expected.add(store.images[store.indices("train")])
    np.testing.assert_array_equal(store.mean, expected.mean_image())
    np.testing.assert_array_equal(store.covariance, expected.color_covariance())


def test_what_was_packed_and_is_damaged_is_not_taken_over(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(config, 4, monkeypatch)
    os.truncate(shard_path(folder, 1), 130)
    with pytest.raises(UserError, match=r"packed so far in .* is damaged .* run this again"):
        prepare(config, progress=False)
    assert not folder.exists()
    assert len(prepare(config, progress=False).images) == 50


def test_space_is_asked_for_what_is_left(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = journal.read_journal(interrupt(config, 6, monkeypatch))[1:]
    stored = [size for line in noted for size in line["sizes"]]
    assert noted[-1]["done"] == 25
    needed = int((51 - 25) * sum(stored) / len(stored))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(UserError, match=r"needs .* GB.* are free.*data\.stores="):
        prepare(config, progress=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed + 1))
    prepare(config, progress=False)


@pytest.mark.parametrize("config", [Encoding.jpeg], indirect=True)
def test_jpegs_are_estimated_before_the_first(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=51 * 700))
    with pytest.raises(UserError, match=r"at 1 kB a JPEG, an estimate"):
        prepare(config, progress=False)


def test_a_store_of_the_first_format_is_packed_again(
    config: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    path = prepare(config, progress=False).path
    wanted = contents(path)
    meta = json.loads((path / "meta.json").read_text()) | {"format_version": 1}
    for name in ("encoding", "shards", "stored_bytes"):
        del meta[name]
    (path / "meta.json").write_text(json.dumps(meta))
    for shard in range(1, 9):
        shard_path(path, shard).unlink(missing_ok=True)
    for offsets in path.glob("offsets-*.npy"):
        offsets.unlink()
    shard_path(path, 0).rename(path / "images.npy")
    capsys.readouterr()
    with pytest.raises(UserError, match="has format version 1, this program reads 2: run prepare"):
        Store.open(path)
    assert contents(prepare(config, progress=False).path) == wanted
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "format version 1" in line]) == 1
    assert not (path / "images.npy").exists()

"""A packing that is killed anywhere, again and again, ends with the bytes of an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import resize_and_crop
from alexnet_exp.data.store import packing
from alexnet_exp.data.store.shards import Chunk, pack_chunk
from alexnet_exp.data.store.store import prepare, store_path
from tests.data.drawn import SIZE, config_of, contents, encoded, folder_of, left, picture

# Forks a process for each line it reads, which gets a signal at the n-th call that reaches the
# disk: the import takes longer than all the rest.
KILLED = """
import json, os, signal, sys, time
import imagehash
from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.decode import import_decoders
from alexnet_exp.data.store import packing
from alexnet_exp.data.store.shards import ShardWriter
from alexnet_exp.data.store.store import prepare
import_decoders()
packing._CHUNK_IMAGES, packing.SHARD_IMAGES = 5, 10
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
def count_down(owner, name, before=lambda *a: None):
    call = getattr(owner, name)
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            before(*args)
            os.kill(os.getpid(), number)
            time.sleep(5)  # the main thread is interrupted, this one is not
        return call(*args, **kwargs)
    setattr(owner, name, counted)
def half(writer, content):
    writer._file.write(bytes(content)[: len(content) // 2])
    writer._file.flush()
for name in ("fsync", "replace", "unlink"):
    count_down(os, name)
count_down(ShardWriter, "append", half)
for request in sys.stdin:
    fields, left, number = json.loads(request)
    child = os.fork()
    if child == 0:
        try:
            prepare(DataConfig(**fields), progress=False)
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Kill = Callable[[DataConfig, int, signal.Signals], int]


@pytest.fixture(scope="module")
def kill_packing() -> Iterator[Kill]:
    """Pack in a process that gets a signal at the n-th call that reaches the disk; its code."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def kill(config: DataConfig, call: int, number: signal.Signals) -> int:
            stdin.write(json.dumps([config.__dict__, call, number]) + "\n")
            stdin.flush()
            return int(stdout.readline())

        yield kill
        stdin.close()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of five images, and two of them in a shard."""
    monkeypatch.setattr(packing, "_CHUNK_IMAGES", 5)
    monkeypatch.setattr(packing, "SHARD_IMAGES", 10)


@pytest.fixture(params=[*Encoding, "folds"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> DataConfig:
    root = folder_of(tmp_path / "flowers", {"daisy": 30, "rose": 21})
    (root / "daisy" / "002.png").write_bytes(b"broken")
    given = {"folds": 3, "fold": 1} if request.param == "folds" else {"encoding": request.param}
    return config_of(tmp_path, root, max_undecodable=0.1, **given)


def interrupt(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack, and interrupt it after 25 images."""

    def interrupted(*given: Any) -> Chunk:
        if given[2] >= 25:
            raise KeyboardInterrupt
        return pack_chunk(*given)

    with monkeypatch.context() as patched:
        patched.setattr(packing, "pack_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, progress=False)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
def test_killed_anywhere_again_and_again(
    config: DataConfig, tmp_path: Path, seed: int, kill_packing: Kill
) -> None:
    undisturbed = prepare(config, progress=False)
    assert undisturbed.meta["shards"] == [9, 10, 10, 10, 10, 1]
    config.stores = str(tmp_path / "other")
    calls, kills = random.Random(seed), 0
    while (code := kill_packing(config, calls.randint(1, 40), signal.SIGKILL)) != 0:
        assert code == -signal.SIGKILL
        kills += 1
        assert kills < 60
    assert kills >= 2
    assert contents(store_path(config)) == contents(undisturbed.path)
    assert left(config) == {store_path(config).name}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("config", [Encoding.raw], indirect=True)
def test_signals_stop_it_and_it_goes_on(
    config: DataConfig, kill_packing: Kill, number: signal.Signals
) -> None:
    code = kill_packing(config, 12, number)
    assert code == (130 if number == signal.SIGINT else -number)
    assert left(config) == {store_path(config).name + ".partial"}
    assert len(prepare(config, progress=False).images) == 50


def test_finished_shards_are_not_packed_again(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(config, monkeypatch)
    counted = Mock(wraps=pack_chunk)
    monkeypatch.setattr(packing, "pack_chunk", counted)
    store = prepare(config, progress=False)
    assert sorted(call.args[2] for call in counted.call_args_list) == list(range(20, 51, 5))
    images = store.images[store.indices("train")].astype(np.float64)
    np.testing.assert_allclose(store.mean, images.mean(axis=0), rtol=1e-6)
    pixels = images.reshape(-1, 3)
    np.testing.assert_allclose(store.covariance, np.cov(pixels.T, bias=True), rtol=1e-10)
    assert list(store.meta["skipped"]) == ["daisy/002.png"]


@pytest.mark.parametrize("config", [Encoding.raw], indirect=True)
def test_what_is_left_of_another_source_is_not_taken_over(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(config, monkeypatch)
    other = picture(123456, (9, 9, 3))
    (tmp_path / "flowers" / "daisy" / "000.png").write_bytes(encoded(other))
    store = prepare(config, progress=False)
    np.testing.assert_array_equal(store.images[0], resize_and_crop(other, SIZE))
    assert left(config) == {store.path.name}

import ctypes
import io
import pickle
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data.decode import resize_and_crop
from alexnet_exp.data.store import packing
from alexnet_exp.data.store.images import offsets_path, shard_path
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from tests.data.drawn import SIZE, config_of, folder_of, opened

COUNT = 41


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_CHUNK_IMAGES", 3)
    monkeypatch.setattr(packing, "SHARD_IMAGES", 8)


@pytest.fixture(params=[("raw", 3), ("jpeg", 3), ("jpeg", 1)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    root = folder_of(tmp_path / "flowers", {"daisy": 20, "rose": 21})
    encoding, channels = request.param
    return config_of(tmp_path, root, encoding=Encoding(encoding), channels=channels)


def drawn(config: DataConfig) -> np.ndarray:
    """What the packer gets to store."""
    source = opened(config)
    return np.stack([resize_and_crop(source.load(item), SIZE) for item in source.items])


def through_pillow(image: np.ndarray) -> tuple[bytes, np.ndarray]:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=95)
    return file.getvalue(), np.asarray(Image.open(file)).reshape(image.shape)


def test_every_way_of_reading_gives_the_same_pixels(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    images = store.images
    assert images.shape == (COUNT, SIZE, SIZE, config.channels)
    assert images.nbytes == COUNT * SIZE * SIZE * config.channels
    assert images.is_encoded == (config.encoding == Encoding.jpeg)
    everything = images[:]
    expected = drawn(config)
    if images.is_encoded:
        expected = np.stack([through_pillow(image)[1] for image in expected])
        assert np.abs(everything.astype(int) - expected).max() <= 1  # of another decoder
    else:
        np.testing.assert_array_equal(everything, expected)
    rows = random.Random(0).choices(range(COUNT), k=20)
    for index in (np.array(rows), slice(5, 30, 3), -1, [-1, 0], []):
        np.testing.assert_array_equal(images[index], everything[index])
    read, order = np.zeros_like(everything), random.Random(1).sample(range(COUNT), COUNT)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda row: images.read(row, read[row]), order))
    np.testing.assert_array_equal(read, everything)
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=rf"store of {COUNT} images"):
            images[wrong]
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).images[:], everything)


@pytest.mark.parametrize("config", [("raw", 3)], indirect=True)
def test_addresses_are_those_of_the_opened_files(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    images, everything = store.images, store.images[:]
    shutil.rmtree(store.path)  # as when another process packs it again
    rows = np.array([11, 0, 17])
    for row, address in zip(rows, images.addresses(rows), strict=True):
        found = ctypes.string_at(int(address), everything[row].nbytes)
        assert found == everything[row].tobytes()
    with pytest.raises(IndexError, match="row"):
        images.addresses(np.array([0, COUNT]))


def test_shards_are_plain_arrays_of_at_most_the_given_size(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    counts = store.meta["shards"]
    assert sum(counts) == COUNT
    assert len(counts) >= 5
    assert max(counts) <= 9
    expected = [image.tobytes() for image in drawn(config)]
    if store.images.is_encoded:
        expected = [through_pillow(image)[0] for image in drawn(config)]
        offsets = np.load(offsets_path(store.path, 1))
        sizes = [len(file) for file in expected[counts[0] : counts[0] + counts[1]]]
        assert np.diff(offsets, prepend=0).tolist() == [0, *sizes]
    shards = [np.load(shard_path(store.path, shard)) for shard in range(len(counts))]
    assert b"".join(shard.tobytes() for shard in shards) == b"".join(expected)
    assert store.meta["stored_bytes"] == len(b"".join(expected))
    on_disk = [*store.path.glob("images-*.npy"), *store.path.glob("offsets-*.npy")]
    whole = sum(file.stat().st_size for file in on_disk)
    assert whole - 128 * len(on_disk) <= store.images.stored_bytes <= whole


@pytest.mark.parametrize("config", [("jpeg", 3)], indirect=True)
def test_a_damaged_jpeg_is_named_when_it_is_read(config: DataConfig) -> None:
    path = prepare(config, progress=False).path
    shard, offsets = np.load(shard_path(path, 1)), np.load(offsets_path(path, 1))
    shard[offsets[1] : offsets[2]] = 7
    np.save(shard_path(path, 1), shard)
    images = Store.open(path).images
    row = Store.open(path).meta["shards"][0] + 1
    images[row - 1]
    with pytest.raises(UserError, match=r"is damaged \(images-00001\.npy: image 1.*delete"):
        images[row]

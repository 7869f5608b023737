import ctypes
import io
import json
import pickle
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_exp.config.data import DataConfig, Encoding
from alexnet_exp.data import decode as decoding
from alexnet_exp.data.decode import encode_jpeg, resize_and_crop
from alexnet_exp.data.store import packing
from alexnet_exp.data.store.images import offsets_path, shard_path
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from tests.data.drawn import SIZE, config_of, folder_of, opened, picture

COUNT = 41


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_CHUNK_IMAGES", 3)
    monkeypatch.setattr(packing, "SHARD_IMAGES", 8)


@pytest.fixture(params=list(Encoding))
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    root = folder_of(tmp_path / "flowers", {"daisy": 20, "rose": 21})
    return config_of(tmp_path, root, encoding=request.param)


def drawn(config: DataConfig) -> np.ndarray:
    """What the packer gets to store."""
    source = opened(config)
    return np.stack([resize_and_crop(source.load(item), SIZE) for item in source.items])


def through_pillow(image: np.ndarray) -> tuple[bytes, np.ndarray]:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=95)
    return file.getvalue(), np.asarray(Image.open(file)).reshape(image.shape)


def test_every_way_of_reading_gives_the_same_pixels(config: DataConfig) -> None:
    images = prepare(config, progress=False).images
    assert images.shape == (COUNT, SIZE, SIZE, 3)
    assert len(images) == COUNT
    assert images.nbytes == COUNT * SIZE * SIZE * 3
    assert images.is_encoded == (config.encoding == Encoding.jpeg)
    everything = images[:]
    expected = drawn(config)
    if images.is_encoded:
        expected = np.stack([through_pillow(image)[1] for image in expected])
        assert np.abs(everything.astype(int) - expected).max() <= 1  # of another decoder
    else:
        np.testing.assert_array_equal(everything, expected)
    rows = random.Random(0).choices(range(COUNT), k=20)
    np.testing.assert_array_equal(images[np.array(rows)], everything[rows])
    np.testing.assert_array_equal(images[5:30:3], everything[5:30:3])
    np.testing.assert_array_equal(images[-1], everything[-1])
    np.testing.assert_array_equal(images[np.array([-1, 0])], everything[[-1, 0]])
    assert images[[]].shape == (0, SIZE, SIZE, 3)
    read = np.zeros_like(everything)

    def read_row(row: int) -> None:
        images.read(row, read[row])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read_row, random.Random(1).sample(range(COUNT), COUNT)))
    np.testing.assert_array_equal(read, everything)
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=rf"store of {COUNT} images"):
            images[wrong]


def test_addresses_are_those_of_the_opened_files(tmp_path: Path) -> None:
    config = config_of(tmp_path, folder_of(tmp_path / "flowers", {"daisy": 9, "rose": 9}))
    store = prepare(config, progress=False)
    images, everything = store.images, store.images[:]
    shutil.rmtree(store.path)  # as when another process packs it again
    rows = np.array([11, 0, 17])
    for row, address in zip(rows, images.addresses(rows), strict=True):
        found = ctypes.string_at(int(address), everything[row].nbytes)
        assert found == everything[row].tobytes()
    with pytest.raises(IndexError, match="row"):
        images.addresses(np.array([0, 18]))


def test_shards_are_plain_arrays_of_at_most_the_given_size(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    counts = store.meta["shards"]
    assert sum(counts) == COUNT
    assert len(counts) >= 5
    files, stored = b"", 0
    for shard, count in enumerate(counts):
        array = np.load(shard_path(store.path, shard))
        assert array.nbytes <= 9 * SIZE * SIZE * 3 or config.encoding == Encoding.jpeg
        stored += array.nbytes
        if config.encoding == Encoding.jpeg:
            offsets = np.load(offsets_path(store.path, shard))
            assert offsets.shape == (count + 1,)
            for start, stop in pairwise(offsets):
                Image.open(io.BytesIO(array[start:stop].tobytes())).verify()
        files += array.tobytes()
    assert store.meta["stored_bytes"] == stored
    on_disk = [*store.path.glob("images-*.npy"), *store.path.glob("offsets-*.npy")]
    headers = len(on_disk) * 128
    assert store.images.stored_bytes <= sum(f.stat().st_size for f in on_disk)
    assert store.images.stored_bytes >= sum(f.stat().st_size for f in on_disk) - headers
    if config.encoding == Encoding.jpeg:
        assert files == b"".join(through_pillow(image)[0] for image in drawn(config))
    else:
        assert files == drawn(config).tobytes()


def test_statistics_are_those_of_what_is_read(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    images = store.images[store.indices("train")].astype(np.float64)
    np.testing.assert_allclose(store.mean, images.mean(axis=0), rtol=1e-6)
    pixels = images.reshape(-1, 3)
    np.testing.assert_allclose(store.covariance, np.cov(pixels.T, bias=True), rtol=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("decoder", ["torchcodec", "pillow"])
def test_jpegs_of_quality_95_are_close_to_the_image(
    tmp_path: Path, channels: int, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if decoder == "pillow":
        monkeypatch.setattr(decoding, "_torchcodec", lambda: None)
    config = DataConfig(synthetic_images=30, image_size=64, channels=channels, stores=str(tmp_path))
    raw = prepare(config, progress=False)
    config.encoding = Encoding.jpeg
    jpeg = prepare(config, progress=False)
    assert jpeg.path != raw.path
    assert jpeg.images.shape == raw.images.shape == (30, 64, 64, channels)
    assert jpeg.images.stored_bytes < 0.7 * raw.images.stored_bytes
    difference = np.abs(jpeg.images[:].astype(float) - raw.images[:])
    assert 0 < difference.mean() < 5


def test_a_memory_file_is_used_again_for_a_shorter_jpeg() -> None:
    for shape in ((64, 64, 3), (8, 8, 3), (16, 16, 1)):
        image = picture(1, shape)
        assert encode_jpeg(image) == through_pillow(image)[0]


def test_another_process_opens_the_shards_again(config: DataConfig) -> None:
    store = prepare(config, progress=False)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).images[:], store.images[:])


def damage(path: Path, what: str) -> None:
    shard, offsets = shard_path(path, 2), offsets_path(path, 2)
    if what == "missing":
        shard.unlink()
    elif what == "short":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif what == "other dtype":
        np.save(shard, np.load(shard).astype(np.int16))
    elif what == "no array":
        shard.write_bytes(b"x" * 5000)
    elif what == "one less":
        np.save(shard, np.load(shard)[:-1])
    elif what == "count":
        meta = json.loads((path / "meta.json").read_text())
        meta["shards"].pop()
        (path / "meta.json").write_text(json.dumps(meta))
    elif what == "no offsets":
        offsets.unlink()
    elif what == "fewer offsets":
        np.save(offsets, np.load(offsets)[:-1])
    elif what == "larger offsets":
        np.save(offsets, np.load(offsets) * 2)
    elif what == "unsorted offsets":
        np.save(offsets, np.load(offsets)[[0, 2, 1, *range(3, len(np.load(offsets)))]])


DAMAGES = {
    "missing": "images-00002.npy",
    "short": r"images-00002\.npy has \d+ bytes",
    "other dtype": r"images-00002\.npy has .* int16",
    "no array": "magic",
    "one less": r"images-00002\.npy has \d+ bytes, uint8 and shape",
    "count": rf"shards: \d+ instead of {COUNT}",
    "no offsets": "offsets-00002.npy",
    "fewer offsets": r"offsets-00002\.npy does not hold \d+ ascending offsets",
    "larger offsets": r"images-00002\.npy has \d+ bytes, uint8 and shape",
    "unsorted offsets": r"offsets-00002\.npy does not hold \d+ ascending offsets",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_shards_are_named(config: DataConfig, what: str) -> None:
    if "offsets" in what:
        config.encoding = Encoding.jpeg
    path = prepare(config, progress=False).path
    damage(path, what)
    for use in (lambda: prepare(config, progress=False), lambda: Store.open(path)):
        with pytest.raises(UserError, match=rf"is damaged .*{DAMAGES[what]}.*delete") as caught:
            use()
        assert str(path) in str(caught.value)


def test_a_damaged_jpeg_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flowers", {"daisy": 9, "rose": 9})
    config = config_of(tmp_path, root, encoding=Encoding.jpeg)
    path = prepare(config, progress=False).path
    shard, offsets = np.load(shard_path(path, 1)), np.load(offsets_path(path, 1))
    shard[offsets[1] : offsets[2]] = 7
    np.save(shard_path(path, 1), shard)
    images = Store.open(path).images
    row = Store.open(path).meta["shards"][0] + 1
    images[row - 1]
    with pytest.raises(UserError, match=r"is damaged \(images-00001\.npy: image 1.*delete"):
        images[row]


def test_a_raw_shard_cut_short_while_it_is_open_is_named(tmp_path: Path) -> None:
    config = config_of(tmp_path, folder_of(tmp_path / "flowers", {"daisy": 9, "rose": 9}))
    store = prepare(config, progress=False)
    last = len(store.meta["shards"]) - 1
    with open(shard_path(store.path, last), "r+b") as file:
        file.truncate(150)
    with pytest.raises(UserError, match=r"is damaged .*ends too early"):
        store.images.read(17, np.empty((SIZE, SIZE, 3), np.uint8))

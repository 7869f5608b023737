"""Whether photos are those that a run has learned from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_exp.data.photos import labeled_photos, read_photo
from alexnet_exp.data.store.store import prepare
from alexnet_exp.training.own_store import learned_from
from tests.data.drawn import config_of


def painted(folder: Path, files: dict[str, int]) -> Path:
    """Smooth photos by name, each of its own number."""
    for name, number in files.items():
        coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((60, 50), Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_photos_of_training_are_known_by_name_and_look(tmp_path: Path, encoding: str) -> None:
    files = {f"{name}/{number}.png": number + 50 * (name == "rose")
             for name in ("daisy", "rose") for number in range(12)}  # fmt: skip
    config = config_of(tmp_path, painted(tmp_path / "own", files), encoding=encoding)
    store = prepare(config, progress=False)
    sides = dict(zip(store.names, store.split.tolist(), strict=True))
    # Copies, and other photos of the same names.
    others = {f"other/{name}": number + 100 for name, number in files.items()}
    photos = [photo for photo, _ in labeled_photos(painted(tmp_path / "new", files | others))]
    names = list(map(str, photos))
    found = learned_from(config, names, lambda place: read_photo(photos[place], config))
    assert found is not None
    own = [str(photo.relative_to(tmp_path / "new")) for photo in photos]
    expected = [name in files and sides[name] != 2 for name in own]
    assert found.tolist() == expected
    assert 12 < sum(expected) < len(files), "some copies are of test images"


def test_a_renamed_photo_is_known_by_its_pixels(tmp_path: Path) -> None:
    files = {f"{name}/{number}.png": number + 50 * (name == "rose")
             for name in ("daisy", "rose") for number in range(12)}  # fmt: skip
    own = painted(tmp_path / "own", files)
    config = config_of(tmp_path, own)
    store = prepare(config, progress=False)
    photos = [own / store.names[store.indices(split)[0]] for split in ("train", "val", "test")]
    names = ["x.png", "y.png", "z.png"]
    found = learned_from(config, names, lambda place: read_photo(photos[place], config))
    assert found is not None
    assert found.tolist() == [True, True, False]


def test_without_the_packed_images_nobody_knows(tmp_path: Path) -> None:
    config = config_of(tmp_path, tmp_path)
    assert learned_from(config, ["a.png"], lambda place: np.zeros((1, 1, 3), np.uint8)) is None

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_exp.data.photos import labeled_photos, read_photo
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from tests.data.drawn import TURNED, config_of, encoded, folder_of, picture


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_is_read_as_packing_reads_it(tmp_path: Path, channels: int) -> None:
    root = folder_of(tmp_path / "photos", {"daisy": 5, "rose": 5})
    odd = {
        "gray.png": encoded(picture(1, (30, 20))),
        "turned.jpg": encoded(picture(2, (20, 31, 3)), "JPEG", exif=TURNED),
        "cmyk.jpg": encoded(Image.fromarray(picture(3, (17, 9, 3))).convert("CMYK"), "JPEG"),
    }
    for name, content in odd.items():
        (root / "rose" / name).write_bytes(content)
    config = config_of(tmp_path, root, channels=channels)
    store = prepare(config, progress=False)
    for name, image in zip(store.names, store.images[:], strict=True):
        file = root / name
        for photo in (file, str(file), file.read_bytes()):
            np.testing.assert_array_equal(read_photo(photo, config), image)


@pytest.mark.parametrize("around", ["", "one/two"])
def test_photos_of_class_folders(tmp_path: Path, around: str) -> None:
    root = tmp_path / "photos"
    folder_of(root / around, {"rose": 2, "daisy": 1})
    (root / around / "rose" / "note.txt").write_text("no photo")
    assert labeled_photos(str(root)) == [
        (root / around / "daisy" / "000.png", "daisy"),
        (root / around / "rose" / "000.png", "rose"),
        (root / around / "rose" / "001.png", "rose"),
    ]


def test_what_lies_in_no_class_folder_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_of(tmp_path / "photos", {"rose": 1, "daisy": 1})
    (root / "loose.png").write_bytes(encoded(picture(1, (30, 20))))
    assert len(labeled_photos(root)) == 2
    assert f"{root}: 1 images are left out" in capsys.readouterr().err


def test_copies_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_of(tmp_path / "photos", {"rose": 2, "daisy": 2})
    assert len(labeled_photos(root)) == 4
    assert "copies" not in capsys.readouterr().err
    for name in ("a.png", "b.png"):
        (root / "rose" / name).write_bytes((root / "rose" / "000.png").read_bytes())
    assert len(labeled_photos(root)) == 6
    assert f"{root}: 2 photos are copies of others" in capsys.readouterr().err


def test_folders_without_photos_are_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, expected in (("none", "does not exist"), ("photos", "no photos in class folders")):
        with pytest.raises(UserError, match=rf"{name}.* {expected}"):
            labeled_photos(tmp_path / name)

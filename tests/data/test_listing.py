import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.sources import listing
from alexnet_exp.data.sources import source as sources
from alexnet_exp.data.store.store import prepare
from tests.data.drawn import config_of, encoded, folder_of, picture


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is listed from here on; twenty files are many, and folders settle at once."""
    found: list[Path] = []
    list_files = sources.Files

    def counted(folder: Path, where: Path) -> sources.Files:
        found.append(where)
        return list_files(folder, where)

    monkeypatch.setattr(sources, "Files", counted)
    monkeypatch.setattr(listing, "LARGE", 20)
    monkeypatch.setattr(listing, "_SETTLED", 0)
    return found


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return config_of(tmp_path, folder_of(tmp_path / "flowers", {"daisy": 12, "rose": 12}))


def packed(config: DataConfig) -> int:
    return len(prepare(config, progress=False).images)


@pytest.mark.parametrize(("large", "settled", "times"), [(24, 0, 1), (25, 0, 3), (24, 60, 3)])
def test_a_large_source_that_has_not_just_changed_is_listed_once(
    config: DataConfig, listed: list[Path], monkeypatch, large: int, settled: int, times: int
) -> None:
    monkeypatch.setattr(listing, "LARGE", large)
    monkeypatch.setattr(listing, "_SETTLED", settled * 10**9)
    for _ in range(3):
        assert packed(config) == 24
    assert len(listed) == times


@pytest.mark.parametrize(
    "change",
    [
        lambda rose: shutil.copy(rose / "003.png", rose / "new.png"),
        lambda rose: (rose / "003.png").unlink(),
        lambda rose: (rose / "003.png").rename(rose / "three.png"),
        lambda rose: (rose / "004.png").replace(rose / "003.png"),
        lambda rose: folder_of(rose.parent, {"tulip": 4}, seed=9),
    ],
)
def test_what_changes_a_folder_is_seen(
    config: DataConfig, tmp_path: Path, listed: list[Path], change: Callable[[Path], object]
) -> None:
    store = prepare(config, progress=False)
    rose = tmp_path / "flowers" / "rose"
    times = {path: path.stat() for path in (rose, rose.parent)}
    change(rose)
    for path, before in times.items():  # as a copying program does: it does not help
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = prepare(config, progress=False)
    assert len(listed) == 2
    assert again.meta["fingerprint"] != store.meta["fingerprint"]


def test_a_folder_that_has_changed_and_not_its_files_is_listed_once_more(
    config: DataConfig, tmp_path: Path, listed: list[Path]
) -> None:
    packed(config)
    (tmp_path / "flowers" / "rose" / ".note").write_text("hidden")
    for _ in range(3):
        packed(config)
    assert len(listed) == 2


def test_a_file_overwritten_in_place_is_not_seen(
    config: DataConfig, tmp_path: Path, listed: list[Path]
) -> None:
    """As the docstring of ``is_unchanged`` says; deleting listing.json is the way out."""
    store = prepare(config, progress=False)
    (tmp_path / "flowers" / "rose" / "003.png").write_bytes(encoded(picture(5, (30, 30, 3))))
    assert prepare(config, progress=False).meta["fingerprint"] == store.meta["fingerprint"]
    (store.path / "listing.json").unlink()
    assert prepare(config, progress=False).meta["fingerprint"] != store.meta["fingerprint"]
    assert len(listed) == 2


def test_an_archive_is_seen_to_change(
    config: DataConfig, tmp_path: Path, listed: list[Path]
) -> None:
    archive = tmp_path / "flowers.tar"
    for count in (24, 23):
        with tarfile.open(archive, "w") as packing:
            packing.add(tmp_path / "flowers", "flowers")
        config.root = str(archive)
        assert packed(config) == packed(config) == count
        (tmp_path / "flowers" / "rose" / "003.png").unlink(missing_ok=True)
    assert len(listed) == 2

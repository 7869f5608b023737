import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest

from alexnet_exp.config.data import Layout
from alexnet_exp.data.sources.download import fetch
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from tests.data.conftest import Serve
from tests.data.drawn import config_of, folder_of

CONTENT, MORE = b"flowers" * 1000, b"flowers and more" * 1000
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def url(tmp_path: Path, serve: Serve) -> str:
    (tmp_path / "served" / "v2").mkdir(parents=True)
    (tmp_path / "served" / "flowers.tgz").write_bytes(CONTENT)
    (tmp_path / "served" / "v2" / "flowers.tgz").write_bytes(MORE)
    return serve(tmp_path / "served")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_without_checksum_addresses_are_told_apart(url: str, tmp_path: Path) -> None:
    for path, content in (("flowers.tgz", CONTENT), ("v2/flowers.tgz", MORE)):
        file = fetch(f"{url}/{path}", None, tmp_path / "down", progress=False)
        assert file.read_bytes() == content
        assert file.name.endswith("-flowers.tgz")


def test_download_is_checked_and_kept(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "down"
    path = fetch(f"{url}/flowers.tgz", SHA256, folder)
    assert path.read_bytes() == CONTENT
    assert names(folder) == {"flowers.tgz"}
    assert capsys.readouterr().err == f"downloading {url}/flowers.tgz\n"
    before = path.stat().st_mtime_ns
    fetch(f"{url}/flowers.tgz", SHA256, folder)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged since")
    fetch(f"{url}/flowers.tgz", SHA256, folder, progress=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "checksum", "expected"),
    [
        ("{}/flowers.tgz", "sha256:" + "0" * 64, SHA256.removeprefix("sha256:")),
        ("{}/none.tgz", SHA256, "404"),
        ("{}/cut-flowers.tgz", SHA256, "100 bytes read"),
        ("http://127.0.0.1:9/x.tgz", None, "refused"),
        ("file:///none/x.tgz", None, "Unrecognized URL protocol"),
    ],
)
def test_failures_name_the_address_and_the_way_out(
    url: str, tmp_path: Path, address: str, checksum: str | None, expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        fetch(address.format(url), checksum, tmp_path / "down", progress=False)
    message = str(caught.value)
    assert f"cannot download {address.format(url)}" in message
    assert expected in message
    assert "data.root=" in message
    assert names(tmp_path / "down") == set()


def test_a_store_can_do_without_its_download(tmp_path: Path, serve: Serve) -> None:
    root = folder_of(tmp_path / "flower_photos", {"daisy": 5, "rose": 5})
    archive = tmp_path / "served" / "flower_photos.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(root, root.name)
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    url = f"{serve(archive.parent)}/{archive.name}"
    config = config_of(tmp_path, None, Layout.flowers, url=url, sha256=checksum.upper())
    store = prepare(config, progress=False)
    archive.unlink()
    (tmp_path / "stores" / "downloads" / archive.name).unlink()
    np.testing.assert_array_equal(prepare(config, progress=False).images[:], store.images[:])
    assert store.classes == ["daisy", "rose"]
    assert {path.name for path in Path(config.stores).iterdir() if path.is_dir()} == {
        "downloads", store.path.name,
    }  # fmt: skip

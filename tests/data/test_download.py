import hashlib
import http.server
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alexnet_exp.config.data import Layout
from alexnet_exp.data.sources.download import fetch
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from tests.data.drawn import config_of, folder_of

CONTENT = b"flowers" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


MORE = CONTENT + b"and more"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path not in ("/flowers.tgz", "/cut.tgz", "/v2/flowers.tgz"):
            self.send_error(404)
            return
        content = MORE if self.path == "/v2/flowers.tgz" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if self.path == "/cut.tgz" else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_without_checksum_addresses_are_told_apart(server: str, tmp_path: Path) -> None:
    for path, content in (("/flowers.tgz", CONTENT), ("/v2/flowers.tgz", MORE)):
        file = fetch(f"{server}{path}", None, tmp_path, progress=False)
        assert file.read_bytes() == content
        assert file.name.endswith("-flowers.tgz")


def test_download_is_checked_and_kept(server: str, tmp_path: Path) -> None:
    (tmp_path / "flowers.tgz.part").write_bytes(b"left by a killed download")
    path = fetch(f"{server}/flowers.tgz", SHA256.upper(), tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == {"flowers.tgz"}
    before = path.stat().st_mtime_ns
    fetch(f"{server}/flowers.tgz", SHA256, tmp_path, progress=False)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged since")
    fetch(f"{server}/flowers.tgz", SHA256, tmp_path, progress=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("file", "checksum", "expected"),
    [
        ("flowers.tgz", "0" * 64, "has the wrong checksum: sha256 " + SHA256),
        ("none.tgz", SHA256, "404"),
        ("cut.tgz", SHA256, "cannot download"),
    ],
)
def test_failures_name_the_address_and_the_way_out(
    server: str, tmp_path: Path, file: str, checksum: str, expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        fetch(f"{server}/{file}", checksum, tmp_path, progress=False)
    message = str(caught.value)
    assert f"{server}/{file}" in message
    assert expected in message
    assert "data.root=" in message
    assert names(tmp_path) == set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.tgz", "nonsense", "file:///none/x.tgz"])
def test_addresses_that_lead_nowhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match=rf"cannot download {url}.*data\.root="):
        fetch(url, None, tmp_path, progress=False)


def test_a_store_can_do_without_its_download(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "flower_photos", {"daisy": 5, "rose": 5})
    archive = tmp_path / "flower_photos.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(root, root.name)
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    config = config_of(tmp_path, None, Layout.flowers, url=archive.as_uri(), sha256=checksum)
    store = prepare(config, progress=False)
    archive.unlink()
    (tmp_path / "stores" / "downloads" / archive.name).unlink()
    np.testing.assert_array_equal(prepare(config, progress=False).images[:], store.images[:])
    assert store.classes == ["daisy", "rose"]

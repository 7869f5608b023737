import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from alexnet_exp.config import Config
from alexnet_exp.data.store.store import Store, prepare
from tests.conftest import ComposeConfig

Serve = Callable[[Path], str]


@pytest.fixture(scope="session")
def sixty(tiny: ComposeConfig) -> ComposeConfig:
    """``sixty(*overrides)``: 60 drawn images of 40 pixels, in batches of 8."""
    return partial(
        tiny, "data.synthetic_images=60", "data.image_size=40", "model.input_size=32",
        "data.batch_size=8", "evaluation.batch_size=20",
    )  # fmt: skip


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def config(request: pytest.FixtureRequest, sixty: ComposeConfig) -> Config:
    return sixty(f"data.encoding={request.param}")


@pytest.fixture
def store(config: Config) -> Store:
    return prepare(config.data, progress=False)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; of names with ``cut`` in them the beginning alone."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("cut-", ""))

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
        outputfile.write(source.read(100 if "cut-" in self.path else -1))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """``serve(folder)``: an address under which its files are to be had."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ExitStack() as stack:

        def start(folder: Path) -> str:
            handler = partial(Handler, directory=str(folder))
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            for end in (server.server_close, thread.join, server.shutdown):
                stack.callback(end)
            return f"http://127.0.0.1:{server.server_port}"

        yield start

"""Fetching one file, checked, or failing with a line that says what to do."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alexnet_exp.console import Advance, progress_bar
from alexnet_exp.data.lock import only_one
from alexnet_exp.errors import UserError

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


def fetch(url: str, checksum: str | None, folder: Path, *, progress: bool = True) -> Path:
    """Download ``url`` into ``folder`` under its own name, unless it is there already.

    Without a checksum the name begins with a digest of the address. The file has its name once it
    is complete and its checksum is right: a killed download never passes for a whole one.

    Args:
        url: address of the file (http, https or ftp).
        checksum: ``sha256:...`` or ``md5:...`` in hexadecimal; None takes any content.
        folder: made if missing.
        progress: show a bar.

    Raises:
        UserError: no such address, a broken connection or a wrong checksum.
        OSError: the disk is full.
    """
    import pooch  # half a second that packed data need not wait

    name = Path(unquote(urlsplit(url).path)).name or "download"
    if checksum is None:  # nothing but the address tells its content from another's
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    pooch.get_logger().setLevel("WARNING")
    with only_one(folder / name, "downloading"), _bar(url, progress) as bar:
        http = pooch.HTTPDownloader(progressbar=bar, chunk_size=_BLOCK, timeout=_TIMEOUT_SECONDS)
        downloader = http if url.startswith("http") else None
        try:
            return Path(pooch.retrieve(url, checksum, name, folder, downloader=downloader))
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # of the disk, and not of the address
            raise UserError(
                f"cannot download {url} to {folder} ({error or type(error).__name__}): try again,"
                " or get the data by hand and pass data.root=<archive or folder>"
            ) from error


class _Bar:
    """What pooch tells of a download, on our console."""

    total = 0

    def __init__(self, url: str, show: bool, stack: ExitStack) -> None:
        self._url, self._show, self._stack = url, show, stack
        self._advance: Advance = self._begin

    def _begin(self, size: int) -> None:
        what, total = f"downloading {self._url}", self.total or None
        self._advance = self._stack.enter_context(
            progress_bar(what, total, unit="bytes", show=self._show)
        )
        self._advance(size)

    def update(self, size: int) -> None:
        self._advance(size)

    def reset(self) -> None:
        """All has come; pooch would count it once more."""
        self._advance = lambda size: None

    def close(self) -> None:
        self._stack.close()


@contextmanager
def _bar(url: str, show: bool) -> Iterator[_Bar]:
    with ExitStack() as stack:
        yield _Bar(url, show, stack)

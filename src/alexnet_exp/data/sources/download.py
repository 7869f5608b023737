"""Fetching one file, checked, or failing with a line that says what to do."""

import errno
import hashlib
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alexnet_exp.console import say
from alexnet_exp.data.lock import only_one
from alexnet_exp.errors import UserError

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


def fetch(url: str, checksum: str | None, folder: Path, *, progress: bool = True) -> Path:
    """Download ``url`` into ``folder`` under its own name, unless it is there already.

    Without a checksum the name begins with a digest of the address. The file has its name once it
    is complete and its checksum (``sha256:...`` or ``md5:...`` in hexadecimal) is right: a killed
    download never passes for a whole one.

    Raises:
        UserError: no such address, a broken connection or a wrong checksum.
        OSError: the disk is full.
    """
    import pooch  # half a second that packed data need not wait

    name = Path(unquote(urlsplit(url).path)).name or "download"
    if checksum is None:  # nothing but the address tells its content from another's
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    pooch.get_logger().setLevel("WARNING")
    with only_one(folder / name, "downloading"):
        if progress and not (folder / name).exists():
            say(f"downloading {url}")
        bar = progress and sys.stderr.isatty()
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

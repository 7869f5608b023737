"""Fetching one archive, checked, or failing with a line that says what to do."""

import errno
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alexnet_exp.console import progress_bar
from alexnet_exp.data.store.lock import only_one
from alexnet_exp.errors import UserError

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


def fetch(
    url: str,
    checksum: str | None,
    folder: Path,
    *,
    algorithm: str = "sha256",
    progress: bool = True,
) -> Path:
    """Download ``url`` into ``folder`` under its own name, unless it is there already.

    Without a checksum the name begins with a digest of the address.

    The file carries the name ``<name>.part`` until it is complete and its checksum is right, so
    that a killed download starts over and never passes for a whole one.

    Args:
        url: address of the file (http, https, ftp or file).
        checksum: hexadecimal digest that the content must have; None takes any content.
        folder: made if missing.
        algorithm: the checksum's name in hashlib.
        progress: show a bar.

    Returns:
        Path of the complete file.

    Raises:
        UserError: no such address, a broken connection, a wrong checksum, or no space.
    """
    name = Path(unquote(urlsplit(url).path)).name or "download"
    if checksum is None:  # nothing but the address tells its content from another's
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    path = folder / name
    checksum = checksum and checksum.lower()
    with only_one(path, "downloading"):
        if path.is_file() and checksum in (None, digest_of(path, algorithm)):
            return path
        part = path.with_name(path.name + ".part")
        try:
            found = _download(url, part, algorithm, progress)
        except (OSError, http.client.HTTPException, ValueError) as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # of the disk, and not of the address
            raise UserError(
                f"cannot download {url} to {folder} ({error or type(error).__name__}): {_BY_HAND}"
            ) from error
        if checksum is not None and found != checksum:
            part.unlink()
            raise UserError(
                f"{url} has the wrong checksum: {algorithm} {found} instead of {checksum}; the"
                f" download was changed on its way, or the file was replaced: {_BY_HAND}"
            )
        os.replace(part, path)
    return path


_BY_HAND = "try again, or get the data by hand and pass data.root=<archive or folder>"


def digest_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _download(url: str, part: Path, algorithm: str, progress: bool) -> str:
    """Write the content of ``url`` to ``part`` and return its digest."""
    digest = hashlib.new(algorithm)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, open(part, "wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        received = 0
        with progress_bar(f"downloading {url}", total, unit="bytes", show=progress) as advance:
            while block := answer.read(_BLOCK):
                file.write(block)
                digest.update(block)
                received += len(block)
                advance(len(block))
        if total is not None and received != total:
            raise OSError(f"the connection broke off after {received:,} of {total:,} bytes")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()

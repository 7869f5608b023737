"""The files of a data set by name, in a folder or unpacked from an archive."""

import lzma
import os
import shutil
import tarfile
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from alexnet_exp.console import Advance, progress_bar
from alexnet_exp.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
)
_TABLE_SUFFIXES = frozenset({".txt", ".csv", ".mat"})
_BROKEN = (
    OSError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
"""What reading an archive may raise (RuntimeError: an encrypted zip archive)."""


class Files:
    """A listing of a folder, and the way to its bytes.

    Attributes:
        folder: where the files lie.
        where: the folder, or the archive it was unpacked from, for messages.
        sizes: bytes of images and tables by name, relative to the root and parted by ``/``;
            hidden files and ``__MACOSX`` are not listed.
        folders: names of all folders, empty ones too.
        changed: when each folder last changed as it was listed (``""`` is the root or the
            archive); ns, by the file system's clock, which no program sets back.
        listed_at: when the listing began, ns.
    """

    def __init__(self, folder: Path, where: Path) -> None:
        self.folder, self.where = folder, where
        self.sizes: dict[str, int] = {}
        self.folders: set[str] = set()
        self.changed: dict[str, int] = {}
        self.listed_at = time.time_ns()
        try:
            self._walk("", frozenset())
            if where != folder:
                self.changed = {"": os.stat(where).st_ctime_ns}
        except OSError as error:
            raise UserError(f"{where} cannot be read: {error}") from error

    def images(self) -> list[str]:
        """Names of the files that end like an image, sorted."""
        return sorted(name for name in self.sizes if _suffix(name) in IMAGE_SUFFIXES)

    def read(self, name: str, last: int | None = None) -> bytes:
        """The bytes of a file, or only its ``last`` bytes. Safe from several threads."""
        # Not open(): a Path and a buffer for each of a million tails take longer than to read it.
        descriptor = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            length = size if last is None else min(last, size)
            return os.pread(descriptor, length, size - length)
        finally:
            os.close(descriptor)

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> None:
        here = os.stat(self.folder / folder)
        if (here.st_dev, here.st_ino) in above:  # a link to a folder that holds it
            return
        self.changed[folder] = here.st_ctime_ns
        if folder:
            self.folders.add(folder)
        with os.scandir(self.folder / folder) as found:
            for entry in found:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                try:
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                except OSError:  # a link to itself
                    is_folder = is_file = False
                if is_folder:
                    self._walk(name, above | {(here.st_dev, here.st_ino)})
                elif is_file and _suffix(name) in IMAGE_SUFFIXES | _TABLE_SUFFIXES:
                    self.sizes[name] = entry.stat().st_size


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def require_readable(root: Path) -> None:
    """Raise UserError where ``data.root`` is not there, or this user may not look."""
    try:
        root.stat()
    except FileNotFoundError as error:
        where = "" if root.is_absolute() else f" in {Path.cwd()}"
        raise UserError(
            f"data.root={root} does not exist{where}: pass the folder or archive that holds the"
            " images"
        ) from error
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read: {error}") from error


def unpack(archive: Path, folder: Path, *, progress: bool) -> Path:
    """Unpack a tar archive, also a compressed one, or a zip archive.

    What would lie outside of the folder is left out. The same archive is unpacked once: the name
    of ``folder`` gets the time when it changed last.

    Raises:
        UserError: ``archive`` is none, or damaged.
        OSError: the disk is full, or the folder cannot be written.
    """
    stat = archive.stat()
    done = folder.with_name(f"{folder.name}-{stat.st_ctime_ns}")
    if done.is_dir():
        return done
    remove_unpacked(folder)
    partial = folder.with_name(f"{folder.name}-partial")
    try:
        what = f"unpacking {archive}"
        with progress_bar(what, stat.st_size, unit="bytes", show=progress) as advance:
            unpack_members = _unpack_zip if zipfile.is_zipfile(archive) else _unpack_tar
            unpack_members(archive, partial, advance)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, and not of the archive
        remove_unpacked(folder)
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise UserError(
            f"data.root={archive} is not a folder, and cannot be read as a tar or zip archive"
            f" ({reason}): pass a folder or a whole archive"
        ) from error
    partial.mkdir(parents=True, exist_ok=True)  # of an empty archive
    return partial.rename(done)


def remove_unpacked(folder: Path) -> None:
    """Remove what ``unpack`` has put beside ``folder``."""
    for unpacked in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(unpacked, ignore_errors=True)


def _unpack_zip(archive: Path, folder: Path, advance: Advance) -> None:
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            members.extract(member, folder)  # within it, whatever its name
            advance(member.compress_size)


def _unpack_tar(archive: Path, folder: Path, advance: Advance) -> None:
    with open(archive, "rb") as file, tarfile.open(fileobj=file) as members:
        done = 0
        for member in members:
            with suppress(tarfile.FilterError):
                members.extract(member, folder, filter="data")
            advance(file.tell() - done)
            done = file.tell()

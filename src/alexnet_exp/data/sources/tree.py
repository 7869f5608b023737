"""Files by name, wherever they lie: in a folder, or in a tar or zip archive.

Archives are read in place. Nothing is extracted, so that no member can be written outside its
folder and no half-extracted folder can be taken for a whole one.
"""

import os
import posixpath
import shutil
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from typing import IO

from alexnet_exp.console import say
from alexnet_exp.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
)
UNREADABLE = (OSError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""What reading a file of a tree may raise (RuntimeError: an encrypted zip archive)."""

_SAID = 250_000
_TABLE_SUFFIXES = frozenset({".txt", ".csv", ".mat"})


class Tree(ABC):
    """A listing of files and the way to their bytes.

    Attributes:
        where: the folder or archive, for messages.
        sizes: size in bytes by name; names are relative to the root, parted by ``/``. Only
            images and tables are listed; hidden files and ``__MACOSX`` are not.
        folders: names of all folders, empty ones too.
        ignored: names of other files that are not hidden, and of links that lead nowhere.
        changed: when each folder last changed as it was listed (``""`` is the root or the
            archive); ns, by the file system's clock, which no program sets back.
        listed_at: when the listing began, ns.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self.sizes: dict[str, int] = {}
        self.folders: set[str] = set()
        self.ignored: list[str] = []
        self.listed_at = time.time_ns()
        self.changed = {"": os.stat(where).st_ctime_ns}

    @abstractmethod
    def read(self, name: str, last: int | None = None) -> bytes:
        """The bytes of a file, or only its ``last`` bytes. Safe from several threads."""

    def images(self) -> list[str]:
        """Names of the files that end like an image, sorted."""
        return sorted(name for name in self.sizes if _suffix(name) in IMAGE_SUFFIXES)

    def _list(self, name: str, size: int) -> bool:
        path = PurePosixPath(name)
        if _suffix(name) not in IMAGE_SUFFIXES | _TABLE_SUFFIXES or _hidden(path):
            if not _hidden(path):
                self.ignored.append(name)
            return False
        self.sizes[str(path)] = size
        self._list_folder(path.parent)
        return True

    def _list_folder(self, path: PurePosixPath) -> None:
        if not _hidden(path):
            self.folders.update(str(folder) for folder in (path, *path.parents) if folder.name)


def require_readable(root: Path) -> None:
    """Check that ``data.root`` is there.

    Raises:
        UserError: it is not, or this user may not look.
    """
    try:
        found = root.exists()
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read: {error}") from error
    if not found:
        raise UserError(
            f"data.root={root} does not exist: pass the folder or archive that holds the images"
        )


def open_tree(root: Path, scratch: Path) -> Tree:
    """List a folder or an archive (.tar, also compressed, or .zip).

    Args:
        root: the folder or archive.
        scratch: folder on a disk with room for what a compressed tar archive unpacks to.

    Raises:
        UserError: ``root`` does not exist or cannot be read.
    """
    require_readable(root)
    if root.is_dir():
        try:
            return _Folder(root)
        except OSError as error:
            raise UserError(f"data.root={root} cannot be read: {error}") from error
    try:
        if zipfile.is_zipfile(root):
            return _Zip(root)
        return _Tar(root, scratch)
    except UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise UserError(
            f"data.root={root} is not a folder, and cannot be read as a tar or zip archive"
            f" ({reason}): pass a folder or a whole archive"
        ) from error


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _Folder(Tree):
    def __init__(self, where: Path) -> None:
        super().__init__(where)
        self._prefix = f"{where}/"
        self._walk("", frozenset())

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> None:
        here = os.stat(self.where / folder)
        if (here.st_dev, here.st_ino) in above:  # a link to a folder that holds it
            self.ignored.append(folder)
            return
        above |= {(here.st_dev, here.st_ino)}
        self.changed[folder] = here.st_ctime_ns
        if folder:
            self.folders.add(folder)
        with os.scandir(self.where / folder) as found:
            for entry in found:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                try:
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                except OSError:  # a link to itself
                    is_folder = is_file = False
                if is_folder:
                    self._walk(name, above)
                elif is_file and _suffix(name) in IMAGE_SUFFIXES | _TABLE_SUFFIXES:
                    self.sizes[name] = entry.stat().st_size
                    if len(self.sizes) % _SAID == 0:
                        say(f"listing {self.where}: {len(self.sizes):,} files so far")
                else:  # also a link that leads nowhere
                    self.ignored.append(name)

    def read(self, name: str, last: int | None = None) -> bytes:
        # Not open(): a Path and a buffer for each of a million tails take longer than to read it.
        descriptor = os.open(f"{self._prefix}{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            length = size if last is None else min(last, size)
            content = os.pread(descriptor, length, size - length)
            while len(content) < length:  # the kernel gives at most 2 GiB at a time
                more = os.pread(descriptor, length - len(content), size - length + len(content))
                if not more:
                    raise OSError(f"{self.where / name} became shorter while it was read")
                content += more
            return content
        finally:
            os.close(descriptor)


class _Tar(Tree):
    """A tar archive. A compressed one is unpacked into a nameless file when first read."""

    def __init__(self, where: Path, scratch: Path) -> None:
        super().__init__(where)
        self._scratch = scratch
        self._lock = threading.Lock()
        self._offsets: dict[str, int] = {}
        self._links: dict[str, str] = {}
        self._plain: IO[bytes] | None = None
        links: dict[str, str] = {}
        with tarfile.open(where) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isdir():
                    self._list_folder(path)
                elif member.isreg() and self._list(member.name, member.size):
                    self._offsets[str(path)] = member.offset_data
                elif member.islnk() or member.issym():  # the latter is relative to its folder
                    base = path.parent if member.issym() else PurePosixPath()
                    links[str(path)] = posixpath.normpath(str(base / member.linkname))
        for name in links:
            target, passed = name, set()
            while target in links and target not in passed:
                passed.add(target)
                target = links[target]
            if target not in self._offsets:
                self.ignored.append(name)
            elif self._list(name, self.sizes[target]):
                self._links[name] = target
        try:
            tarfile.open(where, "r:").close()
        except tarfile.TarError:
            return
        self._plain = open(where, "rb")  # noqa: SIM115  # read by pread for as long as this lives

    def read(self, name: str, last: int | None = None) -> bytes:
        with self._lock:
            if self._plain is None:
                try:
                    self._plain = self._unpack()
                except OSError as error:
                    raise UserError(
                        f"cannot unpack {self.where} into {self._scratch} ({error}): free some"
                        " space, or set data.stores=<a folder on another disk>"
                    ) from error
        size = self.sizes[name]
        length = size if last is None else min(size, last)
        offset = self._offsets[self._links.get(name, name)]
        return os.pread(self._plain.fileno(), length, offset + size - length)

    def _unpack(self) -> IO[bytes]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        # Nameless: the system frees its space when this process ends, however it ends.
        plain = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115
        with tarfile.open(self.where) as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                if member.isreg() and name in self._offsets:
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file
                    self._offsets[name] = plain.tell()
                    shutil.copyfileobj(content, plain)
        plain.flush()
        return plain


class _Zip(Tree):
    def __init__(self, where: Path) -> None:
        super().__init__(where)
        self._archive = zipfile.ZipFile(where)
        self._lock = threading.Lock()
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._archive.infolist():
            if member.is_dir():
                self._list_folder(PurePosixPath(member.filename))
            elif self._list(member.filename, member.file_size):
                self._members[str(PurePosixPath(member.filename))] = member

    def read(self, name: str, last: int | None = None) -> bytes:
        with self._lock:
            content = self._archive.read(self._members[name])
        return content if last is None else content[-last:]

"""Compiles ``cpu.c`` with the machine's own C compiler, once: the library is kept in the cache."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu.c")
_FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
    "-shared", "-fPIC",
)  # fmt: skip
_SECONDS = 120


class NotCompiledError(Exception):
    """There is no compiler, or it failed; the message says which."""


def cache_folder() -> Path | None:
    """``alexnet_exp`` in the user's cache; None where it can't be written."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        folder = Path(root) / "alexnet_exp"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def find_compiler() -> list[str]:
    """``$CC``, which may have arguments, or the first of the usual names on the PATH.

    Raises:
        NotCompiledError: There is none.
    """
    named = shlex.split(os.environ.get("CC", ""))
    for name, *arguments in [named] if named else (["cc"], ["gcc"], ["clang"]):
        found = shutil.which(name)
        if found is not None:
            return [found, *arguments]
    looked_for = named[0] if named else "cc, gcc or clang"
    raise NotCompiledError(f"no C compiler: {looked_for} is not on the PATH")


def load_library() -> tuple[ctypes.CDLL, str]:
    """The compiled functions, from the cache if they are there, and a key of what they depend on.

    Raises:
        NotCompiledError: There is no compiler, or it failed.
    """
    compiler = find_compiler()
    key = _key(compiler)
    folder = cache_folder()
    for kept in folder.glob(f"cpu-{key}-*.so") if folder else ():
        if kept.stem.endswith(_digest(kept)):  # to load half a library would end the process
            return ctypes.CDLL(str(kept)), key
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        library = Path(scratch) / "cpu.so"
        _compile(compiler, library)
        if folder is not None:  # several processes may do this at once: each moves a whole file
            library = library.rename(folder / f"cpu-{key}-{_digest(library)}.so")
        return ctypes.CDLL(str(library)), key


def _compile(compiler: list[str], library: Path) -> None:
    for extra in (("-fopenmp",), ()):  # clang may have no OpenMP: one thread then
        command = [*compiler, *_FLAGS, *extra, "-o", str(library), str(SOURCE), "-lm"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if run.returncode == 0:
            return
    reason = (run.stderr.strip().splitlines() or ["no message"])[0]
    raise NotCompiledError(f"{compiler[0]} failed: {reason}")


def _key(compiler: list[str]) -> str:
    """Of source, compiler, and what -march=native depends on: machines may share a cache."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, timeout=_SECONDS)
    parts = [SOURCE.read_bytes(), " ".join([*compiler, *_FLAGS]).encode(), version.stdout]
    return hashlib.sha256(b"\0".join([*parts, _processor()])).hexdigest()[:16]


def _processor() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor().encode()
    known = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(known)})).encode()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]

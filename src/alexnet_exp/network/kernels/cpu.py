"""Compiles and calls ``cpu.c``: response normalization and cropping in one pass over memory each.

The machine's own C compiler does it once, in about a second; the library is kept in the user's
cache folder. torch.compile needs a compiler too, 20 seconds at first and 5 seconds of imports in
every process, and its kernels for channels-last memory are slower (README, speed).
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from ctypes import c_float, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("cpu.c")
_FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
    "-shared", "-fPIC",
)  # fmt: skip
_SECONDS = 120
_TEMPORARY = "alexnet_exp-"


class NotCompiledError(Exception):
    """There is no compiler, or it failed; the message says which."""


@dataclass(frozen=True)
class Kernels:
    """The functions of ``cpu.c``.

    Attributes:
        library: The loaded library.
    """

    library: ctypes.CDLL

    def lrn(
        self,
        x: Tensor,
        grad: Tensor | None,
        towers: int,
        size: int,
        alpha: float,
        k: float,
        relu: bool,
    ) -> Tensor:
        """Local response normalization with beta .75, or its gradient.

        Args:
            x: (N, C, H, W) float32 or bfloat16, contiguous or channels-last.
            grad: Gradient of the result, or None to compute the result.
            towers, size, alpha, k: As ``lrn.LocalResponseNorm`` has them.
            relu: Normalize max(x, 0) instead of x.

        Returns:
            As ``x``.
        """
        images, channels, height, width = x.shape
        last = x.is_contiguous(memory_format=torch.channels_last)
        if grad is not None:
            layout = torch.channels_last if last else torch.contiguous_format
            grad = grad.to(x.dtype).contiguous(memory_format=layout)
        result = torch.empty_like(x)
        outer, inner = images * towers, height * width
        if last:
            outer, inner = outer * inner, 1
        function = self.library.lrn_bf16 if x.dtype == torch.bfloat16 else self.library.lrn_float
        failed = function(
            x.data_ptr(), None if grad is None else grad.data_ptr(), result.data_ptr(),
            outer, channels // towers, inner, size // 2, alpha, k, -2 * alpha * 0.75, relu,
            torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("local response normalization: can't allocate memory")
        return result

    def crop(
        self,
        addresses: Tensor,
        top: Tensor,
        left: Tensor,
        flip: Tensor,
        mean: Tensor,
        noise: Tensor | None,
        scale: float,
        size: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Crop, mirror, center and shift stored images: ``(image - mean + noise) * scale``.

        Args:
            addresses: (N,) int64, of images (S, S, C) uint8 in memory.
            top, left: (N,) int64, upper left corner of each crop.
            flip: (N,) bool.
            mean: (S, S, C) float32.
            noise: (N, C) float32, or None.
            scale: Factor of all pixels.
            size: Side s of the crops.
            dtype: float32, or bfloat16 rounded from it.

        Returns:
            (N, C, s, s) in channels-last memory.
        """
        side, channels = mean.shape[0], mean.shape[2]
        assert mean.dtype == torch.float32
        assert noise is None or noise.dtype == torch.float32
        # Names, so that what is made contiguous lives until the function has returned.
        top, left, flip = top.contiguous(), left.contiguous(), flip.contiguous()
        noise = None if noise is None else noise.contiguous()
        out = torch.empty(len(addresses), size, size, channels, dtype=dtype)
        function = self.library.crop_bf16 if dtype == torch.bfloat16 else self.library.crop_float
        failed = function(
            addresses.data_ptr(), top.data_ptr(), left.data_ptr(), flip.data_ptr(),
            mean.data_ptr(), None if noise is None else noise.data_ptr(), scale,
            out.data_ptr(), len(addresses), side, size, channels, torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("cropping: can't allocate memory")
        return out.permute(0, 3, 1, 2)


def kernels() -> Kernels | None:
    """The compiled functions, or None where they can't be had; ``why_not`` then says why."""
    loaded = _load()
    return loaded if isinstance(loaded, Kernels) else None


def why_not() -> str | None:
    """Why there are no compiled functions; None where there are."""
    loaded = _load()
    return None if isinstance(loaded, Kernels) else loaded


@cache
def _load() -> Kernels | str:
    try:
        compiler = find_compiler()
        return Kernels(_open(_compile(compiler)))
    except (NotCompiledError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return str(error)


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


def _compile(compiler: list[str]) -> Path:
    """The library in the cache, compiled unless it is there."""
    source = SOURCE.read_bytes()
    key = hashlib.sha256(
        b"\0".join(
            [source, " ".join([*compiler, *_FLAGS]).encode(), _version(compiler), _processor()]
        )
    ).hexdigest()[:16]
    library = _cache_folder() / f"cpu-{key}.so"
    if _is_whole(library):
        return library
    descriptor, name = tempfile.mkstemp(suffix=".so", dir=library.parent)
    os.close(descriptor)
    try:
        for extra in (("-fopenmp",), ()):  # clang may have no OpenMP: one thread then
            command = [*compiler, *_FLAGS, *extra, "-o", name, str(SOURCE), "-lm"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            if run.returncode == 0:
                # Several processes may do this at once: each renames whole files, and what one
                # compiler makes of one source is the same.
                digest = _digest_path(library)
                digest.with_suffix(f".{os.getpid()}").write_text(_digest(Path(name)))
                os.replace(digest.with_suffix(f".{os.getpid()}"), digest)
                os.replace(name, library)
                return library
        reason = (run.stderr.strip().splitlines() or ["no message"])[0]
        raise NotCompiledError(f"{compiler[0]} failed: {reason}")
    except subprocess.TimeoutExpired as error:
        raise NotCompiledError(f"{compiler[0]} took more than {_SECONDS} seconds") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _is_whole(library: Path) -> bool:
    """Whether it is there as it was made: loading half a library ends the process."""
    try:
        return _digest_path(library).read_text() == _digest(library)
    except OSError:
        return False


def _digest_path(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _version(compiler: list[str]) -> bytes:
    run = subprocess.run([*compiler, "--version"], capture_output=True, timeout=_SECONDS)
    return run.stdout


def _processor() -> bytes:
    """What -march=native depends on: a cache may be shared by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor().encode()
    known = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(known)})).encode()


def _cache_folder() -> Path:
    """``alexnet_exp`` in the user's cache, or a temporary folder where that can't be written."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(root) / "alexnet_exp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY))


def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    if path.parent.name.startswith(_TEMPORARY):  # loaded, it needs no file
        shutil.rmtree(path.parent, ignore_errors=True)
    lrn = [
        *[c_void_p] * 3, *[c_int64] * 3, c_int, *[c_float] * 3, c_int, c_int,
    ]  # fmt: skip
    crop = [*[c_void_p] * 6, c_float, c_void_p, *[c_int64] * 4, c_int]
    for name, arguments in (("lrn", lrn), ("crop", crop)):
        for dtype in ("float", "bf16"):
            getattr(library, f"{name}_{dtype}").argtypes = arguments
    return library

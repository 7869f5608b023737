"""What this machine can do, and how its memory is used.

torch is imported where it is asked: mistakes on the command line show before it is there.
"""

import atexit
import ctypes
import gc
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PR_SET_PDEATHSIG = 1


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of handing it back to the kernel.

    A training step frees and takes gigabytes of activations; when each comes from a fresh mmap,
    more than half of the step is spent on page faults. Without glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 * 2**20)


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage in the block: modules stay, and looking through them takes a tenth of the
    time that importing torch and Lightning takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leave() -> None:
    """End this process, with 0, at once: to take every object apart takes Python two to three
    seconds after torch and Lightning. What is registered for the end runs, and mypy ends so, too.

    A debugger or profiler, or a thread that is waited for, leaves it to Python.
    """
    waited_for = [one for one in threading.enumerate() if not one.daemon]
    if len(waited_for) > 1 or sys.getprofile() or sys.gettrace():
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, each as CUDA_VISIBLE_DEVICES names it.

    Numbers, or the UUIDs that this process was given itself. Counting them takes none into use.
    """
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(count)) if given is None else given.split(",")
    return [name.strip() for name in names][:count]  # what follows a wrong name does not count


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory_bytes() -> int:
    """Most memory that was in use so far: of the GPU where one was used, else of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def busy_seconds() -> tuple[float, float]:
    """CPU seconds so far of all processes of this machine, and of this one with its ended children.

    Outside of Linux the first is NaN.
    """
    try:
        ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return math.nan, sum(os.times()[:4])
    user, nice, system, _idle, _waiting, interrupts, soft = map(int, ticks[1:8])
    busy = user + nice + system + interrupts + soft
    return busy / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


_IMPORTED = time.monotonic()


def seconds_since_start() -> float:
    """Seconds since this process was started; outside of Linux, since this module was imported."""
    try:
        stat = Path("/proc/self/stat").read_text()
    except OSError:
        return time.monotonic() - _IMPORTED
    # After the name in brackets, which may hold anything; the 22nd field counts from boot.
    ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a device or of the host, was not enough."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    texts = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def uses_gpu(accelerator: str) -> bool:
    """Whether training runs on CUDA here, with ``trainer.accelerator``."""
    import torch

    return accelerator != "cpu" and torch.cuda.is_available()


def activation_dtype(precision: str) -> "torch.dtype":
    """What layers hand on in this precision, ``trainer.precision`` resolved."""
    import torch

    if precision.startswith("bf16"):
        return torch.bfloat16
    if precision.startswith("16"):
        return torch.float16
    return torch.float64 if precision.startswith("64") else torch.float32


def resolve_precision(precision: str, accelerator: str) -> str:
    """``auto`` as bf16 autocast where the hardware has it, else fp32."""
    import torch

    if precision != "auto":
        return precision
    if uses_gpu(accelerator):
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        has_bf16 = accelerator != "mps" and supported()
    return "bf16-mixed" if has_bf16 else "32-true"


def end_with_parent(parent: int | None = None) -> None:
    """On Linux: have this process killed when the one that started it ends, or has ended."""
    _end_with_parent()()
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def before_exec() -> Callable[[], None]:
    """What a new process does before Python starts in it, as ``preexec_fn`` of ``Popen``.

    On Linux it is killed when the thread that started it ends, however that happens. It heeds
    Ctrl-C also where this process, such as a shell's background job, does not.
    """
    end_with_parent = _end_with_parent()

    def between() -> None:
        end_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return between


def _end_with_parent() -> Callable[[], object]:
    if not sys.platform.startswith("linux"):
        return lambda: None
    # Not SIGTERM: a job that hangs would not answer it, and nobody is left to kill it.
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL))


def describe(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"killed by {name}{hint}"

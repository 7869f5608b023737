"""Imports torchmetrics without what no run uses of it; every command imports this module first.

torchmetrics, which Lightning needs, imports torchvision, SciPy and matplotlib for metrics and plots
that no run has: a third of the time to the first training step. It is imported as if they were not
installed. They are hidden only meanwhile: whoever imports them later gets them. In this process
torchmetrics goes on saying of its own metrics and plots that need them that the package is missing.
A release that does not fit is imported as usual.

No garbage is collected meanwhile: modules stay, and looking through them again and again took a
tenth of the time. (Also tried: a stand-in for ``torch._dynamo``, which Lightning imports for one
class, saved another 1.6 s of 4; it was too easily in the way of ``torch.compile``.)

Ctrl-C ends a command at once until ``cli.run`` takes over, rather than with the traceback of a
half-made import.
"""

import gc
import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError

_UNUSED_BY_METRICS = ("matplotlib", "scipy", "torchvision")


def import_metrics() -> None:
    """Import torchmetrics the short way, unless it or what it is to do without is there already."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401  # too large to be collected in meanwhile

        with _as_if_missing(*_UNUSED_BY_METRICS):
            _try_import("torchmetrics")
    finally:
        if collecting:
            gc.enable()


def end_at_ctrl_c() -> None:
    """Do so where this process is a command, not where a notebook imports it."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is not None and main.name.startswith("alexnet_exp."):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def ctrl_c_raises() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as Python has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _try_import(package: str) -> None:
    """Import it, or leave nothing of the attempt behind."""
    if package in sys.modules:
        return
    try:
        importlib.import_module(package)
    except Exception:  # of a release that asks for more
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


@contextmanager
def _as_if_missing(*packages: str) -> Iterator[None]:
    """Hide packages not imported yet from imports, and from questions for their version."""
    hidden = [name for name in packages if name not in sys.modules]
    find = Distribution.from_name

    def find_others(name: str) -> Distribution:
        if name in hidden:
            raise PackageNotFoundError(name)
        return find(name)

    Distribution.from_name = find_others  # type: ignore[method-assign]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # imports fail, find_spec finds none
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        Distribution.from_name = find  # type: ignore[method-assign]
        _forget_answers()


def _forget_answers() -> None:
    """Lightning's helpers remember what is installed; they are to look again."""
    helpers = sys.modules.get("lightning_utilities.core.imports")
    for name in ("package_available", "module_available"):
        forget = getattr(getattr(helpers, name, None), "cache_clear", None)
        if forget is not None:
            forget()


end_at_ctrl_c()
import_metrics()

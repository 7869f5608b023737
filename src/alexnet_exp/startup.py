"""Imports Lightning without what no run uses of it; every command imports this module first.

Two imports were more than half of the time to the first training step:

- torchmetrics, which Lightning needs, imports torchvision, SciPy and matplotlib for metrics and
  plots that no run has. It is imported as if they were not installed. They are hidden only
  meanwhile: whoever imports them later gets them. In this process torchmetrics goes on saying
  of its own metrics and plots that need them that the package is missing.
- ``torch._dynamo``, the front end of ``torch.compile``, is imported by Lightning for one class,
  and by every optimizer to keep itself from being compiled. A stand-in serves both. Whatever else
  is asked of it, as ``torch.compile`` does, puts the real module in its place.

Where another release of these packages does not fit, they are imported as usual.

No garbage is collected meanwhile: modules stay, and looking through them again and again took a
tenth of the time.
"""

import gc
import importlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError
from types import ModuleType
from typing import Any

_UNUSED_BY_METRICS = ("matplotlib", "scipy", "torchvision")
_DYNAMO = "torch._dynamo"


def import_lightning() -> None:
    """Import Lightning the short way, unless it or what it is to do without is there already."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _ended_by_ctrl_c():
            _import_lightning()
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once, rather than with the traceback of a half-made import."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _import_lightning() -> None:
    import torch

    with _as_if_missing(*_UNUSED_BY_METRICS):
        _try_import("torchmetrics")
    if _DYNAMO in sys.modules:
        return
    stand_in = _DynamoStandIn(_DYNAMO)
    sys.modules[_DYNAMO] = torch._dynamo = stand_in
    if _try_import("lightning"):
        stand_in.is_package = True
    else:
        stand_in.replace()


def _try_import(package: str) -> bool:
    """Import it, or leave nothing of the attempt behind."""
    if package in sys.modules:
        return True
    try:
        importlib.import_module(package)
    except Exception:  # of a release that asks for more
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        return False
    return True


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


class _DynamoStandIn(ModuleType):
    """What torch's optimizers and Lightning ask of ``torch._dynamo`` while nothing is compiled.

    Not a package at first: ``from torch._dynamo import OptimizedModule`` looks for ``__path__``
    just as ``import torch._dynamo.config`` does, which needs the real module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.util.find_spec(name)
        self.is_package = False
        self.OptimizedModule = _Compiled

    def disable(self, fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        """A function that is not compiled anyway, as it is."""
        return fn if callable(fn) else lambda function: function

    def graph_break(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is traced that could break off."""

    def replace(self) -> ModuleType:
        """The real module, from now on in this one's place."""
        if sys.modules.get(_DYNAMO) is self:
            del sys.modules[_DYNAMO]
        return importlib.import_module(_DYNAMO)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and not (name == "__path__" and self.is_package):
            raise AttributeError(f"module {_DYNAMO!r} has no attribute {name!r}")
        return getattr(self.replace(), name)


class _CompiledType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        real = sys.modules.get(_DYNAMO)
        return not isinstance(real, _DynamoStandIn | None) and isinstance(
            instance, real.OptimizedModule
        )


class _Compiled(metaclass=_CompiledType):
    """``OptimizedModule``: nothing is one before the real ``torch._dynamo`` is there."""


import_lightning()

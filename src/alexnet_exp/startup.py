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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, PackageNotFoundError
from types import FunctionType, ModuleType
from typing import Any

_UNUSED_BY_METRICS = ("matplotlib", "scipy", "torchvision")
_DYNAMO = "torch._dynamo"
_REPLACING = threading.Lock()


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
    sys.meta_path.insert(0, _PartsOfDynamo(stand_in))
    if not _try_import("lightning"):
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
    """What torch's optimizers and Lightning ask of ``torch._dynamo`` while nothing is compiled."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.util.find_spec(name)
        self.__path__ = list(getattr(self.__spec__, "submodule_search_locations", None) or ())
        self._not_disabled: list[FunctionType] = []
        self._answers = {
            "OptimizedModule": _Compiled,
            "disable": self._disable,
            "graph_break": lambda *args, **kwargs: None,  # nothing is traced that could break off
        }
        vars(self).update(self._answers)

    def _disable(
        self, fn: Any = None, recursive: bool = True, *, wrapping: bool = True, **kwargs: Any
    ) -> Any:
        """A function to be kept from being compiled: that is done once something can be.

        Torch's own decorator asks when the function is first called, with ``wrapping=False``, and
        notes the answer, which is the function as it is until the note is taken away.
        """
        if not isinstance(fn, FunctionType):
            return self.replace().disable(fn, recursive, wrapping=wrapping, **kwargs)
        if wrapping:
            from torch._compile import _disable_dynamo

            return _disable_dynamo(fn, recursive)
        self._not_disabled.append(fn)
        return fn

    def replace(self) -> ModuleType:
        """The real module, from now on in this one's place; whoever kept this one is sent there."""
        with _REPLACING:
            if sys.modules.get(_DYNAMO) is self:
                del sys.modules[_DYNAMO]
                for name in self._answers:
                    del vars(self)[name]
                for fn in self._not_disabled:
                    vars(fn).pop("__dynamo_disable", None)
        return importlib.import_module(_DYNAMO)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {_DYNAMO!r} has no attribute {name!r}")
        return getattr(self.replace(), name)


class _PartsOfDynamo(MetaPathFinder, Loader):
    """Imports ``torch._dynamo.config`` and its like from the real module, not the stand-in.

    The import system has seen that the part is not there before the stand-in can be replaced.
    Left to itself it would load the part a second time, next to the one that the real module uses.
    """

    def __init__(self, stand_in: _DynamoStandIn) -> None:
        self.stand_in = stand_in

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{_DYNAMO}.") or sys.modules.get(_DYNAMO) is not self.stand_in:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if sys.modules.get(_DYNAMO) is self.stand_in:  # else a thread that may wait for this part
            self.stand_in.replace()
        module = importlib.import_module(spec.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run; only the spec that the import system put over its own is taken off."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            vars(module)["__spec__"] = spec.loader_state


class _CompiledType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        dynamo = sys.modules.get(_DYNAMO)
        if isinstance(dynamo, _DynamoStandIn):
            return False
        compiled = getattr(dynamo, "OptimizedModule", None)  # None while it is being imported
        return compiled is not None and isinstance(instance, compiled)


class _Compiled(metaclass=_CompiledType):
    """``OptimizedModule``: nothing is one before the real ``torch._dynamo`` is there."""


import_lightning()

"""What ``launch`` starts on each device: one call of ``train``, and what went wrong in it."""

import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from alexnet_exp.errors import FAILED, INTERRUPTED, DivergedError, UserError
from alexnet_exp.hardware import end_with_parent, importing, is_out_of_memory, keep_freed_memory

TASK, RESULT = "task.pickle", "result.json"
"""Files in the folder of a launch: what to do, and what has come out."""

# Seconds for another, which this one lost, to be seen to have failed first; for last clean-up.
_LAST_WORDS, _CLEAN_UP = 3.0, 10.0

# In what the backends say of a process that has gone or does not answer; gloo has no exception of
# its own.
_BACKENDS = ("gloo/", "NCCL")


def main() -> None:
    """``python -m alexnet_exp.parallel.rank <folder of the launch> <process that launched>``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of a half-made import
    end_with_parent(int(sys.argv[2]))
    keep_freed_memory()
    folder = Path(sys.argv[1])
    module, name, arguments, sys.argv = pickle.loads((folder / TASK).read_bytes())
    with importing():
        entry = getattr(import_module(module), name)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = entry(*arguments)
    except (KeyboardInterrupt, SystemExit):
        _end(INTERRUPTED)
    except BaseException as error:
        kind = _kind(error)
        _record(kind, error)
        if kind == "lost":
            time.sleep(_LAST_WORDS)
        _end(FAILED)
    if os.environ["RANK"] == "0":
        (folder / RESULT).write_text(json.dumps(result))
    # A library's threads, or its clean-up, that wait for the others would hold up the end of all.
    end = threading.Timer(_CLEAN_UP, _end, (0,))
    end.daemon = True
    end.start()


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it has gone
            code = code or FAILED
    os._exit(code)


def _kind(error: BaseException) -> str:
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, UserError):
        return "mistake"
    if is_out_of_memory(error):
        return "memory"
    return "lost" if _is_lost(error) else "failure"


def _is_lost(error: BaseException | None) -> bool:
    """Whether it comes of another process that has gone or does not answer."""
    from torch.distributed import DistError  # imported by now

    while error is not None:
        told = isinstance(error, RuntimeError) and any(name in str(error) for name in _BACKENDS)
        if told or isinstance(error, DistError):
            return True
        error = error.__cause__
    return False


def _record(kind: str, error: BaseException) -> None:
    """Into the file that torch's launcher reads when a process has failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    in_short = f"{type(error).__name__}: {first}"
    told = {
        "kind": kind,
        "message": str(error) if isinstance(error, UserError) else in_short,
        "traceback": "".join(traceback.format_exception(error)),
        "timestamp": int(time.time()),
    }
    file = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    partial = file.with_name("partial")  # the launcher may end this process at any moment
    partial.write_text(json.dumps(told))
    os.replace(partial, file)


if __name__ == "__main__":
    main()

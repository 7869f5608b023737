"""What ranks of test_faults run, and the fault in one of them, as the environment's FAULT says."""

import os
import time
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config
from alexnet_exp.errors import DivergedError, UserError

ERRORS = {
    "raise": ZeroDivisionError("the fault of the test"),
    "mistake": UserError("set this=that"),
    "diverged": DivergedError("diverged: the loss is nan"),
    "memory": RuntimeError("CUDA out of memory: tried to allocate a lot"),
}


def fault(what: str) -> None:
    """Let this process fail: ``what`` is a signal's number or a word."""
    print("last words", flush=True)
    if what in ERRORS:
        raise ERRORS[what]
    if what == "hang":
        time.sleep(1e9)
    os.kill(os.getpid(), int(what))


def break_down(config: Config, folder: Path) -> dict[str, Any]:
    """An entry of ``run_processes``: two meetings; FAULT, ``rank:what``, between them."""
    from alexnet_exp.parallel.team import gather, meet, place
    from alexnet_exp.parallel.watch import expect_progress

    here = place(config)
    with meet(config, here):
        expect_progress(config.strategy.timeout)
        gather(here.rank)
        (folder / f"{here.rank}.met").touch()
        rank, what = os.environ.get("FAULT", "-1:").split(":")
        if here.rank == int(rank):
            fault(what)
        gather(here.rank)
    return {}


def break_alone(config: Config, folder: Path) -> dict[str, Any]:
    """The same of processes that never meet, and so need none of what takes long to import."""
    rank, what = os.environ["FAULT"].split(":")
    if os.environ["RANK"] == rank:
        fault(what)
    return time.sleep(1e9) or {}


def train_badly(config: Config, folder: Path) -> dict[str, Any]:
    """An entry that trains; FAULT is ``rank:method of Watch:what``."""
    from alexnet_exp.parallel.watch import Watch
    from alexnet_exp.training.fit import train

    rank, where, what = os.environ["FAULT"].split(":")
    begin = getattr(Watch, where)
    if rank == os.environ["RANK"]:
        setattr(Watch, where, lambda *args: (begin(*args), fault(what)))
    return train(config, folder)

"""What ranks of test_faults run: two meetings and, between them, the fault in one of them."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyConfig, StrategyName, TrainerConfig
from alexnet_exp.errors import DivergedError, UserError
from alexnet_exp.parallel.launch import run_processes
from alexnet_exp.parallel.team import meet, place
from alexnet_exp.parallel.watch import expect_progress


def fault(what: str) -> None:
    """Let this process fail: ``what`` is a signal's number or a word."""
    print("last words at", time.time(), flush=True)
    if what == "raise":
        raise ZeroDivisionError("the fault of the test")
    if what == "mistake":
        raise UserError("set this=that")
    if what == "diverged":
        raise DivergedError("diverged: the loss is nan")
    if what == "memory":
        raise RuntimeError("CUDA out of memory: tried to allocate a lot")
    if what == "hang":
        time.sleep(1e9)
    os.kill(os.getpid(), int(what))


def break_down(config: Config, folder: Path) -> dict[str, Any]:
    """An entry of ``run_processes``; the environment's FAULT is ``rank:what``."""
    here = place(config)
    assert here is not None
    with meet(config, here) as team:
        expect_progress(config.strategy.timeout)
        team.gather(here.rank)
        (folder / f"{here.rank}.met").touch()
        rank, what = os.environ.get("FAULT", "-1:").split(":")
        if here.rank == int(rank):
            fault(what)
        ranks = team.gather(here.rank)
    return {"ranks": ranks, "threads": os.environ["OMP_NUM_THREADS"], "command": sys.argv}


def two(timeout: float = 40.0) -> Config:
    """Two processes on the CPU."""
    trainer = TrainerConfig(accelerator="cpu", devices=2, progress=False)
    return Config(strategy=StrategyConfig(StrategyName.ddp, timeout=timeout), trainer=trainer)


if __name__ == "__main__":  # a parent that can be killed
    from tests.parallel import broken

    run_processes(two(), Path(sys.argv[1]), broken.break_down)

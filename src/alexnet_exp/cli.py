"""How every command of Hydra's starts.

A command imports this at its top and nothing else of ours: what takes seconds to import comes
later, where Ctrl-C is answered and a mistake has been found.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_exp.errors import answering

Task = Callable[[Any, Path], object]


def run(task: Task | str, sweeps: bool = False, name: str = "config") -> None:
    """Compose the configuration ``name`` from the command line and run ``task(config, folder)``.

    The task is a function, or ``module:function``, imported when it is to be called. With
    ``sweeps``, ``-m`` and ``+sweep=...`` run it many times, each in a process of its own.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.
    """
    with answering("the same command goes on"):
        from alexnet_exp import hydra_main

        hydra_main.run(task, sweeps, name)

"""How every command starts and ends: one message for a mistake, one line for Ctrl-C, exit codes.

A command imports this at its top and nothing else of ours: what takes seconds to import comes
later, where Ctrl-C is answered and a mistake has been found.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from alexnet_exp.errors import INTERRUPTED, MISTAKE, UserError

Task = Callable[[Any, Path], object]


def run(task: Task | str, sweeps: bool = False, name: str = "config") -> None:
    """Compose the configuration from the command line and run ``task(config, run_folder)``.

    Args:
        task: What to do: a function, or ``module:function``, imported when it is to be called.
        sweeps: Whether ``-m`` and ``+sweep=...`` run it many times, each in a process of its own.
        name: Of the primary configuration; its schema must be registered.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.
    """
    with answering("the same command goes on"):
        from alexnet_exp import hydra_main

        hydra_main.run(task, sweeps, name)


@contextmanager
def answering(note: str) -> Iterator[None]:
    """End the process with one message for a mistake of the user's, or the note for Ctrl-C."""
    try:
        yield
    except UserError as error:
        mistake(str(error))
    except KeyboardInterrupt:
        interrupted(note)


def mistake(message: str) -> NoReturn:
    """Print one message and end with the exit code for a user's mistake."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKE)


def interrupted(note: str, code: int = INTERRUPTED) -> NoReturn:
    """Say so and end with the exit code for Ctrl-C, or ``code``."""
    print(f"\ninterrupted; {note}", file=sys.stderr)
    sys.exit(code)

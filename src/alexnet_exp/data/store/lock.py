"""One process at a time: a lock file that dies with its holder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_exp.console import say


@contextmanager
def only_one(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock that belongs to ``path``; say so and wait while another process has it.

    The kernel releases the lock when its holder ends, however it ends. The empty lock file
    (``.<name>.lock`` beside ``path``) stays: to remove it would be a race.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f".{path.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is {doing} {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

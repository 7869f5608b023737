"""One process at a time: a lock file that dies with its holder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from alexnet_exp.console import say


@contextmanager
def only_one(path: Path, doing: str) -> Iterator[None]:
    """Hold ``.<name>.lock`` beside ``path``; say so and wait while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        say(f"waiting for another process that is {doing} {path}")
        held = lock.acquire()
    with held:
        yield

"""The journal of a packing: which chunks are on the disk, whatever happens next."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

COMMIT_SECONDS = 1.0
"""A chunk waits no longer than this to be put on the disk: a sync for each would take longer."""

Line = dict[str, Any]


def journal_path(folder: Path) -> Path:
    """The journal of a store that is being packed in ``folder``."""
    return folder / "journal.jsonl"


def read_journal(folder: Path) -> list[Line]:
    """The whole lines of a journal; none if there is no journal."""
    try:
        text = journal_path(folder).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def append(journal: IO[str], lines: list[Line]) -> None:
    """Add lines, on the disk when this returns."""
    journal.write("".join(json.dumps(line) + "\n" for line in lines))
    journal.flush()
    os.fsync(journal.fileno())


class Commits:
    """Writes the journal of chunks, while others are packed.

    Opening cuts off a line that broke off.

    Args:
        folder: where the store is packed.
        sync: puts all on the disk that was written so far; called from a thread of its own.
    """

    def __init__(self, folder: Path, sync: Callable[[], None]) -> None:
        path = journal_path(folder)
        content = path.read_bytes() if path.exists() else b""
        os.truncate(path, content.rfind(b"\n") + 1)
        self._journal = open(path, "a")  # noqa: SIM115  # closed by __exit__
        self._sync = sync
        self._lines: list[Line] = []
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        self._journal.close()

    def add(self, line: Line) -> None:
        """Note a chunk that has been written; what failed on the disk since is raised here."""
        self._lines.append(line)
        late = time.monotonic() - self._started >= COMMIT_SECONDS
        if late and (self._running is None or self._running.done()):
            self._start()

    def wait(self) -> None:
        """Return when all that was added is on the disk and in the journal."""
        self._start()
        assert self._running is not None
        self._running.result()

    def _start(self) -> None:
        if self._running is not None:
            self._running.result()
        lines, self._lines = self._lines, []
        self._started = time.monotonic()
        self._running = self._thread.submit(self._commit, lines)

    def _commit(self, lines: list[Line]) -> None:
        if lines:
            self._sync()
            append(self._journal, lines)

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexnet_exp.runs.folder import RunFolder


@dataclass
class Bench:
    """Where runs are broken; ``mark`` is in the environment of every process of the test."""

    folder: Path
    mark: str

    def alive(self) -> list[int]:
        """Processes started by this test."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                zombie = "\nState:\tZ" in (process / "status").read_text()
            except OSError:
                continue
            ours = self.mark.encode() in environment and int(process.name) != os.getpid()
            if ours and not zombie:
                found.append(int(process.name))
        return found

    def check_all_ended(self, seconds: float) -> None:
        """Look for processes; workers look for their own every five seconds."""
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.alive()

    def check_nothing_left(self, seconds: float = 0.0) -> None:
        """Look for processes and temporary files."""
        self.check_all_ended(seconds)
        assert not RunFolder(self.folder).is_running()
        assert not list(self.folder.rglob("*.partial*"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    mark = f"FAULTS_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    return Bench(tmp_path, mark)

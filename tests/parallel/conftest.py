import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexnet_exp.runs.folder import RunFolder
from tests.sweep.pretend import wait_for


@dataclass
class Bench:
    """Where runs are broken; ``mark`` is in the environment of every process of the test."""

    folder: Path
    mark: str

    def alive(self) -> list[int]:
        """Processes started by this test."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended; a zombie's environment is empty
                if self.mark.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return [one for one in found if one != os.getpid()]

    def check_nothing_left(self, seconds: float = 0.0) -> None:
        """Look for processes and temporary files."""
        wait_for(lambda: not self.alive(), seconds)
        assert not RunFolder(self.folder).is_running()
        assert not list(self.folder.rglob("*.partial*"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    mark = f"FAULTS_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    return Bench(tmp_path, mark)

"""Jobs that take no time: a script in the place of a training, in a real process."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet_exp.config import Config
from alexnet_exp.sweep.jobs import Job, State
from alexnet_exp.sweep.process import ChildSpec

FINISH = """
import json, os, time
time.sleep({seconds})
print("trained")
metrics = {{"val/top1_error": .5, "test/top1_error": .25}}
with open("result.json", "w") as file:
    json.dump({{"metrics": metrics, "epochs": 1}}, file)
"""
FAIL = "import sys; print('something went wrong'); sys.exit(3)"
HANG = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
WAIT = "import time; print('waiting', flush=True); time.sleep(600)"


def finish(seconds: float = 0.0) -> str:
    """A script that ends well."""
    return FINISH.format(seconds=seconds)


@dataclass
class Pretend(Job):
    """A job that runs a script in its folder."""

    script: str = ""
    timeout: float | None = None

    def refresh(self) -> None:
        """Its folder holds no configuration to compare."""

    def spec(self, extra: Sequence[str]) -> ChildSpec:
        """The script's process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ("-c", self.script)
        return ChildSpec(self.name, self.folder, arguments, self.timeout, cwd=str(self.folder))


def pretend_jobs(
    config: Config, folder: Path, scripts: dict[str, str], timeouts: dict[str, float] | None = None
) -> list[Pretend]:
    """A job for each script, by name."""
    return [
        Pretend(
            number, name, (), config, folder / name, State.new, script=script,
            timeout=(timeouts or {}).get(name),
        )
        for number, (name, script) in enumerate(scripts.items())
    ]  # fmt: skip


PYTHON = sys.executable

"""Jobs that take no time: a script in the place of a training, in a real process."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from alexnet_exp.config import Config
from alexnet_exp.sweep.jobs import Job
from alexnet_exp.sweep.process import ChildSpec

# Overrides of a real training that takes as little time as can be.
TINY = (
    "model.width=0.02", "model.fc=[16,16]", "data.image_size=64", "model.input_size=64",
    "data.synthetic_images=60", "data.batch_size=8", "trainer.accelerator=cpu",
    "evaluation.views=one",
)  # fmt: skip

# Also says when it ran, and in which surroundings.
FINISH = """
import json, os, time
begun = time.monotonic()
time.sleep({seconds})
metrics = {{"val/top1_error": .5, "test/top1_error": .25}}
result = {{name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}}
result |= {{"metrics": metrics, "epochs": 1, "times": [begun, time.monotonic()]}}
with open("result.json", "w") as file:
    json.dump(result, file)
"""
FAIL = "import sys; print('something went wrong'); sys.exit(3)"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
WAIT = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
HANG = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"


def finish(seconds: float = 0.0) -> str:
    """A script that ends well."""
    return FINISH.format(seconds=seconds)


@dataclass(eq=False)
class Pretend(Job):
    """A job that runs a script in its folder."""

    script: str = ""
    timeout: float | None = None

    def look(self) -> None:
        """Its folder holds no configuration to compare."""

    def spec(self, extra: Sequence[str]) -> ChildSpec:
        """The script's process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ("-c", self.script)
        return ChildSpec(self.folder, arguments, self.timeout, cwd=str(self.folder))


def pretend_jobs(
    config: Config, folder: Path, scripts: dict[str, str], timeout: float | None = None
) -> list[Pretend]:
    """A job for each script, by name."""
    return [
        Pretend(n, name, (), deepcopy(config), folder / name, script=script, timeout=timeout)
        for n, (name, script) in enumerate(scripts.items())
    ]


def gone(pid: int | None) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status == "Z"


def process_of(folder: Path) -> int | None:
    """Of a job that waits or hangs, once it has begun."""
    log = folder / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    return int(lines[1]) if len(lines) > 1 else None


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until it holds; fails after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)

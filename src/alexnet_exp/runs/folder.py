"""What a run folder holds; written here, read by :mod:`alexnet_exp.runs.read`.

| file              | content                                                               |
|-------------------|-----------------------------------------------------------------------|
| config.yaml       | the whole resolved configuration                                      |
| environment.json  | git revision, versions, hardware, command                             |
| metrics.csv       | one row per epoch                                                     |
| checkpoints/      | ``best.ckpt`` by validation error, ``last.ckpt`` to go on from        |
| predictions.npz   | per evaluated image: index, name, label, five best classes (also by   |
|                   | the center view alone), probabilities, split                          |
| kernels.npy       | of conv1, (kernels, channels, side, side) float16: figure 3           |
| result.json       | what came out; written last and atomically, so it marks a whole run   |
| diverged.json     | instead of it: the loss was not finite, so there is nothing to go on  |
| log.txt           | in a sweep: what the run printed                                      |
"""

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from alexnet_exp import __version__
from alexnet_exp.config import Config, to_plain
from alexnet_exp.config.training import Schedule
from alexnet_exp.errors import OtherRunError, UserError
from alexnet_exp.runs.identity import config_hash, differing
from alexnet_exp.runs.read import read_config, read_result

# What a run that is asked for more epochs puts aside until it has run them.
_RESULTS = ("result.json", "predictions.npz", "config.yaml")
_BEFORE = "before_"


class RunFolder:
    """The folder of one run; made when the run starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self._lock = path / ".lock"
        self.held: FileLock | None = None

    def result(self, config: Config) -> dict[str, Any] | None:
        """What a finished run of this configuration has recorded; None also if it may go further.

        Raises:
            OtherRunError: The folder holds a run that differs in what bears on the result.
            UserError: A file of it is damaged.
        """
        recorded = read_config(self.path)
        changed = {} if recorded is None else differing(recorded, config)
        if not changed:
            return read_result(self.path)
        if self._goes_further(config, changed):
            return None
        listed = [f"{path} was {old}, is {new}" for path, (old, new) in changed.items()]
        raise OtherRunError(
            f"{self.path} holds a run of another configuration: {', '.join(listed)}",
            "Set them as they were, set hydra.run.dir=<another folder>, or remove this one",
        )

    def _goes_further(self, config: Config, changed: dict[str, tuple[Any, Any]]) -> bool:
        """Whether it asks for more epochs alone; a cosine would have been another from step 1."""
        old, new = changed.get("trainer.max_epochs", (None, 0))
        more = len(changed) == 1 and isinstance(old, int) and old < new
        return more and config.optim.schedule != Schedule.cosine and self.last.exists()

    def is_running(self) -> bool:
        """Whether a process is at work in the folder."""
        if not self._lock.exists():
            return False
        try:
            with FileLock(self._lock, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder of others that may only be read
            return False

    def start(self, config: Config) -> bool:
        """Write what is known before training, and hold the folder until ``release``.

        Returns:
            Whether an earlier, unfinished run of the same configuration lies here to go on from.

        Raises:
            UserError: The folder can't be written, or another process is running in it.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.held = FileLock(self._lock, timeout=0)
            self.held.acquire()
            if (self.path / "result.json").exists():  # a run that goes further
                for name in _RESULTS:
                    self._rename(name, f"{_BEFORE}{name}")
            marked = {"config_hash": config_hash(config), **to_plain(config)}
            _write(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(marked)))
            _write(self.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
        except Timeout as error:
            message = f"another process is running in {self.path}: wait for it"
            raise UserError(f"{message}, or set hydra.run.dir=<another folder>") from error
        except OSError as error:
            message = f"can't write the run folder {self.path}: {error.strerror}"
            raise UserError(f"{message}; set hydra.run.dir=<another folder>") from error
        return self.last.exists()

    def release(self) -> None:
        """Let others run in the folder, this process among them (a notebook's, say)."""
        if self.held is not None:
            self.held.release()

    def withdraw(self) -> None:
        """Take back what ``start`` wrote, for a run that could not begin after all."""
        for name in _RESULTS:
            self._rename(f"{_BEFORE}{name}", name)
        if self.last.exists() or (self.path / "result.json").exists():
            return
        for name in ("config.yaml", "environment.json", "metrics.csv", ".lock"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "wandb", ignore_errors=True)
        RunFolder(self.checkpoints).discard()
        self.discard()

    def _rename(self, name: str, other: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path / name, self.path / other)

    def discard(self) -> None:
        """Remove the folder if it is empty, and in ``runs/`` those above it that are then empty."""
        default = Path.cwd() / "runs"
        folder = self.path.absolute()
        with contextlib.suppress(OSError):
            folder.rmdir()
            while default in folder.parents:
                folder = folder.parent
                folder.rmdir()

    def record_divergence(self, message: str) -> None:
        """Note that the run came to nothing, so that it is not started again in vain."""
        _write(self.path / "diverged.json", json.dumps({"message": message}, indent=2) + "\n")
        self.last.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    def record(
        self,
        result: dict[str, Any],
        predictions: dict[str, dict[str, np.ndarray]],
        kernels: np.ndarray,
        keep_last: bool,
    ) -> None:
        """Write predictions (columns by split) and kernels, then ``result.json``.

        ``last.ckpt`` is kept only if asked for: an unfinished run needs it.
        """
        parts = [
            {**part, "split": np.full(len(part["index"]), split)}
            for split, part in predictions.items()
        ]
        names = parts[0] if parts else ()
        columns: Any = {name: np.concatenate([part[name] for part in parts]) for name in names}
        partial = self.path / "predictions.partial.npz"
        np.savez_compressed(partial, **columns)
        os.replace(partial, self.path / "predictions.npz")
        np.save(self.path / "kernels.npy", kernels.astype(np.float16))
        _write(self.path / "result.json", json.dumps(result, indent=2) + "\n")
        for name in _RESULTS:
            (self.path / f"{_BEFORE}{name}").unlink(missing_ok=True)
        if not keep_last:
            self.last.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """Git revision, versions, hardware and command of this process, paths as from where it runs."""
    import torch  # seconds, which reading run folders does not need

    packages = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core")
    return {
        "git_revision": _git("rev-parse", "HEAD"),
        "git_changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "versions": {"alexnet-exp": __version__} | {name: version(name) for name in packages},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": [word.replace(f"{Path.cwd()}{os.sep}", "") for word in sys.argv],
    }


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this package lies in; None outside of one."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / "pyproject.toml").exists() or shutil.which("git") is None:
        return None
    run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else None


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", file.read_text()) if file.exists() else []
    return names[0] if names else platform.processor()


def _write(file: Path, text: str) -> None:
    """Write under another name and rename, so that no reader sees half a file."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text)
    os.replace(partial, file)

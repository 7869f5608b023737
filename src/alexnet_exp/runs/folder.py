"""What a run folder holds; written here, read here.

| file              | content                                                               |
|-------------------|-----------------------------------------------------------------------|
| config.yaml       | the whole resolved configuration                                      |
| environment.json  | git revision, versions, hardware, command                             |
| metrics.csv       | one row per epoch                                                     |
| checkpoints/      | ``best.ckpt`` by validation error, ``last.ckpt`` to go on from        |
| predictions.npz   | per evaluated image: index, label, five best classes (also by the     |
|                   | center view alone), their probabilities, split                        |
| result.json       | what came out; written last and atomically, so it marks a whole run   |
| diverged.json     | instead of it: the loss was not finite, so there is nothing to go on  |
| log.txt           | in a sweep: what the run printed                                      |
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import weakref
import zipfile
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from alexnet_exp.config import Config, leaves, to_plain
from alexnet_exp.config.training import Schedule
from alexnet_exp.errors import OtherRunError, UserError

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads config.yaml, in C where PyYAML was built with it: a tenth of the time."""

# What may differ between two runs with the same result.
NEUTRAL = {
    "logger": None,
    "sweep": None,
    "evaluation": ("batch_size",),
    "data": ("root", "stores", "workers", "resident"),  # data.fingerprint stands for the root
    "trainer": (
        "progress", "checkpoint_every", "keep_last_checkpoint",
        "devices", "num_nodes", "channels_last",
    ),
    "strategy": ("name", "bucket_mb", "timeout"),
    "speed": None,
}  # fmt: skip

# What a run that is asked for more epochs puts aside until it has run them.
_RESULTS = ("result.json", "predictions.npz", "config.yaml")
_BEFORE = "before_"

# Fields that bear on the result and that earlier versions lacked, with what they then were.
_ONCE: dict[str, dict[str, Any]] = {
    "strategy": {"bf16_gradients": False},
    "data": {"encoding": "raw", "subset": 1.0},
}


def config_hash(config: Config) -> str:
    """Twelve hexadecimal digits of everything in the configuration that bears on the result."""
    text = json.dumps(_set_fields(to_plain(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _set_fields(plain: dict[str, Any]) -> dict[str, Any]:
    """What bears on the result, by dotted path; null is as good as a field not yet invented."""
    return {path: value for path, value in leaves(bearing(plain)) if value is not None}


def bearing(plain: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that have no bearing on the result.

    Args:
        plain: A configuration, perhaps recorded by an earlier version.
    """
    kept = dict(plain)
    for group, fields in NEUTRAL.items():
        part = plain.get(group, {})
        if isinstance(part, dict):  # or config.yaml is of another program
            names = part if fields is None else fields
            whole = {**_ONCE.get(group, {}), **part}
            kept[group] = {key: value for key, value in whole.items() if key not in names}
    return kept


class RunFolder:
    """The folder of one run.

    Args:
        path: Folder; made when the run starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"

    def result(self, config: Config) -> dict[str, Any] | None:
        """What a finished run of this configuration has recorded; None also if it may go further.

        Raises:
            UserError: The folder holds a run of another configuration.
        """
        recorded = self.recorded_config()
        if recorded is not None:
            self.refuse_other_run(config, recorded)
            if self.goes_further(config, recorded):
                return None
        return self.finished()

    def goes_further(self, config: Config, recorded: dict[str, Any]) -> bool:
        """Whether all that ``config`` asks for beyond the recorded run are more epochs.

        A cosine schedule would have been another one from the first step.
        """
        old, new = _set_fields(recorded), _set_fields(to_plain(config))
        name = "trainer.max_epochs"
        same = all(old.get(p) == new.get(p) for p in {*old, *new} - {"config_hash", name})
        more = isinstance(old.get(name), int) and old[name] < new[name]
        return same and more and config.optim.schedule != Schedule.cosine and self.last.exists()

    def finished(self) -> dict[str, Any] | None:
        """What a finished run, of whatever configuration, has recorded, or None."""
        file = self.path / "result.json"
        return self._read(file, "metrics") if file.exists() else None

    def check_predictions(self) -> None:
        """Look whether a finished run's predictions are whole.

        Raises:
            UserError: They are missing or cut off.
        """
        file = self.path / "predictions.npz"
        if not zipfile.is_zipfile(file):
            raise UserError(f"{file} is damaged: remove {self.path} to run again")

    def divergence(self) -> str | None:
        """Why a run of this configuration came to nothing, or None."""
        file = self.path / "diverged.json"
        return str(self._read(file, "message")["message"]) if file.exists() else None

    def recorded_config(self) -> dict[str, Any] | None:
        """The configuration of the run that lies here, or None.

        Raises:
            UserError: config.yaml is damaged or of another program.
        """
        file = self.path / "config.yaml"
        if not file.exists():
            return None
        try:
            recorded = yaml.load(file.read_text(), Loader)
        except (yaml.YAMLError, OSError, ValueError) as error:
            raise UserError(f"{file} is damaged: remove {self.path} to run again") from error
        if not isinstance(recorded, dict):
            raise UserError(f"{file} is not of a run: set hydra.run.dir=<another folder>")
        return recorded

    def is_running(self) -> bool:
        """Whether a process is at work in the folder."""
        try:
            with (self.path / ".lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _read(self, file: Path, field: str) -> dict[str, Any]:
        """A JSON file of the folder that holds ``field``."""
        try:
            content: Any = json.loads(file.read_text())
            known = field in content
        except (ValueError, TypeError) as error:
            raise UserError(f"{file} is damaged: remove {self.path} to run again") from error
        if not known:
            raise UserError(f"{file} is damaged: remove {self.path} to run again")
        return dict(content)

    def start(self, config: Config) -> bool:
        """Write what is known before training.

        Returns:
            Whether an earlier, unfinished run of the same configuration lies here to go on from.

        Raises:
            UserError: The folder can't be written, or another process is running in it.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._put_aside()
            marked = {"config_hash": config_hash(config), **to_plain(config)}
            _write(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(marked)))
            _write(self.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"can't write the run folder {self.path}: {error.strerror}; set"
                " hydra.run.dir=<another folder>"
            ) from error
        return self.last.exists()

    def _put_aside(self) -> None:
        """Keep what a run that goes further has recorded, until it has recorded more."""
        if not (self.path / "result.json").exists():
            return
        for name in _RESULTS:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path / name, self.path / f"{_BEFORE}{name}")

    def _lock(self) -> None:
        """Hold the folder until this process ends, however it ends."""
        self._held = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is running in {self.path}: wait for it, or set"
                " hydra.run.dir=<another folder>"
            ) from error
        os.register_at_fork(after_in_child=partial(_let_go, weakref.ref(self._held)))

    def withdraw(self) -> None:
        """Take back what ``start`` wrote, for a run that could not begin after all."""
        for name in _RESULTS:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path / f"{_BEFORE}{name}", self.path / name)
        if self.last.exists() or (self.path / "result.json").exists():
            return
        for name in ("config.yaml", "environment.json", "metrics.csv", ".lock"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "wandb", ignore_errors=True)
        RunFolder(self.checkpoints).discard()
        self.discard()

    def discard(self) -> None:
        """Remove the folder if it is empty, and in ``runs/`` those above it that are then empty."""
        default = Path.cwd() / "runs"
        folder = self.path.absolute()
        try:
            folder.rmdir()
            while default in folder.parents:
                folder = folder.parent
                folder.rmdir()
        except OSError:
            return

    def record_divergence(self, message: str) -> None:
        """Note that the run came to nothing, so that it is not started again in vain."""
        _write(self.path / "diverged.json", json.dumps({"message": message}, indent=2) + "\n")
        self.last.unlink(missing_ok=True)
        (self.path / ".lock").unlink(missing_ok=True)

    def record(
        self, result: dict[str, Any], predictions: dict[str, list[Any]], keep_last: bool
    ) -> None:
        """Write predictions, then ``result.json``, each atomically.

        Args:
            result: What came out.
            predictions: Columns by split, a list of batches.
            keep_last: Keep ``last.ckpt``, which only an unfinished run needs.
        """
        columns: dict[str, np.ndarray] = {}
        parts = [
            {**part, "split": np.full(len(part["index"]), split)}
            for split, batches in predictions.items()
            for part in batches
        ]
        for name in parts[0] if parts else ():
            columns[name] = np.concatenate([part[name] for part in parts])
        partial = self.path / "predictions.partial.npz"
        try:
            np.savez_compressed(partial, **columns)  # type: ignore[arg-type]
            os.replace(partial, self.path / "predictions.npz")
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _write(self.path / "result.json", json.dumps(result, indent=2) + "\n")
        for name in _RESULTS:
            (self.path / f"{_BEFORE}{name}").unlink(missing_ok=True)
        if not keep_last:
            self.last.unlink(missing_ok=True)
        (self.path / ".lock").unlink(missing_ok=True)

    def refuse_other_run(self, config: Config, recorded: dict[str, Any]) -> None:
        """Compare a configuration with the one that ``recorded_config`` gave.

        Raises:
            OtherRunError: They differ in something that bears on the result.
        """
        if self.goes_further(config, recorded):
            return
        old, new = _set_fields(recorded), _set_fields(to_plain(config))
        changed = [
            f"{path} was {old.get(path)}, is {new.get(path)}"
            for path in sorted({*old, *new} - {"config_hash"})
            if old.get(path) != new.get(path)
        ]
        if changed:
            raise OtherRunError(
                f"{self.path} holds a run of another configuration: {', '.join(changed)}",
                "Set them as they were, set hydra.run.dir=<another folder>, or remove this one",
            )


def _let_go(held: "weakref.ref[IO[str]]") -> None:
    """In a new process, as of a DataLoader, which may outlive a killed run by seconds."""
    lock = held()
    if lock is not None:
        lock.close()


def environment() -> dict[str, Any]:
    """Git revision, versions, hardware and command of this process."""
    import torch  # seconds, which reading run folders does not need

    packages = ("alexnet-exp", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core")
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "git_revision": _git("rev-parse", "HEAD"),
        "git_changed": None if changed is None else bool(changed),
        "python": platform.python_version(),
        "versions": versions,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
        "command": sys.argv,
    }


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this package lies in; None outside of one."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / "pyproject.toml").exists():
        return None
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _write(file: Path, text: str) -> None:
    """Write under another name and rename, so that no reader sees half a file."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text)
    os.replace(partial, file)

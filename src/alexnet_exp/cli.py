"""How every command starts and ends: set-up, Hydra, one message for a mistake, exit codes."""

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from alexnet_exp.config import Config, conf_folder, register, to_config
from alexnet_exp.config.compose import as_hydra
from alexnet_exp.console import say
from alexnet_exp.errors import (
    FAILED,
    INTERRUPTED,
    MISTAKE,
    RankError,
    SweepStoppedError,
    UserError,
)
from alexnet_exp.experiments import check_overrides
from alexnet_exp.hardware import is_out_of_memory, keep_freed_memory
from alexnet_exp.runs.folder import RunFolder

# Lines of Hydra's messages that tell a user nothing.
_INTERNALS = (
    "full_key:", "reference_type=", "object_type=", "Available options", "Config search path",
    "provider=", "Set the environment variable", "See https://hydra.cc",
    "To append to your config use",
)  # fmt: skip


def run(task: Callable[[Any, Path], object], sweeps: bool = False, name: str = "config") -> None:
    """Compose the configuration from the command line and run ``task(config, run_folder)``.

    Args:
        task: What to do.
        sweeps: Whether ``-m`` and ``+sweep=...`` run it many times, each in a process of its own.
        name: Of the primary configuration; its schema must be registered.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.
    """
    # Otherwise Hydra prints its own errors and always ends with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    register()
    keep_freed_memory()
    sys.argv = [as_hydra(argument) for argument in sys.argv]

    if not sweeps and name == "config" and {"--help", "-h"} & set(sys.argv):
        print(f"{sys.modules['__main__'].__doc__}\nThe groups and fields are those of train:\n")
    command = _Command(task, sweeps)
    main = hydra.main(config_path=str(conf_folder()), config_name=name, version_base="1.3")
    try:
        main(command)()
    except UserError as error:
        mistake(str(error))
    except SweepStoppedError as stop:
        ended = "every job has ended" if not stop.left else f"{stop.left} jobs have yet to end"
        interrupted(f"{ended}; the same command goes on", 128 + stop.number)
    except KeyboardInterrupt:
        interrupted("the same command goes on")
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if command.started:
            raise
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            mistake(f"can't make the run folder ({error}): set hydra.run.dir=<another folder>")
        mistake(_composition_error(error))
    if command.undone_jobs:
        sys.exit(FAILED)


class _Command:
    """What Hydra calls with the composed configuration, or in a sweep's jobs hands to the launcher.

    Args:
        task: ``task(config, run_folder)``.
        sweeps: Whether it may be run as a sweep.
    """

    def __init__(self, task: Callable[[Any, Path], object], sweeps: bool) -> None:
        self.sweeps = sweeps
        self.undone_jobs = 0
        self.started = False
        self._task = task

    def __call__(self, raw: DictConfig) -> None:
        """Run one task; a mistake of the user's ends the process with one message."""
        folder = Path(HydraConfig.get().runtime.output_dir)
        self.started = True
        try:
            config = to_config(raw)
            if config.sweep.dry_run:
                raise UserError("sweep.dry_run=true lists the jobs of a sweep: add -m")
            hydra_config = HydraConfig.get()
            name = str(hydra_config.job.config_name)
            notes = check_overrides(config, list(hydra_config.overrides.task), name)
            if config.trainer.progress:
                for note in notes:
                    say(note)
            self._task(config, folder)
        except UserError as error:
            RunFolder(folder).discard()
            mistake(str(error))
        except RankError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(FAILED)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            out_of_memory(error, config)
        except KeyboardInterrupt:
            RunFolder(folder).discard()
            where = f" with hydra.run.dir={folder}" if folder.exists() else ""
            interrupted(f"the same command{where} goes on")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            mistake(
                f"the disk is full ({error}): make room, and the same command with"
                f" hydra.run.dir={folder} goes on"
            )


def mistake(message: str) -> NoReturn:
    """Print one message and end with the exit code for a user's mistake."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKE)


def out_of_memory(error: BaseException, config: Config) -> NoReturn:
    """Say what to lower and end as failed."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    print(
        f"error: out of memory: lower data.batch_size (now {config.data.batch_size}),"
        f" evaluation.batch_size (now {config.evaluation.batch_size}) or model.width ({reason})",
        file=sys.stderr,
    )
    sys.exit(FAILED)


def interrupted(note: str, code: int = INTERRUPTED) -> NoReturn:
    """Say so and end with the exit code for Ctrl-C, or ``code``."""
    print(f"\ninterrupted; {note}", file=sys.stderr)
    sys.exit(code)


def _composition_error(error: BaseException) -> str:
    """What Hydra and OmegaConf say, less their internals, and the nearest correct name."""
    messages: list[str] = []
    hints: list[str] = []
    current: BaseException | None = error
    while current is not None:
        for line in (line.strip() for line in str(current).splitlines()):
            if line and not line.startswith(_INTERNALS) and line not in messages:
                messages.append(line)
        if isinstance(current, ConfigKeyError | ConfigAttributeError) and is_dataclass(
            current.object_type
        ):
            names = [field.name for field in fields(current.object_type)]
            hints = get_close_matches(str(current.key), names, 3) or names
        if isinstance(current, MissingConfigException) and current.options:
            wanted = str(current.missing_cfg_file).rpartition("/")[2]
            messages = [line for line in messages if line not in current.options]
            hints = get_close_matches(wanted, current.options, 3) or list(current.options)
        if isinstance(current, OverrideParseException):
            name, _, value = current.override.partition("=")
            quoted = value.replace("'", "\\'")
            messages = [f"{name}: an override has the form name=value"]
            if "[" in value or "{" in value:
                messages = [f"{current.override} can't be read: look at its brackets and quotes"]
            elif value:
                messages = [
                    f"{current.override} can't be read: put a value with signs such as ( = , or '"
                    f" into two pairs of quotes, \"{name}='{quoted}'\""
                ]
        current = current.__cause__
    if hints:
        messages.append(f"did you mean {' or '.join(hints)}?")
    return "\n  ".join([*messages, "--help lists the groups, --cfg job every field"])

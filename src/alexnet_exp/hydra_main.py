"""Runs a task with what Hydra composes from the command line."""

import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alexnet_exp.cli import Task
from alexnet_exp.config import conf_folder, register, to_config
from alexnet_exp.config.compose import as_hydra
from alexnet_exp.console import say
from alexnet_exp.errors import FAILED, RankError, SweepStoppedError, UserError, interrupted, mistake
from alexnet_exp.experiments import check_overrides
from alexnet_exp.hardware import importing, is_out_of_memory, keep_freed_memory
from alexnet_exp.messages import composition_error
from alexnet_exp.runs.folder import RunFolder


def run(task: Task | str, sweeps: bool, name: str) -> None:
    """What :func:`alexnet_exp.cli.run` does."""
    # Otherwise Hydra prints its own errors and always ends with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    register()
    keep_freed_memory()
    try:
        sys.argv = as_hydra(sys.argv)
    except UserError as error:
        mistake(str(error))

    if not sweeps and name == "config" and {"--help", "-h"} & set(sys.argv):
        print(f"{sys.modules['__main__'].__doc__}\nThe groups and fields are those of train:\n")
    command = Command(task, sweeps)
    main = hydra.main(config_path=str(conf_folder()), config_name=name, version_base="1.3")
    try:
        main(command)()
    except SweepStoppedError as stop:
        ended = "every job has ended" if not stop.left else f"{stop.left} jobs have yet to end"
        interrupted(f"{ended}; the same command goes on", 128 + stop.number)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if command.started:
            raise
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            mistake(f"can't make the run folder ({error}): set hydra.run.dir=<another folder>")
        mistake(composition_error(error))
    if command.undone_jobs:
        sys.exit(FAILED)


class Command:
    """What Hydra calls with the composed configuration, or in a sweep hands to the launcher."""

    def __init__(self, task: Task | str, sweeps: bool) -> None:
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
            given, name = HydraConfig.get().overrides.task, HydraConfig.get().job.config_name
            notes = check_overrides(config, list(given), str(name))
            for note in notes if config.trainer.progress else ():
                say(note)
            _found(self._task)(config, folder)
        except UserError as error:
            RunFolder(folder).discard()
            mistake(str(error))
        except RankError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(FAILED)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            print(
                f"error: out of memory: lower data.batch_size (now {config.data.batch_size}),"
                f" evaluation.batch_size (now {config.evaluation.batch_size}) or model.width"
                f" ({reason})",
                file=sys.stderr,
            )
            sys.exit(FAILED)
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


def _found(task: Task | str) -> Task:
    if isinstance(task, str):
        module, _, name = task.partition(":")
        with importing():
            task = cast(Task, getattr(import_module(module), name))
    return task

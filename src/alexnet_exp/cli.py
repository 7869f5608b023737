"""How every command starts and ends: set-up, Hydra, one message for a mistake, exit codes."""

import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from alexnet_exp.config import Config, conf_folder, register, to_config
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import keep_freed_memory
from alexnet_exp.runs import RunFolder

MISTAKE, INTERRUPTED = 2, 130

# Lines of Hydra's messages that tell a user nothing.
_INTERNALS = (
    "full_key:", "reference_type=", "object_type=", "Available options", "Config search path",
    "provider=", "Set the environment variable", "See https://hydra.cc",
)  # fmt: skip


def run(task: Callable[[Config, Path], object]) -> None:
    """Compose the configuration from the command line and run ``task(config, run_folder)``.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.
    """
    # Otherwise Hydra prints its own errors and always ends with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    register()
    keep_freed_memory()

    started: list[Path] = []

    @hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")
    def composed(raw: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        started.append(folder)
        try:
            config = to_config(raw)
            _refuse_idle_experiment(config)
            task(config, folder)
        except UserError as error:
            RunFolder(folder).discard()
            mistake(str(error))
        except KeyboardInterrupt:
            interrupted(f"the same command with hydra.run.dir={folder} goes on")

    try:
        composed()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if started:
            raise
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            mistake(f"can't make the run folder ({error}): set hydra.run.dir=<another folder>")
        mistake(_composition_error(error))


def _refuse_idle_experiment(config: Config) -> None:
    """An experiment that changes nothing under this recipe would be recorded under a false name."""
    overrides = list(HydraConfig.get().overrides.task)
    others = [item for item in overrides if not item.lstrip("+").startswith("experiment=")]
    if others == overrides or config.experiment == "baseline":
        return
    without = to_config(hydra.compose("config", others))
    if replace(without, experiment=config.experiment) == config:
        raise UserError(
            f"+experiment={config.experiment} changes nothing with recipe={config.recipe}, which"
            " leaves that out already: choose another recipe or data set"
        )


def mistake(message: str) -> NoReturn:
    """Print one message and end with the exit code for a user's mistake."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKE)


def interrupted(note: str) -> NoReturn:
    """Say so and end with the exit code for Ctrl-C."""
    print(f"\ninterrupted; {note}", file=sys.stderr)
    sys.exit(INTERRUPTED)


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
        current = current.__cause__
    if hints:
        messages.append(f"did you mean {' or '.join(hints)}?")
    return "\n  ".join([*messages, "--help lists the groups, --cfg job every field"])

"""How every command starts and ends: set-up, Hydra, one message for a mistake, exit codes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alexnet_exp.config import Config, conf_folder, register, to_config
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import keep_freed_memory

FAILED, MISTAKE = 1, 2


def run(task: Callable[[Config, Path], object]) -> None:
    """Compose the configuration from the command line and run ``task(config, run_folder)``.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.
    """
    # Otherwise Hydra prints its own errors and always ends with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    register()
    keep_freed_memory()

    @hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")
    def composed(raw: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            task(to_config(raw), folder)
        except UserError as error:
            _remove_empty(folder)
            mistake(str(error))
        except KeyboardInterrupt:
            print(f"\ninterrupted; the same command with hydra.run.dir={folder} goes on",
                  file=sys.stderr)  # fmt: skip
            sys.exit(130)

    try:
        composed()
    except (HydraException, OmegaConfBaseException) as error:
        mistake(_composition_error(error))


def mistake(message: str) -> NoReturn:
    """Print one message and end with the exit code for a user's mistake."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(MISTAKE)


def _composition_error(error: BaseException) -> str:
    """The innermost reason first: Hydra wraps OmegaConf's messages."""
    messages: list[str] = []
    current: BaseException | None = error
    while current is not None:
        lines = [line for line in str(current).splitlines() if line.strip()]
        lines = [line for line in lines if not line.strip().startswith("object_type=")]
        text = "\n  ".join(lines)
        if text and text not in messages:
            messages.append(text)
        current = current.__cause__
    return "\n  ".join(messages) + "\n  --help lists the groups, --cfg job every field"


def _remove_empty(folder: Path) -> None:
    """Take away the run folder that Hydra made for a run that never started."""
    try:
        while folder.name and folder != Path.cwd():
            folder.rmdir()
            folder = folder.parent
    except OSError:
        return

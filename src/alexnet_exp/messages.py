"""What Hydra and OmegaConf say of a mistake, less their internals, with the nearest name."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from alexnet_exp.config import conf_folder
from alexnet_exp.config.arguments import meant

# Lines of Hydra's messages that tell a user nothing.
_INTERNALS = (
    "full_key:", "reference_type=", "object_type=", "Available options", "Config search path",
    "provider=", "Set the environment variable", "See https://hydra.cc",
    "To append to your config use", "To override a value use",
)  # fmt: skip


def composition_error(error: BaseException) -> str:
    """One message for an error that Hydra raised while composing."""
    messages: list[str] = []
    hint = ""
    current: BaseException | None = error
    while current is not None:
        for line in (line.strip() for line in str(current).splitlines()):
            if line and not line.startswith(_INTERNALS) and line not in messages:
                messages.append(line)
        if isinstance(current, ConfigKeyError | ConfigAttributeError) and is_dataclass(
            current.object_type
        ):
            names = [field.name for field in fields(current.object_type)]
            hint = meant(str(current.key), names)
        if isinstance(current, MissingConfigException) and current.missing_cfg_file:
            group, _, wanted = current.missing_cfg_file.rpartition("/")
            shipped = sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))
            options = list(current.options or shipped)  # Hydra has none for a list of them
            messages = [line for line in messages if line not in options]
            close = get_close_matches(wanted, options, 3)
            meant_one = f"did you mean {' or '.join(close)}?"
            hint = meant_one if close else f"choose from {', '.join(options)}"
        if "convert 'DictConfig' to string" in str(current):
            messages.append("an experiment's file begins with the line # @package _global_")
        if isinstance(current, OverrideParseException):
            messages = [_unreadable(current.override)]
        if str(current).startswith("Multiple values for "):
            group = str(current).removeprefix("Multiple values for ").partition(".")[0]
            messages = [f"{group} is given twice: several at once are {group}=[one,other]"]
        current = current.__cause__
    if hint:
        messages.append(hint)
    command = "python -m alexnet_exp.train"
    return "\n  ".join([*messages, f"{command} --help lists the groups, --cfg job every field"])


def _unreadable(override: str) -> str:
    """What is wrong with an override that Hydra's grammar does not know."""
    name, _, value = override.partition("=")
    if "[" in value or "{" in value:
        return f"{override} can't be read: look at its brackets and quotes"
    if value:
        quoted = value.replace("'", "\\'")
        return (
            f"{override} can't be read: put a value with signs such as ( = , or '"
            f" into two pairs of quotes, \"{name}='{quoted}'\""
        )
    return f"{name}: an override has the form name=value"

"""Keys beyond the schema: further arguments of Lightning's Trainer, optimizers and loggers."""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from alexnet_exp.config.bearing import REFUSED_ARGUMENTS
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.config.schema import Config, leaves, to_plain
from alexnet_exp.config.training import LoggerConfig, OptimConfig, TrainerConfig
from alexnet_exp.errors import UserError

OPEN = {"trainer": "arguments", "optim": "arguments", "logger": "others"}
"""Groups that take keys beyond their schema, with the field that keeps them."""


def fold_added(composed: DictConfig) -> DictConfig:
    """A copy with ``+trainer.x``, ``+optim.x`` and ``+logger.x`` where the schema keeps them.

    Raises:
        UserError: Nothing takes an added field.
    """
    folded = composed.copy()
    for group, below in OPEN.items():
        node = folded.get(group)
        if not isinstance(node, DictConfig):
            continue
        schema: Any = OmegaConf.get_type(node)
        known = [item.name for item in fields(schema)]
        with open_dict(node):
            for name in [str(name) for name in node if name not in known]:
                node[below][name] = node.pop(name)
    for path, names in _added(folded, ""):
        raise no_field(f"+{path}", names)
    return folded


def check_arguments(config: Config) -> None:
    """Look whether whoever is given further arguments takes them, and can be imported.

    Raises:
        UserError: It does not, it can't, or an argument would break a promise.
    """
    _check_trainer(config.trainer)
    _check_optimizer(config.optim)
    for group, items in (("callbacks", config.callbacks), ("logger", config.logger.others)):
        for name, item in items.items():
            if not isinstance(item, dict) or "_target_" not in item:
                own = [item.name for item in fields(LoggerConfig)] if group == "logger" else []
                close = " or ".join(get_close_matches(name, own, 3))
                raise UserError(
                    f"{group}.{name}: there is no such field{close and f'; did you mean {close}?'};"
                    f" a class of your own is +{group}.{name}._target_=<module>.<class>"
                )
            find(str(item["_target_"]), f"{group}.{name}")


def _check_trainer(trainer: TrainerConfig) -> None:
    for name in trainer.arguments:
        if name in REFUSED_ARGUMENTS:
            raise UserError(f"trainer.{name} is not taken: {REFUSED_ARGUMENTS[name]}")
    if not trainer.arguments:
        return
    batches = trainer.arguments.get("accumulate_grad_batches", 1)
    if not isinstance(batches, int) or batches < 1:  # Lightning divides by it
        raise UserError(f"trainer.accumulate_grad_batches={batches} must be at least 1")
    from lightning import Trainer  # seconds, which most configurations do not need

    own = {item.name for item in fields(TrainerConfig)} - {"arguments"}
    known = own | inspect.signature(Trainer.__init__).parameters.keys() - {"self"}
    for name in trainer.arguments:
        if name not in known:
            raise no_field(f"trainer.{name}", sorted(known - REFUSED_ARGUMENTS.keys()))


def _check_optimizer(optim: OptimConfig) -> None:
    own = [item.name for item in fields(OptimConfig)]
    if optim._target_ is None:
        for name in optim.arguments:
            raise no_field(f"optim.{name}", own)
        return
    known = inspect.signature(find(optim._target_, "optim")).parameters
    if not any(item.kind is item.VAR_KEYWORD for item in known.values()):
        for name in optim.arguments.keys() - known.keys():
            raise no_field(f"optim.{name}", sorted({*own, *known} - {"params", "arguments"}))


def find(target: str, path: str) -> Any:
    """The class or function that ``<path>._target_`` names.

    Raises:
        UserError: It can't be imported.
    """
    try:
        return get_object(target)
    except Exception as error:  # importing somebody's module may raise anything
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        raise UserError(f"{path}._target_={target} can't be imported: {reason}") from error


def meant(name: str, own: Iterable[str]) -> str:
    """What may have been meant by a name that is none of ``own``, as a question or a list.

    A name of the same group, or of another with that group, or else all of ``own``.
    """
    own = list(own)
    close = get_close_matches(name, own, 3)
    if not close:
        paths = [path for path, _ in leaves(to_plain(Config(model=ModelConfig(conv={}))))]
        ends = {path.rpartition(".")[2] for path in paths}
        alike = [name] if name in ends else get_close_matches(name, ends, 2)
        close = [path for path in paths if path.rpartition(".")[2] in alike]
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(own)}"


def no_field(path: str, names: Iterable[str]) -> UserError:
    """That a dotted path names no field, and which of ``names`` of its group may be meant."""
    hint = meant(path.rpartition(".")[2].lstrip("+"), names)
    return UserError(f"{path}: there is no such field; {hint}")


def _added(node: DictConfig, path: str) -> Iterator[tuple[str, list[str]]]:
    """Keys that the schema lacks, with the names it has there; ``+name=`` gets them past Hydra."""
    schema = OmegaConf.get_type(node)
    known = [item.name for item in fields(schema)] if is_dataclass(schema) else None
    for key in map(str, node):
        below = f"{path}{key}"
        if known is not None and key not in known:
            yield below, known
        elif not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            yield from _added(node[key], f"{below}.")

"""Keys beyond the schema: further arguments of Lightning's Trainer, optimizers and loggers."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from alexnet_exp.config.bearing import REFUSED_ARGUMENTS
from alexnet_exp.errors import UserError


def fold_added(composed: DictConfig) -> DictConfig:
    """A copy with ``+trainer.x``, ``+optim.x`` and ``+logger.x`` where the schema keeps them.

    Raises:
        UserError: Nothing takes an added field.
    """
    folded = composed.copy()
    for group, below in (("trainer", "arguments"), ("optim", "arguments"), ("logger", "others")):
        node = folded.get(group)
        if not isinstance(node, DictConfig):
            continue
        known = [item.name for item in fields(OmegaConf.get_type(node))]
        with open_dict(node):
            for name in [str(name) for name in node if name not in known]:
                node[below][name] = node.pop(name)
    for path, names in _added(folded, ""):
        raise UserError(f"+{path}: there is no such field{_did_you_mean(path, names)}")
    return folded


def check_arguments(trainer: dict[str, Any], own: list[str]) -> None:
    """Look whether Lightning's Trainer takes these arguments.

    Args:
        trainer: Further arguments.
        own: Fields of ``trainer`` that are not among them.

    Raises:
        UserError: It does not, or one would break a promise.
    """
    if not trainer:
        return
    from lightning import Trainer  # seconds, which most configurations do not need

    known = {*inspect.signature(Trainer.__init__).parameters} - {"self"}
    for name in trainer:
        if name in REFUSED_ARGUMENTS:
            raise UserError(f"+trainer.{name} is not taken: {REFUSED_ARGUMENTS[name]}")
        if name not in known:
            names = sorted({*own, *known} - REFUSED_ARGUMENTS.keys() - {"arguments"})
            raise UserError(
                f"+trainer.{name}: there is no such field{_did_you_mean(name, names, own)}"
            )


def check_optimizer(target: str | None, arguments: dict[str, Any], own: list[str]) -> None:
    """Look whether the optimizer can be had and takes these arguments.

    Raises:
        UserError: It can't, or it does not.
    """
    if target is None:
        for name in arguments:
            raise UserError(f"+optim.{name}: there is no such field{_did_you_mean(name, own)}")
        return
    known = inspect.signature(find(target, "optim")).parameters
    if any(item.kind is item.VAR_KEYWORD for item in known.values()):
        return
    for name in arguments:
        if name not in known:
            names = sorted(known.keys() - {"self", "params"})
            raise UserError(
                f"+optim.{name}: {target} has no such argument{_did_you_mean(name, names)}"
            )


def check_targets(group: str, items: dict[str, Any], own: list[str]) -> None:
    """Look whether each entry of ``callbacks`` or ``logger`` names a class that can be imported.

    Raises:
        UserError: One does not.
    """
    for name, item in items.items():
        if not isinstance(item, dict) or "_target_" not in item:
            hint = _did_you_mean(name, own) if own else ""
            raise UserError(
                f"{group}.{name}: there is no such field{hint}; a class of your own is"
                f" +{group}.{name}._target_=<module>.<class>"
            )
        find(item["_target_"], f"{group}.{name}")


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


def _did_you_mean(path: str, names: list[str], otherwise: list[str] | None = None) -> str:
    close = get_close_matches(path.rpartition(".")[2], names, 3) or otherwise or names
    return f"; did you mean {' or '.join(close)}?"


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

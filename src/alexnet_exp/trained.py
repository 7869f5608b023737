"""What a command is to look at: a run or a checkpoint by its path, or weights of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_exp.console import say
from alexnet_exp.errors import UserError

if TYPE_CHECKING:
    from alexnet_exp.config import Config
    from alexnet_exp.training.classifier import Classifier

_WEIGHTS = "model.weights"


def names_weights(overrides: Sequence[str]) -> bool:
    """Whether one of them is ``model.weights=...``."""
    return any(word.lstrip("+").partition("=")[0] == _WEIGHTS for word in overrides)


def load(path: Path, *overrides: str) -> "Classifier":
    """``Classifier.load``, with a line for the user where it is not what it may be taken for."""
    from alexnet_exp.training.checkpoint import is_unfinished
    from alexnet_exp.training.classifier import Classifier

    classifier = Classifier.load(path, *overrides)
    if is_unfinished(path):
        say(f"{path} has not finished its training: this is its best epoch so far")
    if classifier.config.data.source == "synthetic":
        say(f"{path} was trained on drawn images, not on photos")
    return classifier


def with_weights(config: "Config", classes: Sequence[str]) -> "Classifier":
    """A classifier of these classes with ``model.weights``; ``config`` is settled.

    Raises:
        UserError: The weights can't be used, or are for other classes.
    """
    import numpy as np

    from alexnet_exp.network.pretrained import read_weights
    from alexnet_exp.training.classifier import Classifier

    weights, data = read_weights(config.model), config.data
    if not weights.is_for(classes):
        from alexnet_exp.data.sources.imagenet import wnids

        others = " of other names" * (weights.classes == len(classes))
        some = ", evaluate photos of some of the classes with --photos" * (
            weights.classes == len(wnids()) and {*classes} < {*wnids()}
        )
        raise UserError(
            f"model.weights={weights.path} has {weights.classes} classes and data={data.name} has"
            f" {len(classes)}{others}: choose other data (data=...){some}, or train a new output"
            " layer with python -m alexnet_exp.train +experiment=finetune"
        )
    # The mean image is in the weights, and color noise is for training alone.
    mean = np.zeros((data.image_size, data.image_size, data.channels), np.float32)
    try:
        classifier = Classifier(config, classes, mean, np.eye(data.channels))
    except ValueError as error:
        raise UserError(str(error)) from error
    for line in classifier.start_from(weights):
        say(line)
    return classifier.eval()


def for_photos(overrides: Sequence[str]) -> "Classifier":
    """A classifier with ``model.weights``, of which only the names of the classes are asked.

    They are those of a run of ours, of ``data=...`` if that is among the overrides, or else the
    1,000 of ImageNet (2012).

    Raises:
        UserError: An override is wrong, or the weights can't be used.
    """
    from alexnet_exp.data.sources.imagenet import wnids
    from alexnet_exp.experiments import load_config
    from alexnet_exp.network.pretrained import read_weights
    from alexnet_exp.training.settle import settle_hardware

    has_data = any(override.startswith("data=") for override in overrides)
    config = load_config(*overrides, *([] if has_data else ["data=imagenet"]))
    settle_hardware(config)
    names = read_weights(config.model).class_names
    return with_weights(config, names or (_names_of(config) if has_data else wnids()))


def _names_of(config: "Config") -> list[str]:
    from alexnet_exp.data.sources.source import open_source
    from alexnet_exp.data.store.store import prepare, store_path

    if config.data.root is None or not Path(config.data.root).expanduser().is_dir():
        return prepare(config.data).classes  # which cleans up what it had to unpack
    return open_source(config.data, store_path(config.data)).classes

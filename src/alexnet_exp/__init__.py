"""What did each idea in AlexNet buy? Ablations of Krizhevsky, Sutskever and Hinton (2012).

A notebook imports from here; each name is imported when it is first asked for (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_exp.config.model import ModelConfig
    from alexnet_exp.data.datamodule import StoreDataModule
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.experiments import load_config
    from alexnet_exp.network.alexnet import AlexNet
    from alexnet_exp.training.classifier import Classifier

__version__ = "0.1.0"
__all__ = ["AlexNet", "Classifier", "ModelConfig", "StoreDataModule", "load_config", "prepare"]

_WHERE = {
    "AlexNet": "network.alexnet",
    "Classifier": "training.classifier",
    "ModelConfig": "config.model",
    "StoreDataModule": "data.datamodule",
    "load_config": "experiments",
    "prepare": "data.store.store",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    return value

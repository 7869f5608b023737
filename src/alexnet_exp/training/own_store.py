"""The images that a checkpoint was trained and is tested on."""

from pathlib import Path

from alexnet_exp.config import Config
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from alexnet_exp.training.checkpoint import load_checkpoint


def own_store(path: Path, config: Config, *, progress: bool = True) -> Store:
    """The packed data of a checkpoint or run folder; packed again where the store is gone.

    ``config`` is the checkpoint's, with changes such as ``data.root=...``.

    Raises:
        UserError: The data can't be had, or are other images or another split than those that it
            was trained on.
    """
    trained_on = load_checkpoint(path)["hyper_parameters"]["config"]["data"]
    store = prepare(config.data, progress=progress)
    fold = trained_on.get("fold", config.data.fold)
    if (config.data.fold, config.data.fingerprint) != (fold, store.meta["fingerprint"]):
        raise UserError(
            f"checkpoint {path} was trained on other images or another split than those of"
            f" {config.data.root or config.data.name}: its test images might be among those it"
            " learned from. Use the data and data.* settings of its run (evaluate --photos takes"
            " any photos)"
        )
    return store

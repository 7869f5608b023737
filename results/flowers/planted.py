"""The planted change that the instrument is checked by: it is known to make a network worse."""

from dataclasses import replace

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback


class ShuffledLabels(Callback):
    """Deals out anew the labels of a share of the training photos, of others by each seed.

    Validation and test photos keep theirs.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data = trainer.datamodule
        random = np.random.default_rng(pl_module.config.seed)
        rows = data.store.indices("train")
        chosen = random.choice(rows, round(self.share * len(rows)), replace=False)
        labels = data.store.labels.copy()
        labels[chosen] = random.permutation(labels[chosen])
        data.store = replace(data.store, labels=labels)

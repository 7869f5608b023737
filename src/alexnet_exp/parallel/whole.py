"""Validation and test: the whole network on every device, the predictions of all on the first."""

import copy
from typing import cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from alexnet_exp.parallel.parts import LaidOut
from alexnet_exp.parallel.team import gather

Columns = dict[str, np.ndarray]


class WholeNetwork(Callback):
    """Puts the whole network in the place of this device's part of it for every evaluation.

    Each device then evaluates its own images as one device would, with nothing to send, so the
    counts are those of one device, however many images there are on each. ``network`` is copied
    before a strategy changes it.
    """

    def __init__(self, network: nn.Module) -> None:
        self._whole = copy.deepcopy(network).eval()
        self._part: nn.Module | None = None

    @torch.no_grad()
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        part = cast(nn.Module, pl_module.network)
        strategy = cast(LaidOut, trainer.strategy)
        self._whole.to(pl_module.device, next(part.parameters()).dtype)
        self._whole.load_state_dict(strategy.whole(part.state_dict()))
        self._part, pl_module.network = part, self._whole

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert self._part is not None
        pl_module.network, self._part = self._part, None
        self._whole.cpu()

    on_test_start, on_test_end = on_validation_start, on_validation_end


def gather_predictions(predictions: dict[str, Columns]) -> dict[str, Columns]:
    """All processes' predictions by split, ordered by ``index``; every one has to ask."""
    everywhere = gather(predictions)
    gathered: dict[str, Columns] = {}
    for split, own in predictions.items():
        columns = {name: np.concatenate([one[split][name] for one in everywhere]) for name in own}
        order = np.argsort(columns["index"], kind="stable")
        gathered[split] = {name: column[order] for name, column in columns.items()}
    return gathered

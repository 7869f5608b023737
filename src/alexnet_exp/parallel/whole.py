"""Validation and test: the whole network on every device, the predictions of all on the first."""

import copy
from typing import cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from alexnet_exp.parallel.parts import PartsInCheckpoints
from alexnet_exp.parallel.team import Team

Columns = dict[str, np.ndarray]


class WholeNetwork(Callback):
    """Puts the whole network in the place of this device's part of it for every evaluation.

    Each device then evaluates its own images as one device would, with nothing to send, so the
    counts are those of one device, however many images there are on each.

    Args:
        network: As it was built; copied before a strategy changes it.
    """

    def __init__(self, network: nn.Module) -> None:
        self._whole = copy.deepcopy(network).eval()
        self._part: nn.Module | None = None

    @torch.no_grad()
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the weights."""
        part = cast(nn.Module, pl_module.network)
        strategy = cast(PartsInCheckpoints, trainer.strategy)
        self._whole.to(pl_module.device, next(part.parameters()).dtype)
        self._whole.load_state_dict(strategy.whole(part.state_dict()))
        self._part, pl_module.network = part, self._whole

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with this device's part."""
        assert self._part is not None
        pl_module.network, self._part = self._part, None
        self._whole.cpu()

    on_test_start, on_test_end = on_validation_start, on_validation_end


def gather_predictions(
    team: Team, predictions: dict[str, list[Columns]]
) -> dict[str, list[Columns]]:
    """All processes' predictions in the order of the store, as one process has them.

    Args:
        team: All processes of the run; every one has to ask.
        predictions: Of this one, by split a list of batches; columns of equal length, ``index`` one
            of them.
    """
    everywhere = team.gather(predictions)
    gathered: dict[str, list[Columns]] = {}
    for split in predictions:
        batches = [batch for one in everywhere for batch in one[split]]
        columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
        order = np.argsort(columns["index"], kind="stable")
        gathered[split] = [{name: column[order] for name, column in columns.items()}]
    return gathered

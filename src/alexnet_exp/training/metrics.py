"""Loss and errors, counted on the device."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ErrorCounts(Metric):
    """Mean loss, top-1 and top-5 error over all images of all processes.

    A handful of operations a step and no wait for the device, where a torchmetrics accuracy for
    each figure takes ten times as many. Ties go to the lower class, as in ``predictions.npz``; a
    score that is no number is an error.
    """

    full_state_update = False
    loss: Tensor
    images: Tensor
    top1: Tensor
    top5: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("loss", "images", "top1", "top5"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss, scores (N, classes) and labels (N,) int64."""
        own = scores.gather(1, labels[:, None])
        later = torch.arange(scores.shape[1], device=scores.device) >= labels[:, None]
        behind = (scores < own) | ((scores == own) & later)  # also the class itself
        rank = scores.shape[1] - behind.sum(1)
        # Not in place: what a validation counted are inference tensors, which stay as they are.
        self.loss = self.loss + loss * len(labels)
        self.images = self.images + len(labels)
        self.top1 = self.top1 + (rank < 1).sum()
        self.top5 = self.top5 + (rank < 5).sum()

    def compute(self) -> dict[str, float]:
        """``loss``, ``top1_error`` and ``top5_error``, fractions."""
        images = float(self.images)
        return {
            "loss": float(self.loss) / images,
            "top1_error": round(1 - float(self.top1) / images, 7),
            "top5_error": round(1 - float(self.top5) / images, 7),
        }

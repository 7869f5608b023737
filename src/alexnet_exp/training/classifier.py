"""The LightningModule: loss, optimizer, learning rate and error rates."""

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config import Config, to_plain
from alexnet_exp.errors import DivergedError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.training.compute import TrainingForward, speed_up
from alexnet_exp.training.metrics import ErrorCounts
from alexnet_exp.training.optim import LearningRate, build_optimizer

TEST_SPLITS = ("val", "test")


class Classifier(L.LightningModule):
    """Trains a network to classify, and counts its top-1 and top-5 errors.

    Args:
        config: Resolved configuration; stored in checkpoints as plain dicts.
        class_names: Names of the classes, kept in checkpoints for prediction.
    """

    def __init__(self, config: Config, class_names: list[str]) -> None:
        super().__init__()
        self.config = config
        self.network = speed_up(AlexNet(config.model), config)
        # Also of the images: a convolution answers in the format of its input.
        self.memory_format = (
            torch.channels_last if config.trainer.channels_last else torch.contiguous_format
        )
        self.network = self.network.to(memory_format=self.memory_format)
        self.save_hyperparameters({"config": to_plain(config), "class_names": class_names})
        self._training_forward: TrainingForward | None = None
        self.rate: LearningRate | None = None
        self._restored_rate: dict[str, Any] | None = None
        self.train_errors, self.val_errors = ErrorCounts(), ErrorCounts()
        self.test_errors = nn.ModuleList([ErrorCounts() for _ in TEST_SPLITS])
        self.predictions: dict[str, list[dict[str, np.ndarray]]] = {}

    def forward(self, views: Tensor) -> Tensor:
        """Mean softmax over views: (N, V, C, s, s) to (N, classes) float32."""
        return self._softmax(views).mean(1)

    def _softmax(self, views: Tensor) -> Tensor:
        """Softmax of each view: (N, V, C, s, s) to (N, V, classes)."""
        return self._scores(views.flatten(0, 1)).softmax(1).unflatten(0, views.shape[:2])

    def _scores(self, images: Tensor) -> Tensor:
        """Logits in fp32, or in fp64 with ``trainer.precision=64-true``."""
        if not torch.is_autocast_enabled(images.device.type):
            images = images.to(self.dtype)
        images = images.contiguous(memory_format=self.memory_format)
        if self.training and self._training_forward is None:
            # Its modules, if a strategy has replaced any, are those that compute by now.
            self._training_forward = TrainingForward(self.network, self.config)
        forward = self._training_forward if self.training else self.network
        assert forward is not None
        logits: Tensor = forward(images)
        return logits if logits.dtype == torch.float64 else logits.float()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer alone: the learning rate is set at every step by ``LearningRate``."""
        self.rate = LearningRate(self.config.optim)
        if self._restored_rate is not None:
            self.rate.load_state_dict(self._restored_rate)
        # Lightning does not clip before a fused step, and with a gradient scaler a fused step runs,
        # and starts its momentum, even where the first gradients overflow.
        clipped = self.config.optim.clip_norm is not None
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        fused = self.config.speed.fused_optimizer and self.device.type in ("cpu", "cuda")
        fused = fused and not clipped and not scaled
        return build_optimizer(self.network, self.config.optim, fused)

    def on_train_start(self) -> None:
        """Stop at once where the schedule had come to its end before a resume."""
        assert self.rate is not None
        # Not when the optimizer is built: asking for it there would open a resumed run's batches
        # before the epoch is restored.
        self.rate.total_steps = int(self.trainer.estimated_stepping_batches)
        self.trainer.should_stop = self.trainer.should_stop or self.rate.finished

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Set this step's learning rate."""
        assert self.rate is not None
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        self.rate.apply(optimizer, self.global_step)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        logits = self._scores(batch["images"])
        labels = batch["labels"]
        smoothing = self.config.optim.label_smoothing
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        self.train_errors.update(loss.detach(), logits.detach(), labels)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch and tell the schedule its validation error."""
        assert self.rate is not None
        train_error = self._log_errors("train", self.train_errors)["train/top1_error"]
        self.log("lr", self.rate.at(max(0, self.global_step - 1)))
        val_error = self.trainer.callback_metrics.get("val/top1_error")
        if val_error is not None:
            self.rate.end_epoch(self.current_epoch + 1, float(val_error))
        enough = self.config.trainer.stop_at_train_error
        if enough is not None and train_error <= enough:
            self.rate.finished = True
        self.trainer.should_stop = self.trainer.should_stop or self.rate.finished

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count errors on validation images."""
        self._evaluate(self.val_errors, batch)

    def on_validation_epoch_end(self) -> None:
        """Log validation loss and errors."""
        self._log_errors("val", self.val_errors)

    def on_test_start(self) -> None:
        """Forget an earlier test."""
        self.predictions = {split: [] for split in TEST_SPLITS}
        for errors in self.test_errors:
            assert isinstance(errors, ErrorCounts)
            errors.reset()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count errors and keep the five best classes of every image, also by the center alone."""
        errors = self.test_errors[dataloader_idx]
        assert isinstance(errors, ErrorCounts)
        by_view = self._evaluate(errors, batch)
        top5 = _best_first(by_view.mean(1))[:, :5]
        center_top5 = _best_first(by_view[:, 0])[:, :5]
        self.predictions[TEST_SPLITS[dataloader_idx]].append(
            {
                "index": batch["index"].cpu().numpy(),
                "label": batch["labels"].cpu().numpy(),
                "top5": top5.cpu().numpy(),
                "top5_probability": by_view.mean(1).gather(1, top5).float().cpu().numpy(),
                "center_top5": center_top5.cpu().numpy(),
            }
        )

    def test_results(self) -> dict[str, float]:
        """Loss and error rates of the last test, as fractions, by ``<split>/<metric>``."""
        results = {}
        for split, errors in zip(TEST_SPLITS, self.test_errors, strict=True):
            assert isinstance(errors, ErrorCounts)
            results.update(_by_split(split, errors))
        return results

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the schedule."""
        assert self.rate is not None
        checkpoint["learning_rate"] = self.rate.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the schedule, before or after it is built."""
        self._restored_rate = checkpoint["learning_rate"]
        if self.rate is not None:
            self.rate.load_state_dict(self._restored_rate)

    def _evaluate(self, errors: ErrorCounts, batch: dict[str, Tensor]) -> Tensor:
        """Count; gives softmax by view (N, V, classes)."""
        by_view = self._softmax(batch["images"])
        probabilities = by_view.mean(1)
        loss = F.nll_loss(probabilities.clamp_min(1e-12).log(), batch["labels"])
        errors.update(loss, probabilities, batch["labels"])
        return by_view

    def _log_errors(self, split: str, errors: ErrorCounts) -> dict[str, float]:
        values = _by_split(split, errors)
        self.log_dict(values)
        errors.reset()
        if not math.isfinite(values[f"{split}/loss"]):
            raise DivergedError(
                f"diverged: {split} loss is {values[f'{split}/loss']} in epoch"
                f" {self.current_epoch + 1}; lower optim.lr (now {self.config.optim.lr:g}) or"
                " raise optim.warmup_steps"
            )
        return values


def _best_first(probabilities: Tensor) -> Tensor:
    """Classes from best to worst; in bf16 they often tie, and the lower one goes first."""
    return probabilities.argsort(dim=-1, descending=True, stable=True)


def _by_split(split: str, errors: ErrorCounts) -> dict[str, float]:
    found: dict[str, float] = errors.compute()
    return {f"{split}/{name}": value for name, value in found.items()}

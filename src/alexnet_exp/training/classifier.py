"""The LightningModule: loss, optimizer, error rates, and what a checkpoint needs to stand alone."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config import Config, to_plain
from alexnet_exp.config.training import StrategyConfig, Views
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.decode import DecodeError
from alexnet_exp.data.photos import read_photo
from alexnet_exp.data.sources.imagenet import readable
from alexnet_exp.errors import DivergedError, UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.pretrained import Weights, load_weights
from alexnet_exp.parallel.data_parallel import InParts
from alexnet_exp.runs.read import RECORDED_CLASSES
from alexnet_exp.training.checkpoint import (
    damaged,
    load_checkpoint,
    recorded_config,
    refuse_other_network,
)
from alexnet_exp.training.compute import TrainingForward, speed_up
from alexnet_exp.training.metrics import ErrorCounts
from alexnet_exp.training.optim import PaperSchedule, build_optimizer
from alexnet_exp.training.settle import precision_here, settle_hardware

TEST_SPLITS = ("val", "test")


class Classifier(L.LightningModule):
    """Trains a network to classify, and counts its top-1 and top-5 errors.

    Batches are ``(images, labels)``: (N, C, s, s) or, by views that are averaged, (N, V, C, s, s);
    (N,) int64.

    Args:
        config: Configuration, of ``load_config`` or as a checkpoint holds it.
        class_names: Names of the classes; they set the number of classes where nothing else does.
        mean: Mean image (S, S, C) that is subtracted from images, 0 to 255; kept in checkpoints.
        covariance: Of the colors of training images (C, C); kept in checkpoints.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any],
        class_names: Sequence[str] = (),
        mean: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self.config = deepcopy(config) if isinstance(config, Config) else recorded_config(config)
        model = self.config.model
        if model.classes is None and class_names:
            model.classes = len(class_names)
        if model.input_channels is None:
            model.input_channels = self.config.data.channels
        self.class_names = list(class_names)
        given = {"mean": mean, "covariance": covariance}
        self.statistics = {
            name: torch.tensor(np.asarray(v)) for name, v in given.items() if v is not None
        }
        # Also of the images: a convolution answers in the format of its input.
        self.memory_format = (
            torch.channels_last if self.config.trainer.channels_last else torch.contiguous_format
        )
        network = speed_up(AlexNet(model), self.config)
        self.network = network.to(memory_format=self.memory_format)
        self.save_hyperparameters(
            {"config": to_plain(self.config), "class_names": self.class_names},
            ignore=["mean", "covariance"],
        )
        self._augmentation: Augmentation | None = None
        self._training_forward: TrainingForward | None = None
        self._val_error: float | None = None
        self.train_errors, self.val_errors = ErrorCounts(), ErrorCounts()
        self.test_errors: Any = nn.ModuleDict({split: ErrorCounts() for split in TEST_SPLITS})
        self.predictions: dict[str, list[dict[str, np.ndarray]]] = {}
        # Up to so many, a test records the probabilities of all.
        self.recorded_classes = RECORDED_CLASSES
        self.kernels = np.empty(0)
        if self.config.trainer.precision.startswith("64"):
            self.double()  # now: Lightning does so after it has loaded a checkpoint

    @classmethod
    def load(cls, path: str | Path, *overrides: str) -> "Classifier":
        """Ready to classify on this machine: from a checkpoint, or the best one of a run folder.

        Args:
            path: ``best.ckpt``, ``last.ckpt``, or the run folder.
            overrides: Changes to the recorded configuration, such as ``evaluation.views=one``.

        Raises:
            UserError: There is none, it is damaged, or an override does not fit it.
        """
        content = load_checkpoint(Path(path))
        config = recorded_config(content["hyper_parameters"]["config"], overrides)
        if not any(override.startswith("trainer.precision=") for override in overrides):
            config.trainer.precision = precision_here(config.trainer.precision)
        settle_hardware(config)
        # However many devices trained it, this is one process.
        config.strategy, config.trainer.devices, config.trainer.num_nodes = StrategyConfig(), 1, 1
        refuse_other_network(content, config, Path(path))
        classifier = cls(**content["hyper_parameters"] | {"config": config})
        classifier.on_load_checkpoint(content)
        try:
            classifier.load_state_dict(content["state_dict"])
        except RuntimeError as error:  # weights are missing
            raise damaged(Path(path)) from error
        return classifier.eval()

    def start_from(self, weights: Weights) -> list[str]:
        """Take over weights and mean image of ``read_weights(config.model)``.

        Returns:
            Lines that say what was done.

        Raises:
            UserError: They are of another network, or expect other images.
        """
        self.statistics["mean"], lines = load_weights(
            self.network, weights, self.config, self.class_names
        )
        self._augmentation = None
        return lines

    def read(self, photos: str | Path | Sequence[str | Path | bytes]) -> Tensor:
        """What the network is given of a photo or N photos, as ``evaluation.views`` has it.

        Returns:
            (N, V, C, s, s) float32 of ten views, (N, C, s, s) of one, less the mean image.

        Raises:
            UserError: A photo can't be read, or the checkpoint has no mean image.
        """
        augmentation = self.augmentation
        try:
            several = [photos] if isinstance(photos, str | Path) else photos
            pixels = [read_photo(photo, self.config.data) for photo in several]
        except DecodeError as error:
            raise UserError(f"can't read {error}: mend it or leave it out") from error
        stacked = torch.from_numpy(np.stack(pixels))
        return augmentation.views(stacked, self.config.evaluation.views)

    @property
    def augmentation(self) -> Augmentation:
        """What prepares images for the network.

        Raises:
            UserError: The checkpoint has no mean image.
        """
        if self._augmentation is None:
            if len(self.statistics) < 2:
                raise UserError("this classifier was made without mean image and covariance")
            self._augmentation = Augmentation(
                self.config.augmentation,
                self.statistics["mean"],
                self.statistics["covariance"],
                self.config.model.input_size,
                self.config.seed,
                self.config.data.upscale_to,
            )
        return self._augmentation

    @property
    def output_names(self) -> list[str]:
        """The class of each output, in words; of one that no class of the data has, its number."""
        outputs = self.config.model.classes or len(self.class_names)
        return readable(self.class_names) + [str(i) for i in range(len(self.class_names), outputs)]

    @property
    def batch_size(self) -> int:
        """Photos to read at once, so that all views make up ``evaluation.batch_size``."""
        evaluation = self.config.evaluation
        return max(1, evaluation.batch_size // (10 if evaluation.views == Views.ten else 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of (N, C, s, s) images, the mean image subtracted: (N, classes).

        In fp32, or in fp64 with ``trainer.precision=64-true``.
        """
        if not torch.is_autocast_enabled(images.device.type):
            images = images.to(next(self.network.parameters()).dtype)
        images = images.contiguous(memory_format=self.memory_format)
        if self.training and self._training_forward is None:
            # Its modules, if a strategy has replaced any, are those that compute by now.
            self._training_forward = TrainingForward(self.network, self.config)
        forward: Any = self._training_forward if self.training else self.network
        logits: Tensor = forward(images)
        return logits if logits.dtype == torch.float64 else logits.float()

    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax of (N, C, s, s), the mean over views of (N, V, C, s, s): (N, classes)."""
        return self._by_view(images).mean(1)

    def _by_view(self, images: Tensor) -> Tensor:
        """Softmax of each view: (N, V, classes); V is 1 for (N, C, s, s)."""
        views = images if images.ndim == 5 else images[:, None]
        return self(views.flatten(0, 1)).softmax(1).unflatten(0, views.shape[:2])

    def configure_optimizers(self) -> Any:
        """The optimizer, and the schedule that sets its rate at every step."""
        optim = self.config.optim
        # In mixed precision Lightning does not clip before a fused step; and with a gradient scaler
        # a fused step runs, and starts its momentum, even where the first gradients overflow.
        clipped = optim.clip_norm is not None or self.trainer.gradient_clip_val is not None
        plugin = self.trainer.precision_plugin
        scaled = getattr(plugin, "scaler", None) is not None
        refused = scaled or (clipped and isinstance(plugin, MixedPrecision))
        fused = self.config.speed.fused_optimizer and self.device.type in ("cpu", "cuda")
        optimizer = build_optimizer(self.network, optim, fused and not refused)
        schedule = PaperSchedule(optimizer, optim, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By ``optim.clip_norm`` under any trainer that has no value of its own."""
        if isinstance(self.trainer.strategy, InParts):
            return  # ClipParts knows the norm of the whole gradient
        norm = self.config.optim.clip_norm if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, norm, gradient_clip_algorithm)

    @property
    def schedule(self) -> PaperSchedule | None:
        """Of the fit that is going on; None where a subclass configures another."""
        schedule = self.lr_schedulers()
        return schedule if isinstance(schedule, PaperSchedule) else None

    def on_train_start(self) -> None:
        """Stop at once where the schedule had come to its end before a resume."""
        self.trainer.should_stop |= self.schedule is not None and self.schedule.finished

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.config.optim.label_smoothing)
        self.train_errors.update(loss.detach(), logits.detach(), labels)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch and tell the schedule its validation error, if there was a validation."""
        train_error = self._log_errors("train", self.train_errors)["train/top1_error"]
        enough = self.config.trainer.stop_at_train_error
        finished = enough is not None and train_error <= enough
        if (schedule := self.schedule) is not None:
            self.log("lr", schedule.at(max(0, self.global_step - 1)))
            schedule.end_epoch(self.current_epoch + 1, self._val_error)
            schedule.finished = finished = finished or schedule.finished
        self._val_error = None
        self.trainer.should_stop |= finished

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._evaluate(self.val_errors, batch)

    def on_validation_epoch_end(self) -> None:
        error = self._log_errors("val", self.val_errors)["val/top1_error"]
        self._val_error = None if self.trainer.sanity_checking else error

    def on_test_start(self) -> None:
        self.predictions = {split: [] for split in TEST_SPLITS}
        for errors in self.test_errors.values():
            errors.reset()

    def test_step(
        self, batch: Sequence[Tensor], batch_idx: int, dataloader_idx: int | None = None
    ) -> None:
        """Count errors and keep the five best classes of every image, also by the center alone.

        And their probabilities; where there are few classes those of all.
        The first of two loaders gives validation images; one alone gives test images.
        """
        split = TEST_SPLITS[1 if dataloader_idx is None else dataloader_idx]
        by_view = self._evaluate(self.test_errors[split], batch)
        probabilities = by_view.mean(1)
        top5 = _five_best(probabilities)
        found = {
            "label": batch[1],
            "top5": top5,
            "center_top5": _five_best(by_view[:, 0]),
        }
        if probabilities.shape[1] <= self.recorded_classes:
            found["probabilities"] = probabilities.float()
        else:
            found["top5_probability"] = probabilities.gather(1, top5).float()
        self.predictions[split].append({name: v.cpu().numpy() for name, v in found.items()})

    def on_test_epoch_end(self) -> None:
        """Log the errors of test images; ``val/...`` are those of training, by one view.

        And keep conv1's kernels, which are whole on every device while it is evaluated.
        """
        kernels = self.network.get_parameter("features.conv1.weight")
        self.kernels = kernels.detach().float().cpu().numpy()
        results = self.test_results().items()
        self.log_dict({name: value for name, value in results if name.startswith("test/")})

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Mean probabilities over views (N, classes); labels, if the batch has any, are ignored."""
        return self.probabilities(batch if isinstance(batch, Tensor) else batch[0])

    def test_results(self) -> dict[str, float]:
        """Loss and error rates of the last test, as fractions, by ``<split>/<metric>``."""
        results = {}
        for split in filter(self.predictions.get, TEST_SPLITS):
            results.update(_by_split(split, self.test_errors[split]))
        return results

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep mean image and covariance: what prepares an image for the network."""
        checkpoint["statistics"] = self.statistics

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.statistics, self._augmentation = checkpoint["statistics"], None

    def _evaluate(self, errors: ErrorCounts, batch: Sequence[Tensor]) -> Tensor:
        """Count; gives softmax by view (N, V, classes)."""
        images, labels = batch
        by_view = self._by_view(images)
        probabilities = by_view.mean(1)
        loss = F.nll_loss(probabilities.clamp_min(1e-12).log(), labels)
        errors.update(loss, probabilities, labels)
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


def _five_best(probabilities: Tensor) -> Tensor:
    """Classes from best to worst; in bf16 they often tie, and the lower one goes first."""
    return probabilities.argsort(dim=1, descending=True, stable=True)[:, :5]


def _by_split(split: str, errors: ErrorCounts) -> dict[str, float]:
    found: dict[str, float] = errors.compute()
    return {f"{split}/{name}": value for name, value in found.items()}

"""Metrics at W&B, TensorBoard and any other logger, besides metrics.csv."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only

from alexnet_exp.config import Config, to_plain
from alexnet_exp.config.training import SweepConfig
from alexnet_exp.console import say
from alexnet_exp.errors import UserError

# wandb is imported where it is used: it costs a second that other runs need not wait.


class Logging:
    """The loggers that ``logger=...`` chose, opened and closed; none until they are opened."""

    def __init__(self) -> None:
        self.folder = Path()
        self.loggers: list[Logger] = []

    def open(self, config: Config, folder: Path) -> None:
        """Start logging; event files and offline runs lie in the run folder.

        Raises:
            UserError: W&B is asked for online and no key is known, or a logger can't be made.
        """
        self.folder, chosen = folder, config.logger
        if chosen.tensorboard:
            events = TensorBoardLogger(folder, "tensorboard", version="", default_hp_metric=False)
            self.loggers.append(events)
        if chosen.wandb:
            self.loggers.append(_open_wandb(config, folder))
        self.loggers += instantiate_all(chosen.others, "logger")

    def follow(self, config: Config) -> None:
        """In the processes that write nothing: callbacks which ask for a logger find one."""
        chosen = config.logger
        if chosen.tensorboard or chosen.wandb or chosen.others:
            self.loggers = [DummyLogger()]

    def finish(self, result: dict[str, Any]) -> list[str]:
        """Log the final errors of ``result.json``, close, and say where the logs lie."""
        notes = []
        for logger in self.loggers:
            if isinstance(logger, EpochRows):
                notes += self._finish_wandb(logger.experiment, logger.last_step + 1, result)
                continue
            logger.log_metrics(_finals(result), step=result["steps"])
            logger.finalize("success")
            if isinstance(logger, TensorBoardLogger):
                notes.append(f"TensorBoard: tensorboard --logdir {logger.log_dir}")
        return notes

    def _finish_wandb(self, run: Any, step: int, result: dict[str, Any]) -> list[str]:
        # With its epoch: a continued run may have no other row in this part.
        run.log({"final/errors": _error_table(result), "epoch": result["epochs"]}, step=step)
        run.summary.update(_finals(result) | {"images_per_second": result["images_per_second"]})
        run.finish()
        if run.disabled:
            return []
        if run.offline:
            parts = self.folder / "wandb"  # a continued run has several, uploaded in their order
            return [f"W&B offline run: {parts} (upload it with: wandb sync {parts})"]
        return [f"W&B run: {run.url}"]

    def abandon(self) -> None:
        """Close after a failure."""
        for logger in self.loggers:
            if isinstance(logger, EpochRows):
                logger.experiment.finish(exit_code=1)
                continue
            try:
                logger.finalize("failed")
            except Exception as error:  # of somebody's class; others are to be closed, too
                say(f"{type(logger).__name__} could not be closed: {error!r}")


def instantiate_all(items: dict[str, Any], group: str) -> list[Any]:
    """The object of each entry that names a class by ``_target_``.

    Raises:
        UserError: One can't be made; the message names it.
    """
    made = []
    for name, item in items.items():
        try:
            made.append(instantiate(item, _convert_="all"))
        except InstantiationException as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(f"{group}.{name} can't be made: {reason}") from error
    return made


class EpochRows(WandbLogger):
    """Logs one row per epoch, at the step where the epoch ended; a continued run is the same run.

    Args:
        folder: Run folder; ``wandb/run.json`` in it keeps the run's id and the last row's step, so
            that an epoch that a continued run does again is not logged again.
        options: Those of ``WandbLogger``.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._record = folder / "wandb" / "run.json"
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._known_id: str | None = None
        self.last_step = -1
        if self._record.exists():
            with suppress(ValueError, KeyError, TypeError):  # damaged: a run of its own at W&B
                known = json.loads(self._record.read_text())
                self._known_id, self.last_step = known["id"], known["last_step"]
        # The agent of a sweep says in WANDB_RUN_ID which of the sweep's runs this one is.
        known_id = None if os.environ.get("WANDB_RUN_ID") else self._known_id
        super().__init__(id=known_id, save_dir=folder, **options)
        del self._wandb_init["anonymous"]  # W&B warns of it, whatever its value
        self._row: dict[str, float] = {}

    def open(self) -> None:
        """Start or continue the run at W&B; wandb.errors.Error without key or connection."""
        run = self.experiment
        if run.id != self._known_id:
            self._known_id, self.last_step = run.id, -1
            self._remember()
        # The summary keeps each metric's last value, a plain number: a sweep reads val/top1_error
        # there, and summary="min" would make it a dict. The best epoch's is final/val/top1_error.
        run.define_metric("*", step_metric="epoch")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the epoch's row; the training metrics, which come last, send it off."""
        self._row |= metrics
        if "train/loss" not in metrics:
            return
        row, self._row = self._row, {}
        assert step is not None
        if step > self.last_step:
            row["epoch"] = int(row["epoch"]) + 1  # from 1, as in metrics.csv
            self.experiment.log(row, step=step, commit=True)  # else it waits for the next one
            self.last_step = step
            self._remember()

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Keep what checkpoints hold, less the configuration, which the run has already."""
        super().log_hyperparams({k: v for k, v in params.items() if k != "config"})

    def _remember(self) -> None:
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps({"id": self._known_id, "last_step": self.last_step}))
        os.replace(partial, self._record)


def _open_wandb(config: Config, folder: Path) -> EpochRows:
    import wandb

    settings = config.logger
    preset = [] if config.sweep.name == SweepConfig.name else [config.sweep.name]
    tags = [config.data.name, config.model.name, config.experiment, *preset, *settings.tags]
    logger = EpochRows(
        folder,
        name=f"{config.experiment} seed {config.seed}",
        project=settings.project,
        entity=settings.entity,
        group=config.experiment,
        tags=list(dict.fromkeys(tags)),
        config=to_plain(config),
        mode=None if settings.mode == "online" else settings.mode,  # None: WANDB_MODE has its say
        settings=wandb.Settings(silent=True),
    )
    try:
        logger.open()  # so that a missing key shows here
    except wandb.errors.Error as error:
        raise UserError(
            f"W&B could not start a run ({str(error).splitlines()[0]}): run `wandb login` once, or"
            " set logger.mode=offline"
        ) from error
    return logger


def _finals(result: dict[str, Any]) -> dict[str, float]:
    """Errors of the best checkpoint; top-5 error of five classes says nothing."""
    return {
        f"final/{name}": value
        for name, value in result["metrics"].items()
        if result["classes"] > 5 or not name.endswith("top5_error")
    }


def _error_table(result: dict[str, Any]) -> Any:
    """wandb.Table of the final errors as fractions; None where top-5 does not apply."""
    import wandb

    finals = _finals(result)
    rows = []
    for split in ("val", "test"):
        errors = [finals.get(f"final/{split}/top{k}_error") for k in (1, 5)]
        rows.append([split, result["images"][split], result["views"], *errors])
    return wandb.Table(["split", "images", "views", "top-1 error", "top-5 error"], rows)

"""Metrics at W&B or TensorBoard, besides metrics.csv."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from alexnet_exp.config import Config, to_plain
from alexnet_exp.config.training import LoggerName
from alexnet_exp.errors import UserError


class Logging:
    """The logger that ``logger=...`` chose, opened and closed.

    Args:
        config: Resolved configuration of the run.
        folder: Run folder; event files and offline runs lie in it.

    Raises:
        UserError: W&B is asked for online and no key is known.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.logger: Logger | bool = False
        if config.logger.name == LoggerName.tensorboard:
            self.logger = TensorBoardLogger(
                folder, name="tensorboard", version="", default_hp_metric=False
            )
        elif config.logger.name == LoggerName.wandb:
            self.logger = _wandb_logger(config, folder)

    def finish(self, result: dict[str, Any]) -> str | None:
        """Log the final errors, close, and say where the log lies."""
        if not isinstance(self.logger, Logger):
            return None
        finals = {f"final/{name}": value for name, value in result["metrics"].items()}
        if isinstance(self.logger, TensorBoardLogger):
            self.logger.log_metrics(finals, step=result["steps"])
            self.logger.finalize("success")
            return f"TensorBoard: tensorboard --logdir {self.logger.log_dir}"
        import wandb

        assert isinstance(self.logger, WandbLogger)
        run = self.logger.experiment
        run.summary.update(finals | {"images_per_second": result["images_per_second"]})
        folder, url = Path(run.dir).parent, run.url
        wandb.finish()
        if self.config.logger.mode == "offline":
            return f"W&B offline run: {folder} (upload it with: wandb sync {folder})"
        return f"W&B run: {url}" if url else None

    def abandon(self) -> None:
        """Close after a failure."""
        if isinstance(self.logger, WandbLogger):
            import wandb

            wandb.finish(exit_code=1)


def _wandb_logger(config: Config, folder: Path) -> WandbLogger:
    import wandb

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(
        name=f"{config.experiment} seed {config.seed}",
        save_dir=folder,
        project=config.logger.project,
        entity=config.logger.entity,
        group=config.experiment,
        tags=[config.data.name, config.model.name, config.experiment, *config.logger.tags],
        config=to_plain(config),
        mode=config.logger.mode,
        settings=wandb.Settings(silent=True),
    )
    try:
        logger.experiment  # noqa: B018  # opens the run, so that a missing key shows here
    except wandb.errors.Error as error:
        raise UserError(
            f"W&B could not start a run ({str(error).splitlines()[0]}): run `wandb login` once, or"
            " set logger.mode=offline"
        ) from error
    return logger

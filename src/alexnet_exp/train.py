"""Train one network and evaluate it: ``python -m alexnet_exp.train +experiment=no_lrn``."""

from alexnet_exp import startup  # noqa: F401  # isort: skip  # before Lightning

from pathlib import Path
from typing import Any

import lightning as L

from alexnet_exp import cli
from alexnet_exp.callbacks import (
    AtomicCheckpointIO,
    Checkpoints,
    Epochs,
    StepSeed,
    best_checkpoint,
)
from alexnet_exp.checkpoint import load_checkpoint, refuse_other_network
from alexnet_exp.classifier import Classifier
from alexnet_exp.config import Config
from alexnet_exp.data.module import StoreDataModule
from alexnet_exp.data.store import prepare
from alexnet_exp.display import EpochProgress, announce, show_result
from alexnet_exp.errors import DivergedError, UserError
from alexnet_exp.hardware import is_out_of_memory, peak_memory_bytes
from alexnet_exp.loggers import Logging
from alexnet_exp.runs import RunFolder, config_hash
from alexnet_exp.setup import make_trainer, settle


def train(config: Config, path: Path) -> dict[str, Any]:
    """Prepare the data, fit, evaluate the best checkpoint, and record.

    Args:
        config: Checked configuration; what the data decides is filled in.
        path: Run folder. An unfinished run of the same configuration in it goes on.

    Returns:
        What ``result.json`` holds.

    Raises:
        UserError: Something the user can mend.
    """
    store = prepare(config.data, progress=config.trainer.progress)
    layers = settle(config, store)
    run = RunFolder(path)
    finished = run.result(config)
    if finished is not None:
        show_result(finished, path, "already finished")
        return finished
    diverged = run.divergence()
    if diverged is not None:
        raise DivergedError(f"{diverged}; {path} records it, and removing that runs it again")

    module = StoreDataModule(config, store)
    resuming = run.start(config)
    announce(config, layers, store.counts, path, resuming)
    L.seed_everything(config.seed, workers=True, verbose=False)
    logs: Logging | None = None
    try:
        classifier = Classifier(config, store.classes)
        logs = Logging(config, path)
        epochs, trainer = build_trainer(config, run, logs)
    except (UserError, RuntimeError, MemoryError):  # or more weights than memory
        if logs is not None:
            logs.abandon()
        run.withdraw()
        raise
    try:
        fit_and_test(trainer, classifier, module, run, resuming)
    except BaseException as error:
        logs.abandon()
        if isinstance(error, DivergedError):
            run.record_divergence(str(error))
        if is_out_of_memory(error):
            run.withdraw()  # what it is told to lower makes another run
        raise
    result = {
        "experiment": config.experiment,
        "data": config.data.name,
        "seed": config.seed,
        "status": "finished",
        "config_hash": config_hash(config),
        "metrics": classifier.test_results(),
        "epochs": trainer.current_epoch,
        "best_epoch": epochs.best_epoch,
        "steps": trainer.global_step,
        "train_seconds": round(epochs.train_seconds, 3),
        "images_per_second": round(epochs.images / max(epochs.step_seconds, 1e-9), 1),
        "precision": config.trainer.precision,
        "peak_memory_bytes": peak_memory_bytes(),
        "recipe": config.recipe,
        "views": str(config.evaluation.views),
        "classes": len(store.classes),
        "images": store.counts,
        "synthetic": config.data.source == "synthetic",
    }
    run.record(result, classifier.predictions, keep_last=config.trainer.keep_last_checkpoint)
    show_result(result, path, logs.finish(result))
    return result


def build_trainer(config: Config, run: RunFolder, logs: Logging) -> tuple[Epochs, L.Trainer]:
    """Lightning's Trainer as the configuration has it, and the callback that counts epochs."""
    settings = config.trainer
    progress = EpochProgress(config.data.batch_size, settings.progress)
    epochs = Epochs(run, config.data.batch_size, progress)
    trainer = make_trainer(
        config,
        max_epochs=settings.max_epochs,
        limit_train_batches=settings.limit_train_batches,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=[
            StepSeed(config.seed),
            progress,
            epochs,
            best_checkpoint(run),
            Checkpoints(run, settings.checkpoint_every, epochs),
        ],
        plugins=[AtomicCheckpointIO()],
        logger=logs.logger,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,  # metrics are logged by epoch
        default_root_dir=run.path,
    )
    return epochs, trainer


def fit_and_test(
    trainer: L.Trainer,
    classifier: Classifier,
    module: StoreDataModule,
    run: RunFolder,
    resuming: bool,
) -> None:
    """Train to the end, from the last checkpoint where there is one, and evaluate the best.

    Raises:
        KeyboardInterrupt: Ctrl-C; Lightning would end the process without a word.
        UserError: The checkpoint to go on from is damaged or of another network.
    """
    if resuming:
        for file in (run.last, run.best):
            refuse_other_network(load_checkpoint(file), classifier.config, file)
    try:
        trainer.fit(classifier, datamodule=module, ckpt_path=run.last if resuming else None)
        trainer.test(classifier, datamodule=module, ckpt_path=run.best, verbose=False)
    except SystemExit as stop:
        raise KeyboardInterrupt from stop


def main() -> None:
    """Entry point of ``python -m alexnet_exp.train`` and of ``alexnet-train``."""
    cli.run(train, sweeps=True)


if __name__ == "__main__":
    main()

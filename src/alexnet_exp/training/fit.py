"""One run from its configuration to ``result.json``."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException

from alexnet_exp.config import Config, leaves, to_plain
from alexnet_exp.console import say
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import DivergedError, UserError
from alexnet_exp.hardware import is_out_of_memory, peak_memory_bytes
from alexnet_exp.network.pretrained import digest, read_weights
from alexnet_exp.parallel.launch import run_processes
from alexnet_exp.parallel.strategies import make_callbacks, make_strategy
from alexnet_exp.parallel.team import Place, gather, make_plugins, meet, place
from alexnet_exp.parallel.whole import Columns, gather_predictions
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.identity import bearing, config_hash
from alexnet_exp.runs.read import read_config, read_diverged
from alexnet_exp.training.callbacks import (
    AtomicCheckpointIO,
    Checkpoints,
    Epochs,
    StepSeed,
    best_checkpoint,
)
from alexnet_exp.training.checkpoint import load_checkpoint, refuse_other_network
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.loggers import Logging, instantiate_all
from alexnet_exp.training.progress import EpochProgress, announce, chance_note, show_result
from alexnet_exp.training.settle import ctrl_c_raises, make_trainer, settle


def train(config: Config, path: Path) -> dict[str, Any]:
    """Prepare the data, fit, evaluate the best checkpoint, and record.

    For several devices this process starts one process each, unless it is one of them itself.

    Args:
        config: Checked configuration; what the data decides is filled in.
        path: Run folder. An unfinished run of the same configuration in it goes on.

    Returns:
        What ``result.json`` holds.

    Raises:
        RankError: One of several processes failed.
    """
    here = place(config)
    is_first = here is None or here.rank == 0
    store = prepare(config.data, progress=config.trainer.progress and is_first)
    layers = settle(config, store)
    run = RunFolder(path)
    if config.model.weights is not None:
        recorded = (read_config(path) or {}).get("model", {})
        config.model.weights_digest = digest(config.model, recorded)
    records = is_first and not config.trainer.arguments.get("fast_dev_run")
    finished = find_finished(config, run) if records else None
    if here is None:
        return finished or run_processes(config, path, train)

    # Outside of what takes back its files: another process may be running in the folder.
    resuming = run.start(config) if records and finished is None else False
    logs = Logging()
    try:
        if is_first and finished is None:
            announce(config, layers, store.counts, path, resuming)
        if records and finished is None:
            logs.open(config, path)
        elif not is_first:
            logs.follow(config)
        with meet(config, here):
            refuse_unequal(config)
            folder, resuming, finished = gather((path, resuming, finished))[0]
            if folder != path:  # times of day differ
                run.discard()
                run = RunFolder(folder)
            if finished is not None:
                return finished
            return fit_test_and_record(config, store, run, logs, here, resuming)
    except BaseException as error:
        if records:
            # A logger that fails at the end hides why it ends.
            diverged = error if isinstance(error, DivergedError) else error.__context__
            if isinstance(diverged, DivergedError):
                run.record_divergence(str(diverged))
            elif isinstance(error, UserError) or is_out_of_memory(error):
                run.withdraw()  # what it is told to change makes another run
            logs.abandon()
        raise
    finally:
        run.release()


def refuse_unequal(config: Config) -> None:
    """See that all processes, each of which may have had a command of its own, mean the same run.

    Raises:
        UserError: They do not; the message names what differs.
    """
    plain = to_plain(config)
    mine = dict(leaves(bearing(plain) | {"strategy": plain["strategy"]}))
    first, *others = gather(mine)
    for rank, other in enumerate(others, 1):
        changed = [f"{path} is {first[path]} and {other[path]}" for path in first
                   if first[path] != other[path]]  # fmt: skip
        if changed:
            raise UserError(
                f"processes 0 and {rank} were started with different commands, data or hardware:"
                f" {', '.join(changed)}; give all of them the same"
            )


def find_finished(config: Config, run: RunFolder) -> dict[str, Any] | None:
    """What a finished run of this configuration has recorded, also on the screen; else None.

    Raises:
        UserError: The folder holds a run of another configuration, or one that diverged.
    """
    finished = run.result(config)
    if finished is not None:
        show_result(finished, run.path, ["already finished"])
    diverged = read_diverged(run.path)
    if finished is None and diverged is not None:
        raise DivergedError(f"{diverged}; {run.path} records it, and removing that runs it again")
    return finished


def fit_test_and_record(
    config: Config, store: Store, run: RunFolder, logs: Logging, here: Place, resuming: bool
) -> dict[str, Any]:
    """All that the processes of a run do together, and what the first one records of it."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    classifier = Classifier(config, store.classes, store.mean, store.covariance)
    if config.model.weights is not None:
        if resuming:  # without the file
            classifier.on_load_checkpoint(load_checkpoint(run.last))
        else:
            lines = classifier.start_from(read_weights(config.model))
            for line in lines if config.trainer.progress and here.rank == 0 else ():
                say(line)
        store = replace(store, mean=classifier.statistics["mean"].numpy())
    epochs, trainer = build_trainer(config, run, logs, classifier, here)
    module = StoreDataModule(config, store)
    fit_and_test(trainer, classifier, module, run, resuming)
    predictions = gather_predictions(with_rows(classifier.predictions, module))
    names = np.array(store.names)
    for columns in predictions.values():
        columns["name"] = names[columns["index"]]
    result = {
        "experiment": config.experiment,
        "data": config.data.name,
        "seed": config.seed,
        "status": "finished",
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": config_hash(config),
        "metrics": classifier.test_results(),
        "epochs": trainer.current_epoch,
        "best_epoch": epochs.best_epoch,
        "steps": trainer.global_step,
        "first_step_seconds": epochs.first_step_seconds,
        "train_seconds": round(epochs.train_seconds, 3),
        "images_per_second": round(epochs.images / max(epochs.step_seconds, 1e-9), 1),
        "other_load": other_load(epochs, config),
        "precision": config.trainer.precision,
        "strategy": str(config.strategy.name),
        "devices": here.size,
        "peak_memory_bytes": max(gather(peak_memory_bytes())),
        "recipe": config.recipe,
        "views": str(config.evaluation.views),
        "classes": len(store.classes),
        "images": store.counts,
        "synthetic": config.data.source == "synthetic",
    }
    if here.rank == 0 and config.trainer.arguments.get("fast_dev_run"):
        run.discard()
        say("trainer.fast_dev_run: every part ran, and nothing is recorded")
    elif here.rank == 0:
        keep_last = config.trainer.keep_last_checkpoint
        run.record(result, predictions, classifier.kernels, keep_last)
        seen = sum(trainer.num_val_batches) * config.evaluation.batch_size * here.size
        validated = store.labels[store.indices("val")[: seen or None]]
        notes = [*logs.finish(result), *chance_note(epochs.best_error, validated)]
        show_result(result, run.path, notes)
    return result


def other_load(epochs: Epochs, config: Config) -> float | None:
    """Mean number of cores that other processes kept busy in training; None where not known.

    All processes of the run take part in asking; they are on one machine.
    """
    load = (epochs.all_busy - sum(gather(epochs.own_busy))) / max(epochs.train_seconds, 1e-9)
    known = config.trainer.num_nodes == 1 and math.isfinite(load)
    return round(max(0.0, load), 2) if known else None


def with_rows(predictions: dict[str, list[Columns]], module: StoreDataModule) -> dict[str, Columns]:
    """This process's predictions, joined, with the rows of the store that they are of."""
    joined = {}
    for split, batches in predictions.items():
        columns = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
        joined[split] = {"index": module.rows(split)[: len(columns["label"])], **columns}
    return joined


def build_trainer(
    config: Config, run: RunFolder, logs: Logging, classifier: Classifier, here: Place
) -> tuple[Epochs, L.Trainer]:
    """Lightning's Trainer as the configuration has it, and the callback that counts epochs."""
    settings = config.trainer
    progress = EpochProgress(config.data.batch_size, settings.progress)
    recorded = None if settings.arguments.get("fast_dev_run") else run.path
    epochs = Epochs(recorded, progress)
    trainer = make_trainer(
        config,
        max_epochs=settings.max_epochs,
        limit_train_batches=settings.limit_train_batches,
        strategy=make_strategy(config),
        callbacks=[
            StepSeed(config.seed),
            progress,
            epochs,
            *make_callbacks(config, classifier.network),
            *instantiate_all(config.callbacks, "callbacks"),
            best_checkpoint(run),
            Checkpoints(run, settings.checkpoint_every, epochs),
        ],
        plugins=[AtomicCheckpointIO(), *make_plugins(config, here)],
        logger=logs.loggers or False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,  # metrics are logged by epoch
        default_root_dir=run.path,
    )
    return epochs, trainer


def fit_and_test(
    trainer: L.Trainer,
    classifier: Classifier,
    data: StoreDataModule,
    run: RunFolder,
    resuming: bool,
) -> None:
    """Train to the end, from the last checkpoint where there is one, and evaluate the best.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        UserError: The checkpoint to go on from is damaged or of another network, or Lightning
            refuses what it is given.
    """
    if resuming:
        last = load_checkpoint(run.last)
        refuse_other_network(last, classifier.config, run.last)
        states = last["callbacks"].values()
        if any(state.get("best_model_score") is not None for state in states):
            refuse_other_network(load_checkpoint(run.best), classifier.config, run.best)
    try:
        with ctrl_c_raises():
            trainer.fit(classifier, datamodule=data, ckpt_path=run.last if resuming else None)
            best = run.best if run.best.exists() else None  # steps ran out before a validation
            trainer.test(classifier, datamodule=data, ckpt_path=best, verbose=False)
    except MisconfigurationException as error:
        raise UserError(f"Lightning refuses this combination: {error}") from error

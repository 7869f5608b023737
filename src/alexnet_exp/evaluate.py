"""Evaluate a checkpoint: ``python -m alexnet_exp.evaluate runs/.../checkpoints/best.ckpt``."""

from alexnet_exp import startup  # isort: skip  # before Lightning

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from alexnet_exp import cli
from alexnet_exp.config import Config
from alexnet_exp.config.training import StrategyConfig
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.store.store import prepare
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import keep_freed_memory
from alexnet_exp.training.checkpoint import load_checkpoint, recorded_config, refuse_other_network
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.progress import EpochProgress, show_errors
from alexnet_exp.training.settle import make_trainer, settle


def evaluate(path: Path, overrides: list[str], progress: bool = True) -> dict[str, Any]:
    """Count the errors of a checkpoint on the validation and test images of its data.

    Args:
        path: ``best.ckpt`` or ``last.ckpt``, or the run folder that holds it.
        progress: Show bars while packing and evaluating.
        overrides: Changes to the configuration that the checkpoint was trained with, such as
            ``evaluation.views=one`` or ``data.root=...``.

    Returns:
        Loss and errors as fractions by ``<split>/<metric>``, with views and image counts.

    Raises:
        UserError: The checkpoint or the data can't be used.
    """
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    content = load_checkpoint(path)
    config = recorded_config(content["hyper_parameters"]["config"], overrides)
    if not any(override.startswith("trainer.precision=") for override in overrides):
        _use_precision_of_this_machine(config)
    refuse_other_network(content, config, path)
    # However many devices trained it, this is one process.
    config.strategy = StrategyConfig()
    config.trainer.devices = config.trainer.num_nodes = 1
    store = prepare(config.data, progress=progress)
    trained_on = content["hyper_parameters"]["config"]["data"]["fingerprint"]
    if trained_on != store.meta["fingerprint"]:
        raise UserError(
            f"checkpoint {path} was trained on other images or another split than those of"
            f" {config.data.root or config.data.name}: its test images might be among those it"
            " learned from. Use the data and data.* settings of its run"
        )
    settle(config, store)
    classifier = Classifier(config, store.classes)
    classifier.load_state_dict(content["state_dict"])
    bar = EpochProgress(config.data.batch_size, progress)
    tester = make_trainer(config, logger=False, enable_checkpointing=False, callbacks=[bar])
    tester.test(classifier, datamodule=StoreDataModule(config, store), verbose=False)
    return {
        "metrics": classifier.test_results(),
        "views": str(config.evaluation.views),
        "images": store.counts,
        "classes": len(store.classes),
        "synthetic": config.data.source == "synthetic",
    }


def _use_precision_of_this_machine(config: Config) -> None:
    """Training may have run on hardware with bf16 or fp16 arithmetic that this one lacks."""
    precision = config.trainer.precision
    if precision == "bf16-mixed" or (precision == "16-mixed" and not torch.cuda.is_available()):
        config.trainer.precision = "auto"


def main() -> None:
    """Entry point of ``python -m alexnet_exp.evaluate``."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.evaluate",
        description="Count the errors of a checkpoint on validation and test images.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a run folder (best.ckpt)")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        help="changes, such as evaluation.views=one data.root=photos/",
    )
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    arguments = parser.parse_args()
    startup.ctrl_c_raises()
    keep_freed_memory()
    try:
        result = evaluate(arguments.checkpoint, arguments.overrides, not arguments.json)
    except UserError as error:
        cli.mistake(str(error))
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        cli.interrupted("the evaluation has to be started again")
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show_errors(result, str(arguments.checkpoint))


if __name__ == "__main__":
    main()

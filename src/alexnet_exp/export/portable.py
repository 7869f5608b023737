"""What is exported: a classifier that others' libraries can follow, and what its run recorded."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config, to_plain
from alexnet_exp.runs.identity import bearing, config_hash
from alexnet_exp.runs.read import read_result
from alexnet_exp.training.checkpoint import load_checkpoint, recorded_config, run_of
from alexnet_exp.training.classifier import Classifier

# As others' runtimes compute: fp32, by torch's own operations.
_PLAIN = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.channels_last=false",
    "speed.kernels=false",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        classifier: In fp32, on a CPU, without compiled kernels of ours.
        config: The configuration that the run recorded, with the changes that were asked for.
        path: The run, or checkpoint.
    """

    classifier: Classifier
    config: Config
    path: Path

    @classmethod
    def load(cls, run: Path, overrides: tuple[str, ...]) -> "Trained":
        """From a checkpoint or a run folder; raises as ``Classifier.load`` does."""
        config = recorded_config(load_checkpoint(run)["hyper_parameters"]["config"], overrides)
        classifier = Classifier.load(run, *overrides, *_PLAIN)
        return cls(classifier, config, run)

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """``result.json`` of its run, which is about its best checkpoint.

        None without one, and where it is of another run.
        """
        if not self.path.is_dir() and self.path.name != "best.ckpt":
            return None
        result = read_result(run_of(self.path.resolve()))
        recorded = load_checkpoint(self.path)["hyper_parameters"]["config"]
        own = config_hash(recorded_config(recorded))
        return result if result is not None and result.get("config_hash") == own else None

    def to_json(self) -> str:
        """Configuration and class names, as ``training.checkpoint`` reads them back.

        Without folders, loggers and whatever else has no bearing on the result.
        """
        config = bearing(to_plain(self.config))
        config["model"] |= {"weights": None, "weights_mean": None}
        return json.dumps({"config": config, "class_names": self.classifier.class_names})

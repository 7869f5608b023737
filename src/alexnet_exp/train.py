"""Train one network and evaluate it: ``python -m alexnet_exp.train +experiment=no_lrn``."""

from pathlib import Path
from typing import Any

from alexnet_exp import cli
from alexnet_exp.config import Config
from alexnet_exp.hardware import importing


def train(config: Config, folder: Path) -> dict[str, Any]:
    """``training.fit.train``, which takes seconds to import: mistakes show before."""
    with importing():
        from alexnet_exp.training import fit
    return fit.train(config, folder)


def main() -> None:
    """Entry point of ``python -m alexnet_exp.train`` and of ``alexnet-train``."""
    cli.run(train, sweeps=True)


if __name__ == "__main__":
    main()

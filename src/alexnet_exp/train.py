"""Train one network and evaluate it: ``python -m alexnet_exp.train +experiment=no_lrn``."""

from alexnet_exp import cli
from alexnet_exp.hardware import leave


def main() -> None:
    """Entry point of ``python -m alexnet_exp.train`` and of ``alexnet-train``."""
    cli.run("alexnet_exp.training.fit:train", sweeps=True)


if __name__ == "__main__":
    main()
    leave()

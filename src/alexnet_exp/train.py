"""Train one network and evaluate it: ``python -m alexnet_exp.train +experiment=no_lrn``."""

from alexnet_exp import startup  # noqa: F401  # isort: skip  # before Lightning

from alexnet_exp import cli
from alexnet_exp.training.fit import train


def main() -> None:
    """Entry point of ``python -m alexnet_exp.train`` and of ``alexnet-train``."""
    cli.run(train, sweeps=True)


if __name__ == "__main__":
    main()

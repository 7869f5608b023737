"""Show how a network starts: ``python -m alexnet_exp.diagnose data=flowers data.root=flowers/``.

Two reasons why AlexNet sits at chance show before the first step: layers whose output hardly
depends on the image, and a learning rate above what the loss's curvature allows.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_exp import cli

IMAGES = 128


def diagnose(config: Any, folder: Path) -> None:
    """Print signal, gradient and largest stable learning rate of the untrained network."""
    import lightning as L
    import numpy as np
    import torch
    from rich.table import Table

    from alexnet_exp.config.training import Views
    from alexnet_exp.console import console
    from alexnet_exp.data.datamodule import StoreDataModule
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.network.alexnet import AlexNet
    from alexnet_exp.network.pretrained import load_weights, read_weights
    from alexnet_exp.network.start import layer_signals, sharpness
    from alexnet_exp.runs.folder import RunFolder
    from alexnet_exp.training.settle import settle

    RunFolder(folder).discard()
    store = prepare(config.data)
    settle(config, store)
    L.seed_everything(config.seed, verbose=False)
    network = AlexNet(config.model).eval()
    if config.model.weights is not None:
        mean, _ = load_weights(network, read_weights(config.model), config, store.classes)
        store = replace(store, mean=mean.numpy())
    order = np.random.default_rng(config.seed).permutation(store.indices("train"))
    chosen = np.sort(order[:IMAGES])
    pixels = torch.from_numpy(store.images[chosen])
    labels = torch.from_numpy(store.labels[chosen])
    images = StoreDataModule(config, store).augmentation.views(pixels, Views.one)

    table = Table("layer")
    for heading in ("shared by all images", "differs by image", "gradient"):
        table.add_column(heading, justify="right")
    for layer in layer_signals(network, images, labels):
        figures = (layer.constant, layer.signal, layer.gradient)
        table.add_row(layer.name, *(f"{figure:.3g}" for figure in figures))
    what = f"model={config.model.name} recipe={config.recipe} data={config.data.name}"
    state = f"({len(store.classes)} classes): before the first step, {len(labels)} images, in fp32"
    console.print(f"{what} {state}", style="bold", soft_wrap=True)
    console.print(table)
    curvature, optim = sharpness(network, images, labels), config.optim
    said = f"largest curvature {curvature:.3g}"
    if optim._target_ is None:  # of another optimizer's steps it says nothing
        stable = 2 * (1 + optim.momentum) / curvature
        said += (
            f": with momentum {optim.momentum:g} steps grow above lr {stable:.2g};"
            f" optim.lr={optim.lr:g} is {optim.lr / stable:.2g} times that"
        )
    console.print(said, soft_wrap=True)


def main() -> None:
    cli.run(diagnose)


if __name__ == "__main__":
    main()

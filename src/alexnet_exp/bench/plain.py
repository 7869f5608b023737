"""What a person would write from torchvision's examples, to compare with.

The same network with torch's own layers and defaults, JPEG files in class folders, torchvision's
transforms, a DataLoader with a worker for each core, fp32 and an eager loop. Nothing slows it down:
it has the memory settings of this process (``hardware.keep_freed_memory``), pinned memory on a
GPU, and an epoch that does not end, so that its workers start once. conv1's padding at the right
and bottom, a layer of its own in both, is under 1 % of a step.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader

from alexnet_exp.bench.window import WARM_UP, Window
from alexnet_exp.config import Config
from alexnet_exp.config.data import Layout
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.console import progress_bar
from alexnet_exp.data.store.store import Store
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.lrn import LocalResponseNorm

JPEG_QUALITY = 95
_IN_FOLDERS = (Layout.flowers, Layout.imagefolder, Layout.imagenet)
_MOST_FILES = 5000
_EPOCH = 1_000_000
_PREFETCHED = 2  # batches for each worker, DataLoader's default
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PlainNorm(nn.Module):
    """``F.local_response_norm`` of each tower.

    Args:
        norm: Whose constants it has.

    Shape:
        (N, C, H, W) to the same.
    """

    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        self.towers, self.size, self.beta, self.k = norm.towers, norm.size, norm.beta, norm.k
        self.alpha = norm.alpha * norm.size  # torch divides by the size

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        towers = x.reshape(len(x) * self.towers, -1, *x.shape[2:])
        return self.of_towers(towers).reshape(x.shape)

    def of_towers(self, x: Tensor) -> Tensor:
        """Normalize (N * towers, C / towers, H, W)."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)


def plain_network(model: ModelConfig) -> AlexNet:
    """The same network in fp32 and contiguous memory, with torch's own local response norm."""
    network = AlexNet(model)
    for name, module in list(network.features.named_children()):
        if isinstance(module, LocalResponseNorm):
            setattr(network.features, name, PlainNorm(module))
    return network


class Plain:
    """The plain training loop.

    Args:
        config: ``model``, ``optim`` and ``data`` of it, settled.
        folder: Class folders with images.
        device: Where it trains.
    """

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        optim = config.optim
        self.config, self.folder, self.device = config, folder, device
        self.workers = os.cpu_count() or 1
        self.network = plain_network(config.model).to(device).train()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=optim.lr,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
        )

    def measure(self, seconds: float) -> float:
        """Images/s of training."""
        # The batches that workers have ready when it begins are those of any moment.
        window = Window(seconds, self.device, max(WARM_UP, self.workers * _PREFETCHED))
        for images, labels in self._batches():
            loss = F.cross_entropy(self.network(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if window.tick(len(labels)):
                break
        return window.images_per_second

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(N, C, s, s) float32 and (N,) int64 on the device."""
        images = image_folder(self.folder, self.config)
        loader: Any = DataLoader(
            ConcatDataset([images] * -(-_EPOCH // len(images))),
            batch_size=self.config.data.batch_size,
            shuffle=True,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )
        for pixels, labels in loader:
            yield (
                pixels.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
            )


def image_folder(folder: Path, config: Config) -> Any:
    """torchvision's ImageFolder with the transforms of its training example.

    Args:
        folder: Class folders with images.
        config: Side and channels of images and network.
    """
    from torchvision import datasets, transforms  # seconds, which nothing else needs

    channels = config.data.channels
    return datasets.ImageFolder(
        str(folder),
        transforms.Compose(
            [
                *([transforms.Grayscale()] if channels == 1 else []),
                transforms.Resize(config.data.upscale_to or config.data.image_size),
                transforms.RandomCrop(config.model.input_size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(_MEAN[:channels], _STD[:channels]),
            ]
        ),
        allow_empty=True,  # a rare class may be in none of the files that were written
    )


def jpeg_folder(config: Config, store: Store) -> Path:
    """Class folders with image files: those of ``data.root``, else files written for this.

    Where the images are drawn or lie in an archive, up to 5000 training images of the store are
    written out once, as JPEG of quality 95, into ``data.stores``.

    Args:
        config: ``data`` of it.
        store: The packed images.
    """
    own = _own_folder(config, store)
    if own is not None:
        return own
    folder = Path(config.data.stores).expanduser() / "jpeg"
    folder = folder / f"{store.path.name}-{store.meta['fingerprint'][:8]}"
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _write_jpegs(store, partial, config.trainer.progress)
        partial.rename(folder)
    return folder


def _own_folder(config: Config, store: Store) -> Path | None:
    """The folder that holds the class folders of ``data.root``; None if they are not simply so."""
    data = config.data
    if data.root is None or data.source not in (
        Layout.flowers,
        Layout.imagefolder,
        Layout.imagenet,
    ):
        return None
    folder = Path(data.root).expanduser()
    if not folder.is_dir() or store.meta.get("skipped"):
        return None
    inner = _folders(folder)
    if len(inner) == 1:
        folder = folder / inner[0]
        inner = _folders(folder)
    if "train" in inner:
        folder = folder / "train"
        inner = _folders(folder)
    return folder if inner == sorted(store.classes) else None


def _folders(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.is_dir())


def _write_jpegs(store: Store, folder: Path, progress: bool) -> None:
    indices = store.indices("train")
    chosen = indices[:: -(-len(indices) // _MOST_FILES)]
    what = f"writing JPEG files for the plain pipeline into {folder.parent}"
    for label, _ in enumerate(store.classes):
        (folder / f"{label:05d}").mkdir(parents=True)
    with progress_bar(what, len(chosen), unit="images", show=progress) as advance:
        for index in chosen:
            pixels = store.images[index]
            image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            file = folder / f"{store.labels[index]:05d}" / f"{index}.jpg"
            image.save(file, quality=JPEG_QUALITY)
            advance(1)

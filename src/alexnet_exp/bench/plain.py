"""What a person would write from torchvision's examples, to compare with.

The same network with torch's own layers and defaults, JPEG files in class folders, torchvision's
transforms, a DataLoader with a worker for each core, fp32 and an eager loop. Nothing slows it down:
it has the memory settings of this process (``hardware.keep_freed_memory``), pinned memory on a
GPU, and an epoch that does not end, so that its workers start once. conv1's padding at the right
and bottom, a layer of its own in both, is under 1 % of a step.
"""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader

from alexnet_exp.bench.clock import WARM_UP, Window
from alexnet_exp.config import Config
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.console import progress_bar
from alexnet_exp.data.store.store import Store
from alexnet_exp.hardware import cores
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.lrn import LocalResponseNorm

JPEG_QUALITY = 95
_MOST_FILES = 5000
_EPOCH = 1_000_000
_WORKERS = cores()
_PREFETCHED = 2  # batches for each worker, DataLoader's default
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchs_norm(norm: LocalResponseNorm) -> nn.LocalResponseNorm:
    """torch's own with the same constants, for the maps of one tower; it divides alpha by size."""
    return nn.LocalResponseNorm(norm.size, norm.alpha * norm.size, norm.beta, norm.k)


def plain_network(model: ModelConfig) -> AlexNet:
    """The same network in fp32 and contiguous memory, with torch's own local response norm."""
    network = AlexNet(model)
    for name, module in list(network.features.named_children()):
        if isinstance(module, LocalResponseNorm):
            apart = nn.Unflatten(1, (module.towers, -1)), nn.Flatten(0, 1)
            together = nn.Unflatten(0, (-1, module.towers)), nn.Flatten(1, 2)
            setattr(network.features, name, nn.Sequential(*apart, torchs_norm(module), *together))
    return network


def measure_plain(config: Config, folder: Path, device: torch.device, seconds: float) -> float:
    """Images/s of the plain training loop on class folders, for ``seconds`` at least."""
    network = plain_network(config.model).to(device).train()
    optim = config.optim
    optimizer = torch.optim.SGD(
        network.parameters(), optim.lr, optim.momentum, weight_decay=optim.weight_decay
    )
    images = image_folder(folder, config)
    loader: Any = DataLoader(
        ConcatDataset([images] * -(-_EPOCH // len(images))),
        batch_size=config.data.batch_size,
        shuffle=True,
        num_workers=_WORKERS,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    # The batches that workers have ready when it begins are those of any moment.
    window = Window(seconds, device, max(WARM_UP, _WORKERS * _PREFETCHED))
    for pixels, labels in loader:
        pixels, labels = (part.to(device, non_blocking=True) for part in (pixels, labels))
        loss = F.cross_entropy(network(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if window.tick(len(labels)):
            break
    return window.images_per_second


def image_folder(folder: Path, config: Config) -> Any:
    """torchvision's ImageFolder with the transforms of its training example."""
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


def jpeg_folder(store: Store, stores: str, progress: bool) -> Path:
    """Class folders with up to 5000 training images of the store as JPEG, written once.

    They have the store's size: less to decode and to resize than the files of the data set.
    """
    folder = Path(stores).expanduser() / "jpeg"
    folder /= f"{store.path.name}-{store.meta['fingerprint'][:8]}"
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for label, _ in enumerate(store.classes):
        (partial / f"{label:05d}").mkdir(parents=True)
    indices = store.indices("train")
    chosen = indices[:: -(-len(indices) // _MOST_FILES)]
    what = f"writing JPEG files for plain PyTorch into {folder.parent}"
    with progress_bar(what, len(chosen), unit="images", show=progress) as advance:
        for index in chosen:
            file = partial / f"{store.labels[index]:05d}" / f"{index}.jpg"
            file.write_bytes(as_jpeg(store.images[index]))
            advance(1)
    partial.rename(folder)
    return folder


def as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """An (S, S, C) image as a JPEG file."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()

"""The typed schema of ``data``: where the images come from and how they are packed."""

import re
from dataclasses import dataclass
from enum import StrEnum

from alexnet_exp.config.bearing import neutral


class Layout(StrEnum):
    """How a source finds its images."""

    synthetic = "synthetic"
    flowers = "flowers"
    imagenet = "imagenet"
    imagefolder = "imagefolder"
    cifar10 = "cifar10"
    fashion_mnist = "fashion_mnist"


class Encoding(StrEnum):
    """How a store holds its images."""

    raw = "raw"
    jpeg = "jpeg"


@dataclass
class DataConfig:
    """One data set: its source, its split and its packed store."""

    name: str = "synthetic"
    """Name in run folders and tables."""

    source: Layout = Layout.synthetic
    """Which reader is used: synthetic, flowers, imagenet, imagefolder, cifar10, fashion_mnist."""

    root: str | None = neutral(None)  # data.fingerprint stands for it
    """Folder or archive with the images; null where the source downloads or draws them itself."""

    url: str | None = None
    """Address of the archive to download when ``data.root`` is null."""

    sha256: str | None = None
    """Checksum of the archive at ``data.url`` (hexadecimal)."""

    stores: str = neutral("stores")
    """Folder that holds packed stores and downloads."""

    image_size: int = 256
    """Side in pixels of the stored square: shorter side resized to it, center cut out."""

    channels: int = 3
    """3 for RGB, 1 for gray."""

    encoding: Encoding = Encoding.raw
    """raw pixels, or jpeg: quality 95, a seventh of the size, decoded whenever it is read."""

    subset: float = 1.0
    """Share of the images to train on and of those held out of them for validation; the smaller
    subset lies in the larger one. Test images stay whole, as do validation images that the data
    set comes with."""

    upscale_to: int | None = None
    """Side to which stored images are enlarged on the device (bilinear); null: not at all."""

    batch_size: int = 128
    """Global batch size: images per optimizer step over all devices."""

    val_fraction: float = 0.1
    """Share of images held out for validation where the source has no validation split."""

    test_fraction: float = 0.1
    """Share of images held out for testing where the source has no test split."""

    split_seed: int = 0
    """Seed of the stratified split; independent of ``seed`` so that all runs share one test set."""

    synthetic_images: int = 1500
    """Number of drawn images (``data=synthetic`` only)."""

    synthetic_seed: int = 0
    """Seed of the drawings (``data=synthetic`` only)."""

    max_undecodable: float = 0.01
    """Share of files that may fail to decode before packing ends with an error."""

    fingerprint: str | None = None
    """Digest of names, sizes and settings of the packed data; filled in when a run starts."""

    resident: str = neutral("auto")
    """Keep all images where they are augmented, in a GPU's memory or mapped into a CPU's: auto (if
    they take less than half of it), always, never."""

    workers: int | None = neutral(None)
    """Threads that read and decode images which are not resident; null: one for each core, up to
    16 for each device."""

    def __post_init__(self) -> None:
        if self.root == "":
            raise ValueError("data.root is empty: pass a folder or an archive, or leave it out")
        if self.upscale_to is not None and self.upscale_to < 1:
            raise ValueError(f"data.upscale_to={self.upscale_to} must be at least 1 or null")
        if not 0 <= self.max_undecodable < 1:
            raise ValueError(f"data.max_undecodable={self.max_undecodable} must lie in [0, 1)")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"data.workers={self.workers} must not be negative")
        if self.image_size < 1:
            raise ValueError(f"data.image_size={self.image_size} must be at least 1")
        if self.channels not in (1, 3):
            raise ValueError(f"data.channels={self.channels} must be 1 (gray) or 3 (RGB)")
        if not 0 < self.subset <= 1:
            raise ValueError(f"data.subset={self.subset} must lie in (0, 1]: data.subset=1 is all")
        if self.batch_size < 1:
            raise ValueError(f"data.batch_size={self.batch_size} must be at least 1")
        for name in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"data.{name}={getattr(self, name)} must lie between 0 and 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "data.val_fraction + data.test_fraction must leave images to train on"
                f" (now {self.val_fraction} + {self.test_fraction})"
            )
        if not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise ValueError(
                f"data.name={self.name} names folders: use letters, digits and . _ + - alone"
            )
        if self.synthetic_seed < 0:
            raise ValueError(f"data.synthetic_seed={self.synthetic_seed} must not be negative")
        if self.source == Layout.synthetic and self.synthetic_images < 15:
            raise ValueError(
                f"data.synthetic_images={self.synthetic_images} must be at least 15: each of the"
                " five kinds needs three, one for each split"
            )
        if self.source == Layout.synthetic and self.root is not None:
            raise ValueError(
                f"data.root={self.root} is not used by data=synthetic, which draws its images:"
                " add data=flowers, data=imagefolder, data=imagenet, ..."
            )
        if self.resident not in ("auto", "always", "never"):
            raise ValueError(f"data.resident={self.resident} must be auto, always or never")

"""The typed schema of ``data``: where the images come from and how they are packed."""

import re
from dataclasses import dataclass
from enum import StrEnum

from alexnet_exp.config.bearing import neutral
from alexnet_exp.config.rules import require


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
        drawn = self.source == Layout.synthetic
        share = "must lie between 0 and 1"
        for name, holds, rule in (
            ("upscale_to", self.upscale_to is None or self.upscale_to >= 1,
             "must be at least 1 or null"),
            ("max_undecodable", 0 <= self.max_undecodable < 1, "must lie in [0, 1)"),
            ("workers", self.workers is None or self.workers >= 0, "must not be negative"),
            ("image_size", self.image_size >= 1, "must be at least 1"),
            ("channels", self.channels in (1, 3), "must be 1 (gray) or 3 (RGB)"),
            ("subset", 0 < self.subset <= 1, "must lie in (0, 1]: data.subset=1 is all"),
            ("batch_size", self.batch_size >= 1, "must be at least 1"),
            ("val_fraction", 0 < self.val_fraction < 1, share),
            ("test_fraction", 0 < self.test_fraction < 1, share),
            ("name", re.fullmatch(r"\w[\w.+-]*", self.name) is not None,
             "names folders: use letters, digits and . _ + - alone"),
            ("synthetic_seed", self.synthetic_seed >= 0, "must not be negative"),
            ("synthetic_images", not drawn or self.synthetic_images >= 15,
             "must be at least 15: each of the five kinds needs three, one for each split"),
            ("root", not drawn or self.root is None,
             "is not used by data=synthetic, which draws its images: add data=flowers,"
             " data=imagefolder, data=imagenet, ..."),
            ("resident", self.resident in ("auto", "always", "never"),
             "must be auto, always or never"),
        ):  # fmt: skip
            require(holds, f"data.{name}", getattr(self, name), rule)
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "data.val_fraction + data.test_fraction must leave images to train on"
                f" (now {self.val_fraction} + {self.test_fraction})"
            )

"""The typed schema of ``data``: where the images come from and how they are packed."""

from dataclasses import dataclass
from enum import StrEnum

from alexnet_exp.config.rules import (
    AT_LEAST_1,
    BELOW_1,
    FOLDER,
    NOT_NEGATIVE,
    PART,
    Ruled,
    neutral,
    one_of,
    require,
    ruled,
)

Layout = StrEnum(
    "Layout", ["synthetic", "flowers", "imagenet", "imagefolder", "cifar10", "fashion_mnist"]
)
"""How a source finds its images."""

Encoding = StrEnum("Encoding", ["raw", "jpeg"])
"""How a store holds its images."""

_SUBSET = "must lie in (0, 1]: data.subset=1 is all", lambda value: 0 < value <= 1


@dataclass
class DataConfig(Ruled, group="data"):
    """One data set: its source, its split and its packed store."""

    name: str = ruled("synthetic", FOLDER)
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

    image_size: int = ruled(256, AT_LEAST_1)
    """Side in pixels of the stored square: shorter side resized to it, center cut out."""

    channels: int = ruled(3, ("must be 1 (gray) or 3 (RGB)", lambda value: value in (1, 3)))
    """3 for RGB, 1 for gray."""

    encoding: Encoding = Encoding.raw
    """raw pixels, or jpeg: quality 95, a seventh of the size, decoded whenever it is read."""

    subset: float = ruled(1.0, _SUBSET)
    """Share of the images to train on and of those held out of them for validation; the smaller
    subset lies in the larger one. Test images stay whole, as do validation images that the data
    set comes with."""

    upscale_to: int | None = ruled(None, AT_LEAST_1)
    """Side to which stored images are enlarged on the device (bilinear); null: not at all."""

    batch_size: int = ruled(128, AT_LEAST_1)
    """Global batch size: images per optimizer step over all devices."""

    val_fraction: float = ruled(0.1, PART)
    """Share of images held out for validation where the source has no validation split."""

    test_fraction: float = ruled(0.1, PART)
    """Share of images held out for testing where the source has no test split, nor folds."""

    folds: int | None = ruled(None, ("must be at least 2", lambda value: value >= 2))
    """Parts of a data set that has no test images of its own: a run is tested on the images of one,
    so that in as many runs each image is a test image once. Where another fold's images are tested,
    these are trained on, but for ``val_fraction`` of all that are held out of the rest. Doubles,
    and photos that nearly are, lie in one fold. All folds share one store."""

    fold: int | None = None
    """The fold whose images a run is tested on, from 0; null: the remainder of ``seed`` divided by
    ``folds``, so that each fold has seeds of its own."""

    split_seed: int = 0
    """Seed of the stratified split; independent of ``seed`` so that all runs share one test set."""

    synthetic_images: int = 1500
    """Number of drawn images (``data=synthetic`` only)."""

    synthetic_seed: int = ruled(0, NOT_NEGATIVE)
    """Seed of the drawings (``data=synthetic`` only)."""

    max_undecodable: float = ruled(0.01, BELOW_1)
    """Share of files that may fail to decode before packing ends with an error."""

    fingerprint: str | None = None
    """Digest of names, sizes and settings of the packed data; filled in when a run starts."""

    resident: str = neutral("auto", one_of("auto", "always", "never"))
    """Keep all images where they are augmented, in a GPU's memory or mapped into a CPU's: auto (if
    they take less than half of it), always, never."""

    workers: int | None = neutral(None, NOT_NEGATIVE)
    """Threads that read and decode images which are not resident; null: one for each core, up to
    16 for each device."""

    def __post_init__(self) -> None:
        if self.root == "":
            raise ValueError("data.root is empty: pass a folder or an archive, or leave it out")
        if self.source == Layout.synthetic:
            require(
                self.synthetic_images >= 15, "data.synthetic_images", self.synthetic_images,
                "must be at least 15: each of the five kinds needs three, one for each split",
            )  # fmt: skip
            require(
                self.root is None, "data.root", self.root,
                "is not used by data=synthetic, which draws its images: add data=flowers,"
                " data=imagefolder, data=imagenet, ...",
            )  # fmt: skip
        if self.fold is not None and self.fold not in range(self.folds or 0):
            raise ValueError(
                f"data.fold={self.fold} data.folds={self.folds or 'null'}: there is no such fold;"
                " data.folds=5 divides the images into five, data.fold=0 to 4"
            )
        name, tested = "data.test_fraction", self.test_fraction
        if self.folds is not None:
            name, tested = f"1 / (data.folds={self.folds})", 1 / self.folds
        if self.val_fraction + tested >= 1:
            raise ValueError(
                f"data.val_fraction + {name} must leave images to train on"
                f" (now {self.val_fraction} + {tested:g})"
            )

"""Single photos as packing makes them, and class folders of photos that no store holds."""

from pathlib import Path

from alexnet_exp.config.data import DataConfig
from alexnet_exp.console import say
from alexnet_exp.data.decode import DecodeError, Pixels, decode, resize, resize_and_crop
from alexnet_exp.data.sources.files import Files
from alexnet_exp.data.sources.folders import list_classes
from alexnet_exp.data.sources.split import Entry, find_doubles
from alexnet_exp.errors import UserError


def read_photo(photo: Path | str | bytes, config: DataConfig) -> Pixels:
    """What packing makes of one photo, a file or the bytes of one: (S, S, C) uint8.

    Raises:
        DecodeError: no such file, or no readable image.
    """
    return resize_and_crop(_decoded(photo, config), config.image_size)


def read_whole_photo(photo: Path | str | bytes, config: DataConfig, side: int) -> Pixels:
    """The same with a shorter side of ``side`` pixels and nothing cut off: (H, W, C) uint8."""
    return resize(_decoded(photo, config), side)


def _decoded(photo: Path | str | bytes, config: DataConfig) -> Pixels:
    if isinstance(photo, bytes):
        return decode(photo, "a photo", config.channels)
    try:
        data = Path(photo).read_bytes()
    except OSError as error:
        raise DecodeError(str(photo), error.strerror or str(error)) from error
    return decode(data, str(photo), config.channels)


def labeled_photos(folder: Path | str) -> list[tuple[Path, str]]:
    """The photos of class folders (or of a folder around them) with their classes, by path.

    Raises:
        UserError: no such folder, or no photos in class folders.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}: name a folder with one of photos for each class")
    files = Files(root, root)
    listed = list_classes(files)
    entries = [Entry(name, 0, "all", files.sizes[name]) for name, _ in listed]
    if copies := len(entries) - len(set(find_doubles(entries, files.read, lambda step: None))):
        say(
            f"{root}: {copies:,} photos are copies of others, byte for byte; all count, and"
            " intervals over images are narrower than they should be"
        )
    return [(root / name, label) for name, label in listed]

"""Single photos as packing makes them, and class folders of photos that no store holds."""

from pathlib import Path

from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.decode import Pixels, decode, resize_and_crop
from alexnet_exp.data.sources.files import Files, require_readable
from alexnet_exp.data.sources.folders import list_classes
from alexnet_exp.errors import UserError


def read_photo(photo: Path | str | bytes, config: DataConfig) -> Pixels:
    """What packing makes of one photo.

    Args:
        photo: a file, or the bytes of one.
        config: ``image_size`` and ``channels``.

    Returns:
        (S, S, C) uint8.

    Raises:
        DecodeError: no readable image.
        OSError: no such file.
    """
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    name = "a photo" if isinstance(photo, bytes) else str(photo)
    return resize_and_crop(decode(data, name, config.channels), config.image_size)


def labeled_photos(folder: Path | str) -> list[tuple[Path, str]]:
    """The photos of class folders, with the names of their classes, sorted by path.

    Args:
        folder: with one folder of photos for each class; a single folder around them is passed
            through.

    Raises:
        UserError: no such folder, or no photos in class folders.
    """
    root = Path(folder).expanduser()
    require_readable(root)
    if not root.is_dir():
        raise UserError(f"{root} is no folder: pass one with a folder of photos for each class")
    return [(root / name, label) for name, label in list_classes(Files(root, root))]

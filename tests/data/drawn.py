"""Small data sets drawn for the tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.data.sources.source import Source, open_source

SIZE = 8
TURNED = Image.Exif()
TURNED[0x0112] = 6  # "rotate by 90 degrees to view"


def picture(seed: int, shape: tuple[int, ...] = (10, 12, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folder_of(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Class folders of distinct PNG images."""
    for place, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            content = encoded(picture(seed * 10**6 + place * 1000 + i))
            (root / name / f"{i:03d}.png").write_bytes(content)
    return root


def config_of(
    tmp_path: Path, root: Path | None, source: Layout = Layout.imagefolder, **fields: Any
) -> DataConfig:
    fields = {"image_size": SIZE, "stores": str(tmp_path / "stores"), **fields}
    return DataConfig(
        name="drawn", source=source, root=None if root is None else str(root), **fields
    )


def opened(config: DataConfig) -> Source:
    return open_source(config, Path(config.stores) / "drawn.unpacked", progress=False)


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of a store by file name."""
    return {file.name: file.read_bytes() for file in path.iterdir()}


def left(config: DataConfig) -> set[str]:
    """What lies in the folder of stores, but locks."""
    return {path.name for path in Path(config.stores).iterdir() if path.suffix != ".lock"}

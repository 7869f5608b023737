"""From the bytes of an image file to the stored square.

The EXIF orientation is *not* applied: torchvision's ImageFolder does not apply it, and the
original network saw ImageNet without it, so that a turned photograph stays turned here too.
"""

import importlib
import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]

_JPEG_QUALITY = 95
_ORIENTATION = 0x0112
_EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF")  # JPEG and AVIF, PNG, WebP


class DecodeError(Exception):
    """A file that is no readable image; ``name`` is the file, the message says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def decode(data: bytes, name: str, channels: int = 3) -> Pixels:
    """Decode the first frame of an image, whatever its file is called.

    Gray, CMYK, palette, transparent (alpha is dropped) and 16-bit images all become RGB, or
    gray where ``channels`` is 1: uint8 of shape (height, width, channels).

    Raises:
        DecodeError: ``data`` is no image, or a truncated one; it carries ``name``.
    """
    decode_image = _torchcodec()
    if decode_image is not None and not is_turned(data):
        # BMP, TIFF and PPM, and whatever is broken: Pillow has the last word.
        with suppress(RuntimeError, ValueError):
            frames = decode_image(data, mode="RGB" if channels == 3 else "GRAY")
            frame = frames[0] if frames.ndim == 4 else frames
            pixels: Pixels = frame.permute(1, 2, 0).numpy()
            return pixels
    try:
        return _decode_with_pillow(data, channels)
    except UnidentifiedImageError as error:
        raise DecodeError(name, "not an image that can be recognized") from error
    except Exception as error:  # Pillow's plugins raise nearly everything on broken files
        raise DecodeError(name, str(error)) from error


def resize(image: Pixels, size: int) -> Pixels:
    """Resize the shorter side to ``size`` pixels, bilinear, antialiased: (H, W, C) uint8."""
    if min(image.shape[:2]) == size:
        return image
    from torchvision.transforms.v2 import functional as F  # takes seconds; only packing needs it

    # Planes of interleaved pixels (channels_last) are what the fast uint8 path works on.
    planes = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)
    resized: Pixels = F.resize(planes, [size], antialias=True).permute(1, 2, 0).numpy()
    return resized


def resize_and_crop(image: Pixels, size: int) -> Pixels:
    """Resize the shorter side to ``size`` pixels, cut out the center.

    Section 2 of the paper: "rescaled the image such that the shorter side was of length 256, and
    then cropped out the central 256 x 256 patch". (H, W, C) uint8 to (size, size, C).
    """
    resized = resize(image, size)
    top, left = (round((side - size) / 2) for side in resized.shape[:2])  # as torchvision rounds
    return resized[top : top + size, left : left + size]


def encode_jpeg(image: Pixels) -> bytes:
    """Encode (height, width, 1 or 3) uint8 as a JPEG of quality 95, chroma halved (4:2:0).

    Pillow lets go of Python's lock only where it writes to a file by itself, not to a BytesIO:
    two threads encode 1.7 times as fast as one into files in memory, .9 times into BytesIO.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        square = image if image.shape[2] == 3 else image[:, :, 0]
        Image.fromarray(square).save(file, "JPEG", quality=_JPEG_QUALITY)
        return os.pread(file.fileno(), file.tell(), 0)


@cache
def _torchcodec() -> Callable[..., torch.Tensor] | None:
    """``torchcodec.decoders.decode_image``, or None where this machine cannot load it."""
    try:
        decoders: Any = importlib.import_module("torchcodec.decoders")
        found: Callable[..., torch.Tensor] = decoders.decode_image
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None  # not installed, an older release, or one built for another torch
    return found


def import_decoders() -> None:
    """Import what decoding and resizing need, seconds that no rate should count."""
    _torchcodec()
    importlib.import_module("torchvision.transforms.v2.functional")


def decoder_name() -> str:
    """The decoder that files meet first, for the record."""
    return "pillow" if _torchcodec() is None else "torchcodec"


def is_turned(data: bytes) -> bool:
    """Whether an image has an EXIF orientation, which torchcodec would apply unasked."""
    if not any(mark in data for mark in _EXIF_MARKS):
        return False
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # as above; an unreadable header is for decode() to report
        return False


def _decode_with_pillow(data: bytes, channels: int) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith("I"):
            # Pillow clips 16-bit gray at 255 instead of scaling it.
            gray = np.rint(np.asarray(image) / 257).clip(0, 255).astype(np.uint8)
            return np.repeat(gray[:, :, None], channels, axis=2)
        rgb = image.convert("RGB")
        if channels == 1:
            return np.array(rgb.convert("L"))[:, :, None]
        return np.array(rgb)

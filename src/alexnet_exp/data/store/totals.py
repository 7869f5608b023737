"""Mean image and color covariance of training images, exactly and a few images at a time."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.data.decode import Pixels

# The sum of as many uint8 fits into uint16, and takes a quarter of the time that int64 does.
_SUMMED = 257


@dataclass(frozen=True)
class PixelTotals:
    """Integer sums over ``count`` uint8 images: no rounding, so that no order of adding matters."""

    count: int
    sums: NDArray[np.int64]
    """Of each pixel, (S, S, C)."""
    products: NDArray[np.int64]
    """Of every two channels, over all pixels: (C, C)."""

    @classmethod
    def of(cls, images: Pixels) -> Self:
        """Of images (n, S, S, C), uint8."""
        sums = np.zeros(images.shape[1:], np.int64)
        for start in range(0, len(images), _SUMMED):
            piece = images[start : start + _SUMMED]
            sums += np.add.reduce(piece, axis=0, dtype=np.uint16)
        products = np.zeros(2 * images.shape[3:], np.int64)
        for image in images:
            pixels = image.reshape(-1, image.shape[2]).astype(np.float64)  # holds sums to 2**53
            products += (pixels.T @ pixels).astype(np.int64)
        return cls(len(images), sums, products)

    def __add__(self, other: "PixelTotals") -> "PixelTotals":
        return PixelTotals(
            self.count + other.count, self.sums + other.sums, self.products + other.products
        )

    def mean_image(self) -> NDArray[np.float32]:
        """Per-pixel mean, float32 of shape (S, S, C), in units of 0 to 255."""
        return np.asarray(self.sums / self.count, np.float32)

    def color_covariance(self) -> list[list[float]]:
        """Covariance of the channels over all pixels (divided by their number): (C, C).

        In Python's unbounded integers: floating point is worst at the difference of two large sums.
        """
        pixels = self.count * self.sums[..., 0].size
        sums = self.sums.sum(axis=(0, 1)).astype(object)
        exact = pixels * self.products.astype(object) - np.outer(sums, sums)
        return list((exact / pixels**2).tolist())

"""Batched augmentation on the device that holds the images (section 4.1)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_exp.config.training import AugmentationConfig, Views
from alexnet_exp.data.draws import normal, uniform
from alexnet_exp.data.pixels import InMemory, Pixels
from alexnet_exp.network.kernels import cpu, gpu


class Draws(NamedTuple):
    """What is drawn for N images."""

    uniform: Tensor
    """(N, 6) float64 in [0, 1): flip, top, left, area, aspect, and one to spare."""
    top: Tensor
    """(N,) int64, corner of a crop that is not resized."""
    left: Tensor
    flip: Tensor
    """(N,) bool."""
    noise: Tensor | None
    """(N, C) float32, gray levels that are added to every pixel; None without noise."""

    def split(self, sizes: list[int]) -> list["Draws"]:
        """Of so many images each."""
        parts = ([None] * len(sizes) if part is None else part.split(sizes) for part in self)
        return [Draws(*columns) for columns in zip(*parts, strict=True)]


class Augmentation:
    """Turns stored pixels into what the network sees.

    Args:
        config: Which parts are on.
        mean, covariance: Of the training set, 0-255: (S, S, C) float32 and (C, C) float64.
        input_size: Side of the network's input in pixels.
        seed: Of all random numbers.
        upscale_to: Side to which images are enlarged first, or None.
        fast: Use compiled kernels where they can be had; the pixels are the same.

    Raises:
        ValueError: The images are smaller than the network's input.
    """

    def __init__(
        self,
        config: AugmentationConfig,
        mean: Tensor,
        covariance: Tensor,
        input_size: int,
        seed: int,
        upscale_to: int | None = None,
        fast: bool = True,
    ) -> None:
        side = upscale_to or mean.shape[0]
        if side < input_size:
            raise ValueError(
                f"the images are {side} pixels wide and the network sees {input_size}: set"
                f" data.image_size or data.upscale_to to {input_size} or more, or"
                f" model.input_size={side}"
            )
        self.config, self.seed, self.fast = config, seed, fast
        self.side, self.input_size, self.upscale_to = side, input_size, upscale_to
        self.mean = self._enlarge(mean.float()[None])[0].contiguous()
        if not config.mean_image:
            self.mean = torch.zeros_like(self.mean)
        values, vectors = torch.linalg.eigh(covariance.double())
        # Columns: principal components times their standard deviations, in gray levels.
        self.components = (vectors * values.clamp(min=0).sqrt()).float()

    def draw(self, index: Tensor, epoch: int) -> Draws:
        """Draw for the images of the store that ``index`` (N,) says, on its device."""
        self._to(index.device)
        drawn = uniform(self.seed, epoch, index, 6)
        slack = self.side - self.input_size
        if self.config.crops:
            top, left = (drawn[:, 1:3].T * (slack + 1)).long().contiguous()
        else:
            top = left = torch.full_like(index, slack // 2)
        noise = None
        if self.config.color_noise:
            # A stream of its own, so that switching it off leaves crops and flips as they were.
            multiples = normal(self.seed + 1_000_003, epoch, index, self.components.shape[0])
            noise = (self.config.color_noise_std * multiples).float() @ self.components.T
        return Draws(drawn, top, left, (drawn[:, 0] < 0.5) & self.config.flips, noise)

    def train(
        self, pixels: Pixels, rows: Tensor, draws: Draws, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Augment the images of ``rows`` (N,) int64: (N, C, s, s) in channels-last memory.

        They are computed in float32 and rounded to ``dtype``.
        """
        self._to(pixels.device)
        resized = self.config.min_scale < 1 and self.config.crops
        if resized or not self.fast or self.upscale_to is not None:
            return self._train_in_torch(self._enlarge(pixels.gather(rows)), draws, resized, dtype)
        place = (draws.top, draws.left, draws.flip, self.mean, draws.noise, self.config.scale)
        size = self.input_size
        if cpu.supports_crop(pixels.device):
            return cpu.crop(pixels.addresses(rows), *place, size, dtype)
        if isinstance(pixels, InMemory) and gpu.supports_crop(pixels.images, size, dtype):
            return gpu.crop(pixels.images, rows, *place, size, dtype)
        return self._train_in_torch(pixels.gather(rows), draws, resized, dtype)

    def _train_in_torch(
        self, images: Tensor, draws: Draws, resized: bool, dtype: torch.dtype
    ) -> Tensor:
        """The same for (N, S, S, C) images by torch operations."""
        if resized:
            pixels = self._resized_crop(images, draws.uniform, draws.flip)
        else:
            pixels = self._crop(images, draws.top, draws.left, draws.flip)
        if draws.noise is not None:
            pixels += draws.noise[:, None, None, :]
        return self._finish(pixels, dtype)

    def views(self, images: Tensor, views: Views, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut ten views (four corners, center, and their mirrors) or one (center).

        (N, S, S, C) uint8 to (N, V, C, s, s) of ten views, (N, C, s, s) of one, in channels-last
        memory; computed in float32 and rounded to ``dtype``.
        """
        self._to(images.device)
        images = self._enlarge(images)
        cut = []
        for top, left in self._places(views):
            rows, columns = slice(top, top + self.input_size), slice(left, left + self.input_size)
            view = images[:, rows, columns].float() - self.mean[rows, columns]
            cut += [view, view.flip(2)] if views == Views.ten else [view]
        if views == Views.one:
            return self._finish(cut[0], dtype)
        stacked = self._finish(torch.stack(cut, 1).flatten(0, 1), dtype)
        return stacked.unflatten(0, (-1, len(cut)))

    def view_count(self, views: Views) -> int:
        """Number of different views, V: 10, 2 where the crop is the whole image, or 1."""
        return len(self._places(views)) * (2 if views == Views.ten else 1)

    def _places(self, views: Views) -> list[tuple[int, int]]:
        """Top left corners of the views, each once."""
        slack = self.side - self.input_size
        center = (slack // 2, slack // 2)
        if views == Views.one or slack == 0:
            return [center]
        return [center, (0, 0), (0, slack), (slack, 0), (slack, slack)]

    def _crop(self, images: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
        """Crop each image at its own place, flip, and subtract the mean cut out alike."""
        size = self.input_size
        steps = torch.arange(size, device=images.device)
        columns = torch.where(flip[:, None], steps.flip(0), steps) + left[:, None]
        rows = top[:, None] + steps
        which = torch.arange(len(images), device=images.device)[:, None, None]
        rows, columns = rows[:, :, None], columns[:, None, :]
        return images[which, rows, columns] - self.mean[rows, columns]

    def _resized_crop(self, images: Tensor, draws: Tensor, flip: Tensor) -> Tensor:
        """Crop a random share of the area at a random place and resize it bilinearly."""
        low, aspect = self.config.min_scale, math.log(self.config.max_aspect)
        scale = (low + draws[:, 3] * (1 - low)).sqrt()
        # The aspect gives way where the crop would reach over the image's border.
        stretch = torch.exp((draws[:, 4] - 0.5) * aspect).clamp(scale, 1 / scale)
        width, height = scale * stretch, scale / stretch
        theta = torch.zeros(len(images), 2, 3, device=images.device)
        theta[:, 0, 0] = torch.where(flip, -width, width)
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (2 * draws[:, 1] - 1) * (1 - width)
        theta[:, 1, 2] = (2 * draws[:, 2] - 1) * (1 - height)
        centered = (images - self.mean).permute(0, 3, 1, 2)
        shape = [len(images), images.shape[3], self.input_size, self.input_size]
        grid = F.affine_grid(theta, shape, align_corners=False)
        sampled = F.grid_sample(centered, grid, padding_mode="border", align_corners=False)
        return sampled.permute(0, 2, 3, 1).contiguous()

    def _enlarge(self, images: Tensor) -> Tensor:
        """Enlarge (N, S, S, C) images bilinearly where the configuration says so."""
        if self.upscale_to is None or images.shape[1] == self.upscale_to:
            return images
        planes = images.permute(0, 3, 1, 2).float()
        large = F.interpolate(planes, (self.upscale_to, self.upscale_to), mode="bilinear")
        return large.permute(0, 2, 3, 1).contiguous()

    def _finish(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, s, s, C) to (N, C, s, s) without moving a byte: that is channels-last memory."""
        if self.config.scale != 1:
            pixels = pixels * self.config.scale
        return pixels.permute(0, 3, 1, 2).to(dtype)

    def _to(self, device: torch.device) -> None:
        self.mean, self.components = self.mean.to(device), self.components.to(device)

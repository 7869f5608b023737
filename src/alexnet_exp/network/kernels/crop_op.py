"""From stored pixels to the network's input in one kernel on a GPU (section 4.1).

Crop, flip, mean image, color noise and scale in one pass over the bytes, from images that lie on
the device. Written in Triton; computes what data/augmentation.py does without resized crops.
"""

import torch
from torch import Tensor

from alexnet_exp.network.kernels.gpu import runs_triton


def supports(images: Tensor) -> bool:
    """Whether ``crop`` can cut ``images``: where Triton is installed, on NVIDIA GPUs since Ampere,
    (M, S, S, C) uint8 in contiguous memory.
    """
    return (
        runs_triton(images)
        and images.dtype == torch.uint8
        and images.dim() == 4
        and images.shape[1] == images.shape[2]
        and images.is_contiguous()
    )


def crop(
    images: Tensor,
    rows: Tensor,
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    mean: Tensor,
    noise: Tensor | None,
    scale: float,
    size: int,
    dtype: torch.dtype,
    channels: int | None = None,
) -> Tensor:
    """Cut a square out of each image, flip it, subtract the mean, add noise, and scale.

    ``out[n, c, y, x] = (images[r, t + y, l + x', c] - mean[t + y, l + x', c] + noise[n, c]) * s``
    with r, t, l the n-th of ``rows``, ``top``, ``left``, s the ``scale``, and x' counted from the
    right where ``flip``; in float32, rounded at the end.

    Args:
        images: (M, S, S, C) uint8, which ``supports`` accepts: a store or a batch of it.
        rows: (N,) int64, which images.
        top, left: (N,) int64 upper left corners, 0 to S - size. They are not checked.
        flip: (N,) bool.
        mean: (S, S, C) float32 mean image, in gray levels.
        noise: (N, C) float32 shift of all pixels of an image, in gray levels, or None.
        scale: Factor of the result.
        size: Side of the crops in pixels.
        dtype: Of the result: bf16, fp16 or float32.
        channels: Channels of the result; those beyond C are 0. None is C.

    Returns:
        (N, C or ``channels``, size, size) in channels-last memory.
    """
    from alexnet_exp.network.kernels.crop_triton import (  # Triton may not be there
        BLOCK,
        LINES,
        crop_kernel,
    )

    written = channels or images.shape[3]
    out = torch.empty(len(rows), size, size, written, dtype=dtype, device=images.device)
    programs = -(-size // LINES)  # of an image
    crop_kernel[(len(rows) * programs,)](
        images,
        rows.contiguous(),
        top.contiguous(),
        left.contiguous(),
        flip.contiguous(),
        mean.contiguous(),
        mean if noise is None else noise.contiguous(),
        out,
        scale,
        images.shape[1],
        SIZE=size,
        STORED=images.shape[3],
        WRITTEN=written,
        NOISE=noise is not None,
        B=BLOCK,
        LINES=LINES,
    )
    return out.permute(0, 3, 1, 2)

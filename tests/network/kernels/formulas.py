"""What the kernels compute, written out once more in float64 and pixel by pixel, and on what."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet_exp.network.kernels.gpu import lrn


def normalized(
    x: Tensor, towers: int, alpha: float, k: float, relu: bool, size: int = 5, beta: float = 0.75
) -> Tensor:
    """b_i = a_i / (k + alpha * sum_j a_j^2) ** beta over the maps around i, (N, C, H, W)."""
    a = x.relu() if relu else x
    maps = []
    of_tower, half = x.shape[1] // towers, size // 2
    for i in range(x.shape[1]):
        first = i // of_tower * of_tower
        window = a[:, max(i - half, first) : min(i + half + 1, first + of_tower)]
        maps.append(a[:, i] / (k + alpha * window.square().sum(1)) ** beta)
    return torch.stack(maps, 1)


def with_gradient(
    x: Tensor, grad: Tensor, towers: int, alpha: float, k: float, relu: bool, size: int = 5,
    beta: float = 0.75,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The normalized maps and the gradient by ``x``, both float64, by autograd."""
    leaf = x.detach().double().requires_grad_()
    y = normalized(leaf, towers, alpha, k, relu, size, beta)
    (gradient,) = torch.autograd.grad(y, leaf, grad.double())
    return y.detach(), gradient


def compare_lrn(
    rounding: dict[torch.dtype, float], arithmetic: float,
    x: Tensor, grad: Tensor, towers: int, relu: bool, alpha: float,
) -> None:  # fmt: skip
    """Both passes of the kernels against float64: off by ``rounding`` of storing a result, and by
    ``arithmetic`` in float32, a part of the largest value.
    """
    x = x.detach().requires_grad_()
    y = lrn(x, towers, alpha, 2.0, relu)
    y.backward(grad)
    for got, exact in zip(
        (y, x.grad), with_gradient(x, grad, towers, alpha, 2.0, relu), strict=True
    ):
        assert got.dtype == x.dtype
        assert got.is_contiguous(memory_format=torch.channels_last)
        allowed = rounding[x.dtype] * exact.abs() + arithmetic * exact.abs().max()
        assert ((got.double() - exact).abs() <= allowed).all()


def cut(
    images: np.ndarray,
    rows: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    flip: np.ndarray,
    mean: np.ndarray,
    noise: np.ndarray | None,
    scale: float,
    size: int,
) -> np.ndarray:
    """(N, C, size, size) float32: cut out, mean subtracted, flipped, noise added, scaled."""
    out = []
    for n, row in enumerate(rows):
        place = np.s_[top[n] : top[n] + size, left[n] : left[n] + size]
        pixels = images[row][place].astype(np.float32) - mean[place]
        if flip[n]:
            pixels = pixels[:, ::-1]
        if noise is not None:
            pixels = pixels + noise[n]
        out.append(pixels.transpose(2, 0, 1) * np.float32(scale))
    return np.stack(out)


def crops(side: int, size: int, channels: int, noise: bool) -> dict[str, Any]:
    """Arguments for six crops of five images: all four corners among them, half of them flipped."""
    rng = np.random.default_rng(side + channels)
    slack = side - size
    return {
        "images": rng.integers(0, 256, (5, side, side, channels), dtype=np.uint8),
        "rows": np.array([4, 0, 2, 2, 1, 3]),
        "top": np.array([0, 0, slack, slack, slack // 2, 0]),
        "left": np.array([0, slack, 0, slack, slack // 3, 0]),
        "flip": np.array([False, True, False, True, False, True]),
        "mean": rng.uniform(0, 255, (side, side, channels)).astype(np.float32),
        "noise": rng.normal(0, 9, (6, channels)).astype(np.float32) if noise else None,
        "scale": 1 / 58,
        "size": size,
    }


def tensors(arguments: dict[str, Any], device: str = "cpu") -> dict[str, Any]:
    return {
        name: torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }

"""What the kernels compute, written out once more: in float64 and pixel by pixel."""

import numpy as np
import torch
from torch import Tensor


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

"""Local response normalization on a GPU in one kernel each way, with the ReLU before it.

The formula of ``network.lrn`` with the paper's window of five maps and power of .75. Forward it
reads x and writes y; backward it reads x and the gradient and writes a gradient; nothing else is
kept. Written in Triton for channels-last tensors.
"""

import torch
from torch import Tensor

from alexnet_exp.network.kernels.gpu import runs_triton

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def supports(x: Tensor, towers: int, size: int, beta: float) -> bool:
    """Whether ``lrn`` can normalize ``x``.

    It can where Triton is installed, on NVIDIA GPUs since Ampere, for channels-last tensors in
    bf16, fp16 or fp32 whose towers have a multiple of eight maps each, with windows of five maps
    and a power of .75.
    """
    return (
        runs_triton(x)
        and x.dtype in DTYPES
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.shape[1] % (8 * towers) == 0
        and size == 5
        and beta == 0.75
    )


def lrn(x: Tensor, towers: int, alpha: float, k: float, relu: bool = False) -> Tensor:
    """Normalize over five adjacent maps of the same tower (section 3.3); differentiable once.

    ``b_i = a_i / (k + alpha * sum_j a_j^2) ** .75``, computed in float32.

    Args:
        x: (N, C, H, W), one that ``supports`` accepts.
        towers: Number of equal runs of maps that are normalized apart.
        alpha, k: Constants of the formula; ``alpha`` is not divided by five.
        relu: Whether a is max(x, 0) instead of x.

    Returns:
        (N, C, H, W) in the dtype and the memory format of ``x``.
    """
    from alexnet_exp.network.kernels.lrn_triton import normalize  # Triton may not be there

    return normalize(x, towers, alpha, k, relu)

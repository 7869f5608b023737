"""Communication inside a network, with its gradients.

Forward an all-gather, backward a reduce-scatter: each of K processes sends (K-1)/K of the whole.
torch's own with gradients (``torch.distributed.nn``) are deprecated in favor of private ones.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F


def gather(x: Tensor, dim: int, group: ProcessGroup, scale: float = 1.0) -> Tensor:
    """Concatenate every process's part, all of one shape, along ``dim`` 0 or 1.

    Each process goes on to compute something else of it, so the gradient of a part is the sum of
    what all processes have for it, times ``scale``.
    """
    return _Gather.apply(x, dim, group, scale)


def gather_columns(x: Tensor, sizes: tuple[int, ...], group: ProcessGroup) -> Tensor:
    """Concatenate every process's columns (N, ``sizes[rank]``); all go on to the same loss."""
    # Equal parts are what every backend gathers. All have the same gradient for a part.
    padded = F.pad(x, (0, max(sizes) - x.shape[1]))
    parts = gather(padded, 1, group, 1 / len(sizes)).chunk(len(sizes), 1)
    return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], 1)


def mean(x: Tensor, group: ProcessGroup) -> Tensor:
    """Mean of ``x`` over the processes, each of which goes on with its own rows."""
    return gather(x[None], 0, group).mean(0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup, scale: float) -> Tensor:
        ctx.dim, ctx.group, ctx.scale = dim, group, scale
        rows, dim, restore = _dense(x, dim)
        gathered = rows.new_empty(group.size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(gathered, rows, group=group)
        return restore(torch.cat(gathered.chunk(group.size()), dim) if dim else gathered)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """The sum over all processes of this process's part."""
        rows, dim, restore = _dense(grad, ctx.dim)
        stacked = torch.cat(rows.chunk(ctx.group.size(), dim)) if dim else rows
        own = stacked.new_empty(len(stacked) // ctx.group.size(), *stacked.shape[1:])
        dist.reduce_scatter_tensor(own, stacked, group=ctx.group)
        return restore(own if ctx.scale == 1.0 else own * ctx.scale), None, None, None


def _dense(x: Tensor, dim: int) -> Any:
    """``x`` with its dimensions in the order of its memory, ``dim`` there, and what goes back."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1), 3 if dim else 0, lambda y: y.permute(0, 3, 1, 2)
    return x.contiguous(), dim, lambda y: y

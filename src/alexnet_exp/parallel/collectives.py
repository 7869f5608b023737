"""Communication inside a network, with its gradients.

What each does going forward, and what its gradient does going backward, over the K processes of a
group; ``B`` are the bytes of the whole tensor.

| function           | forward    | backward       | each sends     |
|--------------------|------------|----------------|----------------|
| ``gather``         | all-gather | reduce-scatter | (K-1)/K B each |
| ``gather_columns`` | all-gather | reduce-scatter | (K-1)/K B each |
| ``rows_for_columns`` | all-to-all | all-to-all   | (K-1)/K^2 B    |
| ``mean``           | all-reduce | all-reduce     | 2 (K-1)/K B    |

torch's own with gradients (``torch.distributed.nn``) are deprecated in favor of private ones.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F


def gather(x: Tensor, dim: int, group: ProcessGroup, scale: float = 1.0) -> Tensor:
    """Concatenate every process's equal part along ``dim``.

    Each process goes on to compute something else of it, so the gradient of a part is the sum of
    what all processes have for it.

    Args:
        x: This process's part, of the same shape everywhere.
        dim: 0 (rows) or 1 (channels, units).
        group: The processes, in the order of their parts.
        scale: Factor of the gradient.
    """
    return _Gather.apply(x, dim, group, scale)


def gather_columns(x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
    """Concatenate every process's columns where all go on to compute the same.

    Args:
        x: (N, columns of this process).
        sizes: Columns of each process.
        group: The processes, in the order of their columns.
    """
    # Equal parts are what every backend gathers. All have the same gradient for a part.
    padded = F.pad(x, (0, max(sizes) - x.shape[1]))
    parts = gather(padded, 1, group, 1 / len(sizes)).chunk(len(sizes), 1)
    return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], 1)


def rows_for_columns(x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
    """Give away the rows of others and get the columns that are missing of one's own.

    The gradient is divided by the number of processes: each goes on to the mean over its own rows,
    and the mean over all of them is what the columns are trained by.

    Args:
        x: (N, columns of this process), of all rows.
        sizes: Columns of each process.
        group: The processes, in the order of their rows and columns.

    Returns:
        (N / K, all columns), of this process's rows.
    """
    return _RowsForColumns.apply(x, sizes, group)


def mean(x: Tensor, group: ProcessGroup) -> Tensor:
    """Mean of ``x`` over the processes, each of which goes on with its own rows."""
    return _Mean.apply(x, group)


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


class _RowsForColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        rows = len(x) // group.size()
        counts = [rows * size for size in sizes]
        received = x.new_empty(sum(counts))
        dist.all_to_all_single(
            received, x.flatten(), counts, [x.numel() // group.size()] * group.size(), group=group
        )
        blocks = zip(received.split(counts), sizes, strict=True)
        return torch.cat([block.view(rows, size) for block, size in blocks], 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        rows, own, size = len(grad), ctx.sizes[ctx.group.rank()], ctx.group.size()
        sent = torch.cat([block.flatten() for block in grad.split(ctx.sizes, 1)])
        received = grad.new_empty(rows * size, own)
        counts = [rows * columns for columns in ctx.sizes]
        dist.all_to_all_single(
            received.view(-1), sent, [rows * own] * size, counts, group=ctx.group
        )
        return received / size, None, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return _all_mean(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # Every process's loss depends on this part, by 1 / K.
        return _all_mean(grad, ctx.group), None


def _all_mean(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total / group.size()


def _dense(x: Tensor, dim: int) -> Any:
    """``x`` with its dimensions in the order of its memory, ``dim`` there, and what goes back."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1), 3 if dim else 0, lambda y: y.permute(0, 3, 1, 2)
    return x.contiguous(), dim, lambda y: y

"""Communication inside a network, with its gradients.

What each does going forward, and what its gradient does going backward, over the K processes of a
group; ``B`` are the bytes of the whole tensor.

| function              | forward                  | backward                 | each sends     |
|-----------------------|--------------------------|--------------------------|----------------|
| ``gather``            | all-gather               | reduce-scatter           | (K-1)/K B each |
| ``gather_replicated`` | all-gather               | takes its own part       | (K-1)/K B      |
| ``rows_for_columns``  | all-to-all               | all-to-all               | (K-1)/K^2 B    |
| ``mean``              | all-reduce               | all-reduce               | 2 (K-1)/K B    |
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


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


def gather_replicated(x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
    """Concatenate every process's columns where all go on to compute the same.

    Args:
        x: (N, columns of this process).
        sizes: Columns of each process.
        group: The processes, in the order of their columns.
    """
    return _GatherReplicated.apply(x, sizes, group)


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
        return _all_gather(x, dim, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        own = _reduce_scatter(grad, ctx.dim, ctx.group)
        return own if ctx.scale == 1.0 else own * ctx.scale, None, None, None


class _GatherReplicated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
        ctx.start, ctx.size = sum(sizes[: group.rank()]), x.shape[1]
        # Equal parts are what every backend gathers.
        padded = torch.nn.functional.pad(x, (0, max(sizes) - x.shape[1]))
        parts = _all_gather(padded, 1, group).chunk(group.size(), 1)
        return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad[:, ctx.start : ctx.start + ctx.size], None, None


class _RowsForColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        rows, own = len(x) // group.size(), sizes[group.rank()]
        received = x.new_empty(rows * sum(sizes))
        _all_to_all(received, x.contiguous().flatten(), [rows * size for size in sizes],
                    [rows * own] * group.size(), group)  # fmt: skip
        blocks = received.split([rows * size for size in sizes])
        return torch.cat(
            [block.view(rows, size) for block, size in zip(blocks, sizes, strict=True)], 1
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        sizes, group = ctx.sizes, ctx.group
        rows, own = len(grad), sizes[group.rank()]
        sent = torch.cat([block.flatten() for block in grad.split(sizes, 1)])
        received = grad.new_empty(rows * group.size() * own)
        _all_to_all(received, sent, [rows * own] * group.size(),
                    [rows * size for size in sizes], group)  # fmt: skip
        return received.view(rows * group.size(), own) / group.size(), None, None


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


def _all_to_all(
    received: Tensor, sent: Tensor, receives: list[int], sends: list[int], group: ProcessGroup
) -> None:
    dist.all_to_all_single(received, sent, receives, sends, group=group)


def _all_gather(x: Tensor, dim: int, group: ProcessGroup) -> Tensor:
    """Every process's part, concatenated along ``dim``; channels-last stays so."""
    rows, restore = _dense(x)
    gathered = rows.new_empty(group.size() * len(rows), *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, rows, group=group)
    if dim == 0:
        return restore(gathered)
    along = rows.ndim - 1 if _is_channels_last(x) else dim
    return restore(torch.cat(gathered.chunk(group.size()), along))


def _reduce_scatter(x: Tensor, dim: int, group: ProcessGroup) -> Tensor:
    """The sum over all processes of this process's part along ``dim``."""
    rows, restore = _dense(x)
    along = dim if dim == 0 or not _is_channels_last(x) else rows.ndim - 1
    stacked = torch.cat(rows.chunk(group.size(), along))
    own = stacked.new_empty(len(stacked) // group.size(), *stacked.shape[1:])
    dist.reduce_scatter_tensor(own, stacked, group=group)
    return restore(own)


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _dense(x: Tensor) -> Any:
    """``x`` with its dimensions in the order of its memory, and what takes them back."""
    if _is_channels_last(x):
        return x.permute(0, 2, 3, 1), lambda y: y.permute(0, 3, 1, 2)
    return x.contiguous(), lambda y: y

"""The changes that lay a network over devices, in place, layer by layer.

Parameters keep their names; only their first dimension (kernels, units) is divided. What is divided
is returned by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from alexnet_exp.network.alexnet import AlexNet, TowerLinear
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.parallel import collectives
from alexnet_exp.parallel.parts import Rows


@dataclass(frozen=True)
class Share:
    """One of several equal shares of a dimension."""

    index: int = 0
    count: int = 1


class PartOfDropout(nn.Module):
    """``dropout`` of a part of the activations, by the mask that one device draws for all of them.

    Shape:
        (n, u) to the same, of a whole (n * rows.count, u * columns.count).
    """

    def __init__(self, dropout: nn.Dropout, rows: Share, columns: Share) -> None:
        super().__init__()
        self.dropout, self.rows, self.columns = dropout, rows, columns

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.dropout(x)
        whole = x.new_ones(len(x) * self.rows.count, x.shape[1] * self.columns.count)
        mask = self.dropout(whole).chunk(self.rows.count)[self.rows.index]
        return x * mask.chunk(self.columns.count, 1)[self.columns.index]


class BatchNormOverProcesses(nn.BatchNorm2d):
    """``norm`` by the statistics of the batch that a group shares.

    torch's own ``SyncBatchNorm`` wants a GPU.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: ProcessGroup) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.to(norm.weight.device, norm.weight.dtype)
        self.load_state_dict(norm.state_dict())
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        mean = collectives.mean(wide.mean((0, 2, 3)), self.group)
        centered = wide - mean[:, None, None]
        variance = collectives.mean(centered.square().mean((0, 2, 3)), self.group)
        with torch.no_grad():
            count = x.numel() // x.shape[1] * self.group.size()
            unbiased = variance * count / (count - 1)
            for kept, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert kept is not None
                assert self.momentum is not None
                kept.lerp_(now.to(kept.dtype), self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def lay_out_rows(network: AlexNet, rows: Share, group: ProcessGroup) -> None:
    """Divide the batch alone, of which this process of the group has ``rows``."""
    for _, parent, name, module in _children(network):
        if isinstance(module, nn.Dropout):
            setattr(parent, name, PartOfDropout(module, rows, Share()))
        if isinstance(module, nn.BatchNorm2d):
            setattr(parent, name, BatchNormOverProcesses(module, group))


def lay_out_towers(
    network: AlexNet, rows: Share, towers: ProcessGroup, data: ProcessGroup
) -> dict[str, Rows]:
    """Keep one tower of every layer, and let the towers meet where a layer sees all of them.

    Args:
        network: Of this process.
        rows: Its group of towers' share of each batch.
        towers: The processes that hold the towers of one network, in their order.
        data: The processes that hold this tower, each for its share of the batch.
    """
    parts: dict[str, Rows] = {}
    columns = Share(towers.rank(), towers.size())
    inputs_are_whole = True  # the image is no tower's
    for path, parent, name, module in _children(network):
        if isinstance(module, nn.Conv2d | nn.Linear | TowerLinear):
            blind = isinstance(module, TowerLinear) or getattr(module, "groups", 1) > 1
            if not blind and not inputs_are_whole:
                _gather_before(module, 1, towers)
            inputs_are_whole = False
            parts |= _cut(module, path, towers)
            if blind and isinstance(module, nn.Conv2d):
                module.groups, module.in_channels = 1, module.in_channels // towers.size()
            elif blind:
                module.towers = 1
        elif isinstance(module, LocalResponseNorm):
            setattr(parent, name, module.of_one_tower())
        elif isinstance(module, nn.BatchNorm2d):
            parts |= _cut(module, path, towers)
            setattr(parent, name, BatchNormOverProcesses(module, data))
        elif isinstance(module, nn.Dropout):
            setattr(parent, name, PartOfDropout(module, rows, columns))
    _gather_logits(network, parts, Share(), towers)
    return parts


def lay_out_fully_connected(network: AlexNet, rows: Share, group: ProcessGroup) -> dict[str, Rows]:
    """Divide the batch among the convolutions and the units of the fully connected layers.

    Scheme (a) of Krizhevsky (2014), section 4: the whole batch is gathered before the first fully
    connected layer.
    """
    lay_out_rows(network, rows, group)
    parts: dict[str, Rows] = {}
    columns = Share(group.rank(), group.size())
    rows_are_whole = False
    for path, parent, name, module in _children(network):
        if isinstance(module, nn.Linear):
            # The first gathers images, the others units.
            scale = 1.0 if rows_are_whole else float(group.size())
            _gather_before(module, 1 if rows_are_whole else 0, group, scale)
            rows_are_whole = True
            parts |= _cut(module, path, group)
        elif isinstance(module, PartOfDropout) and rows_are_whole:
            setattr(parent, name, PartOfDropout(module.dropout, Share(), columns))
    _gather_logits(network, parts, rows, group)
    return parts


def _children(network: AlexNet) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Path, parent, name and module of every layer in order."""
    for prefix, parent in (("features", network.features), ("classifier", network.classifier)):
        for name, module in list(parent.named_children()):
            yield f"{prefix}.{name}", parent, name, module


def _cut(module: nn.Module, path: str, group: ProcessGroup) -> dict[str, Rows]:
    """Keep this process's rows of every parameter and buffer, and say which they are."""
    parts: dict[str, Rows] = {}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.ndim == 0:
            continue
        rows = Rows.of(len(tensor), group)
        own = rows.cut(tensor.detach())
        setattr(module, name, nn.Parameter(own) if isinstance(tensor, nn.Parameter) else own)
        parts[f"{path}.{name}"] = rows
        for size in ("out_channels", "out_features", "num_features"):
            if hasattr(module, size):
                setattr(module, size, len(own))
    return parts


def _gather_before(module: nn.Module, dim: int, group: ProcessGroup, scale: float = 1.0) -> None:
    def gathered(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return collectives.gather(inputs[0], dim, group, scale)

    module.register_forward_pre_hook(gathered)


def _gather_logits(
    network: AlexNet, parts: Mapping[str, Rows], rows: Share, group: ProcessGroup
) -> None:
    """Have the last layer give the logits of all classes, for ``rows`` of what it is given."""
    name, module = list(network.classifier.named_children())[-1]
    sizes = parts[f"classifier.{name}.weight"].sizes

    def gathered(module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> Tensor:
        return collectives.gather_columns(logits, sizes, group).chunk(rows.count)[rows.index]

    module.register_forward_hook(gathered)


def world() -> ProcessGroup:
    """All processes of the run."""
    group = dist.group.WORLD
    assert group is not None
    return group

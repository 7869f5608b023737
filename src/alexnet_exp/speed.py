"""Puts the options of ``speed`` on a network, from outside of it, and says which paths run."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config import Config
from alexnet_exp.config.training import Compile, StrategyName
from alexnet_exp.data.progress import say
from alexnet_exp.hardware import is_out_of_memory, uses_gpu
from alexnet_exp.kernels import cpu
from alexnet_exp.kernels import lrn as triton_lrn
from alexnet_exp.lrn import LocalResponseNorm
from alexnet_exp.model import AlexNet


def speed_up(network: AlexNet, config: Config) -> AlexNet:
    """Choose the paths of the network's normalizations.

    Args:
        network: Changed in place; names and parameters stay.
        config: ``speed`` of it.
    """
    if config.speed.space_to_depth:
        _compute_first_over_blocks(network)
    before: tuple[str, nn.Module] | None = None
    for name, module in list(network.features.named_children()):
        if isinstance(module, LocalResponseNorm):
            module.fast = config.speed.kernels
            if config.speed.fuse and before is not None and isinstance(before[1], nn.ReLU):
                module.relu = True
                setattr(network.features, before[0], nn.Identity())
        before = name, module
    return network


def _compute_first_over_blocks(network: AlexNet) -> None:
    for name, module in network.features.named_children():
        if isinstance(module, nn.Conv2d):
            if SpaceToDepthConv.can_stand_in(module):
                setattr(network.features, name, SpaceToDepthConv(module))
            return


class SpaceToDepthConv(nn.Conv2d):
    """A convolution of stride s, computed as one of stride 1 over blocks of s x s pixels.

    The first layer sees three channels, too few for a matrix unit; here it sees 3 s^2, and its
    kernel is s times smaller on each side. Weights and their names stay those of ``nn.Conv2d``.

    Args:
        conv: Of stride s > 1, without padding and groups.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0])
        self.weight, self.bias = conv.weight, conv.bias

    def reset_parameters(self) -> None:
        """Draw nothing: torch's generator stays where it is."""

    @staticmethod
    def can_stand_in(conv: nn.Conv2d) -> bool:
        """Whether it computes what ``conv`` does."""
        return (
            conv.groups == 1
            and conv.padding == (0, 0)
            and conv.stride[0] == conv.stride[1] > 1
            and conv.kernel_size[0] == conv.kernel_size[1]
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, h, w)."""
        block, kernel = self.stride[0], self.kernel_size[0]
        blocks = -(-kernel // block)  # of the kernel
        missing = [((side - kernel) // block + blocks) * block - side for side in images.shape[2:]]
        beyond = blocks * block - kernel
        images = F.pad(images, (0, missing[1], 0, missing[0]))
        weight = F.pad(self.weight, (0, beyond, 0, beyond))
        deep = F.pixel_unshuffle(images, block).contiguous(
            memory_format=torch.channels_last
            if self.weight.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        return F.conv2d(deep, F.pixel_unshuffle(weight, block), self.bias)


class TrainingForward:
    """Computes the logits of a training step, compiled by torch where ``speed.compile`` says so.

    No module itself, so that no parameter counts twice.

    Args:
        network: As the strategy has laid it out.
        config: ``speed``, ``strategy`` and ``trainer.accelerator`` of it.
    """

    def __init__(self, network: nn.Module, config: Config) -> None:
        chosen = chosen_compile(config)
        self._by_choice = config.speed.compile != Compile.auto
        self._network: Callable[[Tensor], Tensor] = network.__call__
        self._compiled: Callable[[Tensor], Tensor] | None = None
        if chosen != Compile.none:
            self._compiled = _compile(network, graphs=chosen == Compile.graphs)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ``images`` (N, C, S, S)."""
        if self._compiled is None:
            return self._network(images)
        try:
            return self._compiled(images)
        except Exception as error:
            if self._by_choice or is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            say(f"torch.compile failed, and the run goes on without it: {reason}")
            self._compiled = None
            return self._network(images)


def _compile(network: nn.Module, graphs: bool) -> Callable[[Tensor], Tensor]:
    # Dropout by torch's own generator: the same masks as without a compiler.
    options: dict[str, Any] = {"fallback_random": True, "triton.cudagraphs": graphs}
    module: nn.Module = torch.compile(network, options=options, dynamic=False)  # type: ignore[assignment]
    return module.__call__


def chosen_compile(config: Config) -> Compile:
    """What ``speed.compile=auto`` means here."""
    chosen = config.speed.compile
    if chosen != Compile.auto:
        return chosen
    if not uses_gpu(config.trainer.accelerator) or not _can_compile():
        return Compile.none
    by_strategy = {StrategyName.single: Compile.graphs, StrategyName.ddp: Compile.network}
    return by_strategy.get(config.strategy.name, Compile.none)


def describe(config: Config) -> str:
    """One line: precision, memory format, and the paths that run.

    Args:
        config: Settled.
    """
    speed = config.speed
    parts = [config.trainer.precision]
    if config.trainer.channels_last:
        parts.append("channels-last")
    if config.model.normalization in ("lrn", "pair"):
        parts.append(f"LRN by {_lrn(config)}")
    chosen = chosen_compile(config)
    if chosen != Compile.none:
        parts.append(f"torch.compile ({chosen})")
    if speed.name != "auto":
        parts.append(f"speed={speed.name}")
    return "speed: " + ", ".join(parts)


def _lrn(config: Config) -> str:
    if not config.speed.kernels:
        return "torch operations"
    if uses_gpu(config.trainer.accelerator):
        return "Triton" if triton_lrn.INSTALLED else "torch operations (Triton is not installed)"
    reason = cpu.why_not()
    return "compiled C" if reason is None else f"torch operations ({reason})"


def _can_compile() -> bool:
    return triton_lrn.INSTALLED and any(shutil.which(name) for name in ("cc", "gcc", "clang"))

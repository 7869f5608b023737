"""Puts the options of ``speed`` on a network, from outside of it, and says which paths run."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config

from alexnet_exp.config import Config
from alexnet_exp.config.training import Compile, StrategyName
from alexnet_exp.console import say
from alexnet_exp.hardware import activation_dtype, is_out_of_memory, uses_gpu
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.kernels import build, cpu, gpu
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.network.plan import LayerPlan


def speed_up(network: AlexNet, config: Config) -> AlexNet:
    """Choose, in place, how the network's layers are computed, as ``config.speed`` has it.

    Rectifiers may become a part of what follows; names and parameters stay.
    """
    before: tuple[str, nn.Module] | None = None
    for name, module in list(network.features.named_children()):
        if isinstance(module, LocalResponseNorm):
            module.fast = config.speed.kernels
            if config.speed.fuse and before is not None and isinstance(before[1], nn.ReLU):
                module.relu = True
                setattr(network.features, before[0], nn.Identity())
        before = name, module
    return network


class TrainingForward:
    """Computes the logits of a training step, compiled by torch where ``speed.compile`` says so.

    No module itself, so that no parameter counts twice.

    ``network`` is as the strategy has laid it out.
    """

    def __init__(self, network: nn.Module, config: Config) -> None:
        chosen = chosen_compile(config)
        self._by_choice = config.speed.compile != Compile.auto
        self._network: Callable[[Tensor], Tensor] = network.__call__
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._first = True
        if chosen != Compile.none:
            self._compiled = _compile(network, graphs=chosen == Compile.graphs)
            say("torch.compile compiles the network in the first step, which takes up to a minute")

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ``images`` (N, C, S, S)."""
        if self._compiled is None:
            return self._network(images)
        try:
            # The backward pass is compiled at once: what fails later would be raised out of reach.
            # A setting of torch's own, not public; torch.compile has no option for it.
            at_once: Any = functorch_config.patch(force_non_lazy_backward_lowering=True)
            with at_once if self._first else nullcontext():
                logits = self._compiled(images)
            self._first = False
            return logits
        except Exception as error:
            if self._by_choice or is_out_of_memory(error):
                raise
            reason = " ".join((str(error).strip() or type(error).__name__).splitlines()[:2])
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


def describe(config: Config, layers: Sequence[LayerPlan]) -> str:
    """One line: precision, memory format, and the paths that run (``config`` is settled)."""
    speed = config.speed
    parts = [config.trainer.precision]
    if config.trainer.channels_last:
        parts.append("channels-last")
    chosen = chosen_compile(config)
    if chosen != Compile.none:
        parts.append(f"torch.compile ({chosen})")
    if chosen == Compile.none or uses_gpu(config.trainer.accelerator):
        parts += _lrn(config, layers)
    if speed.name != "auto":
        parts.append(f"speed={speed.name}")
    return "speed: " + ", ".join(parts)


def _lrn(config: Config, layers: Sequence[LayerPlan]) -> list[str]:
    """By what the network's normalizations are computed: asked of layers like them."""
    model, constants = config.model, config.model.lrn
    device = "cuda" if uses_gpu(config.trainer.accelerator) else "cpu"
    layout = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    found: dict[str, list[str]] = {}
    for layer in layers:
        if layer.kind != "norm" or model.normalization not in ("lrn", "pair"):
            continue
        norm = LocalResponseNorm(layer.outputs, layer.groups, constants.size, beta=constants.beta)
        norm.fast = config.speed.kernels
        dtype = activation_dtype(config.trainer.precision)
        x = torch.empty((2, layer.outputs, 2, 2), dtype=dtype, device=device, memory_format=layout)
        found.setdefault(str(norm.path(x)), []).append(layer.name)
    missing = cpu.why_not() if config.speed.kernels and device == "cpu" else None
    reason = f" ({missing})" if missing else ""
    if len(found) == 1:
        return [f"LRN by {next(iter(found))}{reason}"]
    return [f"{' and '.join(names)} by {path}{reason}" for path, names in found.items()]


def _can_compile() -> bool:
    """Triton compiles what launches its kernels with the machine's C compiler."""
    with suppress(build.NotCompiledError):
        return gpu.INSTALLED and bool(build.find_compiler())
    return False

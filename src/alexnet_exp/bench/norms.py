"""Local response normalization against ``F.local_response_norm``."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from typing import Any

import lightning as L
import torch
from torch import Tensor

from alexnet_exp.bench.plain import PlainNorm
from alexnet_exp.bench.record import ratio, series, take_turns
from alexnet_exp.bench.window import seconds_of
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.training.classifier import Classifier


def compare_norms(
    trainer: L.Trainer, classifier: Classifier, batch: int, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Forward and backward of every norm layer beside torch's own, on inputs of its shape.

    In the run's precision and memory format, and in fp32 contiguous. torch's function gets each
    tower's maps as an image of its own, so that it need not move anything.

    Args:
        trainer, classifier: As training has set them up.
        batch: Number of images.
        rounds: Turns that both have.
        seconds: Least time of each measurement.

    Returns:
        ``layer``, ``shape``, ``dtype``, ``memory_format``, ``path`` (what computes it here),
        ``milliseconds`` and ``torch_milliseconds`` (series), and ``ratio`` of the first to the
        second; ``uncompiled_milliseconds`` and ``uncompiled_ratio`` of what runs where there is no
        compiler.
    """
    precision: Any = trainer.precision_plugin
    own = (activation_dtype(classifier.config.trainer.precision), classifier.memory_format)
    plain = (torch.float32, torch.contiguous_format)
    shapes = {layer.name: layer for layer in classifier.network.plan}
    found = []
    for name, module in classifier.network.features.named_children():
        if not isinstance(module, LocalResponseNorm):
            continue
        layer = shapes[name]
        shape = (batch, layer.outputs, layer.size, layer.size)
        for dtype, memory_format in dict.fromkeys((own, plain)):
            mixed = (dtype, memory_format) == own
            context = precision.train_step_context if mixed else nullcontext
            x = torch.randn(shape, device=classifier.device).mul_(20).relu_().to(dtype)
            x = x.contiguous(memory_format=memory_format)
            y = x.reshape(batch * module.towers, -1, *shape[2:])
            y = y.contiguous(memory_format=memory_format)
            slow = copy(module)  # what runs where there is no compiler
            slow.fast = False
            measurements = {
                "ours": _passes(module, x, context, seconds),
                "uncompiled": _passes(slow, x, context, seconds),
                "torch": _passes(PlainNorm(module).of_towers, y, context, seconds),
            }
            kind = f"{str(dtype).removeprefix('torch.')}, {_format_name(memory_format)}"
            values = take_turns(f"{name}, {kind}", measurements, rounds)
            found.append(
                {
                    "layer": name,
                    "shape": list(shape),
                    "dtype": str(dtype).removeprefix("torch."),
                    "memory_format": _format_name(memory_format),
                    "path": str(module.path(x)),
                    "milliseconds": series([1e3 * value for value in values["ours"]]),
                    "uncompiled_milliseconds": series([1e3 * v for v in values["uncompiled"]]),
                    "torch_milliseconds": series([1e3 * value for value in values["torch"]]),
                    "ratio": ratio(values["ours"], values["torch"]),
                    "uncompiled_ratio": ratio(values["uncompiled"], values["torch"]),
                }
            )
    return found


def _passes(
    norm: Callable[[Tensor], Tensor], x: Tensor, context: Any, seconds: float
) -> Callable[[], float]:
    """Seconds of both passes."""
    x = x.clone().requires_grad_()

    def forward() -> Tensor:
        with context():
            return norm(x)

    gradient = torch.ones_like(forward())  # torch's function answers in fp32 under autocast

    def passes() -> None:
        torch.autograd.grad(forward(), x, gradient)

    return lambda: seconds_of(passes, x.device, seconds)


def _format_name(memory_format: torch.memory_format) -> str:
    return str(memory_format).removeprefix("torch.").removesuffix("_format")

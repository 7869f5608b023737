"""Local response normalization against ``F.local_response_norm``."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
from torch import Tensor

from alexnet_exp.bench.clock import ratio, seconds_of, series
from alexnet_exp.bench.plain import PlainNorm
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.training.classifier import Classifier


def compare_norms(
    trainer: L.Trainer, classifier: Classifier, batch: int, rounds: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Forward and backward of every norm layer beside torch's own, on inputs of its shape.

    In the run's precision and memory format, and in fp32 contiguous. torch's function gets each
    tower's maps as an image of its own, so that it need not move anything.

    Args:
        trainer, classifier: As training has set them up.
        batch: Number of images.
        rounds: Turns that both have.
        seconds: Least time of each measurement.

    Yields:
        ``layer``, ``shape``, ``dtype``, ``memory_format``, ``path`` (what computes it here),
        ``milliseconds`` and ``torch_milliseconds`` (series), and ``ratio`` of the first to the
        second.
    """
    precision: Any = trainer.precision_plugin
    own = (activation_dtype(classifier.config.trainer.precision), classifier.memory_format)
    plain = (torch.float32, torch.contiguous_format)
    shapes = {layer.name: layer for layer in classifier.network.plan}
    for name, module in classifier.network.features.named_children():
        if not isinstance(module, LocalResponseNorm):
            continue
        shape = (batch, shapes[name].outputs, shapes[name].size, shapes[name].size)
        for dtype, memory_format in dict.fromkeys((own, plain)):
            mixed = (dtype, memory_format) == own
            context = precision.train_step_context if mixed else nullcontext
            x = torch.randn(shape, device=classifier.device).mul_(20).relu_().to(dtype)
            x = x.contiguous(memory_format=memory_format)
            y = x.reshape(batch * module.towers, -1, *shape[2:])
            y = y.contiguous(memory_format=memory_format)
            ours, torchs = (
                _passes(module, x, context),
                _passes(PlainNorm(module).of_towers, y, context),
            )
            times = [
                [1e3 * seconds_of(passes, x.device, seconds) for passes in (ours, torchs)]
                for _ in range(rounds)
            ]
            mine, theirs = zip(*times, strict=True)
            yield {
                "layer": name,
                "shape": list(shape),
                "dtype": str(dtype).removeprefix("torch."),
                "memory_format": str(memory_format).removeprefix("torch.").removesuffix("_format"),
                "path": str(module.path(x)),
                "milliseconds": series(mine),
                "torch_milliseconds": series(theirs),
                "ratio": ratio(mine, theirs),
            }


def _passes(norm: Callable[[Tensor], Tensor], x: Tensor, context: Any) -> Callable[[], object]:
    x = x.clone().requires_grad_()

    def forward() -> Tensor:
        with context():
            return norm(x)

    gradient = torch.ones_like(forward())  # torch's function answers in fp32 under autocast
    return lambda: torch.autograd.grad(forward(), x, gradient)

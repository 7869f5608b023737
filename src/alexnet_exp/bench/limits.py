"""What to compare with: arithmetic, memory and JPEG files of this machine, torch's own norm."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
from torch import Tensor

from alexnet_exp.bench.clock import ratio, seconds_of, series
from alexnet_exp.bench.plain import as_jpeg, torchs_norm
from alexnet_exp.data.decode import decode, decoder_name
from alexnet_exp.data.store.store import Store
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.network.plan import LayerPlan
from alexnet_exp.training.classifier import Classifier

_JPEGS = 64
_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes, more than any cache

# Traffic of a step, both passes. Each activation after a layer of the conv part is moved 3.75 times
# (9.4 MB an image for the paper's 1.25 million in bf16). A parameter takes 20 bytes in the update
# (fp32; weight, gradient and momentum are read, weight and momentum written) and 10 in the passes.
_PASSES_OVER_ACTIVATIONS, _BYTES_PER_PARAMETER = 3.75, 30


def measured_limits(device: torch.device, precision: str, seconds: float) -> dict[str, float]:
    """Rates of large matrix products, and of a large copy (bytes read and written).

    Each is measured for ``seconds``.
    """
    side = _SIDE.get(device.type, 2048)

    def flops(dtype: torch.dtype) -> float:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        return 2 * side**3 / seconds_of(lambda: a @ b, device, seconds)

    source = torch.ones(_COPIED.get(device.type, 2**28), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device, seconds)
    return {
        "flops_per_second": flops(activation_dtype(precision)),
        "fp32_flops_per_second": flops(torch.float32),
        "bytes_per_second": copied,
    }


def images_per_second(
    layers: Sequence[LayerPlan], batch: int, precision: str, flops: float, bandwidth: float
) -> float:
    """Ceiling of training: arithmetic and memory one after the other, and nothing else.

    ``flops`` and ``bandwidth`` are operations and bytes per second; activations of fp32 are twice
    as many bytes as those of bf16.
    """
    # A third forward, two thirds backward, but nobody needs the gradient of the images.
    macs = 3 * sum(layer.macs for layer in layers) - layers[0].macs
    activations = sum(layer.units for layer in layers if layer.kind != "fc")
    moved = activations * _PASSES_OVER_ACTIVATIONS * activation_dtype(precision).itemsize
    parameters = sum(layer.parameters for layer in layers)
    seconds = batch * (2 * macs / flops + moved / bandwidth)
    return batch / (seconds + parameters * _BYTES_PER_PARAMETER / bandwidth)


def jpeg_decoding(store: Store, seconds: float) -> dict[str, Any]:
    """Bytes and decoding rate of one core for some of the store's images as JPEG files."""
    rows = store.indices("train")
    files = [as_jpeg(store.images[row]) for row in rows[:: max(1, len(rows) // _JPEGS)][:_JPEGS]]
    side, channels = store.images.shape[2:]

    def decode_all() -> None:
        for data in files:
            decode(data, "benchmark", channels)

    taken = seconds_of(decode_all, torch.device("cpu"), seconds)
    return {
        "side": side,
        "images": len(files),
        "decoder": decoder_name(),
        "bytes_per_image": sum(map(len, files)) / len(files),
        "images_per_second_per_core": len(files) / taken,
    }


def compare_norms(
    trainer: L.Trainer, classifier: Classifier, batch: int, rounds: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Forward and backward of every norm layer beside torch's own, on inputs of its shape.

    In the run's precision and memory format, and in fp32 contiguous. torch's function gets each
    tower's maps as an image of its own, so that it need not move anything. Both have ``rounds``
    turns of ``seconds`` at least.

    Yields:
        What was normalized, the path that computed it, series of milliseconds, and ``ratio``.
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
            both = _passes(module, x, context), _passes(torchs_norm(module), y, context)
            times = [
                [1e3 * seconds_of(passes, x.device, seconds) for passes in both]
                for _ in range(rounds)
            ]
            ours, torchs = zip(*times, strict=True)
            yield {
                "layer": name,
                "shape": list(shape),
                "dtype": str(dtype).removeprefix("torch."),
                "memory_format": str(memory_format).removeprefix("torch.").removesuffix("_format"),
                "path": str(module.path(x)),
                "milliseconds": series(ours),
                "torch_milliseconds": series(torchs),
                "ratio": ratio(ours, torchs),
            }


def _passes(norm: Callable[[Tensor], Tensor], x: Tensor, context: Any) -> Callable[[], object]:
    x = x.clone().requires_grad_()

    def forward() -> Tensor:
        with context():
            return norm(x)

    gradient = torch.ones_like(forward())  # torch's function answers in fp32 under autocast
    return lambda: torch.autograd.grad(forward(), x, gradient)

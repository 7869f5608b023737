"""What this machine could do at most: arithmetic and memory."""

from collections.abc import Sequence

import torch

from alexnet_exp.bench.clock import seconds_of
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.alexnet import LayerPlan

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes, more than any cache

# Traffic of a step, both passes. Each activation after a layer of the conv part is moved 3.75 times
# (9.4 MB an image for the paper's 1.25 million in bf16). A parameter takes 20 bytes in the update
# (fp32; weight, gradient and momentum are read, weight and momentum written) and 10 in the passes.
_PASSES_OVER_ACTIVATIONS, _BYTES_PER_PARAMETER = 3.75, 30


def measured_limits(device: torch.device, precision: str, seconds: float) -> dict[str, float]:
    """Rates of large matrix products, in the run's precision and in fp32, and of a large copy.

    Args:
        device: That computes.
        precision: As in ``trainer.precision``.
        seconds: Least time of each measurement.

    Returns:
        ``flops_per_second``, ``fp32_flops_per_second`` and ``bytes_per_second`` (read and written).
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

    Args:
        layers: Of ``alexnet_exp.network.alexnet.plan``.
        batch: Images of a step.
        precision: As in ``trainer.precision``; activations of fp32 are twice as many bytes.
        flops: Per second.
        bandwidth: Bytes per second.
    """
    # A third forward, two thirds backward, but nobody needs the gradient of the images.
    macs = 3 * sum(layer.macs for layer in layers) - layers[0].macs
    activations = sum(layer.outputs * layer.size**2 for layer in layers if layer.kind != "fc")
    moved = activations * _PASSES_OVER_ACTIVATIONS * activation_dtype(precision).itemsize
    parameters = sum(layer.parameters for layer in layers)
    seconds = batch * (2 * macs / flops + moved / bandwidth)
    return batch / (seconds + parameters * _BYTES_PER_PARAMETER / bandwidth)

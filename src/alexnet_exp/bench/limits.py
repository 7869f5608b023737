"""What this machine could do at most: arithmetic, memory, and JPEG files decoded."""

import io
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from alexnet_exp.bench.plain import JPEG_QUALITY
from alexnet_exp.bench.window import seconds_of
from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.pieces import STATED_LINKS, ceilings, same_for_all
from alexnet_exp.cost.step_time import Job, step_time
from alexnet_exp.cost.traffic import bytes_per_activation
from alexnet_exp.data.decode import decode, decoder_name
from alexnet_exp.data.store.store import Store
from alexnet_exp.network.alexnet import LayerPlan

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes, more than any cache
_JPEGS = 64


def measured_flops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Floating-point operations per second of a large matrix product."""
    side = _SIDE.get(device.type, 2048)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, device, seconds)


def measured_bandwidth(device: torch.device, seconds: float) -> float:
    """Bytes per second, read and written, of a large copy."""
    source = torch.ones(_COPIED.get(device.type, 2**28), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device, seconds)


def images_per_second(
    layers: Sequence[LayerPlan],
    towers: int,
    batch: int,
    precision: str,
    flops: float,
    bandwidth: float,
) -> float:
    """Ceiling of training: arithmetic and memory one after the other, and nothing else.

    Args:
        layers: Of ``alexnet_exp.network.alexnet.plan``.
        towers: ``model.towers``.
        batch: Images of a step.
        precision: As in ``trainer.precision``; activations of fp32 are twice as many bytes.
        flops: Per second.
        bandwidth: Bytes per second.
    """
    size = bytes_per_activation(precision)
    machine = ceilings(layers, towers, "ceilings", flops, bandwidth, size)
    nothing = same_for_all(STATED_LINKS[0])
    job = Job(layers, towers)
    return batch / step_time(StrategyName.single, job, batch, 1, machine, nothing).total


def jpeg_decoding(store: Store, seconds: float) -> dict[str, Any]:
    """Bytes and decoding rate of one core for the store's images as JPEG files.

    Args:
        store: The packed images.
        seconds: Least time of the measurement.
    """
    indices = store.indices("train")
    files = []
    for index in indices[:: max(1, len(indices) // _JPEGS)][:_JPEGS]:
        pixels = store.images[index]
        buffer = io.BytesIO()
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        files.append(buffer.getvalue())
    channels = store.images.shape[3]

    def decode_all() -> None:
        for data in files:
            decode(data, "benchmark", channels)

    taken = seconds_of(decode_all, torch.device("cpu"), seconds)
    return {
        "quality": JPEG_QUALITY,
        "side": store.images.shape[1],
        "images": len(files),
        "decoder": decoder_name(),
        "bytes_per_image": sum(map(len, files)) / len(files),
        "images_per_second_per_core": len(files) / taken,
    }

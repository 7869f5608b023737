"""The whole way from raw pixels to probabilities as one program: ONNX and torch.export.

What a photo goes through before, decoding, resizing and cutting out the center, is
``data.decode.resize_and_crop``.
"""

import copy
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_exp.errors import UserError
from alexnet_exp.export.portable import Trained
from alexnet_exp.training.classifier import Classifier

MOST_APART = 1e-4
"""Largest difference of a probability between torch and what was written."""

_PROTOBUF_BYTES = 2**31
_INPUT, _OUTPUT = "pixels", "probabilities"


class FromPixels(nn.Module):
    """A classifier that is given squares of raw pixels.

    Args:
        classifier: In fp32, without compiled kernels of ours; its ``evaluation.views`` says whether
            ten views are averaged.

    Shape:
        (N, C, S, S) uint8 with S = ``data.image_size``, RGB or gray, to probabilities (N, classes)
        float32.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self.augmentation = classifier.eval(), classifier.augmentation

    def forward(self, pixels: Tensor) -> Tensor:
        # A copy, since it puts its mean image where the pixels are: in tracing, nowhere.
        augmentation = copy.copy(self.augmentation)
        views = self.classifier.config.evaluation.views
        return self.classifier.probabilities(augmentation.views(pixels.permute(0, 2, 3, 1), views))


def write_onnx(trained: Trained, file: Path) -> str:
    """Write an ONNX model, in which the number of images is free; classes are in its metadata.

    Returns:
        What it takes and gives, for the user.

    Raises:
        UserError: The weights are more than such a file holds.
        RuntimeError: onnxruntime's probabilities differ by more than ``MOST_APART``.
    """
    import onnxruntime

    classifier = trained.classifier
    size = sum(parameter.nbytes for parameter in classifier.parameters())
    if size >= _PROTOBUF_BYTES:
        raise UserError(
            f"{file.name}: an ONNX file holds 2 GiB at most, and the weights take"
            f" {size / 2**30:.1f}: write a .pt2 or .safetensors instead"
        )
    module, squares = FromPixels(classifier), _squares(classifier)
    with _quiet():
        program = torch.onnx.export(
            module, (squares,), dynamo=True, verbose=False, input_names=[_INPUT],
            output_names=[_OUTPUT], dynamic_shapes=({0: torch.export.Dim("images")},),
        )  # fmt: skip
        assert program is not None
        program.model.metadata_props.update(_metadata(classifier))
        program.save(file, external_data=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> NDArray[np.float32]:
        (found,) = session.run([_OUTPUT], {_INPUT: pixels.numpy()})
        return np.asarray(found)

    apart = max(_apart(module, run(some), some) for some in (squares, squares[:1]))
    return f"{_signature(classifier)}; onnxruntime is within {apart:.0e} of torch"


def write_torch(trained: Trained, file: Path) -> str:
    """Write what ``torch.export.load(file).module()`` calls, for any number of images.

    Returns:
        What it takes and gives, for the user.

    Raises:
        RuntimeError: Read again it gives other probabilities.
    """
    classifier = trained.classifier
    module, squares = FromPixels(classifier), _squares(classifier)
    with _quiet():
        images = {0: torch.export.Dim("images")}
        program = torch.export.export(module, (squares,), dynamic_shapes=(images,))
        written = io.BytesIO()  # a full disk is no OSError where torch writes a file
        torch.export.save(program, written, extra_files=_metadata(classifier))
        file.write_bytes(written.getbuffer())
        loaded = torch.export.load(file).module()
    with torch.inference_mode():
        for some in (squares, squares[:1]):
            _apart(module, loaded(some).numpy(), some)
    return _signature(classifier)


def _squares(classifier: Classifier) -> Tensor:
    """Images to trace with and to compare by: the mean image under more and more coarse noise."""
    side = classifier.config.data.image_size
    mean = classifier.statistics["mean"].permute(2, 0, 1).float()
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((4, len(mean), 9, 9), generator=generator)
    noise = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    mean = nn.functional.interpolate(mean[None], (side, side), mode="bilinear")
    strength = torch.tensor([0.0, 20.0, 60.0, 200.0])[:, None, None, None]
    return (mean + strength * noise).clamp(0, 255).to(torch.uint8)


def _apart(module: FromPixels, found: NDArray[np.float32], squares: Tensor) -> float:
    """The largest difference from torch's own probabilities."""
    with torch.inference_mode():
        apart = float(np.abs(module(squares).numpy() - found).max())
    if not apart <= MOST_APART:
        raise RuntimeError(f"what was written gives probabilities that are {apart:.2g} apart")
    return apart


def _metadata(classifier: Classifier) -> dict[str, str]:
    return {
        "classes": json.dumps(classifier.class_names),
        "views": str(classifier.config.evaluation.views),
    }


def _signature(classifier: Classifier) -> str:
    data = classifier.config.data
    views = classifier.augmentation.view_count(classifier.config.evaluation.views)
    averaged = f"the mean of {views} views" if views > 1 else "of the center"
    return (
        f"{_INPUT} (N, {data.channels}, {data.image_size}, {data.image_size}) uint8 to"
        f" {_OUTPUT} (N, {classifier.config.model.classes}) float32, {averaged}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch notes of its own ways quiet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

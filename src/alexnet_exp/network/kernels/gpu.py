"""Whether Triton's kernels can run, asked without importing Triton."""

from importlib.util import find_spec

import torch
from torch import Tensor

INSTALLED = find_spec("triton") is not None


def runs_triton(x: Tensor) -> bool:
    """Whether Triton is installed and ``x`` lies on an NVIDIA GPU since Ampere."""
    return (
        INSTALLED
        and x.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_properties(x.device).major >= 8
    )

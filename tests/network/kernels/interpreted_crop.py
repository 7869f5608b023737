"""The crop's kernel under Triton's interpreter; run by test_interpreted.py."""

from typing import Any

import numpy as np
import pytest
import torch

from alexnet_exp.network.kernels.gpu import crop
from tests.network.kernels.formulas import cut


def drawn(side: int, size: int, channels: int, noise: bool) -> dict[str, Any]:
    """Arguments for six crops of five images: all four corners among them, half of them flipped."""
    rng = np.random.default_rng(side + channels)
    slack = side - size
    return {
        "images": rng.integers(0, 256, (5, side, side, channels), dtype=np.uint8),
        "rows": np.array([4, 0, 2, 2, 1, 3]),
        "top": np.array([0, 0, slack, slack, slack // 2, 0]),
        "left": np.array([0, slack, 0, slack, slack // 3, 0]),
        "flip": np.array([False, True, False, True, False, True]),
        "mean": rng.uniform(0, 255, (side, side, channels)).astype(np.float32),
        "noise": rng.normal(0, 9, (6, channels)).astype(np.float32) if noise else None,
        "scale": 1 / 58,
        "size": size,
    }


def tensors(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


@pytest.mark.parametrize(
    ("side", "size", "channels", "noise"),
    [
        (12, 9, 1, False),
        (46, 43, 3, True),  # lines longer than a block
        (9, 9, 3, False),
        pytest.param(60, 50, 1, True, marks=pytest.mark.long),
        pytest.param(60, 50, 3, False, marks=pytest.mark.long),
    ],
)
def test_is_bitwise_what_numpy_cuts(side: int, size: int, channels: int, noise: bool) -> None:
    arguments = drawn(side, size, channels, noise)
    got = crop(**tensors(arguments), dtype=torch.float32)
    assert got.shape == (6, channels, size, size)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(got.numpy(), cut(**arguments))


def test_rounds_at_the_end_alone() -> None:
    arguments = drawn(12, 9, 3, True)
    exact = torch.from_numpy(cut(**arguments))
    assert torch.equal(crop(**tensors(arguments), dtype=torch.float16), exact.half())
    bf16 = crop(**tensors(arguments), dtype=torch.bfloat16)  # cut off here, rounded on a GPU
    assert ((bf16.float() - exact).abs() <= 2.0**-7 * exact.abs()).all()


def test_takes_columns_of_a_matrix_of_draws() -> None:
    """Corners come as columns; views of them are not contiguous."""
    arguments = drawn(12, 9, 3, False)
    given = tensors(arguments)
    given["top"], given["left"] = torch.stack([given["top"], given["left"]], 1).unbind(1)
    assert np.array_equal(crop(**given, dtype=torch.float32).numpy(), cut(**arguments))

"""The kernels under Triton's interpreter; run by test_interpreted.py."""

from functools import partial

import numpy as np
import pytest
import torch

from alexnet_exp.network.kernels import lrn_triton
from alexnet_exp.network.kernels.gpu import crop, lrn
from tests.network.kernels.formulas import compare_lrn, crops, cut, tensors

# torch before 2.12 wraps no interpreted kernel.
lrn_triton.wrap_triton = lambda kernel: kernel

# Of storing a result: fp16 is rounded, bf16 cut off, where a GPU rounds it.
ROUNDING = {torch.float32: 0.0, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}
check = partial(compare_lrn, ROUNDING, 1e-6)


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return (30 * x).to(dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "towers", "dtype", "relu"),
    [
        # Conv1's towers, and a last program that is not full.
        *(((1, 96, 3, 4), 2, dtype, relu) for dtype in ROUNDING for relu in (False, True)),
        ((2, 96, 2, 3), 1, torch.bfloat16, True),
        ((3, 16, 3, 3), 2, torch.bfloat16, True),  # a tower of one group
        ((3, 16, 3, 3), 2, torch.float32, True),  # of two
        ((1, 8, 1, 1), 1, torch.bfloat16, True),
        ((1, 256, 2, 2), 1, torch.float32, True),  # fills its programs
    ],
)
def test_lrn_agrees_with_float64(
    shape: tuple[int, ...], towers: int, dtype: torch.dtype, relu: bool
) -> None:
    check(drawn(shape, dtype), drawn(shape, dtype).roll(1, 1), towers, relu, 1e-2)


def test_lrn_gradient_may_come_in_another_memory_format() -> None:
    x = drawn((2, 16, 3, 3), torch.float32)
    check(x, x.roll(1, 1).contiguous(), 2, False, 1e-2)


def test_lrn_neighbors_matter_as_much_as_the_direct_term() -> None:
    """Where alpha * a^2 is far above k, an error in the spread term shows in full."""
    x = drawn((1, 48, 3, 5), torch.float32)
    check(x, x.roll(1, 1), 2, False, 10.0)


@pytest.mark.parametrize("relu", [False, True])
def test_lrn_nan_passes(relu: bool) -> None:
    """A diverged run must be seen to have diverged."""
    x = drawn((1, 16, 1, 1), torch.bfloat16)
    x[0, 4] = float("nan")
    seen = lrn(x, 1, 1e-2, 2.0, relu).isnan().flatten()
    assert seen.nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


def test_lrn_gradient_at_zero_is_that_of_relu() -> None:
    x = torch.zeros(1, 8, 1, 1).to(memory_format=torch.channels_last).requires_grad_()
    lrn(x, 1, 1e-2, 2.0, relu=True).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("relu", [False, True])
def test_operator_is_sound(relu: bool) -> None:
    x = drawn((1, 16, 2, 2), torch.float32).requires_grad_()
    checks = ("test_schema", "test_autograd_registration")  # the rest needs an uninterpreted kernel
    torch.library.opcheck(lrn_triton.normalize, (x, 2, 1e-2, 2.0, relu), test_utils=checks)


@pytest.mark.parametrize(
    ("side", "size", "channels", "noise"),
    [
        (12, 9, 1, False),
        (46, 43, 3, True),  # lines longer than a block
        (9, 9, 3, False),
    ],
)
def test_crop_is_bitwise_what_numpy_cuts(side: int, size: int, channels: int, noise: bool) -> None:
    arguments = crops(side, size, channels, noise)
    got = crop(**tensors(arguments), dtype=torch.float32)
    assert got.shape == (6, channels, size, size)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(got.numpy(), cut(**arguments))


def test_crop_rounds_at_the_end_alone() -> None:
    arguments = crops(12, 9, 3, True)
    exact = torch.from_numpy(cut(**arguments))
    assert torch.equal(crop(**tensors(arguments), dtype=torch.float16), exact.half())
    bf16 = crop(**tensors(arguments), dtype=torch.bfloat16)  # cut off here, rounded on a GPU
    assert ((bf16.float() - exact).abs() <= 2.0**-7 * exact.abs()).all()


def test_crop_takes_columns_of_a_matrix_of_draws() -> None:
    """Corners come as columns; views of them are not contiguous."""
    arguments = crops(12, 9, 3, False)
    given = tensors(arguments)
    given["top"], given["left"] = torch.stack([given["top"], given["left"]], 1).unbind(1)
    assert np.array_equal(crop(**given, dtype=torch.float32).numpy(), cut(**arguments))

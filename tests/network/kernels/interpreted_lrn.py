"""LRN's kernels under Triton's interpreter; run by test_interpreted.py."""

import pytest
import torch

from alexnet_exp.network.kernels import lrn_triton
from alexnet_exp.network.kernels.gpu import lrn
from tests.network.kernels.formulas import with_gradient

# torch before 2.12 wraps no interpreted kernel.
lrn_triton.wrap_triton = lambda kernel: kernel

# Of storing a result: fp16 is rounded, bf16 cut off, where a GPU rounds it.
ROUNDING = {torch.float32: 0.0, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}
# Of a few float32 operations, by the largest value.
ARITHMETIC = 1e-6


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return (30 * x).to(dtype).to(memory_format=torch.channels_last)


def check(x: torch.Tensor, grad: torch.Tensor, towers: int, relu: bool, alpha: float) -> None:
    x = x.clone().requires_grad_()
    y = lrn(x, towers, alpha, 2.0, relu)
    y.backward(grad)
    exact_y, exact_grad = with_gradient(x, grad, towers, alpha, 2.0, relu)
    for got, exact in ((y, exact_y), (x.grad, exact_grad)):
        assert got.dtype == x.dtype
        assert got.is_contiguous(memory_format=torch.channels_last)
        allowed = ROUNDING[x.dtype] * exact.abs() + ARITHMETIC * exact.abs().max()
        assert ((got.double() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_agrees_with_float64(dtype: torch.dtype, relu: bool) -> None:
    """Conv1's towers, and a last program that is not full."""
    shape = (1, 96, 3, 4)
    check(drawn(shape, dtype), drawn(shape, dtype).roll(1, 1), 2, relu, 1e-2)


@pytest.mark.parametrize(
    ("shape", "towers", "dtype"),
    [
        ((2, 96, 2, 3), 1, torch.bfloat16),
        ((3, 16, 3, 3), 2, torch.bfloat16),  # a tower of one group
        ((3, 16, 3, 3), 2, torch.float32),  # of two
        ((1, 8, 1, 1), 1, torch.bfloat16),
        ((1, 256, 2, 2), 1, torch.float32),  # fills its programs
    ],
)
def test_agrees_in_other_shapes(shape: tuple[int, ...], towers: int, dtype: torch.dtype) -> None:
    check(drawn(shape, dtype), drawn(shape, dtype).roll(1, 1), towers, True, 1e-2)


def test_gradient_may_come_in_another_memory_format() -> None:
    x = drawn((2, 16, 3, 3), torch.float32)
    check(x, x.roll(1, 1).contiguous(), 2, False, 1e-2)


def test_neighbors_matter_as_much_as_the_direct_term() -> None:
    """Where alpha * a^2 is far above k, an error in the spread term shows in full."""
    x = drawn((1, 48, 3, 5), torch.float32)
    check(x, x.roll(1, 1), 2, False, 10.0)


@pytest.mark.parametrize("relu", [False, True])
def test_nan_passes(relu: bool) -> None:
    """A diverged run must be seen to have diverged."""
    x = drawn((1, 16, 1, 1), torch.bfloat16)
    x[0, 4] = float("nan")
    seen = lrn(x, 1, 1e-2, 2.0, relu).isnan().flatten()
    assert seen.nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


def test_gradient_at_zero_is_that_of_relu() -> None:
    x = torch.zeros(1, 8, 1, 1).to(memory_format=torch.channels_last).requires_grad_()
    lrn(x, 1, 1e-2, 2.0, relu=True).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("relu", [False, True])
def test_operator_is_sound(relu: bool) -> None:
    x = drawn((1, 16, 2, 2), torch.float32).requires_grad_()
    checks = ("test_schema", "test_autograd_registration")  # the rest needs an uninterpreted kernel
    torch.library.opcheck(lrn_triton.normalize, (x, 2, 1e-2, 2.0, relu), test_utils=checks)

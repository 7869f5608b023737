from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alexnet_exp.network.kernels import cpu
from alexnet_exp.network.lrn import LocalResponseNorm, WithinMapNorm
from tests.network.kernels.formulas import with_gradient

# bf16 keeps 8 bits: rounding to nearest is off by 2^-8 of the value at most.
BF16 = 1.001 * 2**-8


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with and without a compiler; float64 and other powers do without."""
    name: str = request.param
    if name == "compiled" and cpu.why_not() is not None:
        pytest.skip(f"{cpu.why_not()}")
    if name == "plain":
        monkeypatch.setattr(cpu, "supports_lrn", lambda x, beta: False)
    return name


def maps(*shape: int, dtype: torch.dtype = torch.float64, spread: float = 50.0) -> Tensor:
    """Activations large enough for the sum to weigh as much as k."""
    generator = torch.Generator().manual_seed(0)
    return (spread * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("alpha", "beta", "k"), [(1e-4, 0.75, 2.0), (3e-3, 0.6, 1.0)])
@pytest.mark.parametrize("channels", [2, 6, 16])
def test_equals_the_formula(
    towers: int, size: int, alpha: float, beta: float, k: float, channels: int
) -> None:
    x = maps(2, channels, 3, 4).requires_grad_()
    weight = maps(2, channels, 3, 4, spread=1.0).flip(0)
    out = LocalResponseNorm(channels, towers, size, alpha, beta, k)(x)
    (grad,) = torch.autograd.grad(out, x, weight)
    expected = with_gradient(x, weight, towers, alpha, k, False, size, beta)
    torch.testing.assert_close((out, grad), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_bf16_loses_no_more_than_the_rounding_of_its_output(autocast: bool, relu: bool) -> None:
    x = maps(2, 16, 4, 4, dtype=torch.bfloat16)
    expected, gradient = with_gradient(x, torch.ones_like(x), 2, 1e-4, 2.0, relu)
    leaf, norm = x.clone().requires_grad_(), LocalResponseNorm(16, 2)
    norm.relu = relu
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = norm(leaf)
    (grad,) = torch.autograd.grad(out, leaf, torch.ones_like(out))
    assert out.dtype == grad.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), expected, rtol=BF16, atol=1e-6)
    torch.testing.assert_close(grad.double(), gradient, rtol=BF16, atol=1e-6)


def test_autocast_does_not_round_float32() -> None:
    x = maps(2, 16, 4, 4, dtype=torch.float32)
    norm = LocalResponseNorm(16, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(x)
    torch.testing.assert_close(out, norm(x), rtol=0, atol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 16, 5, 7), (2, 96, 19, 19), (70, 10, 1, 1), (1, 6, 40, 9)])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("relu", [False, True])
def test_float32_is_off_by_a_few_roundings(
    memory_format: torch.memory_format, shape: tuple[int, ...], size: int, relu: bool, way: str
) -> None:
    """Of each path against the formula in float64: a result is rounded some ten times."""
    x = maps(*shape, dtype=torch.float32).contiguous(memory_format=memory_format)
    x[0, 0] = 0.0
    weight = torch.empty_like(x).copy_(maps(*shape, spread=1.0).flip(0))
    norm = LocalResponseNorm(shape[1], 2, size)
    norm.relu = relu
    assert norm.path(x).name == way
    leaf = x.clone().requires_grad_()
    out = norm(leaf)
    (grad,) = torch.autograd.grad(out, leaf, weight)
    exact, exact_grad = with_gradient(x, weight, 2, 1e-4, 2.0, relu, size)
    assert out.is_contiguous(memory_format=memory_format)
    assert grad.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(out.double(), exact, rtol=6e-7, atol=0)
    torch.testing.assert_close(grad.double(), exact_grad, rtol=0, atol=1e-6)


def test_what_is_not_finite_stays_so() -> None:
    x = maps(1, 16, 2, 2, dtype=torch.bfloat16)
    x[0, 3, 0, 0] = float("nan")
    norm = LocalResponseNorm(16, 2)
    norm.relu = True
    assert norm(x)[0, 1:6, 0, 0].isnan().all()
    assert norm(x)[0, 8:].isfinite().all()


def test_compiled_and_traced_by_torch() -> None:
    norm = LocalResponseNorm(16, 2)
    x = maps(2, 16, 5, 6, dtype=torch.float32)
    traced = torch.compile(norm, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(x), norm(x), rtol=1e-6, atol=1e-6)


def test_even_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.lrn\.size=4"):
        LocalResponseNorm(8, size=4)


@pytest.mark.parametrize("given", [(3, 0.04, 0.6, 1.25), (5, 0.04, 0.6, 1.25), ()])
def test_within_map_norm_equals_the_formula(given: tuple[Any, ...]) -> None:
    size, scale, power, k = given or (5, 1e-3, 0.75, 1.0)  # those of the authors' code
    x = maps(2, 3, 6, 7)
    windows = nn.functional.unfold(x**2, size, padding=size // 2).view(2, 3, size**2, 6, 7)
    expected = x / (k + scale / size**2 * windows.sum(2)) ** power
    torch.testing.assert_close(WithinMapNorm(*given)(x), expected, rtol=1e-12, atol=1e-12)


def test_within_map_norm_keeps_bf16_and_channels_last() -> None:
    x = maps(2, 8, 6, 6, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        out = WithinMapNorm()(x)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.double(), WithinMapNorm()(x.double()), rtol=BF16, atol=1e-6)

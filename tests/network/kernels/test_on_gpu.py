"""The kernels on a GPU, where there is one, at the paper's sizes."""

import pytest
import torch
from torch import Tensor

from alexnet_exp.network.kernels.gpu import crop, lrn, supports_crop, supports_lrn
from tests.network.kernels.formulas import compare_lrn, crops, cut, tensors

pytestmark = pytest.mark.cuda

ROUNDING = {torch.float32: 0.0, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def drawn(shape: tuple[int, ...], dtype: torch.dtype = torch.bfloat16) -> Tensor:
    x = 30 * torch.randn(shape, device="cuda", dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last)


def poison(like: Tensor) -> None:
    """Leave NaN in the memory that the next results will get."""
    blocks = [torch.full_like(like, torch.nan) for _ in range(3)]
    del blocks


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", [(8, 96, 55, 55), (5, 256, 27, 27)])
def test_lrn_agrees_with_float64(shape: tuple[int, ...], dtype: torch.dtype, relu: bool) -> None:
    x, grad = drawn(shape, dtype), drawn(shape, dtype)
    assert supports_lrn(x, 2, 5, 0.75)
    poison(x)
    compare_lrn(ROUNDING, 2e-6, x, grad, 2, relu, 1e-2)  # roots are approximate


def test_lrn_reaches_beyond_two_to_the_31_elements() -> None:
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB")
    x = drawn((2**31 // (96 * 55 * 55) + 2, 96, 55, 55)).requires_grad_()
    y = lrn(x, 2, 1e-2, 2.0)
    y.backward(x.detach())
    assert x.grad is not None
    last = x.detach()[-1:].clone(memory_format=torch.channels_last).requires_grad_()
    lrn(last, 2, 1e-2, 2.0).backward(last.detach())
    assert torch.equal(y[-1:], lrn(last, 2, 1e-2, 2.0))
    assert last.grad is not None
    assert torch.equal(x.grad[-1:], last.grad)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_lrn_compiles(mode: str) -> None:
    """Also with work before and after that the compiler would like to fuse."""

    def network(x: Tensor) -> Tensor:
        return lrn(2 * x, 2, 1e-2, 2.0, relu=True) * 4  # powers of two: exact in any precision

    compiled = torch.compile(network, mode=mode, fullgraph=True)
    for _ in range(4):  # two to warm up, one to capture, one to replay
        x = drawn((4, 96, 55, 55)).requires_grad_()
        grad = drawn((4, 96, 55, 55))
        expected = network(x)
        (expected_grad,) = torch.autograd.grad(expected, x, grad)
        got = compiled(x)
        (got_grad,) = torch.autograd.grad(got, x, grad)
        assert torch.equal(got, expected)
        assert torch.equal(got_grad, expected_grad)


def test_lrn_is_a_sound_operator() -> None:
    from alexnet_exp.network.kernels.lrn_triton import normalize

    torch.library.opcheck(normalize, (drawn((2, 16, 3, 3)).requires_grad_(), 2, 1e-2, 2.0, True))


@pytest.mark.parametrize("channels", [1, 3])
def test_crop_is_bitwise_what_numpy_cuts(channels: int) -> None:
    arguments = crops(256, 224, channels, noise=True)
    exact = torch.from_numpy(cut(**arguments)).cuda()
    given = tensors(arguments, "cuda")
    for dtype in ROUNDING:
        assert supports_crop(given["images"], 224, dtype)
        got = crop(**given, dtype=dtype)
        assert torch.equal(got, exact.to(dtype))
        assert got.is_contiguous(memory_format=torch.channels_last)


def test_crop_reads_beyond_two_to_the_32_bytes() -> None:
    if torch.cuda.mem_get_info()[0] < 10e9:
        pytest.skip("needs 10 GB")
    count = 2**32 // (256 * 256 * 3) + 2
    images = torch.empty(count, 256, 256, 3, dtype=torch.uint8, device="cuda")
    images[-1].random_()
    one = torch.ones(1, dtype=torch.int64, device="cuda")
    mean = torch.zeros(256, 256, 3, device="cuda")
    got = crop(
        images, one * (count - 1), one * 3, one * 5, one < 0, mean, None, 1.0, 224, torch.float32
    )
    assert torch.equal(got[0].permute(1, 2, 0), images[-1, 3:227, 5:229].float())

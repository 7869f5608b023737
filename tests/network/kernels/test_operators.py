"""What the kernels look like to the rest of PyTorch, on tensors without data."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from alexnet_exp.network.kernels import gpu


def channels_last(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="cuda").to(memory_format=torch.channels_last)


@pytest.fixture
def _a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hopper GPU with Triton, as far as questions about tensors without data go."""
    properties = type("Properties", (), {"major": 9})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(gpu, "INSTALLED", True)
    monkeypatch.setattr(gpu, "_check_lrn", lambda *kind: True)
    monkeypatch.setattr(gpu, "_check_crop", lambda *kind: True)


@pytest.mark.usefixtures("_a_gpu")
def test_lrn_says_what_it_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        x = channels_last(2, 96, 5, 5)
        assert gpu.supports_lrn(x, 2, 5, 0.75)
        assert gpu.supports_lrn(channels_last(2, 8, 5, 5, dtype=torch.float32), 1, 5, 0.75)
        for other in (x.cpu(), x.contiguous(), x.double(), x[0]):
            assert not gpu.supports_lrn(other, 2, 5, 0.75)
        assert not gpu.supports_lrn(x, 1, 3, 0.75), "another window"
        assert not gpu.supports_lrn(x, 1, 5, 0.5), "another power"
        assert not gpu.supports_lrn(x, 8, 5, 0.75), "twelve maps a tower"
        monkeypatch.setattr(gpu, "INSTALLED", False)
        assert not gpu.supports_lrn(x, 2, 5, 0.75)


@pytest.mark.usefixtures("_a_gpu")
def test_crop_says_what_it_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        images = torch.empty(4, 8, 8, 3, dtype=torch.uint8, device="cuda")
        assert gpu.supports_crop(images, 7, torch.bfloat16)
        for other in (images.cpu(), images.float(), images[:, :, ::2], images[:, :4]):
            assert not gpu.supports_crop(other, 7, torch.bfloat16)
        monkeypatch.setattr(gpu, "INSTALLED", False)
        assert not gpu.supports_crop(images, 7, torch.bfloat16)


def test_lrn_keeps_shape_dtype_and_memory_format() -> None:
    pytest.importorskip("triton")
    with FakeTensorMode():
        x = torch.empty(2, 96, 5, 7).to(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = gpu.lrn(x, 2, 1e-4, 2.0, relu=True)
        (grad,) = torch.autograd.grad(y, x, torch.empty(2, 96, 5, 7))
        for tensor in (y, grad):
            assert tensor.shape == x.shape
            assert tensor.dtype == x.dtype, "autocast changes nothing"
            assert tensor.stride() == x.stride()


@pytest.mark.parametrize("dynamic", [False, True])
def test_lrn_is_one_node_of_a_compiled_graph(dynamic: bool) -> None:
    pytest.importorskip("triton")
    nodes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        nodes.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return lambda *given: given[:1]  # there is no GPU to run it on

    x = torch.empty(2, 96, 5, 7).to(memory_format=torch.channels_last)
    network = torch.compile(
        lambda x: gpu.lrn(x, 2, 1e-4, 2.0), backend=backend, fullgraph=True, dynamic=dynamic
    )
    network(x)
    assert [str(node) for node in nodes] == ["alexnet_exp.lrn.default"]

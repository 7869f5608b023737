"""A kernel that is wrong on a machine, or fails there, steps aside with one line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock, call

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config.model import ModelConfig
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.kernels import build, cpu, gpu
from alexnet_exp.network.kernels.selfcheck import agrees
from alexnet_exp.network.lrn import LocalResponseNorm

WRONG = {
    "forward": ("t.sums[i] * alpha + k", "t.sums[i] * alpha + 1.01f * k"),
    "backward": ("t.sums[i] * t.values[i] * factor", "t.sums[i] * t.values[i] * 0.9f * factor"),
    "planes": ("maps * inner + start;", "maps * inner;"),
    "crop": ("(float)from[i] - center[i]", "(float)from[i] - 0.99f * center[i]"),
}
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("cache")


def compile_with(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one mistake into cpu.c."""
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler")
    right, wrong = WRONG[part]
    source = build.SOURCE.read_text()
    assert right in source
    (tmp_path / "cpu.c").write_text(source.replace(right, wrong))
    monkeypatch.setattr(build, "SOURCE", tmp_path / "cpu.c")


def trained(fast: bool) -> nn.Module:
    """A small network after three steps."""
    torch.manual_seed(0)
    config = ModelConfig(classes=10, input_channels=3, input_size=67, width=0.06, dropout=0)
    network = AlexNet(config)
    network.features.norm1.fast = network.features.norm2.fast = fast
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    images = 60 * torch.randn(4, 3, 67, 67)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(images), torch.arange(4)).backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("part", ["forward", "backward", "planes"])
def test_training_goes_on_without_a_compiled_norm_that_is_wrong(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_with(part, tmp_path, monkeypatch)
    network = trained(fast=True)
    (line,) = capsys.readouterr().err.splitlines()
    # "planes" leaves memory unwritten, which may hold the right result of an earlier pass.
    what = {"forward": "result", "backward": "gradient"}.get(part, "(result|gradient)")
    assert line.startswith("LRN by compiled C: torch's operations take its place")
    assert re.search(f"its {what} is off by", line)
    assert not cpu.supports_lrn(torch.zeros(1, 16, 2, 2), 0.75)
    for found, expected in zip(network.parameters(), trained(fast=False).parameters(), strict=True):
        assert torch.equal(found, expected)
    assert cpu.supports_crop(CPU), "the other kernel stays"
    assert capsys.readouterr().err == ""


def test_a_compiled_crop_that_is_wrong_steps_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_with("crop", tmp_path, monkeypatch)
    assert not cpu.supports_crop(CPU)
    assert not cpu.supports_crop(CPU)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cropping by compiled C: torch's operations take its place")
    assert cpu.supports_lrn(torch.zeros(1, 16, 2, 2), 0.75)


def test_what_agreed_is_remembered_and_what_did_not_is_tried_again(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Mock()
    check.fails.side_effect = RuntimeError("no such device\nlong story")
    for key, way in zip("aabbb", ("passes", "fails", "fails", "passes", "fails"), strict=True):
        agrees("kernel", key, getattr(check, way))
    assert check.mock_calls == [call.passes(), call.fails(), call.passes()]
    assert len(list(cache.iterdir())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("not right here: no such device")


def test_a_check_leaves_the_draws_of_a_run_and_its_modes_alone(cache: Path) -> None:
    if cpu.why_not() is not None:
        pytest.skip(f"{cpu.why_not()}")
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert LocalResponseNorm(16, 2).path(torch.zeros(1, 16, 2, 2)).name == "compiled"
    assert torch.equal(torch.get_rng_state(), state)


def broken(*given: object, **options: object) -> Tensor:
    raise RuntimeError("ptxas fatal: unsupported architecture")


def copied(x: Tensor, *constants: object, **options: object) -> Tensor:
    return x * 1.0


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [(broken, "ptxas fatal: unsupported architecture"), (copied, "its result is off by")],
)
def test_a_triton_norm_that_fails_or_is_wrong_steps_aside(
    kernel: Callable[..., Tensor],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Asked while torch.compile traces, which happens before anything has run."""
    pretend_to_have_a_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "lrn", kernel)

    def traced(x: Tensor) -> Tensor:
        supported = gpu._lrn_agrees(x.device, x.dtype, int(x.shape[1]), 2)
        return x + 1 if supported else x + 2

    torch.compiler.reset()
    compiled = torch.compile(traced, backend="eager", fullgraph=True)
    for _ in range(2):
        assert torch.equal(compiled(torch.zeros(1, 16, 2, 2)), torch.full((1, 16, 2, 2), 2.0))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("LRN by Triton: torch's operations take its place")
    assert reason in line


def test_a_triton_crop_that_fails_steps_aside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_to_have_a_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "crop", broken)
    for _ in range(2):
        assert not gpu._check_crop(CPU, torch.float32, 24, 17, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cropping by Triton: torch's operations take its place")


def pretend_to_have_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_runs_triton", lambda device: True)
    monkeypatch.setattr(gpu, "_key", lambda *kind: str(kind))

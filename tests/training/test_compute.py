"""Speed options change no result but by rounding, of fp32 in LRN and of bf16."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.nn import functional as F

from alexnet_exp.config import Config
from alexnet_exp.config.training import Compile
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.kernels import cpu
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.network.plan import plan
from alexnet_exp.training import compute as speed
from alexnet_exp.training.compute import TrainingForward, describe, speed_up
from alexnet_exp.training.fit import train
from alexnet_exp.training.settle import settle_hardware

PAPER = ("model.classes=10", "model.input_channels=3", "model.dropout=0.5")
HALF = (*PAPER, "model.width=0.5")
BF16_LOSS, BF16_GRADIENT = 1e-3, 0.12
"""What bf16 may change of a seeded step of the untrained network, relatively: its loss (measured:
2e-4), and its gradient (the norm of the difference; measured: .097, in torch's own operations)."""

LAST_BIT = 1e-7
"""What torch's fused SGD may change of a weight: it rounds once where the plain one does twice."""

LRN_LOSS, LRN_GRADIENT, OTHER_MAXIMUM = 1e-6, 1e-5, 5e-3
"""What rounding in LRN may change of a seeded step in fp32, relatively: its loss, its gradient by
what lies behind pool5, and the whole gradient, where another of two equal pixels may be the maximum
(float32 and float64 differ by 1.7e-3 for the same reason, in torch's own operations)."""


@pytest.mark.parametrize("encoding", ["raw", pytest.param("jpeg", marks=pytest.mark.long)])
def test_plain_and_fast_runs_end_alike(tiny, tmp_path: Path, encoding: str) -> None:
    outcomes = []
    ways = (
        ("speed=plain", "data.resident=never", "data.workers=0"),
        ("speed.fused_optimizer=false",),
        (),
    )
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        result = train(tiny("trainer.max_epochs=2", f"data.encoding={encoding}", *way), folder)
        state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        outcomes.append((result["metrics"], result["config_hash"], state))
    (plain_metrics, plain_hash, plain), (metrics, found_hash, fast), (_, _, fused) = outcomes
    assert metrics == pytest.approx(plain_metrics, rel=1e-5)
    assert found_hash == plain_hash
    assert plain.keys() == fast.keys() == fused.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], fast[name], rtol=0, atol=10 * LAST_BIT)
        torch.testing.assert_close(fast[name], fused[name], rtol=0, atol=LAST_BIT)


def seeded_step(
    config: Config, half: bool, dtype: torch.dtype = torch.float32
) -> tuple[float, Tensor]:
    """Loss and gradient of one step."""
    torch.manual_seed(0)
    network = speed_up(AlexNet(config.model), config).train().to(dtype)
    if half:
        network = network.to(memory_format=torch.channels_last)
    images = (60 * torch.randn(4, 3, 224, 224)).to(dtype)
    labels = torch.arange(4)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = TrainingForward(network, config)(images)
        loss = F.cross_entropy(logits.float() if half else logits, labels)
    loss.backward()
    gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


def alike(config: Config, found: tuple[float, Tensor], expected: tuple[float, Tensor]) -> bool:
    """Whether two steps in fp32 differ by no more than what rounding in LRN makes of them."""
    behind_pool5 = sum(layer.parameters for layer in plan(config.model) if layer.kind == "fc")
    off = [
        float((found[1][start:] - expected[1][start:]).norm() / expected[1][start:].norm())
        for start in (-behind_pool5, 0)
    ]
    close = off[0] < LRN_GRADIENT and off[1] < OTHER_MAXIMUM
    return close and abs(found[0] / expected[0] - 1) < LRN_LOSS


@pytest.mark.parametrize("model", [HALF, pytest.param(PAPER, marks=pytest.mark.long)])
def test_seeded_step_of_the_whole_network(compose_config, model: tuple[str, ...]) -> None:
    plain, fast = compose_config(*model, "speed=plain"), compose_config(*model)
    loss, gradient = seeded_step(plain, half=False)
    assert alike(fast, seeded_step(fast, half=False), (loss, gradient))
    half_loss, half_gradient = seeded_step(fast, half=True)
    torch_loss, torch_gradient = seeded_step(plain, half=True)
    assert half_loss == pytest.approx(torch_loss, rel=BF16_LOSS)
    assert (half_gradient - torch_gradient).norm() < BF16_GRADIENT * gradient.norm()
    assert half_loss == pytest.approx(loss, rel=BF16_LOSS)
    difference = (half_gradient - gradient).norm() / gradient.norm()
    assert 0 < difference < BF16_GRADIENT


def test_without_a_compiler_it_says_so_and_a_step_is_alike(
    compose_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    cpu._load.cache_clear()
    config = compose_config(*HALF, "trainer.precision=bf16-mixed", "trainer.channels_last=true")
    line = describe(config, plan(config.model))
    reason = "no C compiler: no-such-compiler is not on the PATH"
    assert line == f"speed: bf16-mixed, channels-last, LRN by torch operations ({reason})"
    assert LocalResponseNorm(16, 2).path(torch.zeros(1, 16, 2, 2)).name == "plain"
    without = seeded_step(config, half=False)
    monkeypatch.delenv("CC")
    cpu._load.cache_clear()
    assert alike(config, without, seeded_step(config, half=False))


@pytest.mark.parametrize("chosen", ["auto", "network"])
@pytest.mark.parametrize("fails", ["forward", "backward"])
def test_torch_compile_that_fails_is_done_without_unless_it_was_asked_for(
    compose_config, monkeypatch: pytest.MonkeyPatch, capsys, chosen: str, fails: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"no {fails}\nand more")

    def compiler(graph: torch.fx.GraphModule, inputs: object) -> object:
        return graph.forward

    compilers = {"fw_compiler": compiler, "bw_compiler": compiler, f"{fails[0]}w_compiler": broken}
    backend = aot_autograd(**compilers)
    network = nn.Linear(3, 2)
    monkeypatch.setattr(speed, "chosen_compile", lambda config: Compile.network)
    monkeypatch.setattr(
        speed, "_compile", lambda network, graphs: torch.compile(network, backend=backend)
    )
    forward = TrainingForward(network, compose_config(f"speed.compile={chosen}"))
    x = torch.randn(4, 3)
    if chosen == "network":
        with pytest.raises(Exception, match=f"no {fails}"):
            forward(x)
        return
    assert torch.equal(forward(x), network(x))
    forward(x).sum().backward()
    said = capsys.readouterr().err
    assert said.count("torch.compile failed, and the run goes on without it") == 1
    assert f"no {fails}" in said


def test_cuda_graphs_without_a_gpu_are_refused(compose_config) -> None:
    config = compose_config("speed.compile=graphs", "trainer.accelerator=cpu")
    with pytest.raises(UserError, match=r"speed\.compile=network or none"):
        settle_hardware(config)


def test_rectifiers_become_a_part_of_the_normalization_after_them(compose_config) -> None:
    config = compose_config(*HALF)
    network = AlexNet(config.model)
    names = list(network.state_dict())
    speed_up(network, config)
    assert isinstance(network.features.relu1, nn.Identity)
    assert isinstance(network.features.relu3, nn.ReLU)  # nothing normalizes after it
    assert network.features.norm1.relu
    assert list(network.state_dict()) == names
    other = compose_config("model=original", *HALF)
    original = AlexNet(other.model)
    speed_up(original, other)
    assert not original.features.norm1.relu  # it pools before it rectifies


@pytest.mark.long
def test_compiled_by_torch_it_computes_the_same(compose_config) -> None:
    plain, fast = (compose_config(*PAPER, way) for way in ("speed=plain", "speed.compile=network"))
    loss, gradient = seeded_step(plain, half=False, dtype=torch.float64)
    fast_loss, fast_gradient = seeded_step(fast, half=False, dtype=torch.float64)
    assert fast_loss == pytest.approx(loss, rel=1e-12)
    assert (fast_gradient - gradient).norm() < 1e-12 * gradient.norm()

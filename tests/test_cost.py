import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from alexnet_exp.bench.counter import tcp_bytes_sent
from alexnet_exp.bench.observe import observe
from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.measure import share_of_classifier, share_of_features
from alexnet_exp.cost.pieces import STATED_LINKS, Link, Machine, Piece, ceilings, same_for_all
from alexnet_exp.cost.step_time import Job, StepTime, fits, step_time
from alexnet_exp.cost.traffic import Collective, Transfer, bytes_per_step, bytes_sent, transfers
from alexnet_exp.network.alexnet import LayerPlan, plan
from tests.conftest import ComposeConfig

PARAMETERS, CONV_PARAMETERS = 60_965_224, 2_334_080
FC_MACS = 9216 * 4096 + 4096 * 4096 + 4096 * 1000

# Headers that gloo sends from each of K processes for a collective: 48 bytes for each message. Its
# reduce-scatter is an all-reduce.
HEADER = 48
MESSAGES = {
    Collective.all_reduce: 12,
    Collective.all_gather: 6,
    Collective.reduce_scatter: 12,
    Collective.all_to_all: 3,
}


@pytest.fixture
def layers(compose_config: ComposeConfig) -> list[LayerPlan]:
    model = compose_config("model=paper", "model.classes=1000", "model.input_channels=3").model
    return plan(model)


def sent(strategy: StrategyName, layers: list[LayerPlan], batch: int, devices: int) -> float:
    return bytes_per_step(transfers(strategy, layers, batch, devices, 2, 2))


def test_ddp_sends_every_gradient_twice_but_for_its_share(layers: list[LayerPlan]) -> None:
    assert sent(StrategyName.ddp, layers, 128, 2) == PARAMETERS * 4
    assert sent(StrategyName.ddp, layers, 4096, 8) == pytest.approx(PARAMETERS * 4 * 2 * 7 / 8)
    half = bytes_per_step(transfers(StrategyName.ddp, layers, 128, 2, 2, 2, gradient_bytes=2))
    assert half == PARAMETERS * 2


def test_fsdp_gathers_twice_and_scatters_once(layers: list[LayerPlan]) -> None:
    assert sent(StrategyName.fsdp, layers, 128, 8) == pytest.approx(3 * 7 / 8 * PARAMETERS * 4)
    # 1000 classes among 16 are 63 each, so that 8 rows of 4097 weights are padded.
    padded = PARAMETERS + 8 * 4097
    assert sent(StrategyName.fsdp, layers, 128, 16) == pytest.approx(3 * 15 / 16 * padded * 4)


def test_towers_send_what_the_other_tower_sees(layers: list[LayerPlan]) -> None:
    seen = 256 * 13**2 + 9216 + 4096 + 4096  # inputs of conv3, fc6, fc7, fc8
    pair = 128 * 2 * (2 * seen + 1000) / 2  # and back, and the logits; half of each is one's own
    assert sent(StrategyName.towers, layers, 128, 2) == pair
    gradients = 2 * 3 / 4 * PARAMETERS / 2 * 4
    assert sent(StrategyName.towers, layers, 128, 8) == pytest.approx(pair / 4 + gradients)


def test_towers_without_communication_do_not_meet_at_conv3(compose_config: ComposeConfig) -> None:
    config = compose_config(
        "+experiment=no_tower_communication", "model.classes=1000", "model.input_channels=3"
    )
    apart = sent(StrategyName.towers, plan(config.model), 128, 2)
    assert apart == 128 * 2 * (2 * (9216 + 4096 + 4096) + 1000) / 2


def test_one_weird_trick_sends_rows_columns_and_conv_gradients(layers: list[LayerPlan]) -> None:
    activations = 128 * 2 * 2 * (9216 + 4096 + 4096) * 7 / 8
    logits = 2 * 128 * 1000 / 8 * 2 * 7 / 8
    gradients = 2 * 7 / 8 * CONV_PARAMETERS * 4
    expected = activations + logits + gradients
    assert sent(StrategyName.one_weird_trick, layers, 128, 8) == pytest.approx(expected)


def test_one_device_sends_nothing(layers: list[LayerPlan]) -> None:
    for strategy in (StrategyName.single, StrategyName.ddp, StrategyName.fsdp):
        assert sent(strategy, layers, 128, 1) == 0


def _collectives(rank: int, ranks: int, folder: str) -> None:
    """What each collective really sends, counted by the kernel."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks
    )
    whole = torch.ones(12_000 * ranks)
    part, other = whole.chunk(ranks)[0].clone(), torch.empty_like(whole)
    operations = {
        Collective.all_reduce: lambda: dist.all_reduce(whole),
        Collective.all_gather: lambda: dist.all_gather_into_tensor(other, part),
        Collective.reduce_scatter: lambda: dist.reduce_scatter_tensor(part, other),
        Collective.all_to_all: lambda: dist.all_to_all_single(other, whole),
    }
    counts = {}
    for name, operation in operations.items():
        operation()
        before = tcp_bytes_sent()
        for _ in range(3):
            operation()
        counts[name] = (tcp_bytes_sent() - before) / 3
    dist.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(counts, file)


def test_collectives_send_what_the_formula_says(tmp_path: Path) -> None:
    ranks = 3
    spawn(_collectives, (ranks, str(tmp_path)), ranks)
    for rank in range(ranks):
        counts = json.loads((tmp_path / f"{rank}.json").read_text())
        for collective in Collective:
            formula = bytes_sent(collective, 12_000 * ranks * 4, ranks, "gloo")
            headers = HEADER * MESSAGES[collective] * (ranks - 1)
            assert counts[collective] == formula + headers, collective


@pytest.mark.parametrize(
    ("devices", "precision"),
    [(2, "bf16-mixed"), pytest.param(4, "32-true", marks=pytest.mark.long)],
)
def test_steps_send_what_the_formula_says(
    compose_config: ComposeConfig, devices: int, precision: str
) -> None:
    """Counted by the kernel in real processes, the formula holds to the byte, with the headers."""
    config = compose_config(
        "model=paper", "model.classes=10", "model.input_channels=3", "model.width=.0625",
        "model.input_size=67", "data.batch_size=16", "trainer.accelerator=cpu",
        f"trainer.precision={precision}",
    )  # fmt: skip
    layers = plan(config.model)
    strategies = [name for name in StrategyName if name != StrategyName.single]
    size = 2 if precision == "bf16-mixed" else 4
    for seen in observe(config, strategies, devices, steps=3):
        step = transfers(StrategyName(seen.strategy), layers, 16, devices, 2, size)
        averaged = [item for item in step if item.collective == Collective.all_reduce]
        others = [item for item in step if item.collective != Collective.all_reduce]
        # All averaged gradients of this small network go into one bucket.
        messages = sum(MESSAGES[item.collective] * (item.ranks - 1) for item in others)
        if averaged:
            messages += MESSAGES[Collective.all_reduce] * (averaged[0].ranks - 1)
        assert seen.sent is not None
        assert seen.sent == bytes_per_step(step, "gloo") + HEADER * messages, seen.strategy


def test_ceilings_are_those_of_the_reference(layers: list[LayerPlan]) -> None:
    """4.136 GFLOP and 9.4 MB an image, 1.83 GB a step: 93,000 and 128,000 images/s."""
    machine, link = ceilings(layers, 2), same_for_all(STATED_LINKS[0])
    for batch, expected in ((128, 93_000), (1024, 128_000)):
        step = step_time(StrategyName.single, Job(layers, 2), batch, 1, machine, link)
        assert batch / step.total == pytest.approx(expected, rel=0.005)
        seconds = batch * (4.136e9 / 790e12 + 9.4e6 / 4.3e12) + 1.83e9 / 4.3e12
        assert step.total == pytest.approx(seconds, rel=0.005)
        assert step.total == step.compute


def _machine(overlaps: bool) -> Machine:
    """A second for each image forward, two backward, half of it in the fc part; no optimizer."""
    pieces = [
        Piece(part, share, images, images / 2 / share, images / share)
        for part in ("conv", "fc")
        for share in (1, 2, 4)
        for images in (1, 100)
    ]
    return Machine("made up", False, "32-true", overlaps, 0.0, pieces)


def _chain() -> Job:
    """conv1 with 1 MB of gradients and fc2 with 3 MB, each a bucket of its own."""
    conv = LayerPlan("conv1", "conv", 1, 125_000, 1, 1)
    return Job([conv, LayerPlan("fc2", "fc", 1, 375_000, 1, 1)], 1, bucket_mb=0.1)


def _ddp(overlaps: bool, bandwidth: float) -> StepTime:
    """4 images on each of 2 devices: 4 s forward, fc2 4 s and conv1 4 s backward."""
    link = same_for_all(Link("", bandwidth, 0.0))
    step = step_time(StrategyName.ddp, _chain(), 8, 2, _machine(overlaps), link)
    assert step.compute == pytest.approx(12.0)
    return step


def test_ddp_hides_gradients_behind_the_backward_pass() -> None:
    assert _ddp(True, 1e6).total == pytest.approx(12 + 1)  # conv1's, after fc2's in 3 of its 4 s
    assert _ddp(True, 0.5e6).total == pytest.approx(8 + 6 + 2)  # one after the other, from fc2 on
    assert _ddp(False, 1e6).total == pytest.approx(12 + 3 + 1)


def test_fsdp_gathers_the_next_unit_meanwhile() -> None:
    link = same_for_all(Link("", 1e6, 0.0))  # each device sends .5 s for conv1, 1.5 s for fc2
    step = step_time(StrategyName.fsdp, _chain(), 8, 2, _machine(True), link)
    # conv1 waits .5 s; fc2's weights come meanwhile, and again before it goes backward: 1.5 s.
    # Its gradients leave while conv1 goes backward, conv1's own .5 s after it.
    assert step.total == pytest.approx(12 + 0.5 + 1.5 + 0.5)


def test_one_weird_trick_waits_for_activations() -> None:
    link = same_for_all(Link("", 1e6, 0.0))
    step = step_time(StrategyName.one_weird_trick, _chain(), 8, 2, _machine(True), link)
    # fc2: one input and 375,000 outputs. conv1's gradients, 1 s, after its 4 s backward.
    gathered, logits = 8 * 1 * 4 / 2 / 1e6, 8 * 375_000 / 2 * 4 / 2 / 1e6
    assert step.total == pytest.approx(12 + 2 * gathered + 2 * logits + 1)


def test_latency_counts_every_message_of_a_ring() -> None:
    link = Link("", 1e30, 0.001)
    for collective, messages in (
        (Collective.all_reduce, 14), (Collective.all_gather, 7),
        (Collective.reduce_scatter, 7), (Collective.all_to_all, 7),
    ):  # fmt: skip
        transfer = Transfer("", collective, None, "", True, 1.0, 8, None)
        assert link.seconds(transfer) == pytest.approx(messages * 0.001)


def test_times_between_and_beyond_measured_batches() -> None:
    pieces = [Piece("conv", 1, 2, 3.0, 6.0), Piece("conv", 1, 10, 7.0, 14.0)]
    machine = Machine("", True, "32-true", True, 0.0, pieces)
    assert machine.time("conv", 1, 6) == (5.0, 10.0)
    assert machine.time("conv", 1, 20) == (12.0, 24.0)
    assert machine.time("conv", 1, 1) == (2.5, 5.0)
    with pytest.raises(ValueError, match="1/8 of conv was not measured"):
        machine.time("conv", 8, 6)
    assert Machine.from_plain(json.loads(json.dumps(machine.to_plain()))) == machine


def test_shares_of_the_network_have_their_share_of_the_work(compose_config: ComposeConfig) -> None:
    """Multiply-accumulates of what is timed, counted in the modules, are 1/K of the whole."""
    config = compose_config("model=paper", "model.classes=1000", "model.input_channels=3")
    whole = sum(layer.macs for layer in plan(config.model) if layer.kind == "conv")
    images = torch.randn(1, 3, 224, 224)
    assert _macs(share_of_features(config.model, 1), images) == whole
    assert _macs(share_of_features(config.model, 2), images) == whole // 2
    for share in (1, 2, 8):
        part = share_of_classifier(config.model, share)
        assert _macs(part, torch.randn(1, 9216)) == FC_MACS // share
        assert part(torch.randn(1, 9216)).shape == (1, 1000 // share)


def _macs(module: nn.Module, x: torch.Tensor) -> int:
    total = 0

    def add(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        total += output[0, 0].numel() * layer.weight.numel()

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad():
        module(x)
    return total


@pytest.mark.parametrize(
    ("strategy", "batch", "devices", "expected"),
    [
        (StrategyName.single, 128, 1, True),
        (StrategyName.single, 128, 2, False),
        (StrategyName.ddp, 128, 1, False),
        (StrategyName.ddp, 127, 2, False),
        (StrategyName.towers, 127, 2, True),
        (StrategyName.towers, 128, 3, False),
        (StrategyName.one_weird_trick, 126, 3, False),  # 4096 units
        (StrategyName.one_weird_trick, 128, 64, True),
    ],
)
def test_fits(
    layers: list[LayerPlan], strategy: StrategyName, batch: int, devices: int, expected: bool
) -> None:
    assert fits(strategy, Job(layers, 2), batch, devices) is expected

"""What a strategy asks of network and devices, and how it cuts weights and masks."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from alexnet_exp.config import Config
from alexnet_exp.errors import PlacementError, UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.plan import plan
from alexnet_exp.parallel.data_parallel import sent_in_bf16
from alexnet_exp.parallel.layout import BatchNormOverProcesses, PartOfDropout, Share
from alexnet_exp.parallel.parts import Rows
from alexnet_exp.parallel.placement import check, device_ids, lightning_devices
from alexnet_exp.parallel.strategies import make_strategy
from alexnet_exp.parallel.team import place


@pytest.fixture
def alone() -> Iterator[None]:
    """One process that has met nobody."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


Machine = Callable[[int], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """``machine(gpus)``: one with so many GPUs."""

    def pretend(gpus: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)

    return pretend


def checked(compose_config, *overrides: str) -> None:
    config: Config = compose_config(*overrides)
    config.model.classes, config.model.input_channels = 5, 3
    check(config, plan(config.model))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("trainer.devices=2",), ("strategy=single", "strategy=ddp")),
        (("strategy=towers", "trainer.devices=1"), ("2 towers", "trainer.devices=2")),
        (("strategy=towers", "trainer.devices=3"), ("2 towers", "multiple")),
        (
            ("strategy=towers", "trainer.devices=2", "model=one_gpu"),
            ("one tower", "model=paper"),
        ),
        (("strategy=towers", "trainer.devices=2", "model.towers=1"), ("one tower",)),
        (("strategy=one_weird_trick", "trainer.devices=1"), ("trainer.devices=2",)),
        (
            (
                "strategy=one_weird_trick",
                "trainer.devices=2",
                "model.towers=1",
                "model.fc=[4097,64]",
            ),
            ("4097 units of fc6", "model.fc"),
        ),
        (
            ("strategy=one_weird_trick", "trainer.devices=3", "data.batch_size=129"),
            ("4096 units of fc6", "3 devices"),
        ),
        (
            ("strategy=one_weird_trick", "trainer.devices=2", "model.sees_both_towers=[conv3,fc7]"),
            ("fc6", "model.sees_both_towers"),
        ),
        (
            ("strategy=towers", "trainer.devices=2", "trainer.precision=16-mixed"),
            ("overflow", "bf16-mixed"),
        ),
        (("strategy=fsdp", "trainer.precision=64-true"), ("fp64", "32-true")),
        (("strategy=fsdp", "optim._target_=torch.optim.Adafactor"), ("Adafactor", "strategy=ddp")),
        (("strategy=fsdp", "strategy.bf16_gradients=true"), ("strategy=ddp", "fsdp")),
        (("strategy=ddp", "trainer.devices=3", "data.batch_size=128"), ("126 or 129",)),
        (("strategy=ddp", "trainer.devices=3", "data.batch_size=2"), ("data.batch_size=3",)),
        (("strategy=towers", "trainer.devices=4", "data.batch_size=33"), ("32 or 34", "2 shares")),
    ],
)
def test_what_does_not_fit_names_what_would(
    compose_config, overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(PlacementError) as raised:
        checked(compose_config, *overrides)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ("strategy=ddp", "trainer.devices=1"),
        ("strategy=fsdp", "trainer.devices=8", "trainer.num_nodes=8", "data.batch_size=128"),
        ("strategy=towers", "trainer.devices=2", "model=original"),
        ("strategy=towers", "trainer.devices=2", "+experiment=no_tower_communication"),
        ("strategy=towers", "trainer.devices=1", "trainer.num_nodes=2"),
        ("strategy=one_weird_trick", "trainer.devices=2", "model=one_gpu"),
        ("strategy=one_weird_trick", "trainer.devices=4", "model=cifar_small", "data=cifar10"),
    ],
)
def test_what_fits_is_let_through(compose_config, overrides: tuple[str, ...]) -> None:
    checked(compose_config, *overrides)


@pytest.mark.parametrize(
    ("given", "gpus", "ids"),
    [
        (("strategy=ddp", "trainer.devices=2"), 0, [0, 1]),
        (("strategy=ddp", "trainer.devices=-1"), 0, [0]),
        (("strategy=ddp", "trainer.devices=auto"), 0, [0]),
        (("strategy=ddp", "trainer.devices=[0,1]"), 0, [0, 1]),
        (("strategy=ddp", "trainer.devices=-1"), 4, [0, 1, 2, 3]),
        (("strategy=ddp", "trainer.devices=auto"), 4, [0, 1, 2, 3]),
        (("strategy=ddp", "trainer.devices=[3,1]"), 4, [3, 1]),
        (("trainer.devices=auto",), 4, [0]),
        (("strategy=ddp", "trainer.devices=-1", "trainer.accelerator=cpu"), 4, [0]),
    ],
)
def test_devices_are_a_number_all_or_some(
    compose_config, given: tuple[str, ...], gpus: int, ids: list[int], machine: Machine
) -> None:
    machine(gpus)
    config = compose_config(*given)
    assert device_ids(config) == ids
    on_gpu = gpus > 0 and "trainer.accelerator=cpu" not in given
    assert lightning_devices(config) == (ids if on_gpu else len(ids))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("trainer.devices=-1",), "trainer.devices=-1: strategy=single runs on one device"),
        (("strategy=ddp", "trainer.devices=5"), "torch finds 4 GPUs"),
        (("strategy=ddp", "trainer.devices=[0,4]"), r"trainer.devices=\[0, 4\]: torch finds 4"),
    ],
)
def test_devices_that_are_not_there_are_one_message(
    compose_config, given: tuple[str, ...], message: str, machine: Machine
) -> None:
    machine(4)
    with pytest.raises(UserError, match=message):
        place(compose_config(*given))


def test_parts_of_dropout_are_those_of_one_device() -> None:
    x = torch.randn(8, 12)
    torch.manual_seed(3)
    whole = F.dropout(x, 0.4)
    for rows in (1, 2, 4):
        for columns in (1, 2, 3):
            for row in range(rows):
                for column in range(columns):
                    torch.manual_seed(3)
                    part = PartOfDropout(0.4, Share(row, rows), Share(column, columns))
                    own = x.chunk(rows)[row].chunk(columns, 1)[column]
                    assert torch.equal(part(own), whole.chunk(rows)[row].chunk(columns, 1)[column])
                    assert torch.equal(part.eval()(own), own)


@pytest.mark.usefixtures("alone")
def test_batch_norm_over_processes_is_batch_norm() -> None:
    torch.manual_seed(0)
    own = nn.BatchNorm2d(6)
    nn.init.normal_(own.weight)
    over = BatchNormOverProcesses(own, dist.group.WORLD)
    x = (torch.randn(5, 6, 7, 7) * 30 + 90).requires_grad_()
    y = x.detach().clone().requires_grad_()
    expected, got = own(x), over(y)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (got * weight).sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-6)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(over.state_dict()[name], value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(over.eval()(y), own.eval()(x), rtol=1e-5, atol=1e-5)


class Member:
    """One of several processes, as far as cutting asks."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size


@pytest.mark.parametrize(
    ("rows", "sizes"), [(5, (2, 1, 1, 1)), (8, (2, 2, 2, 2)), (3, (1, 1, 1, 0))]
)
def test_first_processes_have_one_row_more_where_rows_do_not_divide(
    rows: int, sizes: tuple[int, ...]
) -> None:
    whole = torch.arange(2.0 * rows).view(rows, 2)
    cut = []
    for rank in range(4):
        part = Rows.of(rows, Member(rank, 4))  # type: ignore[arg-type]
        assert part.sizes == sizes
        cut.append(part.cut(whole))
    assert torch.equal(torch.cat(cut), whole)
    assert cut[0].data_ptr() != whole.data_ptr(), "a part must not keep the whole alive"


@pytest.mark.usefixtures("alone")
def test_joining_takes_back_cutting() -> None:
    whole = torch.arange(10.0).view(5, 2)
    assert dist.group.WORLD is not None
    rows = Rows.of(5, dist.group.WORLD)
    assert torch.equal(rows.join(rows.cut(whole)), whole)


@pytest.mark.usefixtures("alone")
def test_gradients_are_rounded_once_where_they_are_sent_in_bf16() -> None:
    plain = nn.Linear(7, 3)
    wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(plain))
    wrapped.register_comm_hook(None, sent_in_bf16)
    x = torch.randn(5, 7)
    plain(x).square().sum().backward()
    wrapped(x).square().sum().backward()
    for ours, whole in zip(wrapped.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, whole.grad.bfloat16().float())


@pytest.mark.usefixtures("alone")
def test_fc6_is_sent_during_the_backward_pass_of_all_convolutions(compose_config) -> None:
    """Each fully connected layer is a bucket of its own, and conv1's gradient goes out alone."""
    config = compose_config("strategy=ddp", "trainer.devices=1")
    config.model.classes, config.model.input_channels = 1000, 3
    strategy = make_strategy(config)
    network = AlexNet(config.model)
    options = {k: v for k, v in strategy._ddp_kwargs.items() if k != "process_group"}
    wrapped = nn.parallel.DistributedDataParallel(network, **options)
    sent: list[int] = []

    def watch(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent.append(bucket.buffer().nbytes)
        ready: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        ready.set_result(bucket.buffer())
        return ready

    wrapped.register_comm_hook(None, watch)
    for _ in range(2):  # buckets are made anew after the first backward pass
        sent.clear()
        wrapped(torch.randn(2, 3, 224, 224)).sum().backward()
    sizes = {name: 4 * p.numel() for name, p in network.named_parameters()}

    def size(*layers: str) -> int:
        return sum(size for name, size in sizes.items() if name.split(".")[1] in layers)

    # A bias may come with the layer before or after its own.
    expected = [("fc8",), ("fc7",), ("fc6",), ("conv5", "conv4"), ("conv3", "conv2"), ("conv1",)]
    assert sent == pytest.approx([size(*layers) for layers in expected], rel=0.01)

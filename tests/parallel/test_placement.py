"""What a strategy asks of network and devices, and what it sends when."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from alexnet_exp.config import Config
from alexnet_exp.errors import PlacementError, UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.plan import plan
from alexnet_exp.parallel.placement import check, device_ids, lightning_devices
from alexnet_exp.parallel.strategies import make_strategy
from alexnet_exp.parallel.team import place


def pretend(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)


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
        (("strategy=towers", "trainer.devices=2", "model=one_gpu"), ("one tower", "model=paper")),
        (("strategy=one_weird_trick", "trainer.devices=1"), ("trainer.devices=2",)),
        (("strategy=one_weird_trick", "trainer.devices=3", "data.batch_size=129"),
         ("4096 units of fc6", "3 devices")),
        (("strategy=one_weird_trick", "trainer.devices=2", "model.sees_both_towers=[conv3,fc7]"),
         ("fc6", "model.sees_both_towers")),
        (("strategy=towers", "trainer.devices=2", "model=caffenet"),
         ("sum over both towers", "model.lrn.across_towers=false")),
        (("strategy=towers", "trainer.devices=2", "trainer.precision=16-mixed"),
         ("overflow", "bf16-mixed")),
        (("strategy=fsdp", "optim._target_=torch.optim.Adafactor"), ("Adafactor", "strategy=ddp")),
        (("strategy=fsdp", "strategy.bf16_gradients=true"), ("strategy=ddp", "fsdp")),
        (("strategy=ddp", "trainer.devices=3", "data.batch_size=128"), ("126 or 129",)),
        (("strategy=ddp", "trainer.devices=3", "data.batch_size=2"), ("data.batch_size=3",)),
        (("strategy=towers", "trainer.devices=4", "data.batch_size=33"), ("32 or 34", "2 shares")),
    ],
)  # fmt: skip
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
        ("strategy=fsdp", "trainer.devices=8", "trainer.num_nodes=8", "data.batch_size=128"),
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
        (("strategy=ddp", "trainer.devices=-1"), 4, [0, 1, 2, 3]),
        (("strategy=ddp", "trainer.devices=auto"), 4, [0, 1, 2, 3]),
        (("strategy=ddp", "trainer.devices=[3,1]"), 4, [3, 1]),
        (("trainer.devices=auto",), 4, [0]),
        (("strategy=ddp", "trainer.devices=-1", "trainer.accelerator=cpu"), 4, [0]),
    ],
)
def test_devices_are_a_number_all_or_some(
    compose_config, given: tuple[str, ...], gpus: int, ids: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pretend(gpus, monkeypatch)
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
    compose_config, given: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(4, monkeypatch)
    with pytest.raises(UserError, match=message):
        place(compose_config(*given))


def test_fc6_is_sent_during_the_backward_pass_of_all_convolutions(compose_config) -> None:
    """Each fully connected layer is a bucket of its own, and conv1's gradient goes out alone."""
    config = compose_config("strategy=ddp", "trainer.devices=1")
    config.model.classes, config.model.input_channels = 1000, 3
    network = AlexNet(config.model)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    options = {**make_strategy(config)._ddp_kwargs, "process_group": None}
    wrapped = nn.parallel.DistributedDataParallel(network, **options)
    sent: list[int] = []

    def watch(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent.append(bucket.buffer().nbytes)
        return allreduce_hook(dist.group.WORLD, bucket)

    wrapped.register_comm_hook(None, watch)
    for _ in range(2):  # buckets are made anew after the first backward pass
        sent.clear()
        wrapped(torch.randn(2, 3, 224, 224)).sum().backward()
    dist.destroy_process_group()
    # A bias may come with the layer before or after its own.
    buckets = [("fc8",), ("fc7",), ("fc6",), ("conv5", "conv4"), ("conv3", "conv2"), ("conv1",)]

    def size(*layers: str) -> int:
        named = network.named_parameters()
        return sum(4 * p.numel() for name, p in named if name.split(".")[1] in layers)

    assert sent == pytest.approx([size(*layers) for layers in buckets], rel=0.01)

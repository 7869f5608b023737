import numpy as np
import pytest

from alexnet_exp.data.sampler import TrainSampler
from alexnet_exp.errors import UserError

IMAGES = np.random.default_rng(0).permutation(1000)[:103]


def batches(
    epoch: int = 0, seed: int = 0, batch_size: int = 8, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    sampler = TrainSampler(IMAGES, batch_size, seed, rank, world_size)
    sampler.set_epoch(epoch)
    found = [batch.tolist() for batch in sampler]
    assert len(found) == len(sampler)
    return found


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("epoch", [0, 3])
def test_ranks_share_each_global_batch(world_size: int, epoch: int) -> None:
    ranks = [batches(epoch, rank=rank, world_size=world_size) for rank in range(world_size)]
    for one, *parts in zip(batches(epoch), *ranks, strict=True):
        assert {len(part) for part in parts} == {8 // world_size}
        assert [image for part in parts for image in part] == one


def test_an_epoch_has_every_image_at_most_once_and_some_epoch_each() -> None:
    seen: set[int] = set()
    for epoch in range(20):
        found = [image for batch in batches(epoch) for image in batch]
        assert len(found) == 103 // 8 * 8 == len(set(found))
        seen |= set(found)
    assert seen == set(IMAGES.tolist())


def test_epochs_and_seeds_differ_and_repeat() -> None:
    """torch's generator takes the lower 32 bits of a seed alone."""
    seeds = (0, 1, 2, 3, 2**31, 2**32 - 1)
    orders = {str(batches(epoch, seed)) for seed in seeds for epoch in range(8)}
    assert len(orders) == 6 * 8
    assert batches(5, seed=1) == batches(5, seed=1)


def test_batch_must_divide_by_the_processes() -> None:
    with pytest.raises(UserError, match=r"data\.batch_size=6 .* multiple of 4"):
        TrainSampler(IMAGES, 6, 0, 0, 4)


@pytest.mark.parametrize(("world_size", "advice"), [(1, 103), (2, 102), (4, 100)])
def test_batch_must_not_exceed_the_data(world_size: int, advice: int) -> None:
    with pytest.raises(UserError, match=rf"data\.batch_size=128 .*data\.batch_size={advice} "):
        TrainSampler(IMAGES, 128, 0, 0, world_size)
    assert len(TrainSampler(IMAGES, advice, 0, 0, world_size)) == 1

"""Reading ahead: the right pixels in the right order, errors from threads, no threads left."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from alexnet_exp.data.store.images import Images
from alexnet_exp.data.store.store import Store
from alexnet_exp.data.stream import Stream

CPU = torch.device("cpu")


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 4])
def test_batches_come_in_order(store: Store, threads: int, ahead: int) -> None:
    rows = np.random.default_rng(0).permutation(60)
    batches = [rows[start : start + 17] for start in range(0, 60, 17)]
    found = list(Stream(store.images, CPU, threads, ahead).batches(batches))
    assert [len(batch) for batch in found] == [17, 17, 17, 9]
    for batch, pixels in zip(batches, found, strict=True):
        assert np.array_equal(pixels.numpy(), store.images[batch])


def test_what_fails_in_a_thread_is_raised_and_threads_end(store: Store) -> None:
    before = threading.active_count()
    stream = Stream(store.images, CPU, 2, 2)
    with pytest.raises(IndexError, match="row 60"):
        list(stream.batches([np.arange(8), np.arange(56, 62)]))
    assert threading.active_count() == before


def test_no_more_is_read_ahead_than_asked_for_and_threads_end(store: Store, monkeypatch) -> None:
    read: list[int] = []
    original = Images.read

    def note(self: Images, row: int, out: Any) -> None:
        read.append(row)
        original(self, row, out)

    monkeypatch.setattr(Images, "read", note)
    before = threading.active_count()
    batches = Stream(store.images, CPU, 1, 2).batches([np.arange(8)] * 6)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
    assert len(read) <= 3 * 8

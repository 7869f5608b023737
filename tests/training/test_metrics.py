import numpy as np
import pytest
import torch

from alexnet_exp.training.metrics import ErrorCounts


def test_the_rank_is_that_of_a_stable_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(4, (200, 8), generator=generator).float()  # ties everywhere
    labels = torch.randint(8, (200,), generator=generator)
    order = scores.argsort(dim=1, descending=True, stable=True)
    rank = (order == labels[:, None]).int().argmax(1)
    counts = ErrorCounts()
    counts.update(torch.tensor(0.0), scores, labels)
    found = counts.compute()
    for k in (1, 5):
        expected = (rank >= k).double().mean().item()
        assert found[f"top{k}_error"] == pytest.approx(expected, abs=1e-7)


def test_scores_that_are_no_numbers_are_errors() -> None:
    counts = ErrorCounts()
    counts.update(torch.tensor(torch.nan), torch.full((2, 6), torch.nan), torch.tensor([0, 5]))
    found = counts.compute()
    assert found["top1_error"] == found["top5_error"] == 1.0
    assert np.isnan(found["loss"])

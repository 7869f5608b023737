import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from alexnet_exp.training.metrics import ErrorCounts


@pytest.mark.parametrize("classes", [3, 10])
def test_equals_torchmetrics_over_batches_of_unequal_size(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = ErrorCounts()
    theirs = [MulticlassAccuracy(classes, k, average="micro") for k in (1, min(5, classes))]
    losses = []
    for size in (7, 64, 1):
        scores = torch.randn(size, classes, generator=generator)
        labels = torch.randint(classes, (size,), generator=generator)
        each = F.cross_entropy(scores, labels, reduction="none")
        losses += each.tolist()
        ours.update(each.mean(), scores, labels)
        for accuracy in theirs:
            accuracy.update(scores, labels)
    found = ours.compute()
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert found["top1_error"] == pytest.approx(1 - float(theirs[0].compute()), abs=1e-6)
    assert found["top5_error"] == pytest.approx(1 - float(theirs[1].compute()), abs=1e-6)


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

"""Test photos with their five best classes, drawn at random: figure 4 left."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from alexnet_exp.config.training import Views
from alexnet_exp.pictures.canvas import CHECK
from alexnet_exp.pictures.looking import Subject
from alexnet_exp.pictures.sheet import Tile, sheet

PHOTOS = 8
_MOST, _AT_ONCE = 1024, 64


def drawn_photos(subject: Subject, seed: int = 0) -> Figure:
    """Eight test photos: four whose best class is right and four mistakes.

    They are the first of either kind among at most 1,024 test photos in an order that ``seed``
    draws, so nobody has picked them; where there are too few of one kind, there are more of the
    other. The probabilities are those of evaluation, with its views.
    """
    right: list[tuple[int, Tensor]] = []
    wrong: list[tuple[int, Tensor]] = []
    for row, probabilities in _in_random_order(subject, seed):
        is_right = int(probabilities.argmax()) == int(subject.store.labels[row])
        (right if is_right else wrong).append((row, probabilities))
        if min(len(right), len(wrong)) >= PHOTOS // 2:
            break
    wrong = wrong[: max(PHOTOS // 2, PHOTOS - len(right))]
    right = right[: PHOTOS - len(wrong)]
    title = (
        f"Picked at random: {len(right)} {subject.photos} of those that are named rightly, and"
        f" {len(wrong)} of those that are not"
    )
    views = "ten views" if subject.config.evaluation.views == Views.ten else "one view"
    tiles = [_tile(subject, row, found) for row, found in right + wrong]
    notes = (f"{CHECK}The true class.", f"Probabilities are the mean of {views}.", subject.note)
    return sheet(tiles, title, notes)


def _in_random_order(subject: Subject, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Rows of test photos with their probabilities (classes,)."""
    order = np.random.default_rng(seed).permutation(subject.store.indices("test"))[:_MOST]
    for start in range(0, len(order), _AT_ONCE):
        rows: NDArray[np.int64] = order[start : start + _AT_ONCE]
        views = subject.config.evaluation.views
        seen = subject.look(rows, views, subject.classifier.probabilities)
        yield from zip(rows.tolist(), torch.cat(seen).float().cpu(), strict=True)


def _tile(subject: Subject, row: int, probabilities: Tensor) -> Tile:
    [true], [file] = subject.names_of([row]), subject.files_of([row])
    return Tile(subject.store.images[row], true, subject.best(probabilities), true, file)

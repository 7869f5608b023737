"""The photos nearest to others by what the output layer is given: figure 4 right."""

from enum import StrEnum
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from alexnet_exp.config.training import Views
from alexnet_exp.console import say
from alexnet_exp.pictures.canvas import (
    CHECK,
    MARGIN,
    SMALL,
    TINY,
    Head,
    cut_name,
    new_figure,
    place,
    shortened,
    show_image,
    styled,
    write,
)
from alexnet_exp.pictures.looking import Subject
from alexnet_exp.report.drawing import GRAY, WIDE

Distance = StrEnum("Distance", ["euclidean", "cosine"])
"""The paper's, and one less the cosine of the angle between features."""

Among = StrEnum("Among", ["test", "train"])
"""Which photos are searched: other test photos, or as in the paper training photos."""

_QUERIES, _NEAREST = 5, 6
_GAP, _APART, _NAME, _FILE = 0.06, 0.2, 0.17, 0.14  # inches

_HOW = {Distance.euclidean: "Euclidean distance", Distance.cosine: "cosine distance"}
_WHICH = {Among.test: "others", Among.train: "training images"}


def neighbors(
    subject: Subject,
    distance: Distance = Distance.euclidean,
    among: Among = Among.test,
    seed: int = 0,
) -> Figure:
    """Five test photos, and beside each the six nearest ones.

    Features are what the output layer is given of the center of a photo, of AlexNet the 4,096 of
    fc7. The test photos are drawn by ``seed``, each of another class as far as there are.
    """
    asked, found = _search(subject, among, seed)
    nearest = found[distance]
    side = (WIDE - 2 * MARGIN - _APART - (_NEAREST - 1) * _GAP) / (_NEAREST + 1)
    row_height = side + _NAME + _FILE + _GAP
    title = f"Some {subject.photos}, and the nearest {_WHICH[among]}"
    note = f"By {_HOW[distance]} of what the output layer is given. {CHECK}Of the same class."
    with styled():
        head = Head(WIDE, title, note, subject.note)
        figure = new_figure(WIDE, 2 * MARGIN + head.height + len(asked) * row_height - _GAP)
        head.write(figure)
        for number, query in enumerate(asked.tolist()):
            top = MARGIN + head.height + number * row_height
            rows = [query, *nearest[number]]
            names, files = subject.names_of(rows), subject.files_of(rows)
            for column, (row, name, file) in enumerate(zip(rows, names, files, strict=True)):
                left = MARGIN + column * (side + _GAP) + (_APART - _GAP) * (column > 0)
                show_image(place(figure, left, top, side, side), subject.store.images[row])
                mark = CHECK * (column > 0 and name == names[0])
                weight = "normal" if column else "bold"
                [text] = shortened([name], side - 0.14 * bool(mark), SMALL, weight)
                write(figure, left, top + side + 0.03, mark + text, SMALL, weight=weight)
                file = cut_name(file, side, TINY)
                write(figure, left, top + side + _NAME, file, TINY, color=GRAY)
    return figure


@lru_cache(maxsize=1)
def _search(
    subject: Subject, among: Among, seed: int
) -> tuple[NDArray[np.int64], dict[Distance, list[list[int]]]]:
    """Rows that are asked for, and those nearest to each by every distance: one pass does all."""
    asked = subject.draw(_QUERIES, seed)
    return asked, nearest_rows(subject, asked, subject.store.indices(among), f"{among} images")


def nearest_rows(
    subject: Subject, asked: NDArray[np.int64], there: NDArray[np.int64], doing: str = ""
) -> dict[Distance, list[list[int]]]:
    """For each row that is asked for the six nearest others of those ``there``, nearest first."""
    queries = torch.cat(subject.look(asked, Views.one, subject.features)).cpu()
    between = partial(_distances, subject, queries)
    parts = subject.look(there, Views.one, between, doing and f"searching {doing}")
    distances = torch.cat(parts, dim=2)
    distances[:, torch.from_numpy(asked[:, None] == there)] = torch.inf
    most = min(_NEAREST, len(there) - int(np.isin(asked, there).any()))
    order = distances.argsort(dim=2, stable=True)[..., :most]
    if len(order[0, 0]) and not distances.gather(2, order[..., -1:]).any():
        say("features of many images are the same: which are nearest means nothing here")
    return {
        distance: [there[places].tolist() for places in own]
        for distance, own in zip(Distance, order.numpy(), strict=True)
    }


def _distances(subject: Subject, queries: Tensor, images: Tensor) -> Tensor:
    """Distances (2, Q, N) on the CPU, without the features that they are made of."""
    features = subject.features(images)
    queries = queries.to(features.device)
    unit = F.normalize(queries), F.normalize(features)
    # Half the square of the distance of unit vectors: 1 less a cosine near 1 would be rounding.
    # Neither by products of matrices, which give nothing of small distances.
    exact: Any = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    both = torch.cdist(queries, features, **exact), torch.cdist(*unit, **exact) ** 2 / 2
    return torch.stack(both).cpu()

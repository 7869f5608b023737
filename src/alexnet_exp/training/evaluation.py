"""What trained networks make of images that they have not learned from: each, and their average."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.photos import labeled_photos, read_photo
from alexnet_exp.data.store.store import Store
from alexnet_exp.errors import UserError
from alexnet_exp.runs.outcomes import Interval, Outcomes, gain
from alexnet_exp.training.classifier import Classifier

MISTAKES = 12
"""So many of the most confident ones are listed."""


class Answers(NamedTuple):
    """Images of one split, or photos, and what one network makes of them."""

    probabilities: NDArray[np.float32]
    """(I, classes)."""
    labels: NDArray[np.int64]
    """(I,)."""
    names: list[str]
    """(I,) of the files."""
    pixels: Callable[[int], Pixels]
    """The square (S, S, C) uint8 of one of them, as packing makes it."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found.

    Attributes:
        networks: What was evaluated, in words.
        metrics: Loss, top-1 and top-5 error (fractions) by ``<split>/<metric>``; of several
            networks those of their averaged probabilities.
        views: ``one`` or ``ten``.
        images: Their number by split.
        class_names: By output of the network.
        synthetic: Whether the images are drawn.
        outcomes: Of the test images, or of the photos.
        members: The same of each network by itself, where there are several.
        pixels: The square (S, S, C) uint8 of an image by its position in ``outcomes``.
    """

    networks: tuple[str, ...]
    metrics: dict[str, float]
    views: str
    images: dict[str, int]
    class_names: list[str]
    synthetic: bool
    outcomes: Outcomes
    members: tuple[Outcomes, ...]
    pixels: Callable[[int], Pixels]

    def gain(self, name: str) -> Interval:
        """What averaging takes off the mean ``top1`` or ``top5`` error of the members."""
        return gain([member.wrong[name] for member in self.members], self.outcomes.wrong[name])

    def plain(self) -> dict[str, Any]:
        """All that can be said in JSON; fractions, with 95 % intervals from ``low`` to ``high``."""
        found, names = self.outcomes, self.class_names
        errors = ("top1", "top5")
        return {
            "networks": list(self.networks),
            "metrics": self.metrics,
            "intervals": {f"{name}_error": found.error(name)._asdict() for name in errors},
            "calibration_error": found.calibration_error,
            "views": self.views,
            "images": self.images,
            "classes": len(names),
            "synthetic": self.synthetic,
            "by_class": {
                name: error and error._asdict()
                for name, error in zip(names, found.by_class(len(names)), strict=True)
            },
            "confusion": found.confusion(len(names)).tolist(),
            "mistakes": [
                {
                    "file": found.names[place],
                    "label": names[found.labels[place]],
                    "predicted": names[found.top5[place, 0]],
                    "probability": float(found.confidence[place]),
                }
                for place in found.mistakes(MISTAKES)
            ],
            "members": [
                {
                    **{f"{name}_error": one.error(name)._asdict() for name in errors},
                    "calibration_error": one.calibration_error,
                }
                for one in self.members
            ],
            "gain": {f"{n}_error": self.gain(n)._asdict() for n in errors}
            if self.members
            else None,
        }


def evaluate_store(trainer: L.Trainer, classifier: Classifier, store: Store) -> dict[str, Answers]:
    """Test on validation and test images of a store."""
    # The mean image of a start from weights of others is theirs.
    store = replace(store, mean=classifier.statistics["mean"].numpy())
    module = StoreDataModule(classifier.config, store)
    classifier.recorded_classes = len(classifier.output_names)
    trainer.test(classifier, datamodule=module, verbose=False)
    found = {}
    for split, batches in classifier.predictions.items():
        rows = module.rows(split)
        probabilities = np.concatenate([batch["probabilities"] for batch in batches])
        names, pixels = [store.names[row] for row in rows], partial(_stored, store, rows)
        found[split] = Answers(probabilities, store.labels[rows], names, pixels)
    return found


def _stored(store: Store, rows: NDArray[np.int64], place: int) -> Pixels:
    return store.images[rows[[place]]][0]


def evaluate_photos(trainer: L.Trainer, classifier: Classifier, folder: Path) -> Answers:
    """Test on the photos of class folders, which are called as the classes are.

    Raises:
        UserError: There are none, a folder is called otherwise, or a photo can't be read.
    """
    known = {name: label for label, name in enumerate(classifier.class_names)}
    photos = labeled_photos(folder)
    others = sorted({name for _, name in photos} - known.keys())
    if others:
        raise UserError(
            f"{folder} has folders that are no class of the checkpoint: {', '.join(others)}; its"
            f" classes are {', '.join(known)}"
        )

    def batch(items: list[tuple[Path, str]]) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.tensor([known[name] for _, name in items])
        return classifier.read([photo for photo, _ in items]), labels

    loader: Any = DataLoader(photos, classifier.batch_size, collate_fn=batch)  # type: ignore[arg-type]
    classifier.recorded_classes = len(classifier.output_names)
    trainer.test(classifier, loader, verbose=False)
    data = classifier.config.data
    return Answers(
        np.concatenate([own["probabilities"] for own in classifier.predictions["test"]]),
        np.array([known[name] for _, name in photos]),
        [str(photo) for photo, _ in photos],
        lambda place: read_photo(photos[place][0], data),
    )


class Average:
    """The mean of the probabilities of networks that were tested on the same images.

    As the paper averages five and seven networks (section 6), it is that of their softmax.
    """

    def __init__(self) -> None:
        self.first: dict[str, Answers] = {}
        self.members: list[tuple[str, Outcomes]] = []
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._metrics: dict[str, float] = {}

    def add(self, network: str, tested: dict[str, Answers], metrics: dict[str, float]) -> None:
        """One more network, in words: its answers by split, the last of which is what is tested.

        ``metrics`` are its loss and errors by ``<split>/<metric>``.

        Raises:
            UserError: Its images are others than those of the first.
        """
        for split, own in tested.items():
            first = self.first.setdefault(split, own)
            if own.names != first.names or not np.array_equal(own.labels, first.labels):
                raise UserError(
                    f"{self.members[0][0]} and {network} have other {split} images: networks are"
                    " averaged on the same ones; name runs of one split, or use --photos"
                )
            before = self._sums.get(split)
            self._sums[split] = own.probabilities if before is None else before + own.probabilities
        self.members.append((network, Outcomes.of(own.probabilities, own.labels, own.names)))
        self._metrics = metrics

    def evaluation(self, classifier: Classifier) -> Evaluation:
        """What was found; ``classifier`` is any of the networks."""
        outcomes = self.outcomes()
        names, members = zip(*self.members, strict=True)
        several, (*_, tested) = len(members) > 1, outcomes
        metrics = {f"{split}/{name}": value for split, found in outcomes.items()
                   for name, value in found.metrics.items()}  # fmt: skip
        config = classifier.config
        return Evaluation(
            networks=names,
            metrics=metrics if several else self._metrics,
            views=str(config.evaluation.views),
            images={split: len(found.labels) for split, found in outcomes.items()},
            class_names=classifier.output_names,
            synthetic=tested != "photos" and config.data.source == "synthetic",
            outcomes=outcomes[tested],
            members=members if several else (),
            pixels=self.first[tested].pixels,
        )

    def outcomes(self) -> dict[str, Outcomes]:
        """Of the mean, by split."""
        return {
            split: Outcomes.of(self._sums[split] / len(self.members), own.labels, own.names)
            for split, own in self.first.items()
        }

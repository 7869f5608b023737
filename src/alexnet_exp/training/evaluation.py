"""What trained networks make of images that they have not learned from: each, and their average."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from alexnet_exp.config.data import DataConfig
from alexnet_exp.console import some_of
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.photos import read_photo
from alexnet_exp.data.store.store import Store
from alexnet_exp.errors import UserError
from alexnet_exp.runs.chance import FEW_CLASSES
from alexnet_exp.runs.outcomes import Interval, Outcomes, gain, wilson
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


class Member(NamedTuple):
    """One of several networks, by itself."""

    network: str
    """In words."""
    metrics: dict[str, float]
    """Loss, top-1 and top-5 error (fractions) by ``<split>/<metric>``."""
    outcomes: Outcomes
    """Of what is tested."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found.

    Attributes:
        networks: What was evaluated, in words.
        metrics: Loss, top-1 and top-5 error (fractions) by ``<split>/<metric>``; of several
            networks those of their averaged probabilities.
        views: ``one`` or ``ten``.
        images: Their number by split.
        data: What the networks were trained on.
        class_names: By output of the network.
        synthetic: Whether the images are drawn.
        outcomes: Of the test images, or of the photos.
        members: Each network by itself, where there are several.
        pixels: The square (S, S, C) uint8 of an image by its position in ``outcomes``.
        learned: How many of the photos are known to be images that a network was trained with;
            None where that can't be told. 0 of test images.
    """

    networks: tuple[str, ...]
    metrics: dict[str, float]
    views: str
    images: dict[str, int]
    data: DataConfig
    class_names: list[str]
    synthetic: bool
    outcomes: Outcomes
    members: tuple[Member, ...]
    pixels: Callable[[int], Pixels]
    learned: int | None = 0

    @property
    def counted(self) -> tuple[str, ...]:
        """``top1``, and ``top5`` where there are more than five classes."""
        return ("top1",) if len(self.class_names) <= FEW_CLASSES else ("top1", "top5")

    def error(self, split: str, name: str) -> Interval:
        """``top1`` or ``top5`` error in a split, with Wilson's interval."""
        images = self.images[split]
        return wilson(round(self.metrics[f"{split}/{name}_error"] * images), images)

    def gain(self, name: str) -> Interval:
        """What averaging takes off the mean ``top1`` or ``top5`` error of the members."""
        each = [member.outcomes.wrong[name] for member in self.members]
        return gain(each, self.outcomes.wrong[name])

    def plain(self) -> dict[str, Any]:
        """All that can be said in JSON; fractions, with 95 % intervals from ``low`` to ``high``.

        Of five classes or fewer there is no top-5 error: null.
        """
        found, names = self.outcomes, self.class_names

        def errors(of: Callable[[str], Interval]) -> dict[str, dict[str, float] | None]:
            return {
                f"{name}_error": of(name)._asdict() if name in self.counted else None
                for name in ("top1", "top5")
            }

        return {
            "networks": list(self.networks),
            "metrics": self._told(self.metrics),
            "intervals": errors(found.error),
            "learned_from": self.learned,
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
                    "network": network,
                    "metrics": self._told(metrics),
                    **errors(own.error),
                    "calibration_error": own.calibration_error,
                }
                for network, metrics, own in self.members
            ],
            "gain": errors(self.gain) if self.members else None,
        }

    def _told(self, metrics: dict[str, float]) -> dict[str, float | None]:
        is_none = "top5" not in self.counted
        return {n: None if is_none and "top5" in n else value for n, value in metrics.items()}


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


def evaluate_photos(
    trainer: L.Trainer, classifier: Classifier, photos: Sequence[tuple[Path, str]]
) -> Answers:
    """Test on photos with the names of their classes.

    Raises:
        UserError: A name is none of the network's classes, or a photo can't be read.
    """
    known = {  # wnids, or what they mean
        name: label
        for names in (classifier.output_names, classifier.class_names)
        for label, name in enumerate(names)
    }
    others = sorted({name for _, name in photos} - known.keys())
    if others:
        raise UserError(
            f"folders of photos that are called as no class of the network is: {some_of(others)};"
            f" its classes are {some_of(classifier.class_names)}"
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
        self.members: list[Member] = []
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._learned: list[NDArray[np.bool_] | None] = []

    def add(
        self,
        network: str,
        answers: dict[str, Answers],
        metrics: dict[str, float],
        learned: NDArray[np.bool_] | None = None,
    ) -> None:
        """One more network, in words.

        Args:
            network: What it is called.
            answers: By split, the last of which is what is tested.
            metrics: Its loss and errors by ``<split>/<metric>``.
            learned: Which of the images that are tested it has learned from; None: that can't be
                told.

        Raises:
            UserError: Its images are others than those of the first.
        """
        for split, own in answers.items():
            first = self.first.setdefault(split, own)
            if own.names != first.names or not np.array_equal(own.labels, first.labels):
                raise UserError(
                    f"{self.members[0].network} and {network} have other {split} images: networks"
                    " are averaged on the same ones; name runs of one split, or use --photos"
                )
            before = self._sums.get(split)
            self._sums[split] = own.probabilities if before is None else before + own.probabilities
        *_, tested = answers.values()
        outcomes = Outcomes.of(tested.probabilities, tested.labels, tested.names)
        self.members.append(Member(network, metrics, outcomes))
        self._learned.append(learned)

    def evaluation(self, classifier: Classifier) -> Evaluation:
        """What was found; ``classifier`` is any of the networks."""
        outcomes = self.outcomes()
        several, (*_, tested) = len(self.members) > 1, outcomes
        metrics = {f"{split}/{name}": value for split, found in outcomes.items()
                   for name, value in found.metrics.items()}  # fmt: skip
        config = classifier.config
        return Evaluation(
            networks=tuple(member.network for member in self.members),
            metrics=metrics if several else self.members[0].metrics,
            views=str(config.evaluation.views),
            images={split: len(found.labels) for split, found in outcomes.items()},
            data=config.data,
            class_names=classifier.output_names,
            synthetic=tested != "photos" and config.data.source == "synthetic",
            outcomes=outcomes[tested],
            members=tuple(self.members) if several else (),
            pixels=self.first[tested].pixels,
            learned=_known(self._learned),
        )

    def outcomes(self) -> dict[str, Outcomes]:
        """Of the mean, by split."""
        return {
            split: Outcomes.of(self._sums[split] / len(self.members), own.labels, own.names)
            for split, own in self.first.items()
        }


def _known(learned: list[NDArray[np.bool_] | None]) -> int | None:
    """How many images any network has learned from; None where none is known and some can't be."""
    known = [own for own in learned if own is not None]
    count = int(np.any(known, axis=0).sum()) if known else 0
    return count if count or len(known) == len(learned) else None

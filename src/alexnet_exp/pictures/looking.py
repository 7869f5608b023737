"""A trained network and its images: what pictures are drawn of."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from alexnet_exp.config.data import DataConfig, Layout
from alexnet_exp.config.training import Views
from alexnet_exp.console import Advance, progress_bar
from alexnet_exp.data.datamodule import StoreDataModule
from alexnet_exp.data.decode import Pixels
from alexnet_exp.data.photos import read_photo
from alexnet_exp.data.store.store import Store
from alexnet_exp.pictures.canvas import trained_on
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.own_store import own_store
from alexnet_exp.training.settle import ctrl_c_raises, make_trainer

Look = TypeVar("Look")


class Subject:
    """A trained network with the images of its data, which are opened when they are asked for.

    Args:
        path: Run folder (its best checkpoint) or checkpoint.
        overrides: Changes to its configuration, such as ``data.root=...``.
        progress: Show bars on the terminal.

    Raises:
        UserError: The checkpoint can't be used; later, when images are asked for: the data can't.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = (), progress: bool = True) -> None:
        # Unfused, so that what every layer gives can be seen.
        self.classifier = Classifier.load(path, *overrides, "speed.fuse=false")
        self.path, self.config, self.progress = path, self.classifier.config, progress
        self._names = self.classifier.output_names

    @cached_property
    def store(self) -> Store:
        store = own_store(self.path, self.config, progress=self.progress)
        # The mean image of a start from weights of others is theirs.
        return replace(store, mean=self.classifier.statistics["mean"].numpy())

    @property
    def photos(self) -> str:
        """``test photos of flowers``; of images that the program drew, that they are drawn."""
        return photos_tested(self.config.data)

    @property
    def note(self) -> str:
        """A sentence for below each picture, if the network was trained on drawn images."""
        return trained_on(self.config.data.source)

    def center(self, pixels: Pixels) -> Pixels:
        """What the network sees of a stored photo (S, S, C) by its center view."""
        scale, before = self.to_stored
        ends = slice(round(scale * before), round(scale * (before + self.config.model.input_size)))
        return pixels[ends, ends]

    @property
    def to_stored(self) -> tuple[float, int]:
        """From pixels of the center view to those of a stored photo: ``scale * (x + before)``."""
        data = self.config.data
        side = data.upscale_to or data.image_size
        return data.image_size / side, (side - self.config.model.input_size) // 2

    def name(self, label: int) -> str:
        """Of a class."""
        return self._names[label]

    def names_of(self, rows: Iterable[int]) -> list[str]:
        """The true classes of images of the store."""
        return [self.name(int(self.store.labels[row])) for row in rows]

    def files_of(self, rows: Iterable[int]) -> list[str]:
        """The names of images of the store, without folders; of drawn ones their numbers."""
        return [PurePosixPath(self.store.names[row]).name for row in rows]

    def draw(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Rows of test photos in a random order, of another class each as far as there are."""
        rows = np.random.default_rng(seed).permutation(self.store.indices("test"))
        times: Counter[int] = Counter()
        rounds = []
        for label in self.store.labels[rows].tolist():
            times[label] += 1
            rounds.append(times[label])
        drawn: NDArray[np.int64] = rows[np.argsort(rounds, kind="stable")][:count]
        return drawn

    def best(self, probabilities: Tensor) -> list[tuple[str, float]]:
        """Names and probabilities of the five best classes, from (classes,)."""
        order = probabilities.argsort(descending=True, stable=True)[:5].tolist()
        return [(self.name(label), float(probabilities[label])) for label in order]

    def photo(self, file: Path) -> tuple[Pixels, Tensor]:
        """A photo as packing makes it (S, S, C), and what the network is given of its center.

        Raises:
            UserError: It can't be read.
        """
        views = self.classifier.read([file])
        return read_photo(file, self.config.data), views[:, 0] if views.ndim == 5 else views

    def look(
        self,
        rows: NDArray[np.int64],
        views: Views,
        see: Callable[[Tensor], Look],
        doing: str = "",
    ) -> list[Look]:
        """What ``see`` gives of each batch of images of the store, in their order.

        It is called with (N, C, s, s) of one view, (N, V, C, s, s) of ten, on the device and in the
        precision that evaluation has. ``doing`` names the bar; none without it.
        """
        loader = _Rows(self.config, self.store, rows).evaluation_loader("test", views)
        return self._predict(loader, see, len(rows), doing)

    def look_at(self, images: Tensor, see: Callable[[Tensor], Look]) -> Look:
        """What ``see`` gives of one batch (N, C, s, s)."""
        [found] = self._predict(DataLoader([images], batch_size=None), see, len(images))  # type: ignore[arg-type]
        return found

    def outputs(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """What comes out of layers, by name, such as ``conv5`` or ``pool5``, for one view."""
        found: dict[str, Tensor] = {}
        modules = dict(layers_of(self.classifier.network))
        with ExitStack() as hooks:
            for name in layers:

                def keep(module: nn.Module, given: Any, out: Tensor, name: str = name) -> None:
                    found[name] = out.detach().clone()  # what follows may write over it

                hooks.callback(modules[name].register_forward_hook(keep).remove)
            self.classifier(images)
        return found

    def features(self, images: Tensor) -> Tensor:
        """What the output layer is given, of AlexNet the 4,096 of fc7: (N, units) float32."""
        found: list[Tensor] = []
        (_, output) = layers_of(self.classifier.network)[-1]
        hook = output.register_forward_pre_hook(lambda module, given: found.append(given[0]))
        try:
            self.classifier(images)
        finally:
            hook.remove()
        return found[0].detach().float()

    def _predict(
        self, loader: Any, see: Callable[[Tensor], Look], images: int, doing: str = ""
    ) -> list[Look]:
        trainer = make_trainer(
            self.config, logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        show = self.progress and bool(doing)
        with progress_bar(doing, images, unit="images", show=show) as advance, ctrl_c_raises():
            seen: Any = trainer.predict(_Looking(self.classifier, see, advance), loader)
        return list(seen)


def photos_tested(data: DataConfig) -> str:
    """``test photos of flowers``, or ``drawn test images of synthetic``."""
    is_drawn = data.source == Layout.synthetic
    return f"{'drawn test images' if is_drawn else 'test photos'} of {data.name}"


def layers_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every layer by its name, in order."""
    return [
        (name.rpartition(".")[2], module)
        for name, module in network.named_modules()
        if not [*module.children()]
    ]


def best_by_tower(scores: NDArray[np.floating], towers: int, count: int) -> list[int]:
    """Of channels (K,) about ``count`` with the largest scores, the same number of each tower."""
    by_tower = scores.reshape(towers, -1)
    order = np.argsort(-by_tower, axis=1, kind="stable")[:, : max(1, count // towers)]
    first = by_tower.shape[1] * np.arange(towers)[:, None]
    return sorted((order + first).flatten().tolist())


class _Rows(StoreDataModule):
    """Evaluates these rows of the store."""

    def __init__(self, config: Any, store: Store, rows: NDArray[np.int64]) -> None:
        super().__init__(config, store)
        self._chosen = rows

    def rows(self, split: str) -> NDArray[np.int64]:
        return self._chosen


class _Looking(L.LightningModule):
    """What Lightning moves to the device, and calls with each batch."""

    def __init__(
        self, classifier: Classifier, see: Callable[[Tensor], Any], advance: Advance
    ) -> None:
        super().__init__()
        self.classifier, self.see, self.advance = classifier, see, advance

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        images = batch if isinstance(batch, Tensor) else batch[0]
        found = self.see(images)
        self.advance(len(images))
        return found

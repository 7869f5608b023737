"""Draw what a trained network has learned: ``python -m alexnet_exp.figures runs/...``."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_exp.console import say, visible
from alexnet_exp.errors import UserError, answering
from alexnet_exp.hardware import importing, keep_freed_memory
from alexnet_exp.words import parted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet_exp.pictures.looking import Subject

KINDS = ("kernels", "photos", "neighbors", "activations", "regions", "map")

_DESCRIPTION = """\
Draws what a trained network has learned, each picture as PNG (200 dpi) and SVG."""

_EPILOG = """\
kinds (default: all):
  kernels      of the first layer, the towers apart, with a measure of color and
               orientation: figure 3 of the paper; needs no data
  photos       eight test photos with their five best classes: figure 4 left
  neighbors    test photos with the six nearest to each by the features that the
               output layer is given, by Euclidean and by cosine distance:
               figure 4 right
  activations  what comes out of each layer for one photo
  regions      photos and regions that excite channels of the last convolution
               most
  map          where in one photo the network sees what, window by window

overrides change the configuration that the network was trained with, such as
data.root=photos/ where its photos have moved.

examples:
  python -m alexnet_exp.figures runs/flowers/baseline/seed_0
  python -m alexnet_exp.figures runs/mine kernels --output paper/figures
  python -m alexnet_exp.figures runs/mine activations --photo rose.jpg

exit codes: 0 done, 1 failed, 2 a mistake in the command or the data,
130 interrupted"""


class Figures:
    """Pictures of one trained network, each a ``matplotlib.figure.Figure``.

    ``Figures("runs/...").kernels()``, and so on; ``Figures("runs/...").save("kernels", folder)``
    writes them. Photos are drawn by ``seed``.

    Args:
        path: Run folder or checkpoint.
        overrides: Changes to its configuration.
        seed: Of the photos that are drawn at random.
        progress: Show bars on the terminal.

    Raises:
        UserError: There is no such path; from each picture, what it needs can't be used.
    """

    def __init__(
        self, path: Path | str, *overrides: str, seed: int = 0, progress: bool = False
    ) -> None:
        self.path, self.overrides, self.seed = Path(path), overrides, seed
        self.progress = progress
        if not self.path.exists():
            raise UserError(f"{path} does not exist: name one run folder or one checkpoint")

    @cached_property
    def subject(self) -> "Subject":
        """The network with its images, for pictures of your own."""
        from alexnet_exp.pictures.looking import Subject

        return Subject(self.path, self.overrides, self.progress)

    def kernels(self) -> "Figure":
        """Those of the first layer (figure 3): see ``pictures.kernel_grid``."""
        from alexnet_exp.pictures.kernel_grid import kernel_grid

        return kernel_grid(*self.first_layer())

    def first_layer(self) -> tuple[Any, int, str]:
        """Kernels (K, C, s, s), the number of towers, and a note on what they were trained on.

        Of ``kernels.npy`` if it is there; with overrides of the checkpoint, to which they belong.
        """
        from alexnet_exp.pictures.canvas import trained_on
        from alexnet_exp.runs.read import read_config, read_kernels

        is_plain = self.path.is_dir() and not self.overrides
        config = read_config(self.path) if is_plain else None
        kernels = read_kernels(self.path) if config is not None else None
        if config is None or kernels is None:
            own = self.subject.config
            weight = self.subject.classifier.network.get_parameter("features.conv1.weight")
            whole = weight.detach().float().cpu().numpy()
            return whole, own.model.towers, trained_on(own.data.source)
        return kernels, int(config["model"]["towers"]), trained_on(config["data"]["source"])

    def photos(self) -> "Figure":
        """Eight test photos, four right and four wrong: see ``pictures.drawn_photos``."""
        from alexnet_exp.pictures.drawn_photos import drawn_photos

        return drawn_photos(self.subject, self.seed)

    def neighbors(self, distance: str = "euclidean", among: str = "test") -> "Figure":
        """The six photos of ``test`` or ``train`` nearest to some, by ``euclidean`` or ``cosine``
        distance: see ``pictures.neighbors``.
        """
        from alexnet_exp.pictures.neighbors import Among, Distance, neighbors

        return neighbors(self.subject, Distance(distance), Among(among), self.seed)

    def activations(self, photo: Path | str | None = None) -> "Figure":
        """Of all layers for a photo, or for a test photo: see ``pictures.activations``."""
        from alexnet_exp.pictures.activations import activations

        return activations(self.subject, None if photo is None else Path(photo), self.seed)

    def regions(self, channels: Sequence[int] = ()) -> "Figure":
        """What excites channels of the last convolution most: see ``pictures.regions``."""
        from alexnet_exp.pictures.regions import regions

        return regions(self.subject, channels)

    def map(self, photo: Path | str | None = None) -> "Figure":
        """Where in a photo, or in a test photo, the classes are: see ``pictures.prediction_map``.

        Raises:
            NoMapError: The network has locally connected layers.
        """
        from alexnet_exp.pictures.prediction_map import prediction_map

        subject = self.subject
        if photo is not None:
            return prediction_map(subject.classifier, photo)
        [row] = subject.draw(1, self.seed).tolist()
        [name], [file] = subject.names_of([row]), subject.files_of([row])
        title = f"{name}, one of the {subject.photos}: {file}"
        return prediction_map(subject.classifier, subject.store.images[row], title=title)


def named(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Kinds of pictures, all if none is named, and overrides, from the words after the run.

    Raises:
        UserError: A word is neither.
    """
    kinds, overrides = parted(words)
    for word in kinds:
        if word not in KINDS:
            if Path(word).exists():
                raise UserError(f"{word}: figures are drawn of one run: leave out the others")
            near = get_close_matches(word, KINDS, 1) or KINDS
            raise UserError(f"{word}: there is no such picture; did you mean {' or '.join(near)}?")
    return [kind for kind in KINDS if kind in kinds or not kinds], overrides


def pictures(
    figures: Figures, kinds: Sequence[str], given: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Names of files with what draws them."""
    distances: dict[str, Callable[[], Figure]] = {
        f"neighbors-{distance}": partial(figures.neighbors, distance, given.among)
        for distance in ("euclidean", "cosine")
    }
    drawers: dict[str, dict[str, Callable[[], Figure]]] = {
        "kernels": {"kernels": figures.kernels},
        "photos": {"photos": figures.photos},
        "neighbors": distances,
        "activations": {"activations": partial(figures.activations, given.photo)},
        "regions": {"regions": partial(figures.regions, given.channel)},
        "map": {"map": partial(figures.map, given.photo)},
    }
    for kind in kinds:
        yield from drawers[kind].items()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.figures",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder (its best.ckpt), or a checkpoint")
    words = "kinds of pictures, and overrides"
    parser.add_argument("words", metavar="KIND", nargs="*", default=[], help=words)
    output = "where pictures go (default: figures in the run folder)"
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=output)
    photo = "photo for activations and map (default: a test photo)"
    parser.add_argument("--photo", type=Path, metavar="FILE", help=photo)
    among = "where neighbors are searched (default: test)"
    parser.add_argument("--among", choices=("test", "train"), default="test", help=among)
    channel = "channel for regions, from 0; may be repeated (default: six that tell most)"
    parser.add_argument("--channel", type=int, metavar="N", action="append", default=[],
                        help=channel)  # fmt: skip
    seed = "of the test photos that are drawn at random (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=seed)
    given = parser.parse_intermixed_args()
    with answering("the same command starts again"):
        kinds, overrides = named(given.words)
        if given.seed < 0:
            raise UserError(f"--seed {given.seed}: seeds are 0 and above")
        _refuse_unused(given, kinds)
        figures = Figures(given.run, *overrides, seed=given.seed, progress=True)
        keep_freed_memory()
        with importing():
            from alexnet_exp.pictures.kernel_grid import summary
            from alexnet_exp.pictures.prediction_map import NoMapError
            from alexnet_exp.pictures.saving import save
            from alexnet_exp.training.checkpoint import run_of
        _refuse_unfit(figures, given)  # before what is drawn first
        folder = given.output or run_of(given.run) / "figures"
        for name, draw in pictures(figures, kinds, given):
            try:
                drawn = draw()
            except NoMapError as error:
                if "map" in given.words:
                    raise
                say(str(error))
                continue
            files = save(drawn, folder / name)
            print("\n".join(visible(f"written: {file}") for file in files), flush=True)
            if name == "kernels":
                print("\n".join(summary(*figures.first_layer()[:2])))


def _refuse_unused(given: argparse.Namespace, kinds: Sequence[str]) -> None:
    for option, theirs in (("photo", ("activations", "map")), ("channel", ("regions",))):
        if getattr(given, option) and not {*theirs} & {*kinds}:
            raise UserError(
                f"--{option} is for {' and '.join(theirs)}: name {theirs[0]} too, or leave"
                f" --{option} out"
            )


def _refuse_unfit(figures: Figures, given: argparse.Namespace) -> None:
    """See that the photo can be read, and that there are such channels."""
    if given.photo is not None:
        figures.subject.photo(given.photo)
    if given.channel:
        from alexnet_exp.pictures.regions import check_channels

        check_channels(figures.subject, given.channel)


if __name__ == "__main__":
    main()

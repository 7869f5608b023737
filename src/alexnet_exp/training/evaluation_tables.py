"""What an evaluation shows on the screen."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, percent, visible
from alexnet_exp.runs.outcomes import CALIBRATION_BINS, Interval
from alexnet_exp.training.evaluation import Evaluation

_MATRIX, _WORST, _MISTAKES = 12, 10, 5
"""Classes up to which the confusion matrix is shown; so many of the worst classes where there are
more; so many mistakes."""

_TITLES = {"top1": "top-1", "top5": "top-5"}


def show(found: Evaluation) -> None:
    """Print errors, those of each class, what is taken for what, and the worst mistakes."""
    views = "1 view" if found.views == "one" else "10 views"
    many = len(found.members)
    of = f"the average of {many} networks" if many else found.networks[0]
    drawn = ", drawn images" * found.synthetic
    console.print(f"\n{visible(of)}, {views}{drawn}", style="bold", soft_wrap=True)
    console.print(_errors(found))
    if "photos" in found.images and found.learned != 0:
        console.print(_learned(found), style="yellow")
    if many:
        console.print("\neach network and their average", style="bold")
        console.print(_members(found))
        console.print("\n".join(_gains(found)))
    console.print(_calibration(found))
    classes = len(found.class_names)
    there = min(_WORST, len({*found.outcomes.labels.tolist()}))
    shown = f"the {there} of {classes:,} classes with most errors"
    title = "errors by class" if classes <= _MATRIX else shown
    console.print(f"\n{title} (top-1, {_split(found)})", style="bold")
    console.print(_classes(found))
    if classes <= _MATRIX:
        console.print("\nconfusion matrix: images by class, taken for", style="bold")
        console.print(_confusion(found))
    mistakes = found.outcomes.mistakes(_MISTAKES)
    if len(mistakes):
        console.print("\nthe most confident mistakes", style="bold")
        console.print(_mistaken(found, mistakes))


def _split(found: Evaluation) -> str:
    return "photos" if "photos" in found.images else "test images"


def _learned(found: Evaluation) -> str:
    photos = found.images["photos"]
    if found.learned is None:
        return (
            "Whether it has learned from these photos can't be told: the packed images of its"
            " training are not here (data.stores=... says where they are)."
        )
    return (
        f"At least {found.learned:,} of these {photos:,} photos are images that it was trained or"
        " validated with: the errors do not hold for new ones."
    )


def _table(words: Sequence[str], numbers: Sequence[str], more: Sequence[str] = ()) -> Table:
    """Headings of columns: of words, then of numbers, then of ``more`` words."""
    table = Table(box=None, pad_edge=False, header_style="")
    for headings, side in ((words, "left"), (numbers, "right"), (more, "left")):
        for heading in headings:
            table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    return table


def _ends(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _errors(found: Evaluation) -> Table:
    numbers = ("images", "top-1 error", "95 % interval", "top-5 error", "95 % interval")
    table = _table(["split"], numbers)
    for split, images in found.images.items():
        errors = [found.error(split, name) for name in found.counted]
        cells = [cell for error in errors for cell in (percent(error.estimate), _ends(error))]
        if "top5" not in found.counted:
            cells.append(f"n/a with {len(found.class_names)} classes")
        table.add_row(split, f"{images:,}", *cells)
    return table


def _members(found: Evaluation) -> Table:
    """With top-5 errors where there are more than five classes."""
    errors = [f"{_TITLES[name]} error" for name in found.counted]
    table = _table(["network"], [*errors, "calibration error"])
    every = [(one.network, one.outcomes) for one in found.members]
    for network, own in (*every, (f"average of {len(every)}", found.outcomes)):
        cells = [percent(own.error(name).estimate) for name in found.counted]
        table.add_row(Text(visible(network)), *cells, percent(own.calibration_error))
    return table


def _gains(found: Evaluation) -> Iterator[str]:
    yield "gain of averaging over the mean of its members:"
    for name in found.counted:
        gain = found.gain(name)
        yield f"{100 * gain.estimate:.1f} points of {_TITLES[name]} error {_ends(gain)}"
    yield "(95 %, for new images of these very networks; paired image by image)"


def _calibration(found: Evaluation) -> str:
    outcomes = found.outcomes
    return (
        f"calibration: {percent(outcomes.calibration_error)} expected calibration error"
        f" ({CALIBRATION_BINS} bins);\n{percent(1 - outcomes.error('top1').estimate)} are right, at"
        f" a mean probability of {percent(float(outcomes.confidence.mean()))}"
    )


def _classes(found: Evaluation) -> Table:
    table = _table(["class"], ["images", "error", "95 % interval"], ["most often taken for"])
    names, counts = found.class_names, found.outcomes.confusion(len(found.class_names))
    errors = found.outcomes.by_class(len(names))
    there = [label for label, error in enumerate(errors) if error is not None]
    if len(names) > _MATRIX:
        wrong = counts.sum(1) - counts.diagonal()
        there = sorted(there, key=lambda label: (-wrong[label], label))[:_WORST]
    for label in there:
        others = counts[label].copy()
        others[label] = 0
        error, other = errors[label], int(others.argmax())
        assert error is not None
        most = f"{names[other]} ({others[other]:,})" if others[other] else ""
        numbers = f"{counts[label].sum():,}", percent(error.estimate), _ends(error)
        table.add_row(Text(visible(names[label])), *numbers, Text(visible(most)))
    return table


def _confusion(found: Evaluation) -> Table:
    """Columns have the numbers of the rows: names are too long."""
    names = found.class_names
    table = _table([""], [str(number) for number in range(1, len(names) + 1)])
    counts = found.outcomes.confusion(len(names))
    for label, row in enumerate(counts):
        cells = [
            Text(f"{count:,}" if count else "\N{MIDDLE DOT}", "bold" if label == place else "")
            for place, count in enumerate(row)
        ]
        table.add_row(Text(f"{label + 1:>2} {visible(names[label])}"), *cells)
    return table


def _mistaken(found: Evaluation, places: NDArray[np.int64]) -> Table:
    table = _table(["is", "taken for"], ["probability"], ["file"])
    names, outcomes = found.class_names, found.outcomes
    for place in places:
        table.add_row(
            Text(visible(names[outcomes.labels[place]])),
            Text(visible(names[outcomes.top5[place, 0]])),
            percent(float(outcomes.confidence[place])),
            Text(visible(outcomes.names[place])),
        )
    return table

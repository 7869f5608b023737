"""What an evaluation shows on the screen."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from alexnet_exp.console import console, percent, visible
from alexnet_exp.runs.chance import FEW_CLASSES
from alexnet_exp.runs.outcomes import CALIBRATION_BINS, Interval, wilson
from alexnet_exp.training.evaluation import Evaluation

_MATRIX, _WORST, _MISTAKES = 12, 10, 5
"""Classes up to which the confusion matrix is shown; so many of the worst classes where there are
more; so many mistakes."""


def show(found: Evaluation) -> None:
    """Print errors, those of each class, what is taken for what, and the worst mistakes."""
    views = "1 view" if found.views == "one" else "10 views"
    many = len(found.members)
    of = f"the average of {many} networks" if many else found.networks[0]
    drawn = ", drawn images" * found.synthetic
    console.print(f"\n{visible(of)}, {views}{drawn}", style="bold", soft_wrap=True)
    console.print(_errors(found))
    if many:
        console.print("\neach network and their average", style="bold")
        console.print(_members(found))
        console.print("\n".join(_gains(found)))
    console.print(_calibration(found))
    classes = len(found.class_names)
    shown = f"the {_WORST} of {classes:,} classes with most errors"
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


_WORDS = ("split", "network", "class", "", "most often taken for", "is", "taken for", "file")


def _table(*headings: str) -> Table:
    """Columns of numbers have their words on the right."""
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in headings:
        side = "left" if heading in _WORDS else "right"
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    return table


def _ends(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _errors(found: Evaluation) -> Table:
    table = _table(
        "split", "images", "top-1 error", "95 % interval", "top-5 error", "95 % interval"
    )
    for split, images in found.images.items():
        cells = []
        for name in ("top1", "top5"):
            error = found.metrics[f"{split}/{name}_error"]
            cells += [percent(error), _ends(wilson(round(error * images), images))]
        if len(found.class_names) <= FEW_CLASSES:
            cells[2:] = [f"n/a with {len(found.class_names)} classes", ""]
        table.add_row(split, f"{images:,}", *cells)
    return table


def _members(found: Evaluation) -> Table:
    """With top-5 errors where there are more than five classes."""
    names = _metrics(found)
    table = _table("network", *(f"{words} error" for words in names.values()), "calibration error")
    rows = (*found.networks, f"average of {len(found.members)}")
    for row, one in zip(rows, (*found.members, found.outcomes), strict=True):
        errors = [percent(one.error(name).estimate) for name in names]
        table.add_row(Text(visible(row)), *errors, percent(one.calibration_error))
    return table


def _metrics(found: Evaluation) -> dict[str, str]:
    few = len(found.class_names) <= FEW_CLASSES
    return {"top1": "top-1"} if few else {"top1": "top-1", "top5": "top-5"}


def _gains(found: Evaluation) -> Iterator[str]:
    yield "gain of averaging over the mean of its members:"
    for name, words in _metrics(found).items():
        gain = found.gain(name)
        yield f"{100 * gain.estimate:.1f} points of {words} error {_ends(gain)}"
    yield "(95 %, for new images of these very networks; paired image by image)"


def _calibration(found: Evaluation) -> str:
    outcomes = found.outcomes
    return (
        f"calibration: {percent(outcomes.calibration_error)} expected calibration error"
        f" ({CALIBRATION_BINS} bins);\n{percent(1 - outcomes.error('top1').estimate)} are right, at"
        f" a mean probability of {percent(float(outcomes.confidence.mean()))}"
    )


def _classes(found: Evaluation) -> Table:
    table = _table("class", "images", "error", "95 % interval", "most often taken for")
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
    table = _table("", *(str(number) for number in range(1, len(names) + 1)))
    counts = found.outcomes.confusion(len(names))
    for label, row in enumerate(counts):
        cells = [
            Text(f"{count:,}" if count else "\N{MIDDLE DOT}", "bold" if label == place else "")
            for place, count in enumerate(row)
        ]
        table.add_row(Text(f"{label + 1:>2} {visible(names[label])}"), *cells)
    return table


def _mistaken(found: Evaluation, places: NDArray[np.int64]) -> Table:
    table = _table("is", "taken for", "probability", "file")
    names, outcomes = found.class_names, found.outcomes
    for place in places:
        table.add_row(
            Text(visible(names[outcomes.labels[place]])),
            Text(visible(names[outcomes.top5[place, 0]])),
            percent(float(outcomes.confidence[place])),
            Text(visible(outcomes.names[place])),
        )
    return table

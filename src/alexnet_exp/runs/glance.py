"""Runs at a glance: one line each, which of them, and in what order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from alexnet_exp.console import some_of
from alexnet_exp.errors import UserError
from alexnet_exp.runs import read
from alexnet_exp.runs.chance import FEW_CLASSES
from alexnet_exp.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One run; None is what it does not have, or not yet.

    Attributes:
        experiment, data, source, model, recipe, precision: What was chosen; of the source
            synthetic are images that the program draws.
        seed, fold: Which of several like trainings it is.
        state: finished, running, unfinished, diverged or damaged.
        val, test: Top-1 errors of a finished run, fractions.
        val5, test5: Top-5 errors; None with five classes or fewer.
        views: ten or one, that these errors are of.
        epochs: Epochs that were run.
        time: Seconds of training.
        finished: When it finished, ISO 8601, UTC.
        folder: Its path.
        most_epochs: Epochs that it was told to run at most.
        reason: Why it is damaged or diverged; else empty.
    """

    experiment: str | None = None
    data: str | None = None
    source: str | None = None
    model: str | None = None
    recipe: str | None = None
    precision: str | None = None
    seed: int | None = None
    fold: int | None = None
    state: str
    val: float | None = None
    test: float | None = None
    val5: float | None = None
    test5: float | None = None
    views: str | None = None
    epochs: int | None = None
    time: float | None = None
    finished: str | None = None
    folder: str
    most_epochs: int | None = None
    reason: str = ""


COLUMNS = tuple(item.name for item in fields(Glance))[:-2]
"""What a list has of each run, what is filtered by and sorted by."""

NUMBERS = frozenset({"seed", "fold", "val", "test", "val5", "test5", "epochs", "time"})


def glances(roots: Iterable[Path]) -> Iterator[Glance]:
    """Every run that was started below ``roots``, once, by path; reads small files alone.

    Raises:
        UserError: There is none.
    """
    found: dict[Path, None] = {}
    for root in roots:
        folders = read.run_folders(root)
        if not folders:
            wrong = "no run was started in it" if root.is_dir() else "there is no such folder"
            raise UserError(f"{root}: {wrong}; name the folder that holds runs")
        found |= dict.fromkeys(folders)
    yield from map(_glance, found)


def _glance(folder: Path) -> Glance:
    told: dict[str, Any] = {}
    path = str(folder)
    try:
        told = _chosen(read.read_told(folder) or {})
        result = read.read_result(folder)
        if result is not None:
            return Glance(**(told | _outcome(folder, result)), state="finished", folder=path)
        reason = read.read_diverged(folder)
        state = "unfinished" if reason is None else "diverged"
        if reason is None and RunFolder(folder).is_running():
            state = "running"
        epochs = len(read.read_metrics(folder))
    except read.UnusableRunError as error:
        return Glance(**told, state="damaged", folder=path, reason=error.reason)
    return Glance(**told, state=state, folder=path, epochs=epochs, reason=reason or "")


def _chosen(told: dict[str, Any]) -> dict[str, Any]:
    data, model, trainer = (told.get(group, {}) for group in ("data", "model", "trainer"))
    return {
        "experiment": told.get("experiment"), "data": data.get("name"),
        "source": data.get("source"), "model": model.get("name"),
        "recipe": told.get("recipe"), "precision": trainer.get("precision"),
        "seed": told.get("seed"), "fold": data.get("fold"),
        "most_epochs": trainer.get("max_epochs"),
    }  # fmt: skip


def _outcome(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    errors = {
        name: result["metrics"].get(f"{split}/{metric}_error")
        for name, split, metric in (
            ("val", "val", "top1"), ("test", "test", "top1"),
            ("val5", "val", "top5"), ("test5", "test", "top5"),
        )
    }  # fmt: skip
    if result.get("classes", 0) <= FEW_CLASSES:
        errors |= {"val5": None, "test5": None}
    when = datetime.fromtimestamp(read.finish_time(folder, result), UTC)
    named = ("experiment", "data", "seed", "precision")
    own = {name: result[name] for name in named if name in result}
    return own | errors | {
        "views": result.get("views"), "epochs": result.get("epochs"),
        "time": result.get("train_seconds"), "finished": when.isoformat(timespec="seconds"),
    }  # fmt: skip


def chosen(rows: Sequence[Glance], words: Iterable[str]) -> list[Glance]:
    """Those that all ``words`` are true of, such as ``experiment=no_lrn`` or ``seed=0,1``.

    ``null`` stands for what a run does not have.

    Raises:
        UserError: There is no such column, or its values are numbers and a word's is none.
    """
    kept = list(rows)
    for word in words:
        name, allowed = _allowed(word)
        kept = [row for row in kept if getattr(row, name) in allowed]
    return kept


def unmatched(rows: Sequence[Glance], words: Iterable[str]) -> Iterator[str]:
    """Of words that no run matches, what there is instead."""
    for word in words:
        name, allowed = _allowed(word)
        there = {getattr(row, name) for row in rows}
        if not there & allowed:
            known = sorted("null" if value is None else str(value) for value in there)
            yield f"no run has {word}; there is {some_of(known)}"


def _allowed(word: str) -> tuple[str, set[Any]]:
    """The column that a word is about, and its values."""
    name, _, value = word.partition("=")
    return name, {_value(_column(name), part, word) for part in value.split(",")}


def _value(name: str, text: str, word: str) -> Any:
    if text == "null":
        return None
    if name == "experiment":  # in whatever order
        return "+".join(sorted(text.split("+")))
    if name not in NUMBERS:
        return text
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{word}: {name} is a number, or null where a run has none") from None


def ordered(rows: Iterable[Glance], column: str, reverse: bool = False) -> list[Glance]:
    """By a column, from low to high; those without a value are last either way.

    Raises:
        UserError: There is no such column.
    """
    name = _column(column)
    every = list(rows)
    known = [row for row in every if getattr(row, name) is not None]
    known.sort(key=lambda row: getattr(row, name), reverse=reverse)
    return [*known, *(row for row in every if getattr(row, name) is None)]


def _column(name: str) -> str:
    if name in COLUMNS:
        return name
    meant = get_close_matches(name, COLUMNS, 2)
    hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
    raise UserError(f"there is no column {name}{hint}\nthe columns are {', '.join(COLUMNS)}")

"""What tells base configurations apart, in as few words as will do."""

from collections import defaultdict
from collections.abc import Sequence

from alexnet_exp.report.pairing import ABSENT, Cell, factor_fields, show

# Presets, each of which stands for many fields.
_PRESETS = {
    "recipe": "recipe",
    "model": "model.name",
    "augmentation": "augmentation.name",
    "optim": "optim.name",
}
_DIGEST = 8


def contexts(cells: Sequence[Cell]) -> dict[Cell, tuple[str, ...]]:
    """For each cell the overrides that tell it from others on the same data set.

    What an experiment changes does not tell it apart: it is the experiment.
    """
    by_data = defaultdict(list)
    for cell in cells:
        by_data[cell.data].append(cell)
    return {
        cell: words for group in by_data.values() for cell, words in _of_one_data_set(group).items()
    }


def _of_one_data_set(cells: Sequence[Cell]) -> dict[Cell, tuple[str, ...]]:
    presets = {cell: _presets(cell) for cell in cells}
    varied = [
        name for i, name in enumerate(_PRESETS) if len({presets[cell][i] for cell in cells}) > 1
    ]
    alike = defaultdict(list)
    for cell in cells:
        alike[presets[cell]].append(cell)
    words = {}
    for preset, group in alike.items():
        named = dict(zip(_PRESETS, preset, strict=True))
        paths = _varied_fields(group)
        for cell in group:
            own = factor_fields(cell.experiment)
            words[cell] = (
                *(f"{name}={named[name]}" for name in varied),
                *(f"{path}={_value(cell, path)}" for path in paths if path not in own),
            )
    return words


def _presets(cell: Cell) -> tuple[str, ...]:
    """Names of the presets, as they would be without the experiment."""
    fields = {**cell.fields, **factor_fields(cell.experiment)}
    return tuple(show(fields.get(path, ABSENT)) for path in _PRESETS.values())


def _varied_fields(cells: Sequence[Cell]) -> list[str]:
    values = defaultdict(set)
    for cell in cells:
        own = factor_fields(cell.experiment)
        for path in cell.fields.keys() - own.keys():
            values[path].add(_value(cell, path))
    # A field that one cell has and another lacks differs too.
    for cell in cells:
        for path in values.keys() - cell.fields.keys():
            values[path].add(ABSENT)
    return sorted(path for path, found in values.items() if len(found) > 1)


def _value(cell: Cell, path: str) -> str:
    text = show(cell.fields.get(path, ABSENT))
    return text[:_DIGEST] if path == "data.fingerprint" else text

"""The ImageNet layout, and the tables that say what its validation images show."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

from alexnet_exp.data.sources.files import Files
from alexnet_exp.errors import UserError

_WNID = re.compile(r"n\d{8}")
_VAL_NUMBER = re.compile(r"_(\d{8})$")
_TABLES = (
    "LOC_val_solution.csv",
    "ILSVRC2012_val_labels.csv",
    "ILSVRC2012_val_labels.txt",
    "val_labels.csv",
    "val_labels.txt",
)
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_NUMBERED_LISTS = ("map_clsloc.txt",)
_SYNSET_LISTS = ("synsets.txt", "synset_words.txt")

Position = tuple[str, int]
"""A file and a line in it, counted from 1."""


def find_base(files: Files) -> str:
    """The folder that holds ``train``: the root, or Kaggle's ``ILSVRC/Data/CLS-LOC``.

    Returns:
        ``""`` or a name that ends in ``/``.
    """
    found = [folder for folder in files.folders if PurePosixPath(folder).name == "train"]
    if not found:
        raise UserError(
            f"data.root={files.where} has no folder train with train/<wnid>/*.JPEG in it: pass the"
            " folder that holds train and val"
        )
    return min(found, key=lambda folder: (folder.count("/"), folder)).removesuffix("train")


def flat_val_labels(files: Files, names: list[str], classes: list[str]) -> dict[str, int]:
    """Labels of validation images that lie in one folder, from a table beside them.

    Three kinds of tables are read: ``name wnid`` (Kaggle's LOC_val_solution.csv,
    ILSVRC2012_val_labels and val_labels, txt or csv); the devkit's ground truth, an ILSVRC2012_ID
    a line, which needs the devkit's meta.mat, or map_clsloc.txt, or a
    list of the 1,000 wnids in the order of their ids. Caffe's synset_words.txt and synsets.txt
    are sorted by wnid instead: with them nearly every label would be wrong, so they are refused.

    Args:
        files: the data set.
        names: validation images.
        classes: wnids by label.

    Returns:
        Label by name.

    Raises:
        UserError: no table, a line that cannot be read, a class without a training folder.
    """
    by_stem = {PurePosixPath(name).stem: name for name in names}
    table = _find(files, _TABLES)
    if table is not None:
        wnids = _read_table(files, table)
    else:
        ground_truth = _find(files, (_GROUND_TRUTH,))
        if ground_truth is None:
            raise UserError(
                f"{files.where} has a flat val folder and no table of its labels: add"
                f" {_GROUND_TRUTH} from the devkit or Kaggle's {_TABLES[0]}, or sort the images"
                " into val/<wnid>/"
            )
        wnids = _read_ground_truth(files, ground_truth, by_stem)
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    labels: dict[str, int] = {}
    for stem, name in by_stem.items():
        if stem not in wnids:
            raise UserError(
                f"{files.where / name} is not in {files.where / (table or _GROUND_TRUTH)}:"
                " is the table of another data set?"
            )
        wnid, (file, line) = wnids[stem]
        if wnid not in label_of:
            raise UserError(
                f"{files.where / file}, line {line}: {wnid}, the class of {name}, has no folder"
                " train/" + wnid
            )
        labels[name] = label_of[wnid]
    return labels


def _find(files: Files, wanted: tuple[str, ...]) -> str | None:
    """The first of the wanted file names, the one nearest to the root."""
    found = [name for name in files.sizes if PurePosixPath(name).name in wanted]
    order = {name: place for place, name in enumerate(wanted)}
    return min(
        found,
        key=lambda name: (order[PurePosixPath(name).name], name.count("/"), name),
        default=None,
    )


def _lines(files: Files, name: str) -> Iterator[tuple[int, str]]:
    """The lines that hold something, counted from 1."""
    text = files.read(name).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _read_table(files: Files, table: str) -> dict[str, tuple[str, Position]]:
    wnids: dict[str, tuple[str, Position]] = {}
    for number, line in _lines(files, table):
        words = line.replace(",", " ").split()
        if len(words) < 2 or not _WNID.fullmatch(words[1]):
            if number == 1:
                continue  # a header
            raise UserError(
                f"{files.where / table}, line {number}: {line!r} is not an image's name and a wnid"
            )
        wnids[PurePosixPath(words[0]).stem] = (words[1], (table, number))
    return wnids


def _read_ground_truth(
    files: Files, ground_truth: str, stems: dict[str, str]
) -> dict[str, tuple[str, Position]]:
    wnid_of = _wnid_by_id(files)
    ids = dict(_lines(files, ground_truth))
    wnids: dict[str, tuple[str, Position]] = {}
    for stem, name in stems.items():
        match = _VAL_NUMBER.search(stem)
        if match is None:
            raise UserError(
                f"{files.where / name}: the ground truth goes by numbers, but this name does not"
                " end in one, as ILSVRC2012_val_00000001.JPEG does"
            )
        number = int(match[1])
        if number not in ids:
            raise UserError(f"{files.where / ground_truth} has no line {number}, for {name}")
        text = ids[number]
        if not text.isdecimal() or int(text) not in wnid_of:
            raise UserError(
                f"{files.where / ground_truth}, line {number}: {text!r} is not an ILSVRC2012_ID"
                f" from 1 to {len(wnid_of)}"
            )
        wnids[stem] = (wnid_of[int(text)], (ground_truth, number))
    return wnids


def _wnid_by_id(files: Files) -> dict[int, str]:
    """wnid by ILSVRC2012_ID."""
    meta = _find(files, ("meta.mat",))
    if meta is not None:
        return _read_meta(files.read(meta), files.where / meta)
    numbered = _find(files, _NUMBERED_LISTS)
    if numbered is not None:
        return _read_list(files, numbered, numbers=True)
    synsets = _find(files, _SYNSET_LISTS)
    if synsets is None:
        raise UserError(
            f"{files.where} has {_GROUND_TRUTH}, but nothing that can be read says which class an"
            " ILSVRC2012_ID is: add the devkit's meta.mat, map_clsloc.txt of a later one, a"
            " synsets.txt with the wnids in the order of"
            f" their ids, or Kaggle's {_TABLES[0]}, or sort the images into val/<wnid>/"
        )
    wnids = _read_list(files, synsets, numbers=False)
    if list(wnids.values()) == sorted(wnids.values()):
        raise UserError(
            f"{files.where / synsets} is sorted by wnid, as Caffe's is, but {_GROUND_TRUTH} counts"
            " in ILSVRC2012_IDs (1 is n02119789, a kit fox): replace it by map_clsloc.txt of a"
            " later devkit or by a list in the order of the ids"
        )
    return wnids


def _read_list(files: Files, name: str, *, numbers: bool) -> dict[int, str]:
    """Lines of ``wnid id name`` if they have numbers, else of ``wnid name`` in order of id."""
    wnids: dict[int, str] = {}
    for line_number, line in _lines(files, name):
        words = line.split()
        if not _WNID.fullmatch(words[0]) or (
            numbers and (len(words) < 2 or not words[1].isdecimal())
        ):
            form = "a wnid and its id" if numbers else "a wnid"
            raise UserError(
                f"{files.where / name}, line {line_number}: {line!r} does not begin with {form}"
            )
        wnids[int(words[1]) if numbers else len(wnids) + 1] = words[0]
    return wnids


def _read_meta(content: bytes, where: Path) -> dict[int, str]:
    """The devkit's meta.mat; its synsets without children are the 1,000 classes."""
    from scipy.io import loadmat  # half a second that other data need not wait
    from scipy.io.matlab import MatReadError

    try:
        synsets = loadmat(BytesIO(content), squeeze_me=True)["synsets"]
        return {int(row[0]): str(row[1]) for row in synsets if int(row[4]) == 0}
    except (
        MatReadError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        NotImplementedError,
    ) as error:
        raise UserError(
            f"{where} can't be read ({error}): replace it by the devkit's, or remove it"
            " and add map_clsloc.txt of a later one"
        ) from error

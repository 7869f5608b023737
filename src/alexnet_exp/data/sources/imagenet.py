"""The ImageNet layout, and the tables that say what its validation images show."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath

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

    Two kinds of tables are read: ``name wnid`` (Kaggle's LOC_val_solution.csv,
    ILSVRC2012_val_labels and val_labels, txt or csv), and the devkit's ground truth, an
    ILSVRC2012_ID a line, which needs the devkit's meta.mat or map_clsloc.txt. (Caffe's
    synset_words.txt is sorted by wnid: with it nearly every label would be wrong.)

    Args:
        files: the data set.
        names: validation images.
        classes: wnids by label.

    Returns:
        Label by name.

    Raises:
        UserError: no table, a line that cannot be read, a class without a training folder.
    """
    table, truth = _find(files, *_TABLES), _find(files, _GROUND_TRUTH)
    if table is None and truth is None:
        raise UserError(
            f"{files.where} has a flat val folder and no table of its labels: add"
            f" {_GROUND_TRUTH} from the devkit or Kaggle's {_TABLES[0]}, or sort the images"
            " into val/<wnid>/"
        )
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    labels: dict[str, int] = {}
    if table is not None:
        wnids: dict[str, str] = {}
        for number, line in _lines(files, table):
            words = line.replace(",", " ").split()
            if len(words) > 1 and _WNID.fullmatch(words[1]):
                wnids[PurePosixPath(words[0]).stem] = words[1]
            elif number > 1:  # not a header
                raise UserError(
                    f"{files.where / table}, line {number}: {line!r} is not an image's name and a"
                    " wnid"
                )
        keys = {name: PurePosixPath(name).stem for name in names}
        source = table
    else:
        assert truth is not None
        wnid_of = _wnid_by_id(files)
        wnids = {}
        for number, line in _lines(files, truth):
            if line not in wnid_of:
                raise UserError(
                    f"{files.where / truth}, line {number}: {line!r} is not an ILSVRC2012_ID from 1"
                    f" to {len(wnid_of)}"
                )
            wnids[f"{number:08d}"] = wnid_of[line]
        keys = {name: _number(files, name) for name in names}
        source = truth
    for name, key in keys.items():
        if key not in wnids:
            raise UserError(
                f"{files.where / name} is not in {files.where / source}: is the table of another"
                " data set?"
            )
        if wnids[key] not in label_of:
            raise UserError(
                f"{files.where / source}: {wnids[key]}, the class of {name}, has no folder train/"
                + wnids[key]
            )
        labels[name] = label_of[wnids[key]]
    return labels


def _find(files: Files, *wanted: str) -> str | None:
    """The first of the wanted file names, the one nearest to the root."""
    found = [name for name in files.sizes if PurePosixPath(name).name in wanted]
    return min(
        found,
        key=lambda name: (wanted.index(PurePosixPath(name).name), name.count("/"), name),
        default=None,
    )


def _lines(files: Files, name: str) -> Iterator[tuple[int, str]]:
    """The lines that hold something, counted from 1."""
    text = files.read(name).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _number(files: Files, name: str) -> str:
    match = _VAL_NUMBER.search(PurePosixPath(name).stem)
    if match is None:
        raise UserError(
            f"{files.where / name}: the ground truth goes by numbers, but this name does not"
            " end in one, as ILSVRC2012_val_00000001.JPEG does"
        )
    return match[1]


def _wnid_by_id(files: Files) -> dict[str, str]:
    """wnid by ILSVRC2012_ID, from the devkit's meta.mat or from map_clsloc.txt."""
    listed = _find(files, "meta.mat", "map_clsloc.txt")
    if listed is None:
        raise UserError(
            f"{files.where} has {_GROUND_TRUTH}, but nothing that can be read says which class an"
            " ILSVRC2012_ID is: add the devkit's meta.mat, map_clsloc.txt of a later one, or"
            f" Kaggle's {_TABLES[0]}, or sort the images into val/<wnid>/"
        )
    if listed.endswith("meta.mat"):
        return _read_meta(files, listed)
    wnids: dict[str, str] = {}
    for number, line in _lines(files, listed):
        words = line.split()
        if len(words) < 2 or not _WNID.fullmatch(words[0]) or not words[1].isdecimal():
            raise UserError(
                f"{files.where / listed}, line {number}: {line!r} does not begin with a wnid and"
                " its id"
            )
        wnids[words[1]] = words[0]
    return wnids


def _read_meta(files: Files, name: str) -> dict[str, str]:
    """The devkit's meta.mat; its synsets without children are the 1,000 classes."""
    from scipy.io import loadmat  # half a second that other data need not wait
    from scipy.io.matlab import MatReadError

    try:
        synsets = loadmat(BytesIO(files.read(name)), squeeze_me=True)["synsets"]
        return {str(int(row[0])): str(row[1]) for row in synsets if int(row[4]) == 0}
    except (MatReadError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{files.where / name} can't be read ({error}): replace it by the devkit's, or remove"
            " it and add map_clsloc.txt of a later one"
        ) from error

"""The ImageNet layout, and the tables that say what its validation images show."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath

from alexnet_exp.data.sources.files import Files
from alexnet_exp.errors import UserError

_WNID = re.compile(r"n\d{8}")
_TABLES = (
    "LOC_val_solution.csv", "ILSVRC2012_val_labels.csv", "ILSVRC2012_val_labels.txt",
    "val_labels.csv", "val_labels.txt",
)  # fmt: skip
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def find_base(files: Files) -> str:
    """The folder that holds ``train``, the root or Kaggle's ``ILSVRC/Data/CLS-LOC``; ``""`` or a
    name that ends in ``/``.
    """
    found = [folder for folder in files.folders if PurePosixPath(folder).name == "train"]
    if not found:
        raise UserError(
            f"data.root={files.where} has no folder train with train/<wnid>/*.JPEG in it: pass the"
            " folder that holds train and val"
        )
    return min(found, key=lambda folder: (folder.count("/"), folder)).removesuffix("train")


def flat_val_labels(files: Files, names: list[str], classes: set[str]) -> dict[str, str]:
    """Classes (wnids) of validation images that lie in one folder, from a table beside them.

    Two kinds of tables are read: ``name wnid`` (Kaggle's LOC_val_solution.csv,
    ILSVRC2012_val_labels and val_labels, txt or csv), and the devkit's ground truth, an
    ILSVRC2012_ID a line, which needs the devkit's meta.mat. (Caffe's synset_words.txt is sorted by
    wnid: with it nearly every label would be wrong.)

    Raises:
        UserError: no table, a line that cannot be read, a class without a training folder.
    """
    if table := _find(files, *_TABLES):
        wnids = _wnid_by_name(files, table)
    elif table := _find(files, _GROUND_TRUTH):
        wnids = _wnid_by_number(files, table)
    else:
        raise UserError(
            f"{files.where} has a flat val folder and no table of its labels: add"
            f" {_GROUND_TRUTH} from the devkit or Kaggle's {_TABLES[0]}, or sort the images"
            " into val/<wnid>/"
        )
    labels: dict[str, str] = {}
    for name in names:
        wnid = wnids.get(PurePosixPath(name).stem)
        if wnid is None:
            raise UserError(
                f"{files.where / name} is not in {files.where / table}: is the table of another"
                " data set, or the image not named like ILSVRC2012_val_00000001.JPEG?"
            )
        if wnid not in classes:
            raise UserError(
                f"{files.where / table}: {wnid}, the class of {name}, has no folder train/{wnid}"
            )
        labels[name] = wnid
    return labels


@cache
def wnids() -> tuple[str, ...]:
    """The 1,000 classes of 2012, sorted: the order of the outputs of released networks."""
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text().split())


def readable(names: Sequence[str]) -> list[str]:
    """Names of classes for people: of wnids of 2012 what they mean, by torchvision's names.

    Where any is another name, all are left as they are.
    """
    if not names or not {*names} <= {*wnids()}:
        return list(names)
    from torchvision.models import AlexNet_Weights  # takes seconds

    meanings = dict(zip(wnids(), AlexNet_Weights.IMAGENET1K_V1.meta["categories"], strict=True))
    return [meanings[name] for name in names]


def _wnid_by_name(files: Files, table: str) -> dict[str, str]:
    wnids: dict[str, str] = {}
    for number, line in _lines(files, table):
        words = line.replace(",", " ").split()
        if len(words) > 1 and _WNID.fullmatch(words[1]):
            wnids[PurePosixPath(words[0]).stem] = words[1]
        elif number > 1:  # not a header
            raise _bad_line(files, table, number, line, "an image's name and a wnid")
    return wnids


def _wnid_by_number(files: Files, truth: str) -> dict[str, str]:
    """By name, too: line n is of ``ILSVRC2012_val_<n>``."""
    wnid_of = _wnid_by_id(files)
    wnids: dict[str, str] = {}
    for number, line in _lines(files, truth):
        if line not in wnid_of:
            wanted = f"an ILSVRC2012_ID from 1 to {len(wnid_of)}"
            raise _bad_line(files, truth, number, line, wanted)
        wnids[f"ILSVRC2012_val_{number:08d}"] = wnid_of[line]
    return wnids


def _wnid_by_id(files: Files) -> dict[str, str]:
    """wnid by ILSVRC2012_ID: synsets without children in meta.mat are the 1,000 classes."""
    from scipy.io import loadmat  # half a second that other data need not wait
    from scipy.io.matlab import MatReadError

    meta = _find(files, "meta.mat")
    if meta is None:
        raise UserError(
            f"{files.where} has {_GROUND_TRUTH}, but nothing that can be read says which class an"
            f" ILSVRC2012_ID is: add the devkit's meta.mat or Kaggle's {_TABLES[0]}, or sort the"
            " images into val/<wnid>/"
        )
    try:
        synsets = loadmat(BytesIO(files.read(meta)), squeeze_me=True)["synsets"]
        return {str(int(row[0])): str(row[1]) for row in synsets if int(row[4]) == 0}
    except (MatReadError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{files.where / meta} can't be read ({error}): replace it by the devkit's"
        ) from error


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


def _bad_line(files: Files, table: str, number: int, line: str, wanted: str) -> UserError:
    return UserError(f"{files.where / table}, line {number}: {line!r} is not {wanted}")

"""What the folders of a data set mean: classes, and splits where the data set has its own."""

from dataclasses import dataclass

from alexnet_exp.console import say
from alexnet_exp.data.sources import imagenet
from alexnet_exp.data.sources.files import Files
from alexnet_exp.data.sources.split import Entry, Pool
from alexnet_exp.errors import UserError

_ROLES: dict[str, Pool] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a data set."""

    classes: list[str]
    """Names by label, sorted."""
    entries: list[Entry]
    """Sorted by name; names are relative to ``base``."""
    base: str
    """What stands before a name in the tree: ``""`` or a folder and ``/``."""


def list_folders(files: Files) -> Listing:
    """Class folders, or ``train`` and ``val`` and/or ``test`` folders with class folders in them.

    A single folder around them is passed through. Where only one of val and test exists it is
    the test split, and val is left to be carved out of train: what chooses the best epoch must
    not be what is reported.

    Raises:
        UserError: no images, fewer than two classes, one without training images.
    """
    images = files.images()
    if not images:
        raise UserError(f"data.root={files.where} holds no images")
    base = _pass_through(images)
    paths = [path.removeprefix(base) for path in images if path.startswith(base)]
    pools = _split_folders(paths)
    labeled: list[tuple[str, str, Pool]] = []
    for path in paths:
        folders = path.split("/")[:-1]
        if pools and len(folders) > 1 and folders[0] in pools:
            labeled.append((path, folders[1], pools[folders[0]]))
        elif not pools and folders:
            labeled.append((path, folders[0], "all"))
    _tell_left_out(files, len(paths) - len(labeled))
    return _listing(files, base, labeled, list(pools))


def list_imagenet(files: Files) -> Listing:
    """``train/<wnid>/`` and ``val/<wnid>/``, or a flat ``val`` with a table of its labels.

    The official validation images are the test split here, and val is carved out of train.

    Raises:
        UserError: a folder is missing or empty, or the labels of a flat val are not to be had.
    """
    base = imagenet.find_base(files)
    paths = [path.removeprefix(base) for path in files.images() if path.startswith(base)]
    labeled: list[tuple[str, str, Pool]] = []
    flat: list[str] = []
    for path in paths:
        match path.split("/"):
            case ["train", wnid, *_, _]:
                labeled.append((path, wnid, "train"))
            case ["val", wnid, *_, _]:
                labeled.append((path, wnid, "test"))
            case ["val", _]:
                flat.append(path)
    for folder in ("train", "val"):
        if not any(path.startswith(f"{folder}/") for path in paths):
            raise UserError(
                f"{files.where / base / folder} holds no images: data=imagenet needs"
                " train/<wnid>/*.JPEG and val; unpack the archives within it first"
            )
    if flat:
        classes = {wnid for _, wnid, pool in labeled if pool == "train"}
        found = imagenet.flat_val_labels(files, flat, classes)
        labeled += [(path, wnid, "test") for path, wnid in found.items()]
    return _listing(files, base, labeled, ["train"])


def list_classes(files: Files) -> list[tuple[str, str]]:
    """Images in class folders with the names of these, sorted; UserError where there are none."""
    images = files.images()
    base = _pass_through(images)
    inner = [path for path in images if "/" in path.removeprefix(base) and path.startswith(base)]
    if not inner:
        raise UserError(f"{files.where} holds no photos in class folders")
    _tell_left_out(files, len(images) - len(inner))
    return [(path, path.removeprefix(base).split("/")[0]) for path in inner]


def _tell_left_out(files: Files, images: int) -> None:
    if images:
        say(f"{files.where}: {images:,} images are left out, as they lie in no class folder")


def _pass_through(images: list[str]) -> str:
    """The folders around the class folders, as long as there is just one that has folders."""
    base = ""
    while True:
        inner = [path.removeprefix(base).split("/") for path in images if path.startswith(base)]
        top = {parts[0] for parts in inner if len(parts) > 1}
        if len(top) != 1 or not any(len(parts) > 2 for parts in inner):
            return base
        base += top.pop() + "/"


def _split_folders(paths: list[str]) -> dict[str, Pool]:
    """Which folders are splits; empty where the folders are classes."""
    nested = sorted({path.split("/")[0] for path in paths if path.count("/") > 1})
    pools = {name: _ROLES[name.lower()] for name in nested if name.lower() in _ROLES}
    roles = set(pools.values())
    if len(roles) < 2:
        return {}
    if "train" not in roles:
        raise UserError(f"{' and '.join(pools)} are splits: add a train folder beside them")
    if "test" not in roles:
        return {name: "test" if role == "val" else role for name, role in pools.items()}
    return pools


def _listing(
    files: Files, base: str, labeled: list[tuple[str, str, Pool]], splits: list[str]
) -> Listing:
    """The listing of images whose class folders lie in those of splits, or in ``base``."""
    depth = 2 if splits else 1
    filled = {"/".join(path.split("/")[:depth]) for path, _, _ in labeled}
    for folder in sorted(files.folders):
        inner = folder.removeprefix(base).split("/")
        is_class = len(inner) == depth and (not splits or inner[0] in splits)
        if is_class and folder.startswith(base) and "/".join(inner) not in filled:
            raise UserError(
                f"class folder {files.where / folder} holds no images: add some, or remove it"
            )
    classes = sorted({name for _, name, pool in labeled if pool in ("all", "train")})
    if len(classes) < 2:
        raise UserError(
            f"data.root={files.where} holds {len(classes)} class folders with images: pass a folder"
            " with one sub-folder of images for each of at least two classes"
        )
    label_of = {name: label for label, name in enumerate(classes)}
    for path, name, _ in labeled:
        if name not in label_of:
            raise UserError(
                f"{files.where / base / path}: class {name!r} has no images to train on: add"
                f" {files.where / base / 'train' / name}, or remove the class"
            )
    entries = [
        Entry(path, label_of[name], pool, files.sizes[base + path]) for path, name, pool in labeled
    ]
    return Listing(classes, sorted(entries, key=lambda entry: entry.name), base)

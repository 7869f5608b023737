"""One format for each ending, written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from alexnet_exp.errors import UserError
from alexnet_exp.hardware import importing

FOLDER = ""
"""Ending of a folder."""

# By ending: what writes it, and the libraries of the extra [export] that it needs.
_FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".onnx": ("programs.write_onnx", ("onnx", "onnxruntime", "onnxscript")),
    ".pt2": ("programs.write_torch", ()),
    ".safetensors": ("tensors.write_safetensors", ("safetensors",)),
    ".pth": ("tensors.write_torchvision", ()),
    FOLDER: ("card.write_card", ("safetensors",)),
}


def export(run: Path | str, output: Path | str, *overrides: str) -> str:
    """Write a trained network in the format that the ending of ``output`` names.

    Args:
        run: A checkpoint, or a run folder, whose best one is taken.
        output: A new file that ends in .onnx, .pt2, .safetensors or .pth (torchvision's), or a new
            folder, as on Hugging Face.
        overrides: Changes to the recorded configuration, such as ``evaluation.views=one``.

    Returns:
        One line that says what was written.

    Raises:
        UserError: The run can't be used, a library is missing, the network does not fit the format,
            or the output exists or can't be written.
    """
    run, output = Path(run), Path(output)
    writer = check_output(output)
    with importing():  # seconds, after what can be told without
        from alexnet_exp.export.portable import Trained

        module, _, name = writer.partition(".")
        write = getattr(import_module(f"alexnet_exp.export.{module}"), name)
    trained = Trained.load(run, overrides)
    with _whole(output) as partial:
        said = write(trained, partial)
    return f"{output}: {said}"


def check_output(output: Path) -> str:
    """What writes ``output``, a function by its module.

    Raises:
        UserError: There is no such format, a library is missing, or the output exists.
    """
    if output.suffix.lower() not in _FORMATS:
        known = ", ".join(filter(None, _FORMATS))
        raise UserError(
            f"{output}: there is no format for this ending; choose from {known}, or a folder, whose"
            " name has no dot"
        )
    _refuse_existing(output)
    writer, libraries = _FORMATS[output.suffix.lower()]
    for name in libraries:
        _require(name, output)
    return writer


def _refuse_existing(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists already: remove it, or choose another name")


def _require(library: str, output: Path) -> None:
    try:
        import_module(library)
    except ImportError as error:
        raise UserError(
            f"{output} needs the library {library} ({error}): pip install 'alexnet-exp[export]'"
        ) from error


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """Where to write ``output``, which is moved to its place, with what lies beside it, in the end.

    Raises:
        UserError: It can't be written.
    """
    partial = output.with_name(f".{output.name}.partial")
    missing = [folder for folder in partial.parents if not folder.exists()]
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
        yield partial / output.name
        made = {part: output.parent / part.name for part in sorted(partial.iterdir())}
        for place in made.values():
            _refuse_existing(place)
        for part, place in made.items():
            os.replace(part, place)
    except OSError as error:
        raise UserError(
            f"can't write {output} ({error.strerror or error}): make room, or name another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in missing:  # those that were made for nothing are empty
            with suppress(OSError):
                folder.rmdir()

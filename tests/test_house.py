"""Imports run one way, and every file has a name of its own."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import alexnet_exp

SOURCE = Path(alexnet_exp.__file__).parent

# Each imports only from lines above its own; on one line nobody imports from a neighbor.
ORDER = [
    {"errors", "hardware", "console", "designs", "words"},
    {"config"},
    {"network", "runs", "messages"},
    {"data", "parallel", "report"},
    {"training"},
    {"pictures"},
    {"experiments"},
    {"sweep", "cli", "trained"},
    {"hydra_main"},
    {
        "train",
        "evaluate",
        "predict",
        "figures",
        "summary",
        "export",
        "prepare",
        "diagnose",
        "dashboard",
    },
    {"bench"},
]

# Against the order, at most six: cli imports what takes seconds where Ctrl-C is answered.
EXCEPTIONS = {("cli", "hydra_main")}


def modules() -> Iterator[tuple[str, Path]]:
    """Package or module at the top, and file, of everything but the root."""
    for file in sorted(SOURCE.rglob("*.py")):
        part = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if not part.startswith("__"):  # the root gives every part to a notebook
            yield part, file


def imported(file: Path) -> Iterator[str]:
    """Packages and modules of ours at the top that a file imports, also within functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "alexnet_exp"
            names = [f"{node.module}.{x.name}" for x in node.names] if whole else [node.module]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        parts = (name.split(".")[1] for name in names if name.startswith("alexnet_exp."))
        yield from (part for part in parts if not part.startswith("__"))


def test_imports_run_one_way() -> None:
    level = {part: number for number, parts in enumerate(ORDER) for part in parts}
    arrows = {(part, other) for part, file in modules() for other in imported(file)}
    assert {part for part, _ in modules()} == level.keys()
    against = {
        (part, other) for part, other in arrows if part != other and level[part] <= level[other]
    }
    assert {pair for pair in against if not {*pair} <= ORDER[0]} == EXCEPTIONS


def test_no_two_files_have_one_name() -> None:
    names = Counter(file.stem for _, file in modules())
    assert {name for name, count in names.items() if count > 1} <= {"__init__", "__main__"}


def test_files_are_read_in_one_sitting() -> None:
    lines = {str(file.relative_to(SOURCE)): len(file.read_text().splitlines())
             for _, file in modules()}  # fmt: skip
    assert {name: count for name, count in lines.items() if count > 400} == {}

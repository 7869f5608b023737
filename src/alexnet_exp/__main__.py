"""List the commands: ``python -m alexnet_exp``."""

import ast
from pathlib import Path

COMMANDS = (
    "train", "evaluate", "predict", "figures", "summary", "export", "prepare", "diagnose", "report",
    "runs", "bench", "dashboard",
)  # fmt: skip


def what(command: str) -> str:
    """What the command does, as its module says in its first line; nothing is imported."""
    here = Path(__file__).parent
    module, package = here / f"{command}.py", here / command / "__main__.py"
    text = (module if module.exists() else package).read_text()
    return (ast.get_docstring(ast.parse(text)) or "").partition(":")[0]


def main() -> None:
    for command in COMMANDS:
        print(f"python -m alexnet_exp.{command:<10} {what(command)}")
    print("\nEach says more with --help.")


if __name__ == "__main__":
    main()

"""Set every published claim beside what was measured: ``python -m alexnet_exp.report runs=runs``.

It reads run folders alone, so it needs no GPU and starts without torch.
"""

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from alexnet_exp.console import visible
from alexnet_exp.errors import UserError, answering
from alexnet_exp.report.claims import CLAIMS
from alexnet_exp.report.factors import first_few
from alexnet_exp.report.findings import Report
from alexnet_exp.runs.read import run_folders
from alexnet_exp.runs.results import read_runs

SETTINGS = ("runs", "output", "plan")
_NAMED_FOLDERS = 5
_NEW_RUNS = "python -m alexnet_exp.train -m +experiment=baseline,no_lrn seed=0,1,2"

_DESCRIPTION = """\
What did each idea in AlexNet buy? Reads finished runs, compares them test image
by test image, and sets what they say beside the published figures."""

_EXAMPLES = """\
settings:
  runs=FOLDER     folder with runs at any depth, or one run folder (default: runs)
  output=FOLDER   where report.md, results.csv and report.html go (default: the
                  folder of the runs)
  plan=true       instead of a report: seeds, folds and hours of training that
                  would settle each idea without an answer, and the commands

examples:
  python -m alexnet_exp.report
  python -m alexnet_exp.report runs=runs/flowers output=results

exit codes: 0 done, 1 failed, 2 a mistake in the command"""


def make_report(folder: Path, progress: bool = False) -> Report:
    """What the runs in a folder, at any depth or itself one, say of every claim.

    Raises:
        UserError: There is no such folder, or no finished run in it.
    """
    if not folder.is_dir():
        raise UserError(
            f"runs={folder}: there is no such folder; pass runs=<folder with runs>, or train first:"
            f" {_NEW_RUNS}"
        )
    found = read_runs(_tracked(run_folders(folder), "reading runs", progress))
    if not found.runs:
        reason = "no finished run in it; the command that started a run finishes it, and"
        skipped = first_few(found.skipped, _NAMED_FOLDERS)
        whole = f"runs={folder}: {reason} {_NEW_RUNS} makes new ones"
        raise UserError("\n  ".join([whole, *skipped]))
    # SciPy takes a second to import, which a mistake in the command should not cost.
    from alexnet_exp.report.assemble import assemble

    return assemble(folder, found, _tracked(CLAIMS, "comparing runs", progress))


_Item = TypeVar("_Item")


def _tracked(items: Sequence[_Item], what: str, show: bool) -> Iterable[_Item]:
    """The same items, with a bar on the terminal."""
    console = Console(stderr=True)
    hidden = not (show and console.is_terminal)
    return track(items, what, console=console, transient=True, disable=hidden)


def write(report: Report, output: Path) -> list[Path]:
    """Write ``report.md``, ``results.csv`` and ``report.html``; gives their paths.

    Raises:
        UserError: The folder can't be written to.
    """
    from alexnet_exp.report.documents import write_csv, write_markdown, write_page

    files = [output / name for name in ("report.md", "results.csv", "report.html")]
    try:
        output.mkdir(parents=True, exist_ok=True)
        for file, written in zip(files, (write_markdown, write_csv, write_page), strict=True):
            written(report, file)
    except OSError as error:
        raise UserError(
            f"can't write the report to {output} ({error.strerror}): set output=<another folder>"
        ) from error
    return files


def parse(words: list[str]) -> tuple[Path, Path, bool]:
    """Folders of the runs and of the output, and whether to plan, from ``name=value`` words.

    Raises:
        UserError: A word is not of that form, or names another setting.
    """
    values: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not value or name in values:
            raise UserError(
                f"{word}: settings have the form runs=<folder> output=<folder>, each once"
            )
        if name not in SETTINGS:
            close = get_close_matches(name, SETTINGS, 1) or SETTINGS
            raise UserError(f"{word}: there is no such setting; did you mean {' or '.join(close)}?")
        values[name] = value
    plan, runs = values.get("plan", "false"), values.get("runs", "runs")
    if plan not in ("true", "false"):
        raise UserError(f"plan={plan}: set plan=true or plan=false")
    return Path(runs), Path(values.get("output", runs)), plan == "true"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="python -m alexnet_exp.report [runs=FOLDER] [output=FOLDER] [plan=true]",
    )
    parser.add_argument("settings", nargs="*", help=argparse.SUPPRESS)
    words = parser.parse_args().settings
    with answering("the same command starts again"):
        runs, output, plan = parse(words)
        report = make_report(runs, progress=True)
        files = [] if plan else write(report, output)

    from alexnet_exp.report.screen import show, show_plan

    (show_plan if plan else show)(report)
    print("\n".join(visible(f"written: {file}") for file in files))


if __name__ == "__main__":
    main()

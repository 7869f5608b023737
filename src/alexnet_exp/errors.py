"""Ends that are no failure of the program, and how a command says so: one message, an exit code."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
"""Exit codes of every command besides 0."""


class UserError(Exception):
    """Something the user can mend: a wrong override, a missing folder, a full disk.

    The message names the file or override at fault and the way out. The commands print it
    without a traceback and end with exit code 2.
    """


class DivergedError(UserError):
    """The loss is no longer finite: the run has come to nothing."""


class PlacementError(UserError):
    """The strategy can't lay this network or batch over these devices; a sweep leaves it out."""


class RankError(Exception):
    """A process of a run on several devices failed; its traceback has been printed."""


class OtherRunError(UserError):
    """A folder holds a run of another configuration; ``changed`` says which, and what differs."""

    def __init__(self, changed: str, way_out: str) -> None:
        super().__init__(f"{changed}. {way_out}")
        self.changed = changed


class SweepStoppedError(Exception):
    """A signal (``number``) ended a sweep; so many jobs are ``left`` that had not answered."""

    def __init__(self, number: int, left: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.left = number, left


@contextmanager
def answering(note: str) -> Iterator[None]:
    """End the process with one message for a mistake of the user's, or the note for Ctrl-C."""
    try:
        yield
    except UserError as error:
        mistake(str(error))
    except KeyboardInterrupt:
        interrupted(note)


def mistake(message: str) -> NoReturn:
    """Print one message and end with the exit code for a user's mistake."""
    from alexnet_exp.console import visible  # a bar's libraries, which few of the importers need

    print("\n".join(map(visible, f"error: {message}".split("\n"))), file=sys.stderr)
    sys.exit(MISTAKE)


def interrupted(note: str, code: int = INTERRUPTED) -> NoReturn:
    """Say so and end with the exit code for Ctrl-C, or ``code``."""
    print(f"\ninterrupted; {note}", file=sys.stderr)
    sys.exit(code)

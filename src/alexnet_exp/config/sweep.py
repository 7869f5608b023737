"""The typed schema of ``sweep``: how the jobs of a multirun are run."""

import re
from dataclasses import dataclass


@dataclass
class SweepConfig:
    """One sweep; it has no bearing on the result of a run."""

    name: str = "multirun"
    """Folder of the sweep below ``runs/<data>/``; set by +sweep=..."""

    job_timeout: float | None = None
    """Seconds after which a job counts as hanging and is ended; null: never."""

    dry_run: bool = False
    """List the jobs, which are done, and what the rest will cost from what is known; start none."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        if self.job_timeout is not None and self.job_timeout <= 0:
            raise ValueError(f"sweep.job_timeout={self.job_timeout} must be greater than 0 or null")
        if not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise ValueError(
                f"sweep.name={self.name} names a folder: use letters, digits and . _ + - alone"
            )

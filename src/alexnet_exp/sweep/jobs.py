"""A job of a sweep, what lies in its folder, and what becomes of it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from alexnet_exp.config import Config
from alexnet_exp.errors import OtherRunError, UserError
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.read import check_predictions, read_config, read_diverged, read_result
from alexnet_exp.sweep.process import ChildSpec

ELSEWHERE = "another process is at work in its folder"

# What an earlier run's data decided, where nothing was asked for.
_DECIDED = (("data", "fingerprint"), ("model", "classes"), ("model", "input_channels"))


class State(StrEnum):
    """What lies in a job's folder before the sweep, and what became of it in the end."""

    new = "new"
    half_done = "half done"
    skipped = "skipped"
    left_out = "left out"
    finished = "finished"
    resumed = "resumed"
    diverged = "diverged"
    failed = "failed"
    elsewhere = "running elsewhere"
    stopped = "stopped"


LEFT_ALONE = (State.skipped, State.left_out, State.diverged, State.elsewhere, State.failed)
"""Not started: done, in other hands, or beyond help."""


@dataclass(eq=False)
class Job:
    """One training of a sweep.

    Args:
        number: From 0, in the order of the sweep.
        name: What tells it from the others: its folder within the sweep.
        overrides: As on a command line.
        config: Checked configuration.
        folder: Run folder, absolute.
        state: What lies in the folder.
        reason: Why it is left alone: its folder is damaged, its run diverged, no devices fit it.
        settled: Overrides that an earlier run in the folder decided.
        changed: How a run of another configuration in the folder differs.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Config
    folder: Path
    state: State = State.new
    reason: str = ""
    settled: tuple[str, ...] = ()
    changed: str = ""

    def look(self) -> None:
        """Set ``state``, ``reason`` and ``changed`` to what lies in the folder."""
        self.changed = ""
        try:
            self.state, self.reason = self._found()
        except UserError as error:
            self.state, self.reason = State.failed, str(error)
            if isinstance(error, OtherRunError):
                self.changed = error.changed

    def _found(self) -> tuple[State, str]:
        recorded = read_config(self.folder)
        if recorded is None:
            return State.new, ""
        self._adopt(recorded)
        run = RunFolder(self.folder)
        if run.result(self.config) is not None:
            check_predictions(self.folder)
            return State.skipped, ""
        diverged = read_diverged(self.folder)
        if diverged is not None:
            return State.diverged, diverged
        if run.is_running():
            return State.elsewhere, ELSEWHERE
        return State.half_done if run.last.exists() else State.new, ""

    def _adopt(self, recorded: dict[str, Any]) -> None:
        """Take over what an earlier run's data and machine decided, where nothing was asked for.

        Data that was not packed here has no fingerprint yet; a job that runs compares it.
        """
        model = self.config.model
        if model.weights is not None:
            from alexnet_exp.network.pretrained import digest  # and torch, which takes seconds

            model.weights_digest = digest(model, recorded.get("model", {}))
        for group, name in _DECIDED:
            part = getattr(self.config, group)
            if getattr(part, name) is None:
                setattr(part, name, recorded.get(group, {}).get(name))
        precision = recorded.get("trainer", {}).get("precision")
        if self.config.trainer.precision == "auto" and precision is not None:
            self.config.trainer.precision = precision
            self.settled = (f"trainer.precision={precision}",)

    def as_found(self) -> "Outcome":
        """What is said of a job that is left alone."""
        result = read_result(self.folder) if self.state == State.skipped else None
        return Outcome(self, self.state, reason=self.reason, result=result)

    def devices(self, here: bool) -> int:
        """Devices of the job on each of its machines; those of one that runs ``here`` are counted.

        Raises:
            UserError: They are not a number, and a sweep deals them out.
        """
        asked = self.config.trainer.devices
        if isinstance(asked, int) and asked > 0:
            return asked
        if here and not isinstance(asked, list):
            # With torch, whose seconds and memory a node that waits for a job should not pay.
            from alexnet_exp.parallel.placement import device_count

            return device_count(self.config)
        raise UserError(
            f"{self.name}: trainer.devices={asked}: here the sweep deals out the devices. Set how"
            " many a job has, such as trainer.devices=2"
            + (", and CUDA_VISIBLE_DEVICES for the whole sweep" if here else "")
        )

    def spec(self, extra: Sequence[str]) -> ChildSpec:
        arguments = (
            "-m", "alexnet_exp.train", *extra, *self.overrides, *self.settled,
            "hydra.mode=RUN", f"hydra.run.dir={quoted(self.folder)}",
        )  # fmt: skip
        return ChildSpec(self.folder, arguments, self.config.sweep.job_timeout)


@dataclass
class Outcome:
    """What became of a job.

    Args:
        job: The job, with its state at the start.
        state: At the end.
        seconds: Time in this sweep.
        reason: Why it failed, diverged or was left out.
        lines: Last lines of its log if it failed.
        result: ``result.json`` if it finished.
    """

    job: Job
    state: State
    seconds: float = 0.0
    reason: str = ""
    lines: tuple[str, ...] = ()
    result: dict[str, Any] | None = None


def reasons_left_out(jobs: Sequence[Job]) -> list[str]:
    """``4 jobs: <why>`` for each reason to leave some out."""
    counts = Counter(job.reason for job in jobs if job.state == State.left_out)
    return [f"{counted(count)}: {reason}" for reason, count in counts.items()]


def counted(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} job{'' if count == 1 else 's'}"


def quoted(path: Path) -> str:
    """As Hydra's override grammar reads it: a backslash counts as such except before a quote."""
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), str(path))
    return f"'{text}'"

"""What a job is called with, and writes its rows through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .results import append


class Skipped(Exception):
    """Raised by a job that cannot run here, with a sentence that says why."""


class Report:
    """The rows of one step.

    path: the file that they are appended to.  small: whether sizes are small, to see that all works.
    limits: bytes/s of a copy ("copy") and operations/s of each unit of the card, if they have been measured.
    deadline: when the step is ended, as `time.monotonic` counts.
    """

    def __init__(self, path: Path, step: str, small: bool, limits: dict[str, float], deadline: float) -> None:
        self.path, self.step, self.small, self.limits, self.deadline = path, step, small, limits, deadline

    def row(self, name: str, /, *, checked: bool = False, **fields: Any) -> None:
        """Append a row to the file, at once.  Of several rows of the same name, the last counts.

        A row with `wall_s` appears in the table of measurements, others are counted beside their step; one
        with `limits` sets those of the steps that follow.  checked: whether the result has been compared with
        another; a step that leaves a row unchecked makes scripts/gpu-check fail.
        """
        known_by = {"step": self.step, "name": name, "checked": checked}
        append(self.path, {**known_by, **fields, **known_by})

    def note(self, text: str) -> None:
        """Print a line, which goes to the log too."""
        print(text, flush=True)

    def size(self, full: Any, small: Any) -> Any:
        return small if self.small else full

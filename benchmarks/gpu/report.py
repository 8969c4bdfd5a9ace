"""The object with which a job is called, and through which it writes its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .results import append


class Skipped(Exception):
    """Raised, with a one-sentence reason, by a job that cannot run here."""


class Report:
    """The rows of one step.

    `path` is the file to which they are appended, and `small` selects small sizes for a quick test.
    `limits` are the bytes/s of a copy ("copy") and the operations/s of each unit of the card, if measured.
    `deadline` is the time at which the step is killed, on the clock of `time.monotonic`.
    """

    def __init__(self, path: Path, step: str, small: bool, limits: dict[str, float], deadline: float) -> None:
        self.path, self.step, self.small, self.limits, self.deadline = path, step, small, limits, deadline

    def row(self, name: str, /, *, checked: bool = False, **fields: Any) -> None:
        """Append a row to the file at once. Of several rows with the same name, the last counts.

        A row with `wall_s` appears in the table of measurements, other rows are counted next to their step; a
        row with `limits` sets those of later steps. `checked` says whether the result has been compared; an
        unchecked row makes scripts/gpu-check fail.
        """
        known_by = {"step": self.step, "name": name, "checked": checked}
        append(self.path, {**known_by, **fields, **known_by})

    def note(self, text: str) -> None:
        """Print a line, which also goes to the log."""
        print(text, flush=True)

    def size(self, full: Any, small: Any) -> Any:
        return small if self.small else full

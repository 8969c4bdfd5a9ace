"""The file of results of a card: one JSON object per line, append-only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]

NUMBERS = (
    *("first_s", "wall_s", "device_s", "baseline_s", "bytes", "operations", "steps", "memory", "ratio"),
    *("bytes_share", "operations_share", "seconds", "exit"),
)


@dataclass
class Results:
    """Contents of a file; of several lines about the same thing, the last counts.

    `machine` is the card and the software, `steps` the status of each step, `rows` the rows of the last
    run of each step by step and name, and `limits` the rates of the card.
    """

    machine: Line = field(default_factory=dict)
    steps: dict[str, Line] = field(default_factory=dict)
    rows: dict[tuple[str, str], Line] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)

    def rows_of(self, step: str) -> list[Line]:
        return [row for (of, _), row in self.rows.items() if of == step]


def append(path: Path, line: Line) -> None:
    """Append a line and sync it to disk."""
    text = json.dumps(line, default=plain) + "\n"
    with path.open("ab+") as file:
        # A process that was killed may have left half a line.
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n":
            text = "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def plain(value: Any) -> Any:
    """Return a NumPy or CuPy scalar or array as a JSON value, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def read(path: Path) -> Results:
    """Return the results in a file, ignoring invalid lines; empty if there is no file."""
    results = Results()
    for line in lines(path):
        match line:
            case {"step": str(step), "name": str(name)}:
                results.rows[step, name] = validated(line)
                if isinstance(limits := line.get("limits"), dict):
                    results.limits = {key: value for key, value in limits.items() if is_number(value)}
            case {"step": str(step), "status": str(status)}:
                results.steps[step] = validated(line)
                if status == "running":
                    results.rows = {key: row for key, row in results.rows.items() if key[0] != step}
            case {"card": str()}:
                results.machine = line
    return results


def lines(path: Path) -> Iterator[Line]:
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict):
                    yield line


def validated(line: Line) -> Line:
    """Return a line without fields of the wrong type for tables."""
    line = {key: value for key, value in line.items() if key not in NUMBERS or is_number(value)}
    goals = line.pop("goals", None)
    if isinstance(goals, dict):
        line["goals"] = {
            key: goal
            for key, goal in goals.items()
            if isinstance(goal, list) and len(goal) == 3 and all(map(is_number, goal[:2]))
        }
    return line


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # not NaN either

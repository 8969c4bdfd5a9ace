"""Runs jobs beside their baselines: how fast each is, where its time goes, how near its limit it is."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..display import Displayed, Table, import_pandas
from ..files import new_file
from ..kernels.compilation import compiling_seconds
from ..kernels.cpu.threads import get_threads
from ..validation import format_bytes
from .jobs import JOBS, Job
from .timing import best, format_count, format_seconds, format_share, in_turn, kernel_times, machine, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

KIND = "fastrec bench 1"


@dataclass(frozen=True, repr=False)
class Row(Displayed):
    """A job as it was timed.

    seconds, baseline_seconds: medians, of a piece of work.
    times: median of the ratios, times that fastrec is faster than what it is compared with, `against`.
    share: of the rate that limits it, `limit`.
    spent: seconds in each kernel, and outside of kernels, of one call.
    operations, bytes: of a piece, by the rate of `Report.limits` that bounds them; none if not counted.
    """

    name: str
    seconds: float
    baseline_seconds: float
    times: float
    against: str
    limit: str
    share: float
    spent: dict[str, float]
    operations: dict[str, float] = field(default_factory=dict)
    bytes: float = 0

    def _summary(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("spent", "operations")}

    def counts(self, limits: Mapping[str, float]) -> str:
        """Shares of the rates that bound it, with the operations and bytes."""
        counts = [
            f"{format_share(number / limits[name] / self.seconds)} of {name}: {format_count(number)}"
            for name, number in self.operations.items()
        ]
        return ", ".join(counts or [f"{self.share:.0%} of {self.limit}"]) + (
            f", {format_bytes(self.bytes)}" if self.bytes else ""
        )


@dataclass(frozen=True, repr=False)
class Report(Displayed):
    """What `run` measured.  limits: rates a second, see `fastrec.kernels.cpu.limits`, and "SGEMM" of NumPy.
    compiling: seconds that Numba compiled, which no time of a job includes; 0 if all was on disk.
    """

    machine: str
    version: str
    date: str
    threads: int
    limits: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    compiling: float = 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, replacing path in one step."""
        with new_file(path) as temporary:
            text = json.dumps({"kind": KIND, **asdict(self)}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Read a file of `save`; ValueError naming it if it is none."""
        with open(path, "rb") as file:
            content = file.read()
        try:
            found = json.loads(content)
            kind = found.pop("kind")
            report = cls(**{**found, "rows": [Row(**row) for row in found["rows"]]})
            report.table(report)
            report.head()
            if kind != KIND or not all(0 < row.seconds < math.inf for row in report.rows):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
            raise ValueError(
                f"{path}: not a report of fastrec bench, damaged, or of a later version; write one with --out"
            ) from None
        return report

    def head(self) -> str:
        """What the machine is, and what it can do."""
        lines = [
            self._title(),
            "",
            "limits, all threads:",
            f"  {'SGEMM (NumPy)':<24}{self.limits['SGEMM'] / 1e9:7.0f} G multiply-adds/s",
        ]
        for name, rate in self.limits.items():
            if name != "SGEMM":
                lines.append(f"  {name:<24}{rate / 1e9:7.0f} G/s, inner loop in the first cache")
        return "\n".join(lines)

    def table(self, before: Report | None = None) -> str:
        """Two lines for each job, the second for what it computes and where its time goes.

        before: an earlier report.
        """
        earlier = {row.name: row.seconds for row in before.rows} if before else {}
        lines = []
        for row in self.rows:
            line = f"{row.name:<52} {format_seconds(row.seconds):>8}  {row.times:5.1f} x {row.against}"
            if row.name in earlier:
                line += f"; {earlier[row.name] / row.seconds:.2f} x earlier"
            total = sum(row.spent.values())
            parts = sorted(row.spent.items(), key=lambda item: -item[1])
            where = ", ".join(f"{name} {part / total:.0%}" for name, part in parts if part > 0.02 * total)
            lines += [line, f"    {row.counts(self.limits)}; {where}"]
        return "\n".join(lines)

    def _title(self) -> str:
        return f"{self.machine}, {self.threads} in use; fastrec {self.version}; {self.date[:10]}"

    def _summary(self) -> dict[str, Any]:
        return {
            "jobs": len(self.rows),
            "machine": self.machine,
            "version": self.version,
            "date": self.date[:10],
        }

    def _table(self) -> Table:
        rows = [
            [
                row.name,
                format_seconds(row.seconds),
                f"{row.times:.1f}",
                row.against,
                f"{row.share:.0%}",
                row.limit,
            ]
            for row in self.rows
        ]
        heads = ["job", "time", "times faster than", "", "share of the rate of", ""]
        return Table(self._title(), heads, rows)

    def _figure(self) -> Figure | None:
        return self.figure() if self.rows else None

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame with a row for each job, without the time spent in each kernel.

        Raises ImportError where pandas is not installed.
        """
        return import_pandas().DataFrame([row._summary() for row in self.rows])

    def figure(self) -> Figure:
        """How many times faster than what it is compared with, and how near its limit, each job is."""
        from ..plot import bench_figure

        return bench_figure(self)


def run(
    jobs: Sequence[str] = tuple(JOBS),
    rounds: int = 5,
    told: Callable[[str], Any] = lambda lines: None,
    before: Report | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Report:
    """Time jobs, some of `JOBS`, `rounds` times each in turn with their baselines.

    told: gets the head, then the lines of each job when it is measured, compared with the report `before`.
    out: a JSON file for the report, whole after each job.
    """
    from .peak_rates import limits

    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    began = compiling_seconds()
    rates = {"SGEMM": 2048**3 / best(lambda: a @ a), **limits()}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    report = Report(machine(), __version__, date, get_threads(), rates)
    told(report.head() + "\n")
    for job in (job for name in jobs for job in JOBS[name]()):
        report = replace(
            report,
            rows=[*report.rows, timed(job, rates, rounds)],
            compiling=compiling_seconds() - began,
        )
        told(replace(report, rows=report.rows[-1:]).table(before))
        if out is not None:
            report.save(out)
    return report


def timed(job: Job, rates: dict[str, float], rounds: int) -> Row:
    ours, theirs, times = in_turn(job.ours, job.baseline, job.each, min(rounds, job.rounds))
    with kernel_times("cpu") as spent:
        total = seconds(job.ours)
    spent["outside of kernels"] = max(0.0, total - sum(spent.values()))
    limit, operations = next(iter(job.operations.items()))
    share = operations / rates[limit] / ours
    counts = job.operations, job.bytes
    return Row(job.name, ours, theirs, times, job.against, limit, share, dict(spent), *counts)

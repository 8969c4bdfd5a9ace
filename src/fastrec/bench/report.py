"""Timing of jobs next to their baselines: speed, where the time goes, and distance from the limit."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints
from zlib import crc32

import numpy as np

from .. import __version__
from ..display import Column, Displayed, Table
from ..files import DamagedFile, new_file, require_file
from ..kernels.compilation import compiling_seconds
from ..progress import progress_bar
from ..threads import get_threads
from ..validation import format_bytes
from .jobs import JOBS, Job
from .timing import best, format_count, format_seconds, format_share, in_turn, kernel_times, machine, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "fastrec bench 1"
LARGEST = 2**24  # bytes of a report


def checksum(values: Any) -> int:
    """What finds a change of the values in a file."""
    return crc32(json.dumps(values).encode())


def require_values(value: Any, expected: Any) -> None:
    """Raise ValueError unless a value has the type of a field, finite numbers and printable texts."""
    if get_origin(expected) is dict:
        for key, each in value.items():
            require_values(key, str)
            require_values(each, float)
    elif expected is str:
        if not (isinstance(value, str) and value.isprintable()):
            raise ValueError
    elif isinstance(value, bool) or not isinstance(value, (int, expected)) or not math.isfinite(value):
        raise ValueError


@dataclass(frozen=True, repr=False)
class Row(Displayed):
    """Timing of one job.

    Attributes
    ----------
    name : str
        The job.
    seconds, baseline_seconds : float
        Median times of fastrec and of the baseline for one unit of work.
    times : float
        Median ratio of the two: how many times faster than the baseline fastrec is.
    against : str
        The baseline.
    limit : str
        Name of the rate in `Report.limits` that limits the job.
    share : float
        Fraction of that rate which the job reaches.
    spent : dict of str to float
        Seconds of one call spent in each kernel, and outside of kernels.
    operations : dict of str to float
        Operations for one unit of work, by the rate that bounds them; empty if not counted.
    bytes : float
        Bytes read and written for one unit of work, or 0 if not counted.
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
        """Return the fractions of the limiting rates that are reached, with the operations and bytes."""
        counts = [
            f"{format_share(number / limits[name] / self.seconds)} of {name}: {format_count(number)}"
            for name, number in self.operations.items()
        ]
        return ", ".join(counts or [f"{self.share:.0%} of {self.limit}"]) + (
            f", {format_bytes(self.bytes)}" if self.bytes else ""
        )


@dataclass(frozen=True, repr=False)
class Report(Displayed):
    """Report of `fastrec bench`, as measured by `run`.

    Attributes
    ----------
    machine, version, date : str
        Processor and cores, version of fastrec, and time of the measurement in ISO format.
    threads : int
        Number of threads in use.
    limits : dict of str to float
        Rates per second, see `fastrec.bench.peak_rates.limits`, and "SGEMM" of NumPy.
    rows : list of Row
        One row for each job.
    compiling : float
        Seconds of compilation, which no time of a job includes; 0 if all kernels were on disk.
    """

    machine: str
    version: str
    date: str
    threads: int
    limits: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    compiling: float = 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON, replacing the file in one step."""
        values = {"kind": KIND, **asdict(self)}
        with new_file(path) as temporary:
            text = json.dumps(values | {"checksum": checksum(values)}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Read a report written by `save`; ValueError, naming the file, if it is not one."""
        require_file(path)
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        try:
            values = json.loads(content)
            # Reports of 0.1.0 have no checksum.
            if values.pop("checksum", None) not in (None, checksum(values)) or len(content) > LARGEST:
                raise ValueError
            kind = values.pop("kind")
            report = cls(**{**values, "rows": [Row(**row) for row in values["rows"]]})
            for part_type, parts in ((cls, [report]), (Row, report.rows)):
                for name, expected in get_type_hints(part_type).items():
                    for part in parts if name != "rows" else ():
                        require_values(getattr(part, name), expected)
            report.table(report)
            report.head()
            if kind != KIND or not all(row.seconds > 0 for row in report.rows):
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            raise DamagedFile(
                f"{path}: not a report of fastrec bench, damaged, or of a later version; write one with --out"
            ) from None
        return report

    def head(self) -> str:
        """Return the machine and its measured limits, as text."""
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
        """Return two lines for each job: its time, then its operations and where the time goes.

        With an earlier report `before`, the ratio of the earlier time to this one is added.
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
        heads = ["job", "time", "times faster than", "", "fraction of the rate of", ""]
        return Table(self._title(), heads, rows)

    def _figure(self) -> Figure | None:
        return self.figure() if self.rows else None

    def _columns(self) -> list[Column]:
        names = self.rows[0]._summary() if self.rows else ()
        return [Column(name, [getattr(row, name) for row in self.rows]) for name in names]

    def figure(self) -> Figure:
        """Return `fastrec.plot.bench_figure` of this report."""
        from ..plot import bench_figure

        return bench_figure(self)


def run(
    jobs: Sequence[str] = tuple(JOBS),
    rounds: int = 5,
    show: Callable[[str], Any] = lambda lines: None,
    before: Report | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Report:
    """Time jobs in alternation with their baselines.

    Parameters
    ----------
    jobs : sequence of str
        Names of jobs in `fastrec.bench.jobs.JOBS`; by default all.
    rounds : int, default 5
        Number of timings of each job; slow jobs are timed less often.
    show : callable, optional
        Called with the head of the report, then with the lines of each job once it is measured.
    before : Report, optional
        An earlier report, with which the lines given to `show` are compared.
    out : path-like, optional
        JSON file for the report, written again after each job.

    Returns
    -------
    Report
        The measurements.
    """
    from .peak_rates import limits

    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    began = compiling_seconds()
    rates = {"SGEMM": 2048**3 / best(lambda: a @ a), **limits()}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    report = Report(machine(), __version__, date, get_threads(), rates)
    show(report.head() + "\n")
    with progress_bar("bench", len(jobs)) as advance:
        for name in jobs:
            for job in JOBS[name]():
                advance(0, f"measuring {job.name}")
                row = timed(job, rates, rounds)
                report = replace(report, rows=[*report.rows, row], compiling=compiling_seconds() - began)
                show(replace(report, rows=report.rows[-1:]).table(before))
                if out is not None:
                    report.save(out)
            advance(1, name)
    return report


def timed(job: Job, rates: dict[str, float], rounds: int) -> Row:
    ours, theirs, times, *_ = in_turn(job.ours, job.baseline, job.each, min(rounds, job.rounds))
    with kernel_times("cpu") as spent:
        total = seconds(job.ours)
    spent["outside of kernels"] = max(0.0, total - sum(spent.values()))
    limit, operations = next(iter(job.operations.items()))
    share = operations / rates[limit] / ours
    counts = job.operations, job.bytes
    return Row(job.name, ours, theirs, times, job.against, limit, share, dict(spent), *counts)

"""Fixture `versus`: time a job and its baseline alternately in one process, after checking that they agree.

Measurements are compared with the record of this machine in results/. `--record` writes them there, into
history/, and into the tables of README.md.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import compare
import numba
import numpy as np
import pytest
import records

import fastrec
from fastrec.bench.timing import in_turn, machine, seconds

ROWS: list[records.Row] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write results/ and the tables in README.md")


@pytest.fixture(scope="session")
def limits() -> dict[str, float]:
    """Peak rates of inner loops, per second."""
    from fastrec.bench.peak_rates import limits

    return limits()


@pytest.fixture
def versus(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that times a job and its baseline alternately and records the ratio.

    `ours` and `baseline` are called without arguments; `each` is the number of jobs that a call of either
    does. `goal` is the ratio to reach, or None, and `against` the name of the baseline. `work` is the time
    in seconds that the multiplications of a call would take at the rate of a large SGEMM. `operations` are
    those of a job, by the rates of `fastrec.bench.peak_rates` that bound them, and `bytes` the bytes of a
    job.
    """

    def run(
        name: str,
        ours: Callable[[], Any],
        baseline: Callable[[], Any],
        goal: float | None,
        against: str,
        each: tuple[int, int] = (1, 1),
        rounds: int = 5,
        work: float | None = None,
        operations: Mapping[str, float] | None = None,
        bytes: float = 0,
    ) -> None:
        first = seconds(ours)
        found = in_turn(ours, baseline, each, rounds)
        mine = found.ours
        row = {
            "name": name,
            "ours_s": mine,
            "baseline_s": found.baseline,
            "ratio": found.ratio,
            "noise": found.noise,
            "rounds": rounds,
            "goal": goal,
            "against": against,
            "first_call_s": first,
            "share": work and work / mine,
        }
        if operations:
            rates = request.getfixturevalue("limits")
            shares = {name: number / rates[name] / mine for name, number in operations.items()}
            row |= {"operations": dict(operations), "shares": shares, "bytes": bytes}
        ROWS.append(row)
        benchmark.extra_info.update(row)
        benchmark.pedantic(ours, rounds=rounds)

    return run


def this_run() -> records.Run:
    """Return this run: measurements, date, machine and versions."""
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    return {
        "machine": machine(),
        "date": str(date.today()),
        "version": fastrec.__version__,
        "commit": commit or "unknown",
        "numpy": np.__version__,
        "numba": numba.__version__,
        "rows": ROWS,
    }


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not ROWS:
        return
    run = this_run()
    told = [records.title(run), "", *records.job_table(ROWS), ""]
    if any(records.SCAN.match(row["name"]) for row in ROWS):
        told += [*records.scan_table([[run]]), ""]
    path = records.record_of(run["machine"])
    if path.exists():
        names = {row["name"] for row in ROWS}
        before = [row for row in records.rows_of(path) if row["name"] in names]
        told.append(f"compared with the record of this machine, results/{path.name}:")
        told += [*map(records.title, records.runs_of(path)), compare.table(before, ROWS)]
    else:
        others = ", ".join(other.name for other in sorted(path.parent.glob("*.json")))
        told.append(f"this machine has no record {path.name}; there are {others or 'none'}")
    if config.getoption("--record"):
        told.append(f"recorded in {records.add(run)}")
        records.update_pages()
    terminalreporter.write_line("\n" + "\n".join(told))

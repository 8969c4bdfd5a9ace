"""`versus`: time a job and its baseline in turn in one process, after checking that they agree.

`--record` writes what was measured to benchmarks/results/ and the table of benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write results/ and the table in README.md")


def seconds(job: Callable[[], Any]) -> float:
    time.sleep(0.2)  # idle BLAS and OpenMP threads of the job before spin for a while
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


@pytest.fixture
def versus(benchmark: Any) -> Callable[..., None]:
    """versus(name, ours, baseline, goal, against, each, rounds, work): time both in turn, record the ratio.

    ours and baseline are called without arguments; each: jobs in one call of either, as (ours, baseline).
    goal: the ratio asked for.  against: what the baseline is.  work: seconds that the multiplications of a
    call would take at the rate of a large SGEMM, to tell what share of that rate ours reaches.
    """

    def run(
        name: str,
        ours: Callable[[], Any],
        baseline: Callable[[], Any],
        goal: float,
        against: str,
        each: tuple[int, int] = (1, 1),
        rounds: int = 5,
        work: float | None = None,
    ) -> None:
        first = seconds(ours)
        times = [(seconds(ours) / each[0], seconds(baseline) / each[1]) for _ in range(rounds)]
        mine, theirs = (statistics.median(side) for side in zip(*times, strict=True))
        row = {
            "name": name,
            "ours_s": mine,
            "baseline_s": theirs,
            "ratio": statistics.median(b / a for a, b in times),
            "goal": goal,
            "against": against,
            "first_call_s": first,
            "share": work and work / mine,
        }
        ROWS.append(row)
        benchmark.extra_info.update(row)
        benchmark.pedantic(ours, rounds=rounds)

    return run


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = re.search(r"model name\s*: (.*)", info.read_text())[1]  # type: ignore[index]
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores"


def human(s: float) -> str:
    return f"{s:.3g} s" if s >= 1 else f"{s * 1e3:.3g} ms" if s >= 1e-3 else f"{s * 1e6:.3g} µs"


def table() -> str:
    import numba
    import numpy as np

    head = f"{machine()}; NumPy {np.__version__}, Numba {numba.__version__}; {date.today()}\n\n"
    head += "| job | fastrec | baseline | | ratio | goal | of SGEMM | first call |\n" + "|---" * 8 + "|\n"
    for r in ROWS:
        share = f"{r['share']:.0%}" if r["share"] else ""
        head += f"| {r['name']} | {human(r['ours_s'])} | {human(r['baseline_s'])} | {r['against']} | "
        head += f"**{r['ratio']:.3g}** | {r['goal']:.3g} | {share} | {human(r['first_call_s'])} |\n"
    return head.rstrip()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not ROWS:
        return
    terminalreporter.write_line("\n" + table())
    if config.getoption("--record"):
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "cpu.json").write_text(
            json.dumps({"machine": machine(), "date": str(date.today()), "rows": ROWS}, indent=1) + "\n"
        )
        readme = HERE / "README.md"
        parts = re.split(r"(<!-- table -->\n|<!-- end -->)", readme.read_text())
        readme.write_text("".join([*parts[:2], table() + "\n", *parts[3:]]))

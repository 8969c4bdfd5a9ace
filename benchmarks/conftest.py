"""`versus`: time a job and its baseline in turn in one process, after checking that they agree.

`--record` writes what was measured to benchmarks/results/cpu.json, beside it to history/, and to the table of
benchmarks/README.md.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fastrec.bench.timing import human_seconds as human
from fastrec.bench.timing import in_turn, machine, seconds

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROWS: list[dict[str, Any]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write results/ and the table in README.md")


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
        mine, theirs, ratio = in_turn(ours, baseline, each, rounds)
        row = {
            "name": name,
            "ours_s": mine,
            "baseline_s": theirs,
            "ratio": ratio,
            "goal": goal,
            "against": against,
            "first_call_s": first,
            "share": work and work / mine,
        }
        ROWS.append(row)
        benchmark.extra_info.update(row)
        benchmark.pedantic(ours, rounds=rounds)

    return run


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
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
        )
        commit = told.stdout.strip() or "unknown"
        found = {"machine": machine(), "date": str(date.today()), "commit": commit, "rows": ROWS}
        for path in (RESULTS / "cpu.json", RESULTS / "history" / f"{date.today()}-{commit}.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        readme = HERE / "README.md"
        parts = re.split(r"(<!-- table -->\n|<!-- end -->)", readme.read_text())
        readme.write_text("".join([*parts[:2], table() + "\n", *parts[3:]]))

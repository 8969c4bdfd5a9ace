"""Measure the cost of a first call with nothing compiled, alternately in another checkout and in this tree.

python benchmarks/cold_start.py CHECKOUT [--rounds 3] [JOB ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sides import FIRST, ROOT, first_call

GOALS = {"capacity": 0.35, "store and recall": 0.4} | {
    name: 0.5 for name in FIRST if name.startswith("loss and gradients")
}


def numba_alone() -> float:
    """Return the CPU seconds of a process that only imports Numba."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import numba"], check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def measure(trees: dict[str, Path], name: str, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return the results of `first_call` for each tree and round, each with an empty cache."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in trees}
    for _ in range(rounds):
        for side, tree in trees.items():
            with tempfile.TemporaryDirectory() as folder:
                found[side].append(first_call(tree, name, Path(folder)))
    if len({row["digest"] for rows in found.values() for row in rows}) > 1:
        raise ArithmeticError(f"{name}: the two versions disagree")
    return found


def summary(ratios: list[float]) -> str:
    """Return the median, the minimum and the maximum as text."""
    return f"**{statistics.median(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(FIRST))
    parser.add_argument("--rounds", type=int, default=3, help="number of repetitions (default: 3)")
    options = parser.parse_intermixed_args()
    if unknown := set(options.jobs) - set(FIRST):
        parser.error(f"there is no job {unknown.pop()!r}; there are {', '.join(FIRST)}")
    trees = {"before": options.checkout.resolve(), "after": ROOT}
    floor = statistics.median(numba_alone() for _ in range(options.rounds))
    print(
        f"CPU seconds, medians of {options.rounds} rounds; a process that imports Numba alone: {floor:.2f}\n"
    )
    heads = ("imports", "", "compilation", "", "ratio", "goal", "by the clock", "", "ratio", "functions")
    print(f"| first call | {' | '.join(heads)} |\n{'|---' * 11}|")
    for name in options.jobs or FIRST:
        found = measure(trees, name, options.rounds)
        medians = {
            key: [f"{statistics.median(row[key] for row in found[side]):.2f}" for side in trees]
            for key in ("imports", "cpu", "wall")
        }
        ratios = {
            key: summary([after[key] / before[key] for before, after in zip(*found.values(), strict=True)])
            for key in ("cpu", "wall")
        }
        goal = GOALS.get(name, "")
        functions = " to ".join(str(found[side][0]["compiled"]) for side in trees)
        cells = [*medians["imports"], *medians["cpu"], ratios["cpu"], goal, *medians["wall"], ratios["wall"]]
        print(f"| {name} | {' | '.join(map(str, [*cells, functions]))} |", flush=True)


if __name__ == "__main__":
    main()

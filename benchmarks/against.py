"""Time the jobs of README.md alternately in another checkout and in this tree, each in its own process.

python benchmarks/against.py CHECKOUT [--rounds 7] [PART OF A NAME ...]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sides import AGAIN, ROOT, Side

from fastrec.bench.timing import format_seconds

LEAST = 0.1  # seconds of the calls that are timed together
IDLE = 0.2  # seconds before: threads of the call before have gone to sleep
LOADED = "addition, 64 networks, 1 epoch of 512 pairs"


@contextlib.contextmanager
def both(trees: dict[str, Path], caches: Path, name: str) -> Iterator[tuple[Side, Side]]:
    """Start a process for each version with the job ready, and check that both give the same result."""
    sides = [Side(tree, name, caches / label) for label, tree in trees.items()]
    try:
        before, after = sides
        if before.digest != after.digest:
            raise ArithmeticError(f"{name}: the two versions disagree")
        yield before, after
    finally:
        for side in sides:
            side.close()


def summary(ratios: list[float]) -> str:
    """Return the median and the quartiles as text."""
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"**{median:.3f}** ({low:.3f} to {high:.3f})"


def idle_then(side: Side, calls: int) -> tuple[float, float]:
    time.sleep(IDLE)
    return side.time(calls)


def row(before: Side, after: Side, rounds: int) -> list[str]:
    """Return seconds per call of both versions, their ratio, and the ratio of a first call after a pause."""
    calls = math.ceil(LEAST / min(before.seconds, after.seconds))
    pairs = []
    for number in range(rounds):
        order = (before, after) if number % 2 == 0 else (after, before)
        times = {side: idle_then(side, calls) for side in order}
        pairs.append((times[before], times[after]))
    seconds = [format_seconds(statistics.median(pair[side][1] for pair in pairs)) for side in (0, 1)]
    return [*seconds, *(summary([new[which] / old[which] for old, new in pairs]) for which in (1, 0))]


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Start this many processes that each keep a core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(IDLE)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def beside_others(side: Side, rounds: int) -> str:
    """Return how many times longer the training of `fastrec addition` takes next to two busy processes."""
    ratios = []
    for _ in range(rounds):
        _, alone = idle_then(side, 2)
        with busy(2):
            ratios.append(side.time(2)[1] / alone)
    return summary(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help="parts of the names of the jobs to run")
    parser.add_argument(
        "--rounds", type=int, default=7, help="number of repetitions, at least 2 (default: 7)"
    )
    options = parser.parse_intermixed_args()
    names = [name for name in AGAIN if not options.parts or any(part in name for part in options.parts)]
    trees = {"before": options.checkout.resolve(), "after": ROOT}
    print("| job | before | after | ratio | after a pause |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            with both(trees, Path(folder), name) as (before, after):
                print(f"| {name} | {' | '.join(row(before, after, options.rounds))} |", flush=True)
        if LOADED in names:
            with both(trees, Path(folder), LOADED) as sides:
                for label, side in zip(trees, sides, strict=True):
                    slower = beside_others(side, options.rounds)
                    print(f"{LOADED}, beside two busy processes, {label}: {slower} times as long")


if __name__ == "__main__":
    main()

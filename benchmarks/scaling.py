"""Measure how the time of the capacity job grows with n, and the gain from a second worker.

    python benchmarks/scaling.py

A trial costs n p^2 multiply-adds with p close to n / (4 ln n), so its time should grow as n^3 / ln(n)^2.
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import Executor

import numpy as np

import fastrec
from fastrec.jobs.executors import process_pool

SIZES, SECONDS = (3000, 10_000, 30_000, 100_000), 8.0


def seconds_of(n: int, trials: int, executor: Executor | None = None) -> float:
    """Return the wall time of some trials."""
    begin = time.perf_counter()
    fastrec.capacity_scaling([n], trials, progress=False, seed=1, backend="cpu", executor=executor)
    return time.perf_counter() - begin


def exponent() -> None:
    """Print the time of a trial at each size, and the exponents between sizes."""
    cores, times = os.cpu_count() or 1, []
    for n in SIZES[:3]:  # compiles what trials side by side need, and one on all threads
        seconds_of(n, cores)
    print(f"{'n':>7} {'ms a trial':>11} {'n^3/ln(n)^2 law':>16} {'exponent':>9} {'of the law':>11}")
    for n in SIZES:
        trials = cores * 2
        while (took := seconds_of(n, trials)) < SECONDS and trials < 10_000:
            trials = cores * math.ceil(1.2 * trials * SECONDS / took / cores)
        times.append(took / trials)
        law = [m**3 / math.log(m) ** 2 for m in SIZES[: len(times)]]
        row = f"{n:7d} {1e3 * times[-1]:11.3f} {law[-1] / law[0] * 1e3 * times[0]:16.3f}"
        if len(times) > 1:
            step = math.log(n / SIZES[len(times) - 2])
            found, expected = (math.log(values[-1] / values[-2]) / step for values in (times, law))
            row += f" {found:9.2f} {expected:11.2f}"
        print(row, flush=True)
    fits = [np.polyfit(np.log(SIZES), np.log(values), 1)[0] for values in (times, law)]
    print(f"over all sizes: n^{fits[0]:.2f}; the law is n^{fits[1]:.2f}\n")


def strong_scaling(n: int = 10_000, trials: int = 400) -> None:
    """Print the time of a job with 1 and with 2 processes of one thread, after compilation."""
    took = []
    for workers in (1, 2):
        with process_pool(workers) as pool:
            seconds_of(n, 4 * workers, pool)
            took.append(min(seconds_of(n, trials, pool) for _ in range(2)))
        print(f"n = {n}, {trials} trials, workers: {workers}, {took[-1]:.2f} s", flush=True)
    print(f"2 workers are {took[0] / took[1]:.2f} times as fast as 1")


if __name__ == "__main__":
    exponent()
    strong_scaling()

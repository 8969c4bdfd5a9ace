"""The main job as users start it: capacities up to a million units, into a run file; capacities on all cards.

The file lies beside the results; `docs/results/make card FILE` makes a table and a figure of it.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrec
from fastrec.backend import device, visible_devices
from fastrec.hopfield import theory
from fastrec.hopfield.storage_capacity.memory import one_trial_bytes

from .capacity import products
from .measure import equal, measure, run_all, stored
from .report import Report

SEED = 1  # of the runs of backend cpu in docs/results
# Units and trials, and seconds at most.
FULL = ((100_000, 64, 20.0), (1_000_000, 1, 60.0))
SMALL = ((60, 8, 1.0), (130, 1, 1.0))
MILLION = [23_000]  # as in docs/results: it takes an hour on two cores


def counts(backend: str, n: int, trials: int) -> list[int]:
    return fastrec.capacity(n, trials, seed=SEED, backend=backend).counts.tolist()


def run_file(results: Path) -> Path:
    """Return the run file beside the file of results of a card."""
    return results.with_name(f"{results.stem}-capacity.db")


def main_job(report: Report) -> None:
    path = run_file(report.path)
    path.unlink(missing_ok=True)  # of an earlier run, whose trials would be taken over

    def job(n: int, trials: int) -> Any:
        options = {"out": path, "seed": SEED, "backend": "gpu", "progress": False}
        return fastrec.capacity_scaling([n], trials, **options)[0]

    def check(result: Any) -> None:
        n = result.n
        equal(result.counts, np.array(MILLION if n == 1_000_000 else stored(f"main job, n = {n}")))
        again = job(n, result.trials)
        equal(again.counts, result.counts, "the run")
        assert math.isclose(again.seconds, result.seconds), "a second start has run trials again"

    def run(n: int, trials: int, seconds: float) -> None:
        limit = theory.capacity_bound(n)
        asked = {"memory": one_trial_bytes(n, limit, device().multiprocessors)} if trials == 1 else {}
        measure(
            report,
            f"capacity into a run file, n = {n}, {trials} trials",
            partial(job, n, trials),
            check,
            lambda result: products(n, result.counts),
            "int8",
            repeat=False,
            seconds=seconds,
            **asked,
        )

    run_all(report, [(f"n = {size[0]}", partial(run, *size)) for size in report.size(FULL, SMALL)])


def cards(report: Report) -> None:
    """Run the trials of the smaller size on all cards of this machine, a process each."""
    n, trials, _ = report.size(FULL, SMALL)[0]
    options = {"seed": SEED, "backend": "gpu", "workers": "all", "progress": False}
    measure(
        report,
        f"capacity by workers, n = {n}, {trials} trials, cards: {len(visible_devices())}",
        lambda: fastrec.capacity_scaling([n], trials, **options)[0],
        lambda result: equal(result.counts, np.array(stored(f"main job, n = {n}"))),
        lambda result: products(n, result.counts),
        "int8",
        repeat=False,
    )

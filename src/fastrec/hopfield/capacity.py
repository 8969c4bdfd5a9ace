"""The main job: how many memories a Hopfield network of n units holds, exactly, over many trials."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from ..arguments import as_int, require_memory
from ..backend import kernels, resolve
from ..files import require_suffix, require_writable
from ..progress import progress_bar
from . import theory
from .patterns import MAX_UNITS, stream_key
from .results import (
    CapacityDefinition,
    CapacityResult,
    Criterion,
    ScalingResult,
    Stop,
    Update,
)

MAX_TRIALS = 2**32 - 1  # a trial is one word of the random streams' counter
MAX_LOAD = 2**24 - 1  # a load has 24 bits of another
CHUNK_SECONDS = 0.5  # work of one kernel call: how often progress is told and Ctrl-C heard


def capacity(
    n: int,
    trials: int = 100,
    criterion: Criterion = "all",
    stop: Stop = "first_failure",
    corruption: int = 1,
    update: Update = "async",
    seed: int = 0,
    backend: str | None = None,
    *,
    max_sweeps: int = 100,
    max_patterns: int | None = None,
    progress: bool = False,
) -> CapacityResult:
    """Capacity of a Hopfield network of n units with zero self-coupling and random patterns.

    Memories are added one at a time.  After each, stored memories are probed with `corruption` of their bits
    flipped at random, recalled until they rest, for at most `max_sweeps` sweeps, and must come back exactly.

    n: units.
    trials: independent networks; trial t depends on seed, n and t alone.
    criterion: "all" stored memories must come back, or the "newest" only.
    stop: "first_failure" counts the memories before the first load that fails; "largest" the largest load
        that passes.  The two differ, since success is not monotone in the load.
    corruption: bits flipped in each probe, 0..n, drawn anew for each memory and load.
    update: "async", a random order of the units in each sweep, or "sync".
    max_patterns: where the search ends; a trial that got so far is marked censored.  By default the load
        whose chance to pass is below 1e-9 (`theory.capacity_bound`).

    Returns a `CapacityResult`; the numbers are the same on every backend and thread count.  Raises ValueError
    before any work if an argument is out of range or the networks would not fit in memory.
    """
    return capacity_scaling(
        [n],
        trials,
        progress=progress,
        criterion=criterion,
        stop=stop,
        corruption=corruption,
        update=update,
        seed=seed,
        backend=backend,
        max_sweeps=max_sweeps,
        max_patterns=max_patterns,
    )[0]


def capacity_scaling(
    sizes: Iterable[int],
    trials: int = 100,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    criterion: Criterion = "all",
    stop: Stop = "first_failure",
    corruption: int = 1,
    update: Update = "async",
    seed: int = 0,
    backend: str | None = None,
    *,
    max_sweeps: int = 100,
    max_patterns: int | None = None,
) -> ScalingResult:
    """`capacity` at each of several sizes: its arguments, and those it has not.

    sizes: numbers of units, each once; the networks of different sizes are independent.
    out: a .csv file that gets every trial (`ScalingResult.save`).
    progress: show a bar with the time left, on a terminal.

    Raises as `capacity` does, for all sizes before any work, and ValueError or OSError if `out` is no CSV
    file or cannot be written.
    """
    numbers = [as_int("n", n, 1, MAX_UNITS) for n in sizes]
    if not numbers:
        raise ValueError("sizes is empty; give at least one number of units")
    if repeated := [n for n in set(numbers) if numbers.count(n) > 1]:
        raise ValueError(f"sizes holds {repeated[0]} more than once; give each size once")
    trials = as_int("trials", trials, 1, MAX_TRIALS)
    if out is not None:
        require_suffix(out, ".csv")
        require_writable(out)
    name = resolve(backend)
    definitions = []
    for n in numbers:
        as_int("corruption", corruption, 0, n)
        limit = theory.capacity_bound(n, criterion=criterion) if max_patterns is None else max_patterns
        limit = as_int("max_patterns", limit, 1, MAX_LOAD)
        sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        definitions.append(CapacityDefinition(criterion, stop, corruption, update, sweeps, limit, seed))
        stream_key(seed, n)
        require_memory(f"capacity of n = {n}", scan_bytes(n, limit, criterion, trials), "; use fewer threads")
    costs = [n * d.max_patterns**2 for n, d in zip(numbers, definitions, strict=True)]
    with progress_bar("capacity", trials * sum(costs), progress) as advance:
        results = tuple(
            count(n, trials, definition, name, partial(tell, advance, cost, f"n = {n}"))
            for n, definition, cost in zip(numbers, definitions, costs, strict=True)
        )
    scaling = ScalingResult(results)
    if out is not None:
        scaling.save(out)
    return scaling


def threads() -> int:
    """Networks scanned at once: NUMBA_NUM_THREADS, or all cores."""
    return int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)


def tell(advance: Callable[[float, str], None], cost: float, name: str, trials: int) -> None:
    """Tell a progress bar of trials done."""
    advance(cost * trials, name)


def count(
    n: int, trials: int, definition: CapacityDefinition, backend: str, advance: Callable[[int], None]
) -> CapacityResult:
    """Run all trials of one size, some at a time, telling `advance` how many are done."""
    scan = kernels("capacity", backend).capacity_scan
    d = definition
    counts, censored = np.empty(trials, dtype=np.int64), np.empty(trials, dtype=np.bool_)
    at_once = threads()
    begin, done, chunk = time.perf_counter(), 0, at_once
    while done < trials:
        started = time.perf_counter()
        part = slice(done, min(done + chunk, trials))
        scan(
            stream_key(d.seed, n),
            n,
            np.arange(part.start, part.stop),
            d.criterion == "newest",
            d.stop == "largest",
            d.corruption,
            d.update == "sync",
            d.max_sweeps,
            d.max_patterns,
            counts[part],
            censored[part],
        )
        took = max(time.perf_counter() - started, 1e-6)
        advance(part.stop - done)
        done = part.stop
        # Whole rounds of the threads, at most four times more than before: the first call may have compiled.
        rounds = min(CHUNK_SECONDS / took, 4) * chunk / at_once
        chunk = at_once * max(1, int(rounds))
    return CapacityResult(n, counts, censored, definition, backend, time.perf_counter() - begin)


def scan_bytes(n: int, limit: int, criterion: Criterion, trials: int) -> int:
    """Memory of the networks that are scanned at once, at the search limit."""
    rows = 8 if criterion == "newest" else limit
    fields = (2 if n < 2**14 else 4) * n * rows
    return min(threads(), trials) * (fields + 3 * n * limit // 8 + 4 * limit**2)

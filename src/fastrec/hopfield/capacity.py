"""The main job: how many memories a Hopfield network of n units holds, exactly, over many trials."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from ..arguments import as_int, available_memory, require_memory
from ..backend import array_module, device, kernels, move, resolve
from ..files import require_suffix, require_writable
from ..kernels import words
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
MOST_AT_ONCE = 4096  # trials of one call on the gpu, all in memory at once


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
    name = resolve(backend, domain="capacity")
    definitions = []
    for n in numbers:
        as_int("corruption", corruption, 0, n)
        limit = theory.capacity_bound(n, criterion=criterion) if max_patterns is None else max_patterns
        limit = as_int("max_patterns", limit, 1, MAX_LOAD)
        sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        definitions.append(CapacityDefinition(criterion, stop, corruption, update, sweeps, limit, seed))
        stream_key(seed, n)
        needed = scan_bytes(n, limit, criterion, trials, name)
        require_memory(f"capacity of n = {n}", needed, "" if name == "gpu" else "; use fewer threads", name)
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
    """Networks scanned at once on the CPU: NUMBA_NUM_THREADS, or all cores."""
    return int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)


def at_once(n: int, limit: int, backend: str) -> tuple[int, int]:
    """Trials that are fewest and most in one kernel call, if there are so many."""
    if backend != "gpu":
        return threads(), MAX_TRIALS
    free = available_memory(backend)
    assert free is not None
    lanes = device().multiprocessors
    fit = (free * 4 // 5 - rows_bytes(n, limit, lanes)) // trial_bytes(n, limit)
    most = min(MOST_AT_ONCE, max(1, fit))
    return min(lanes, most), most


def tell(advance: Callable[[float, str], None], cost: float, name: str, trials: int) -> None:
    """Tell a progress bar of trials done."""
    advance(cost * trials, name)


def count(
    n: int, trials: int, definition: CapacityDefinition, backend: str, advance: Callable[[int], None]
) -> CapacityResult:
    """Run all trials of one size, some at a time, telling `advance` how many are done."""
    scan, xp = kernels("capacity", backend).capacity_scan, array_module(backend)
    d = definition
    counts, censored = np.empty(trials, dtype=np.int64), np.empty(trials, dtype=np.bool_)
    fewest, most = at_once(n, d.max_patterns, backend)
    begin, done, chunk = time.perf_counter(), 0, fewest
    while done < trials:
        started = time.perf_counter()
        part = slice(done, min(done + chunk, trials))
        numbers = xp.arange(part.start, part.stop, dtype=np.int64)
        found, cut = xp.empty(len(numbers), dtype=np.int64), xp.empty(len(numbers), dtype=np.bool_)
        scan(
            stream_key(d.seed, n),
            n,
            numbers,
            d.criterion == "newest",
            d.stop == "largest",
            d.corruption,
            d.update == "sync",
            d.max_sweeps,
            d.max_patterns,
            found,
            cut,
        )
        counts[part], censored[part] = move(found, "cpu"), move(cut, "cpu")
        took = max(time.perf_counter() - started, 1e-6)
        advance(part.stop - done)
        done = part.stop
        # Whole rounds of the threads, at most four times more than before: the first call may have compiled.
        rounds = min(CHUNK_SECONDS / took, 4) * chunk / fewest
        chunk = min(fewest * max(1, int(rounds)), most)
    return CapacityResult(n, counts, censored, definition, backend, time.perf_counter() - begin)


def scan_bytes(n: int, limit: int, criterion: Criterion, trials: int, backend: str) -> int:
    """Memory that a scan cannot do without, at the search limit: of one trial on the gpu, else of all that
    the threads scan at once."""
    if backend == "gpu":
        return one_trial_bytes(n, limit, device().multiprocessors)
    rows = 8 if criterion == "newest" else limit
    fields = (2 if n < 2**14 else 4) * n * rows
    return min(threads(), trials) * (fields + 3 * n * limit // 8 + 4 * limit**2)


def trial_bytes(n: int, limit: int) -> int:
    """Memory of one trial on the gpu: patterns and their transpose, overlaps in 32 and in up to 4 x 8 bits,
    bounds of their sums, and a bit for each memory and load in doubt."""
    p = 64 * words(limit)
    return n * p // 4 + 8 * p**2 + p**2 // 4


def rows_bytes(n: int, limit: int, multiprocessors: int) -> int:
    """Memory of the rows that are in recall on the gpu, two a multiprocessor, where they are large."""
    return 2 * multiprocessors * (19 * n + 4 * limit)


def one_trial_bytes(n: int, limit: int, multiprocessors: int) -> int:
    """Free memory of the gpu that a scan of one trial needs: a fifth is left to fragments."""
    return (trial_bytes(n, limit) + rows_bytes(n, limit, multiprocessors)) * 5 // 4


def largest(fits: Callable[[int], bool]) -> int:
    """The largest number of units that fits, 0 if none does, where all smaller ones fit too."""
    low, high = 0, 1
    while high < MAX_UNITS and fits(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def room(free: int, multiprocessors: int) -> tuple[int, int]:
    """The largest n, to a thousandth, of a trial of `capacity` in so many bytes of the gpu, and of recall.

    Async recall from patterns at load 0.1, which takes them and their transpose, n p / 4 bytes.
    """

    def scan_fits(n: int) -> bool:
        limit = theory.capacity_bound(n)
        return one_trial_bytes(n, limit, multiprocessors) <= free

    return largest(scan_fits), largest(lambda n: n * max(1, n // 10) // 4 <= free)

"""The main job: how many memories a Hopfield network of n units holds, exactly, over many trials."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...backend import array_module, device, kernels, move, resolve
from ...compilation import clock
from ...jobs.executors import as_workers, process_pool, run_tasks
from ...jobs.store import Origin, RunFile, opened, origin, require_out, save_results
from ...kernels import words
from ...kernels.cpu.threads import get_threads, limit_threads
from ...progress import progress_bar
from ...streams import stream_key
from ...validation import as_int, available_memory, require_memory
from .. import theory
from ..states import MAX_UNITS
from .result import RUN, CapacityDefinition, CapacityResult, Criterion, ScalingResult, Stop, Update

MAX_TRIALS = 2**32 - 1  # a trial is one word of the random streams' counter
MAX_LOAD = 2**21  # sums of more overlaps would not fit 32 bits, as in kernels/cpu/capacity.py
SLOWEST = 2e9  # n p^2 at the search limit in a second, on one thread of a slow CPU
KEEP_SECONDS = 10  # between notes of how far a large trial is
CHUNK_SECONDS = 0.5  # work of one kernel call: how often progress is told and Ctrl-C heard
MOST_AT_ONCE = 4096  # trials of one call on the gpu, all in memory at once
# Of a task for an executor, n p^2 at the search limit: some seconds on a core with AVX-512 VNNI.
TASK_WORK = {"reference": 1e7, "cpu": 1e12, "gpu": 1e13}
FEWEST_TASKS = 64  # if there are so many trials: for all workers to have some


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
    executor: Executor | None = None,
    workers: int | None = None,
) -> ScalingResult:
    """`capacity` at each of several sizes: its arguments, and those it has not.

    sizes: numbers of units, each once; the networks of different sizes are independent.
    out: a .csv file that gets every trial at the end (`ScalingResult.save`), or a run file (.db, .sqlite) in
        which trials are committed as they finish, and how far a large one is.  If that exists, only what is
        missing is run.
    progress: show a bar with the time left, in a terminal or a notebook.
    executor: where trials run, in tasks of one thread each: any executor in the manner of
        `concurrent.futures`, across machines a Dask client's `get_executor()`.  By default they run here, on
        all threads.
    workers: so many processes of this machine as the executor; a script that asks for them needs
        `if __name__ == "__main__":`.

    Raises as `capacity` does, for all sizes before any work; ValueError or OSError if `out` cannot be written
    or is a run of another definition; ChildProcessError if a worker died.  An OSError of a .csv file at the
    end has the results as its attribute `result`.
    """
    numbers = [as_int("n", n, 1, MAX_UNITS) for n in sizes]
    if not numbers:
        raise ValueError("sizes is empty; give at least one number of units")
    if repeated := [n for n in set(numbers) if numbers.count(n) > 1]:
        raise ValueError(f"sizes holds {repeated[0]} more than once; give each size once")
    trials = as_int("trials", trials, 1, MAX_TRIALS)
    workers = as_workers(workers, executor)
    if out is not None:
        require_out(out)
    name = resolve(backend, domain="capacity")
    here = executor is None and workers is None
    lanes = get_threads() if here else workers or 1
    tallies = []
    for n in numbers:
        as_int("corruption", corruption, 0, n)
        limit = theory.capacity_bound(n, criterion=criterion) if max_patterns is None else max_patterns
        limit = as_int("max_patterns", limit, 1, MAX_LOAD)
        sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        definition = CapacityDefinition(criterion, stop, corruption, update, sweeps, limit, seed)
        stream_key(seed, n)
        alone = here and name == "cpu" and kernels("capacity", name).one_by_one(n, limit, trials)
        needed = scan_bytes(n, limit, 1 if alone else min(lanes, trials), name)
        cure = "" if alone or name == "gpu" else f"; use fewer {'workers' if workers else 'threads'}"
        require_memory(f"capacity of n = {n}", needed, cure, name)
        tallies.append(TrialAccumulator(n, definition, trials))
    with ExitStack() as stack:
        file, of = stack.enter_context(opened(out, RUN)), {tally.n: tally for tally in tallies}
        if file is not None:
            resume(file, of)
        todo = [tally.rest(name) for tally in tallies]
        total = sum(task.work for task in todo) * trials
        left = sum(task.cost for task in todo)
        advance = stack.enter_context(progress_bar("capacity", total, progress, total - left))

        def finish(task: Task, parts: Sequence[Part]) -> None:
            if file is not None:
                file.add(row for part in parts for row in part.rows(task))
            for part in parts:
                backend, seconds = part.origin[:2]
                of[task.n].add(*part[:3], {backend}, seconds * len(part.trials))
                advance(task.work * (len(part.trials) - part.shown), f"n = {task.n}")

        if here:
            for task in todo:
                for part in scan(task, lanes, file, advance) if task.cost else ():
                    finish(task, [part])
        elif left:
            if workers is not None:
                executor = stack.enter_context(process_pool(workers))
            work = min(TASK_WORK[name], left / FEWEST_TASKS)
            run_tasks(scan_alone, [part for task in todo for part in task.cut(work)], executor, finish)
    scaling = ScalingResult(tuple(tally.result() for tally in tallies))
    if out is not None and file is None:
        save_results(scaling, out)
    return scaling


class Task(NamedTuple):
    """Trials of one size to run on a backend: their numbers (trials,) int64."""

    n: int
    trials: NDArray[np.int64]
    definition: CapacityDefinition
    backend: str

    @property
    def work(self) -> int:
        """Of one trial: n p^2 at the search limit."""
        return self.n * self.definition.max_patterns**2

    @property
    def cost(self) -> int:
        """Work of all trials."""
        return self.work * len(self.trials)

    def cut(self, work: float) -> list[Task]:
        """Tasks of so much work at most, and of one trial at least."""
        step = max(1, int(work / self.work))
        return [
            self._replace(trials=self.trials[first : first + step])
            for first in range(0, len(self.trials), step)
        ]


class Part(NamedTuple):
    """Trials that ended together: their numbers, what was found, and `origin` with the seconds of one.

    shown: of how many the progress has been shown already.
    """

    trials: NDArray[np.int64]
    counts: NDArray[np.int64]
    censored: NDArray[np.bool_]
    origin: Origin
    shown: float = 0.0

    def rows(self, task: Task) -> Iterator[tuple[Any, ...]]:
        """A row of a run file for each trial."""
        given = asdict(task.definition).values()
        found = (values.tolist() for values in (self.trials, self.counts, self.censored))
        for values in zip(*found, strict=True):
            yield task.n, *values, *given, *self.origin


class TrialAccumulator:
    """What is known of the trials of one size so far."""

    def __init__(self, n: int, definition: CapacityDefinition, trials: int) -> None:
        self.n, self.definition = n, definition
        self.counts = np.full(trials, -1)
        self.censored = np.zeros(trials, dtype=np.bool_)
        self.backends: set[str] = set()
        self.seconds = 0.0

    def add(
        self,
        trials: NDArray[np.int64],
        counts: NDArray[np.int64],
        censored: NDArray[np.bool_],
        backends: set[str],
        seconds: float,
    ) -> None:
        """Take in what was found in trials of these numbers, and where, and how long it took."""
        self.counts[trials], self.censored[trials] = counts, censored
        self.backends |= backends
        self.seconds += seconds

    def rest(self, backend: str) -> Task:
        """The trials that are missing."""
        return Task(self.n, np.flatnonzero(self.counts < 0), self.definition, backend)

    def result(self) -> CapacityResult:
        """All trials."""
        backend = "-".join(sorted(self.backends))
        return CapacityResult(self.n, self.counts, self.censored, self.definition, backend, self.seconds)


def resume(file: RunFile, of: Mapping[int, TrialAccumulator]) -> None:
    """Take in the trials that a run file has, by n.  Raises ValueError if its definition is another."""
    for tally in of.values():
        file.require({"n": tally.n, **asdict(tally.definition)})
    for n, rows in groupby(file.rows(), key=lambda row: int(row[0])):
        if n not in of:
            continue
        columns = [list(values) for values in zip(*rows, strict=True)]
        trials, counts, censored = map(np.array, columns[1:4])
        asked = (trials >= 0) & (trials < len(of[n].counts))
        names, seconds = (
            np.array(columns[RUN.columns.index(name)])[asked] for name in ("backend", "seconds")
        )
        found = trials[asked], counts[asked], censored[asked] == 1
        of[n].add(*found, set(names.tolist()), float(seconds.sum()))


def at_once(n: int, limit: int, backend: str, lanes: int = 1) -> tuple[int, int]:
    """Trials that are fewest and most in one kernel call, if there are so many; lanes: threads of a CPU."""
    if backend != "gpu":
        return lanes, MAX_TRIALS
    free = available_memory(backend)
    assert free is not None
    lanes = device().multiprocessors
    fit = (free * 4 // 5 - rows_bytes(n, limit, lanes)) // trial_bytes(n, limit)
    most = min(MOST_AT_ONCE, max(1, fit))
    return min(lanes, most), most


def scan_alone(task: Task) -> list[Part]:
    """Run a task on one thread."""
    with limit_threads(1):  # executors have workers enough for all cores
        return list(scan(task, 1))


def scan(
    task: Task, lanes: int, file: RunFile | None = None, advance: Callable[..., object] = lambda *_: None
) -> Iterator[Part]:
    """Run the trials of a task, some at a time, on so many threads."""
    n, d = task.n, task.definition
    module = kernels("capacity", task.backend)
    if task.backend == "cpu" and module.one_by_one(n, d.max_patterns, len(task.trials)):
        for trial in task.trials.tolist():
            yield scan_network(task, trial, file, advance)
        return
    kernel, xp = module.capacity_scan, array_module(task.backend)
    fewest, most = at_once(n, d.max_patterns, task.backend, lanes)
    done, chunk = 0, fewest
    if task.backend == "cpu":
        chunk *= max(1, int(CHUNK_SECONDS * SLOWEST / task.work))
    while done < len(task.trials):
        begin = clock()
        trials = task.trials[done : done + chunk]
        found, cut = xp.empty(len(trials), dtype=np.int64), xp.empty(len(trials), dtype=np.bool_)
        kernel(
            stream_key(d.seed, n),
            n,
            xp.asarray(trials),
            d.criterion == "newest",
            d.stop == "largest",
            d.corruption,
            d.update == "sync",
            d.max_sweeps,
            d.max_patterns,
            found,
            cut,
        )
        counts, censored = move(found, "cpu"), move(cut, "cpu")
        took = max(clock() - begin, 1e-6)
        yield Part(trials, counts, censored, origin(task.backend, took / len(trials)))
        done += len(trials)
        # Whole rounds of the threads, at most four times more than before.
        rounds = min(CHUNK_SECONDS / took, 4) * chunk / fewest
        chunk = min(fewest * max(1, int(rounds)), most)


def scan_network(task: Task, trial: int, file: RunFile | None, advance: Callable[..., object]) -> Part:
    """Run one large trial on all threads; a run file keeps how far it is."""
    n, d, begin, shown = task.n, task.definition, clock(), 0.0
    definition = {"n": n, **asdict(d)}
    state, before = file.kept((n, trial), definition) if file is not None else (None, 0.0)
    options = (d.criterion == "newest", d.stop == "largest", d.corruption, d.update == "sync")
    limits = (d.max_sweeps, d.max_patterns)
    try:
        network = kernels("capacity", task.backend).NetworkScan(
            stream_key(d.seed, n), n, trial, *options, *limits, state
        )
    except ValueError as error:
        if file is None:
            raise
        raise ValueError(f"{file.path}: damaged, {error}; give another file") from None
    saved = clock()
    for share in network:
        advance(task.work * (share - shown), f"n = {n}")
        shown = share
        if file is not None and clock() - saved > KEEP_SECONDS:
            file.keep((n, trial), definition, network.progress, before + clock() - begin)
            saved = clock()
    count = np.array([network.end])
    took = before + max(clock() - begin, 1e-6)
    return Part(np.array([trial]), count, count == d.max_patterns, origin(task.backend, took), shown)


def scan_bytes(n: int, limit: int, lanes: int, backend: str) -> int:
    """Memory that a scan cannot do without, at the search limit: of one trial on the gpu, else of so many."""
    if backend == "gpu":
        return one_trial_bytes(n, limit, device().multiprocessors)
    if backend == "reference":
        return 8 * n * (n + limit)
    p = 64 * words(limit)
    # As in kernels/cpu/capacity.py: patterns, their transpose, and of a block of memories the overlaps, their
    # digits, and a center for each step of 8 patterns or more.
    return lanes * (n * p // 4 + 11 * min(p, 504) * p // 2 + 2**22)


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

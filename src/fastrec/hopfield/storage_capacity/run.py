"""The job that counts how many memories Hopfield networks hold, exactly, over many trials."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...backend import Backend, BackendChoice, array_module, kernels, move
from ...compilation import clock
from ...jobs.keeping import TrialFile
from ...jobs.run import Advance, Execution, Part, WorkerCount
from ...jobs.schema import origin
from ...streams import Seed, read_seed, stream_key
from ...threads import get_threads
from ...validation import as_int
from .. import theory
from ..arguments import RuleName
from ..ensemble import Draw, Given, read_ensemble
from ..interaction import Degree
from ..recall import Update
from ..states import States, as_flips, as_sizes, read_flips
from .definition import CapacityDefinition, Criterion, Stop
from .memory import (
    MAX_TRIALS,
    require_scan_memory,
    require_search_memory,
    search_bytes,
    trials_at_once,
)
from .result import SCHEMA, CapacityResult, ScalingResult
from .search import search

MAX_LOAD = 2**21  # sums of more overlaps would not fit 32 bits, as in kernels/cpu/capacity.py
SLOWEST, SMALL_CARD = 2e9, 5e12  # n p^2 at the search limit in a second, on a thread of a slow CPU, on a card
KEEP_SECONDS = 10  # between two times that the progress of a large trial is saved
SEARCH = 100  # times that the scan of a trial takes, divided by n, which a search by definition takes
SIDE_BY_SIDE = 2**28  # bytes of the trials that a search takes at once
CHUNK_SECONDS = 0.5  # work of one kernel call: how often progress is shown and Ctrl-C noticed
# Of a task for an executor, n p^2 at the search limit: some seconds on a core with AVX-512 VNNI, on a card.
TASK_WORK = {"reference": 1e7, "cpu": 1e12, "gpu": 2e14}
FEWEST_TASKS = 64  # if there are so many trials: enough for all workers
LEAST_WORK = {"reference": 0.0, "cpu": 0.0, "gpu": 1e13}  # of a task: a tenth of a second fills a card


def capacity(
    n: int,
    trials: int = 100,
    criterion: Criterion = "all",
    stop: Stop = "first_failure",
    corruption: int | None = None,
    update: Update = "async",
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    flips: float | None = None,
    max_sweeps: int = 100,
    max_patterns: int | None = None,
    rule: RuleName = "hebb",
    patterns: States | Draw | None = None,
    activity: float | None = None,
    self_coupling: bool = False,
    thresholds: ArrayLike | None = None,
    margin: float | None = None,
    max_passes: int | None = None,
    degree: Degree = 2,
    tolerance: float = 0.0,
    progress: bool = True,
) -> CapacityResult:
    """Capacity of a Hopfield network of n units, by default with zero self-coupling and random patterns.

    Memories are added one at a time.  After each, stored memories are probed with some of their bits flipped
    at random, recalled until they stop, and must come back exactly, or within a tolerance.

    Parameters
    ----------
    n : int
        Number of units.
    trials : int
        Number of independent networks.  Trial t depends on seed, n and t alone.
    criterion : {"all", "newest"}
        Whether all stored memories must come back, or only the newest.
    stop : {"first_failure", "largest"}
        "first_failure" counts the memories before the first load that fails, "largest" is the largest load
        that passes.  The two differ, since success is not monotone in the load.
    corruption : int, optional
        The old name of `flips`, an int.
    update : {"async", "sync"}
        "async" updates the units in a random order in each sweep, "sync" all at once.
    seed : int, numpy.random.Generator or None, default 0
        Seed of all random numbers, 0 to 2^64 - 1, which the definition holds; a generator to draw it from, or
        None for a fresh one.
    backend : str, optional
        "cpu", "gpu" or "reference"; by default the one in force (`get_backend`).
    flips : int or float, default 1
        Bits flipped in each probe, drawn anew for each memory and load: an int is a number of them, 0 to n, a
        float a share, 0 to 1, rounded to a whole number.
    max_sweeps : int
        Sweeps after which a recall has failed.
    max_patterns : int, optional
        Most memories that are stored; a trial that reaches it is marked as censored.  By default the load
        that a trial passes with a probability below 1e-9 (`theory.capacity_bound`), also of dense memories.
        Of other networks that are not scanned (see Notes) it is n; 2 n + 5 sqrt(n) for the rule "perceptron",
        where Cover and Gardner have 2 n; n / (2 a ln(1/a)), the capacity by Tsodyks and Feigel'man for a
        small activity a, for the rule "covariance" (a is 1 less the activity if that is smaller); and no more
        than the patterns given.
    rule : {"hebb", "storkey", "projection", "perceptron", "covariance", "sequence"}
        How memories are learnt, as of `HopfieldNetwork`.  A load at which the rule cannot learn all of them
        has failed.  With the rule "sequence" the capacity is the length of the longest sequence: updates are
        "sync", recall makes max_sweeps steps, and the state must be the memory due then, max_sweeps places
        later in the sequence, of which the first follows the last.
    patterns : array_like, PackedStates or function, optional
        Patterns to store in place of random ones.  Of an array (P, n) each trial takes the rows in a random
        order of its own, of (trials, P, n) each trial its own ones in their order.  A function is called once
        a trial as ``patterns(generator, p, n)``, with ``numpy.random.default_rng((seed, n, trial))`` and
        p = max_patterns, and returns states (p, n); it must be defined at the top of a module.  The
        definition knows an array by its SHA-256, a function by its name.
    activity : float, optional
        Probability of +1 in random patterns, 0 to 1, as of `random_patterns`; the rule "covariance" needs it.
    self_coupling, thresholds, margin, max_passes
        As of `HopfieldNetwork`.
    degree : int or "exponential", default 2
        A larger degree than 2, or "exponential", for a `DenseMemory` in place of a network with couplings.
    tolerance : float
        Share of the bits, round(tolerance n), that may be wrong in the fixed point where a recall ends.
    progress : bool
        Whether to show a bar with the time left, in a terminal or a notebook.

    Returns
    -------
    CapacityResult
        The same numbers on every backend and for any number of threads; those of the rule "projection" where
        its couplings are (`HopfieldNetwork`).

    Raises
    ------
    ValueError
        Before any work, if an argument is out of range or the networks do not fit in memory.

    Notes
    -----
    The capacity of plain networks (the rule "hebb", no self-coupling and no thresholds, unbiased random
    patterns, no tolerance) is found by an incremental scan, which learns a memory and looks only at those
    that it may have disturbed.  All others are searched by the definition: at each load p = 1, 2, ... the
    networks of all trials learn their first p memories afresh, and all of these are recalled.  Both are exact
    and use the same random bits, so that they agree where both apply; the search takes some n times longer.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.capacity(50, trials=20, seed=1, backend="reference").median
    7.0
    >>> fastrec.capacity(50, trials=20, seed=1, rule="storkey").median
    15.5
    """
    units = None if corruption is None else as_int("corruption", corruption, 0, n)
    return capacity_scaling(
        [n],
        trials,
        progress=progress,
        criterion=criterion,
        stop=stop,
        flips=read_flips(flips, 1, "corruption", units),
        update=update,
        seed=seed,
        backend=backend,
        max_sweeps=max_sweeps,
        max_patterns=max_patterns,
        rule=rule,
        patterns=patterns,
        activity=activity,
        self_coupling=self_coupling,
        thresholds=thresholds,
        margin=margin,
        max_passes=max_passes,
        degree=degree,
        tolerance=tolerance,
    )[0]


def capacity_scaling(
    sizes: Iterable[int],
    trials: int = 100,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    criterion: Criterion = "all",
    stop: Stop = "first_failure",
    corruption: int | None = None,
    update: Update = "async",
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    flips: float | None = None,
    max_sweeps: int = 100,
    max_patterns: int | None = None,
    rule: RuleName = "hebb",
    patterns: States | Draw | None = None,
    activity: float | None = None,
    self_coupling: bool = False,
    thresholds: ArrayLike | None = None,
    margin: float | None = None,
    max_passes: int | None = None,
    degree: Degree = 2,
    tolerance: float = 0.0,
    executor: Executor | None = None,
    workers: WorkerCount = None,
) -> ScalingResult:
    """Capacities at several sizes, whose networks are independent.

    Parameters
    ----------
    sizes : iterable of int
        Numbers of units, each once.
    trials : int
        Number of independent networks of each size.
    out : path-like, optional
        A .csv file, which is written at the end (`ScalingResult.save`), or a run file (.db, .sqlite), in
        which trials are committed as they finish and the progress of large ones is kept.  If the run file
        exists, only missing trials are run.
    progress : bool
        Whether to show a bar with the time left, in a terminal or a notebook.
    criterion, stop, corruption, update, seed, backend, flips, max_sweeps, max_patterns
        As of `capacity`.
    rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree, tolerance
        As of `capacity`.
    executor : concurrent.futures.Executor, optional
        Where trials run, in tasks of one thread each: any object with its `submit`, such as a Dask client's
        ``get_executor()`` for several machines.  By default they run in this process on all threads.  If
        backend="gpu" is given, devices are needed there only.
    workers : int or "all", optional
        Number of worker processes to start on this machine instead; "all" is one for each core.  On "gpu"
        each has a device of its own, at most one for each that CUDA_VISIBLE_DEVICES shows.  Scripts then need
        ``if __name__ == "__main__":``.

    Returns
    -------
    ScalingResult
        Results in the order of `sizes`; they do not depend on the executor.

    Raises
    ------
    ValueError
        Before any work, as `capacity` for all sizes, if `out` is a run of another definition, and if there
        are more workers than devices.  On an executor and on workers with devices, each asks for the memory
        of its own device as it begins.
    OSError
        If `out` cannot be written.  After the work its attribute `result` is the result.
    ChildProcessError
        If a worker process died.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([20, 40], trials=10, backend="reference")
    >>> [result.median for result in scaling]
    [4.0, 6.5]
    """
    numbers = as_sizes(sizes)
    if repeated := [n for n in set(numbers) if numbers.count(n) > 1]:
        raise ValueError(f"sizes holds {repeated[0]} more than once; give each size once")
    trials = as_int("trials", trials, 1, MAX_TRIALS)
    execution = Execution(out, progress, executor, workers)
    name = execution.resolve(backend, domain="capacity")
    local = executor is None and workers is None
    lanes = get_threads() if local else execution.processes(name) or 1
    number = None if corruption is None else as_int("corruption", corruption, 0, min(numbers))
    flips, seed, tasks = read_flips(flips, 1, "corruption", number), read_seed(seed), []
    units, share = (0, float(flips)) if isinstance(flips, (float, np.floating)) else (flips, 0.0)
    fields, given = read_ensemble(
        rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree
    )
    for n in numbers:
        as_flips(flips, n)
        sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        d = CapacityDefinition(
            criterion, stop, int(units), update, sweeps, 1, seed, share, tolerance, **fields
        )
        limit = search_limit(n, d, given) if max_patterns is None else max_patterns
        d = replace(d, max_patterns=as_int("max_patterns", limit, 1, MAX_LOAD))
        if d.is_scanned:
            alone = local and name == "cpu" and kernels("capacity", name).one_by_one(n, limit, trials)
            if local or name != "gpu":
                cure = "" if alone or name == "gpu" else f"; use fewer {'workers' if workers else 'threads'}"
                require_scan_memory(n, limit, 1 if alone else min(lanes, trials), name, cure)
        else:
            d.require(n, d.max_patterns, given)
            given.require(n, trials, d.max_patterns)
            if local or name != "gpu":
                require_search_memory(n, d.max_patterns, d.is_dense, name)
        tasks.append(Task(n, np.arange(trials), d, name, given))
    result: ScalingResult = execution.run(CapacityJob(tasks))
    return result


def search_limit(n: int, definition: CapacityDefinition, given: Given) -> int:
    """The default of `max_patterns`, as `capacity` explains it."""
    limit = float(n)
    if definition.is_scanned or definition.is_dense:
        try:
            limit = theory.capacity_bound(n, criterion=definition.criterion, degree=definition.power)
        except ValueError as error:
            if not definition.is_dense:
                raise
            raise ValueError(
                f"max_patterns is not given, and n = {n} units hold more patterns than can be tried: {error}"
            ) from None
    elif definition.rule == "perceptron":
        limit = 2 * n + 5 * math.sqrt(n)
    elif definition.rule == "covariance":
        a = min(definition.activity, 1 - definition.activity)
        limit = n / (2 * a * abs(math.log(a)))
    held = given.patterns.shape[-2] if isinstance(given.patterns, np.ndarray) else limit
    return math.ceil(min(limit, held, MAX_LOAD))


class CapacityJob:
    """Capacities of several sizes; see `jobs.run.Job`."""

    schema = SCHEMA

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = tasks
        self.counts: dict[int, NDArray[np.int64]] = {task.n: np.full(len(task.trials), -1) for task in tasks}
        self.censored: dict[int, NDArray[np.bool_]] = {
            task.n: np.zeros(len(task.trials), dtype=np.bool_) for task in tasks
        }
        self.backends: dict[int, set[str]] = {task.n: set() for task in tasks}
        self.seconds: dict[int, float] = {task.n: 0.0 for task in tasks}

    def is_asked(self, key: Sequence[int]) -> bool:
        n, trial = key
        return n in self.counts and 0 <= trial < len(self.counts[n])

    def take(self, columns: Sequence[Sequence[Any]], backends: Iterable[str], seconds: float) -> None:
        n = columns[0][0]
        trials, counts, censored = map(np.asarray, columns[1:])
        self.counts[n][trials], self.censored[n][trials] = counts, censored == 1
        self.backends[n].update(backends)
        self.seconds[n] += seconds

    def missing(self) -> list[Task]:
        tasks = (task._replace(trials=np.flatnonzero(self.counts[task.n] < 0)) for task in self.tasks)
        return [task for task in tasks if task.cost]

    def split(self, tasks: list[Task], cost: float) -> list[Task]:
        backend = tasks[0].backend
        work = min(TASK_WORK[backend], max(LEAST_WORK[backend], cost / FEWEST_TASKS))
        return [piece for task in tasks for piece in task.cut(work)]

    def result(self) -> ScalingResult:
        return ScalingResult(tuple(map(self.result_of, self.tasks)))

    def result_of(self, task: Task) -> CapacityResult:
        """The result of all trials of one size."""
        n, backend = task.n, "-".join(sorted(self.backends[task.n]))
        return CapacityResult(n, self.counts[n], self.censored[n], task.definition, backend, self.seconds[n])


class Task(NamedTuple):
    """Trials of one size to run on a backend.

    Attributes
    ----------
    n : int
        Number of units.
    trials : ndarray of int64
        Numbers of the trials.
    definition : CapacityDefinition
        What is counted.
    backend : str
        Where they run.
    given : Given
        What the definition names.
    """

    n: int
    trials: NDArray[np.int64]
    definition: CapacityDefinition
    backend: Backend
    given: Given = Given()

    @property
    def work(self) -> int:
        """Work of one trial: n p^2 at the search limit, times what a search by definition takes more."""
        longer = 1 if self.definition.is_scanned else SEARCH * self.n
        return longer * self.n * self.definition.max_patterns**2

    @property
    def cost(self) -> int:
        """Work of all trials."""
        return self.work * len(self.trials)

    @property
    def label(self) -> str:
        """What the progress bar says."""
        return f"n = {self.n}"

    def run(self, file: TrialFile | None = None, advance: Advance | None = None) -> Iterator[Part]:
        """Run the trials on all threads; see `scan`."""
        return scan(self, file, advance)

    def cut(self, work: float) -> list[Task]:
        """Tasks of equal numbers of trials, and at most this work or one trial."""
        pieces = -(-len(self.trials) // max(1, int(work / self.work)))
        return [self._replace(trials=trials) for trials in np.array_split(self.trials, pieces)]


def scan(task: Task, file: TrialFile | None, advance: Advance | None) -> Iterator[Part]:
    """Run the trials of a task, some at a time, on all threads."""
    n, d = task.n, task.definition
    module, xp = kernels("capacity", task.backend), array_module(task.backend)
    if d.is_scanned and task.backend == "cpu" and module.one_by_one(n, d.max_patterns, len(task.trials)):
        for trial in task.trials.tolist():
            yield scan_network(task, trial, file, advance)
        return
    if task.backend == "gpu":  # perhaps another device than that of the process that began the job
        if d.is_scanned:
            require_scan_memory(n, d.max_patterns, 1, task.backend)
        else:
            require_search_memory(n, d.max_patterns, d.is_dense, task.backend)
    fewest, most = trials_at_once(n, d.max_patterns, task.backend, get_threads())
    if not d.is_scanned:
        fewest, most = 1, max(1, SIDE_BY_SIDE // search_bytes(n, d.max_patterns, d.is_dense))
    done, chunk = 0, fewest
    if task.backend == "cpu":
        chunk *= max(1, int(CHUNK_SECONDS * SLOWEST / task.work))
    elif task.backend == "gpu":  # nobody hears of parts of a task of an executor
        chunk = most if advance is None else max(fewest, int(CHUNK_SECONDS * SMALL_CARD / task.work))
    while done < len(task.trials):
        begin = clock()
        trials = task.trials[done : done + min(chunk, most)]
        if task.backend == "gpu" and advance is not None:
            advance(0, f"{task.label}, {len(trials)} trial{'s at once' * (len(trials) > 1)}")
        if d.is_scanned:
            counts, censored = xp.empty(len(trials), dtype=np.int64), xp.empty(len(trials), dtype=np.bool_)
            arguments = (n, xp.asarray(trials), *d.kernel_arguments(n), counts, censored)
            module.capacity_scan(stream_key(d.seed, n), *arguments)
        else:
            counts, censored = search(n, trials, d, task.given, task.backend)
        columns = (np.full(len(trials), n), trials, move(counts, "cpu"), move(censored, "cpu"))
        seconds = max(clock() - begin, 1e-6)
        yield Part(columns, origin(task.backend, seconds / len(trials)), task.work * len(trials))
        done += len(trials)
        # Whole rounds of the threads, at most four times more than before.
        rounds = min(CHUNK_SECONDS / seconds, 4) * len(trials) / fewest
        chunk = fewest * max(1, int(rounds))


def scan_network(task: Task, trial: int, file: TrialFile | None, advance: Advance | None) -> Part:
    """Run one large trial on all threads, while a run file keeps its progress."""
    n, d, begin, shown = task.n, task.definition, clock(), 0.0
    definition = {"n": n, **asdict(d)}
    state, before = file.load_progress((n, trial), definition) if file is not None else (None, 0.0)
    try:
        network = kernels("capacity", task.backend).NetworkScan(
            stream_key(d.seed, n), n, trial, *d.kernel_arguments(n), state
        )
    except ValueError as error:
        if file is None:
            raise
        raise ValueError(f"{file.path}: damaged, {error}; give another file") from None
    saved = clock()
    for share in network:
        if advance is not None:
            advance(task.work * (share - shown), task.label)
            shown = share
        if file is not None and clock() - saved > KEEP_SECONDS:
            file.save_progress((n, trial), definition, network.progress, before + clock() - begin)
            saved = clock()
    columns = ([n], [trial], [network.end], [network.end == d.max_patterns])
    seconds = before + max(clock() - begin, 1e-6)
    return Part(columns, origin(task.backend, seconds), task.work * (1 - shown))

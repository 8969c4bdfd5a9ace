"""The jobs that measure how close to a memory recall ends, against load, start and size of the network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...backend import Backend, BackendChoice, move
from ...jobs.keeping import TrialFile
from ...jobs.outcomes import OutcomesJob
from ...jobs.run import Advance, Execution, Part, WorkerCount, measured
from ...messages import shown
from ...streams import Seed, derive, read_seed, stream_key
from ...validation import as_int, as_number, require_memory
from .. import theory
from ..arguments import RuleName
from ..ensemble import OWN, RANDOM, Draw, Given, read_ensemble
from ..interaction import Degree
from ..network import HopfieldNetwork
from ..recall import Update
from ..rules import RULES
from ..sequence import run_steps
from ..states import (
    MAX_UNITS,
    PackedStates,
    States,
    as_flips,
    as_sizes,
    corrupt,
    pack_states,
    random_patterns,
    read_flips,
)
from .census import Outcome, count_ends
from .definition import RetrievalDefinition
from .result import RetrievalResult


def retrieval_curve(
    n: int,
    alphas: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    noise: float | None = None,
    update: Update = "async",
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    flips: float | None = None,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    rule: RuleName = "hebb",
    patterns: States | Draw | None = None,
    activity: float | None = None,
    self_coupling: bool = False,
    thresholds: ArrayLike | None = None,
    margin: float | None = None,
    max_passes: int | None = None,
    degree: Degree = 2,
    temperature: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    executor: Executor | None = None,
    workers: WorkerCount = None,
) -> RetrievalResult:
    """How close to a memory recall ends at each load, in networks of n units, by default of random patterns.

    Recall from the memory itself (flips 0) need not reach the state that AGS describe: m = 0.99346 +- 0.00012
    was measured at a load of 0.12 and n = 20000, where `theory.ags_overlap` is 0.99322.

    Parameters
    ----------
    n : int
        Number of units.
    alphas : array_like of float
        Loads; at each, p = round(alpha n) patterns are stored, at least 1.  Loads of equal p count once.
    trials : int
        Number of independent networks at each load; see `trial_seed`.
    probes : int
        Number of memories of each network that are probed, the first ones; all, if there are fewer.
    noise : float, optional
        The old name of `flips`, always a share.
    update : {"async", "sync"}
        How recall updates the units, as of `HopfieldNetwork.recall` in random order.
    seed : int, numpy.random.Generator or None, default 0
        Seed of all random numbers, 0 to 2^64 - 1, which the definition holds; a generator to draw it from, or
        None for a fresh one.
    backend : str, optional
        "cpu", "gpu" or "reference"; by default the one in force (`get_backend`).
    flips : int or float, default 0
        Units flipped at random in each probe: an int is a number of them, 0 to n, a float a share, 0 to 1,
        rounded to a whole number.
    tolerance : float
        Share of the units, round(tolerance n), that may be wrong where recall succeeds "within" it.
    max_sweeps : int
        Most sweeps of a recall; all are made at a temperature above 0, and in sequences.
    rule, patterns, activity, self_coupling, thresholds, margin, max_passes
        As of `capacity`.  A network stores the first p patterns of a trial; a function is called with the p
        of each load.  With the rule "sequence", whose updates are "sync", recall makes max_sweeps steps and
        the state is compared with the memory due then, max_sweeps places later in the sequence, of which the
        first follows the last.
    degree : int or "exponential", default 2
        As of `capacity`; dense memories take loads above 1.
    temperature : float, default 0.0
        Temperature of Glauber's dynamics, as of `HopfieldNetwork.recall`; above 0, recall makes max_sweeps
        sweeps and the states after the last one are counted.
    out : path-like, optional
        A .csv file, which is written at the end (`RetrievalResult.save`), or a run file (.db, .sqlite), in
        which trials are committed as they finish.  If the run file exists, only missing trials are run.
    progress : bool
        Whether to show a bar with the time left, in a terminal or a notebook.
    executor, workers
        As of `capacity_scaling`; each network is a task.

    Returns
    -------
    RetrievalResult
        The same numbers on every backend and executor, and for any number of threads.

    Raises
    ------
    ValueError
        Before any work, if an argument is out of range or a network does not fit in memory; later if a rule
        cannot learn the patterns of a network.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.retrieval_curve(100, [0.05, 0.2], trials=5, backend="reference")
    >>> [point.p for point in result.points]
    [5, 20]
    """
    share = None if noise is None else as_number("noise", noise, 0, 1)
    cases = cases_from_memory([n], alphas, read_flips(flips, 0, "noise", share))
    fields, given = read_ensemble(
        rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree
    )
    definition = RetrievalDefinition(
        probes, tolerance, update, max_sweeps, read_seed(seed), temperature, **fields
    )
    return measure(cases, trials, definition, given, backend, Execution(out, progress, executor, workers))


def retrieval_scaling(
    sizes: Iterable[int],
    alphas: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    noise: float | None = None,
    update: Update = "async",
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    flips: float | None = None,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    rule: RuleName = "hebb",
    patterns: States | Draw | None = None,
    activity: float | None = None,
    self_coupling: bool = False,
    thresholds: ArrayLike | None = None,
    margin: float | None = None,
    max_passes: int | None = None,
    degree: Degree = 2,
    temperature: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    executor: Executor | None = None,
    workers: WorkerCount = None,
) -> RetrievalResult:
    """`retrieval_curve` at each of several sizes, whose networks are independent.

    Parameters
    ----------
    sizes : iterable of int
        Numbers of units.
    alphas, trials, probes, noise, update, seed, backend
        As of `retrieval_curve`.
    flips, tolerance, max_sweeps, rule, patterns, activity, self_coupling, thresholds, margin, max_passes
        As of `retrieval_curve`.
    degree, temperature
        As of `retrieval_curve`.
    out, progress, executor, workers
        As of `retrieval_curve`.

    Returns
    -------
    RetrievalResult
        As of `retrieval_curve`.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.retrieval_scaling([50, 100], [0.1], trials=2, backend="reference")
    >>> [(point.n, point.p) for point in result.points]
    [(50, 5), (100, 10)]
    """
    share = None if noise is None else as_number("noise", noise, 0, 1)
    cases = cases_from_memory(sizes, alphas, read_flips(flips, 0, "noise", share))
    fields, given = read_ensemble(
        rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree
    )
    definition = RetrievalDefinition(
        probes, tolerance, update, max_sweeps, read_seed(seed), temperature, **fields
    )
    return measure(cases, trials, definition, given, backend, Execution(out, progress, executor, workers))


def basin_map(
    n: int,
    alphas: ArrayLike,
    overlaps: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    update: Update = "async",
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    rule: RuleName = "hebb",
    patterns: States | Draw | None = None,
    activity: float | None = None,
    self_coupling: bool = False,
    thresholds: ArrayLike | None = None,
    margin: float | None = None,
    max_passes: int | None = None,
    degree: Degree = 2,
    temperature: float = 0.0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    executor: Executor | None = None,
    workers: WorkerCount = None,
) -> RetrievalResult:
    """`retrieval_curve` from each of several start overlaps, in the same networks.

    Parameters
    ----------
    n : int
        Number of units.
    alphas : array_like of float
        Loads, as of `retrieval_curve`.
    overlaps : array_like of float
        Overlaps m0 of the probes with their memories, -1..1: round((1 - m0) n / 2) units are flipped.
    trials, probes, update, seed, backend, tolerance, max_sweeps
        As of `retrieval_curve`.
    rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree, temperature
        As of `retrieval_curve`.
    out, progress, executor, workers
        As of `retrieval_curve`.

    Returns
    -------
    RetrievalResult
        As of `retrieval_curve`.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.basin_map(100, [0.05], [0.2, 0.8], trials=2, backend="reference")
    >>> [point.flips for point in result.points]
    [10, 40]
    """
    n = as_int("n", n, 1, MAX_UNITS)
    starts = as_numbers("overlaps", overlaps, -1, 1)
    cases = [(n, p, round((1 - m0) / 2 * n)) for p in read_loads(n, alphas) for m0 in starts]
    fields, given = read_ensemble(
        rule, patterns, activity, self_coupling, thresholds, margin, max_passes, degree
    )
    definition = RetrievalDefinition(
        probes, tolerance, update, max_sweeps, read_seed(seed), temperature, **fields
    )
    return measure(cases, trials, definition, given, backend, Execution(out, progress, executor, workers))


def trial_seed(seed: int, n: int, p: int, trial: int) -> int:
    """The seed of one network of retrieval, which fixes its patterns, flipped units and orders of updates.

    With s = trial_seed(seed, n, p, trial) they are those of ``random_patterns(p, n, s)``,
    ``corrupt(patterns[:probes], flips, s)`` and ``recall(..., seed=s)``.  Patterns that are given are the
    same at all loads, as of `capacity`.  It is the first 64 bits of the
    Philox block with counter (p, 0, trial, DERIVE) and the key of `seed` and n.

    Parameters
    ----------
    seed : int
        Seed of the definition.
    n, p : int
        Numbers of units and of patterns.
    trial : int
        Number of the network.

    Returns
    -------
    int
        From 0 to 2^64 - 1.

    Examples
    --------
    >>> from fastrec.hopfield.retrieval import trial_seed
    >>> trial_seed(0, 100, 10, trial=0) != trial_seed(0, 100, 10, trial=1)
    True
    """
    return int(derive(int(stream_key(seed, n)), p, trial))


class Task(NamedTuple):
    """One network: store p random patterns, recall the first ones from `flips` wrong units.

    Attributes
    ----------
    n, p, flips, trial : int
        As of `Outcome`.
    definition : RetrievalDefinition
        How it is measured.
    backend : str
        Where it runs.
    given : Given
        What the definition names.
    """

    n: int
    p: int
    flips: int
    trial: int
    definition: RetrievalDefinition
    backend: Backend
    given: Given = Given()

    @property
    def cost(self) -> float:
        """Work, in any unit: recall lasts longer where memories are lost."""
        longer = 1.0 if self.p < theory.ALPHA_C * self.n else 6.0
        return longer * self.n * self.p * min(self.definition.probes, self.p)

    @property
    def label(self) -> str:
        """What the progress bar says."""
        return f"n = {self.n}, p = {self.p}"

    def run(self, file: TrialFile | None = None, advance: Advance | None = None) -> Iterator[Part]:
        """Recall on all threads."""
        return measured(self, retrieve)


def retrieve(task: Task) -> Outcome:
    """Run a task, and count how its recalls end."""
    n, p, flips, trial, d, backend, given = task
    b = min(d.probes, p)
    if backend == "gpu":  # perhaps another device than that of the process that began the job
        require_retrieval_memory(n, p, b, backend, d)
    seed = trial_seed(d.seed, n, p, trial)
    if d.patterns == RANDOM:
        memories = random_patterns(p, n, seed, backend=backend, packed=True, activity=d.activity or None)
    else:
        memories = PackedStates._of(pack_states(given.draw(d.seed, n, trial, p), backend), n)
    network = d.network(n, given, backend)
    try:
        network.store(memories)
    except ValueError as error:
        raise ValueError(f"retrieval with n = {n}, p = {p}, trial {trial}: {error}") from None
    probes = corrupt(PackedStates._of(memories.words[:b], n), flips, seed, backend)
    due, sweeps, converged = np.arange(b), b * d.max_sweeps, 0
    if d.is_sequence:
        due = (due + d.max_sweeps) % p
    if d.is_sequence and not d.temperature and isinstance(network, HopfieldNetwork):
        states, _ = run_steps(network._stored, backend, probes.words[None], d.max_sweeps)
        final: Any = PackedStates._of(states[0], n)
    else:
        heat: dict[str, Any] = {"temperature": d.temperature} if d.temperature else {}
        recalled = network.recall(probes, d.update, max_sweeps=d.max_sweeps, seed=seed, **heat)
        final, sweeps, converged = recalled.states, int(recalled.sweeps.sum()), int(recalled.converged.sum())
    m = move(network._integer_overlaps(final), "cpu").astype(np.int64)
    with_memory = m[np.arange(b), due]
    return Outcome(
        n,
        p,
        flips,
        trial,
        b,
        int(with_memory.sum()),
        int(with_memory @ with_memory),  # b n^2 < 2^63, as p n^2 is
        int((with_memory == n).sum()),
        int((n - with_memory <= 2 * round(d.tolerance * n)).sum()),
        converged,
        sweeps,
        *count_ends(m, memories, final, due),
    )


def measure(
    cases: Iterable[tuple[int, int, int]],
    trials: int,
    definition: RetrievalDefinition,
    given: Given,
    backend: BackendChoice | None,
    execution: Execution,
) -> RetrievalResult:
    """Check the arguments that all jobs share, and run all trials of the cases (n, p, flips), each once."""
    name = execution.resolve(backend, domain="hopfield")
    local = execution.executor is None and execution.workers is None
    trials = as_int("trials", trials, 1, 2**32 - 1)
    cases = list(dict.fromkeys(cases))
    for n, p, _ in cases:
        definition.require(n, p, given)
        given.require(n, trials, p)
        if definition.rule == "projection" and p > n:
            raise ValueError(f'alphas make p = {p} of n = {n}; rule="projection" takes at most n patterns')
        if local or name != "gpu":
            require_retrieval_memory(n, p, min(definition.probes, p), name, definition)
    tasks = [Task(*case, trial, definition, name, given) for case in cases for trial in range(trials)]
    result: RetrievalResult = execution.run(OutcomesJob(tasks, RetrievalResult))
    return result


def require_retrieval_memory(n: int, p: int, b: int, backend: str, definition: RetrievalDefinition) -> None:
    """Raise ValueError if recall of b of p patterns does not fit where the backend computes."""
    nbytes = n * p // 4 + n * b // 2 + 32 * b * p
    from_patterns = (
        definition.is_dense
        or RULES[definition.rule].pattern_space
        or (definition.is_sequence and not definition.temperature)
    )
    if not (from_patterns and definition.thresholds == OWN):
        nbytes += 24 * n * n  # couplings while they are learnt, and their transpose
    require_memory(f"retrieval with n = {n}, p = {p}", nbytes, backend=backend)


def cases_from_memory(sizes: Iterable[int], alphas: ArrayLike, flips: float) -> list[tuple[int, int, int]]:
    """Cases (n, p, flips) of all sizes and loads."""
    return [(n, p, as_flips(flips, n)) for n in as_sizes(sizes) for p in read_loads(n, alphas)]


def read_loads(n: int, alphas: ArrayLike) -> list[int]:
    """Numbers of patterns of the loads."""
    # A network takes p n^2 < 2^63, and its number of patterns is a word of the random streams' counter.
    most = min(2**31 - 1, (2**63 - 1) // n**2) / n
    return [max(1, round(alpha * n)) for alpha in as_numbers("alphas", alphas, 0, most)]


def as_numbers(name: str, values: ArrayLike, low: float, high: float) -> list[float]:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {shown(values)}; it must hold numbers") from None
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; give at least one number, in one dimension")
    return [as_number(name, value, low, high) for value in array.tolist()]

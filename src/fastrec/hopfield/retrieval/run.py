"""Retrieval with errors: how close to a memory recall ends, against load, start and size of the network."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...backend import backend_of, move, resolve
from ...compilation import clock
from ...display import Displayed, Table, import_pandas, span
from ...files import require_suffix
from ...jobs import store as runs
from ...jobs.executors import as_workers, process_pool, run_tasks
from ...jobs.store import Origin, origin
from ...kernels.cpu.threads import limit_threads
from ...progress import progress_bar
from ...streams import derive, stream_key
from ...tables import write_table
from ...validation import as_int, require_memory
from .. import theory
from ..network import HopfieldNetwork
from ..states import MAX_UNITS, PackedStates, corrupt, random_patterns
from ..storage_capacity.result import Update

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
ENDS = ("memory", "another", "inverse", "mixture", "glass")


class Outcome(NamedTuple):
    """What `retrieve` counts in one trial: whole numbers, sums over the probes.

    n: units.  p: stored patterns.  flips: units flipped in each probe.  trial: number of the network.
    probed: probes, each of another memory.
    overlap, squares: sum of the overlaps sum_i x_i s_i, -n..n, of final states with their memories, and of
        their squares.
    exact: final states equal to the memory.
    within: final states that differ from it in at most round(tolerance n) units.
    converged: recalls that reached a fixed point.
    sweeps: of all recalls.

    Where recalls end is one of five: with near for an overlap of at least 9/10 n, and the first that holds,
    memory: near the probed memory.
    another: near another one.
    inverse: near the inverse -x of any memory.
    mixture: near the majority of three memories or their inverses, sign(+-x1 +-x2 +-x3): the three of largest
        absolute overlap (the first of equal ones), each with the sign of its overlap.  The majority itself
        has an overlap of about 1/2 n with each.
    glass: none of these.
    """

    n: int
    p: int
    flips: int
    trial: int
    probed: int
    overlap: int
    squares: int
    exact: int
    within: int
    converged: int
    sweeps: int
    memory: int
    another: int
    inverse: int
    mixture: int
    glass: int


RUN = runs.Table(
    "retrieval",
    key=dict.fromkeys(("n", "p", "flips", "trial"), "INTEGER"),
    values=dict.fromkeys(Outcome._fields[4:], "INTEGER"),
    definition={
        "probes": "INTEGER",
        "tolerance": "REAL",
        "update": "TEXT",
        "max_sweeps": "INTEGER",
        "seed": "TEXT",  # integers of SQLite end at 2^63 - 1
    },
)
COLUMNS: dict[str, type] = {
    **dict.fromkeys(Outcome._fields, int),
    "probes": int,
    "tolerance": float,
    "update": str,
    "max_sweeps": int,
    "seed": int,
    "backend": str,
    "seconds": float,
}


@dataclass(frozen=True)
class RetrievalDefinition:
    """How retrieval is measured.  Part of every result.

    Networks of random patterns without self-coupling; of each the first `probes` memories (all, if fewer) are
    probed, recalled with `update` until they stop, for at most `max_sweeps` sweeps.  Recall succeeds within
    `tolerance` if at most that share of the units, round(tolerance n) of them, is wrong.  `seed` fixes
    patterns, flipped units and orders.  Raises ValueError for a value outside these.
    """

    probes: int
    tolerance: float
    update: Update
    max_sweeps: int
    seed: int

    def __post_init__(self) -> None:
        as_int("probes", self.probes, 1, 2**31 - 1)
        _as_number("tolerance", self.tolerance, 0, 1)
        if self.update not in get_args(Update):
            raise ValueError(f'update is {self.update!r}; it must be "async" or "sync"')
        as_int("max_sweeps", self.max_sweeps, 1, 2**31 - 1)
        as_int("seed", self.seed, 0, 2**64 - 1)

    def __str__(self) -> str:
        """The definition as a phrase, without seed."""
        wrong = f" within {self.tolerance:.3g} n wrong units" if self.tolerance else ""
        return (
            f"recall of at most {self.probes} memories a network{wrong} "
            f"({self.update} updates, at most {self.max_sweeps} sweeps)"
        )


@dataclass(frozen=True, repr=False)
class RetrievalPoint(Displayed):
    """The trials of one n, p and number of flipped units; numbers are over all their probes."""

    outcomes: tuple[Outcome, ...]

    def _summary(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("n", "p", "flips", "trials", "probed", "overlap")}

    @property
    def n(self) -> int:
        """Units."""
        return self.outcomes[0].n

    @property
    def p(self) -> int:
        """Stored patterns."""
        return self.outcomes[0].p

    @property
    def alpha(self) -> float:
        """Load p/n."""
        return self.p / self.n

    @property
    def flips(self) -> int:
        """Units flipped in each probe."""
        return self.outcomes[0].flips

    @property
    def start(self) -> float:
        """Overlap of the probes with their memories, 1 - 2 flips / n."""
        return 1 - 2 * self.flips / self.n

    @property
    def trials(self) -> int:
        """Independent networks."""
        return len(self.outcomes)

    @property
    def probed(self) -> int:
        """Probes of all trials."""
        return self.count("probed")

    @property
    def overlap(self) -> float:
        """Mean final overlap m = (1/n) sum_i x_i s_i with the probed memory."""
        return self.count("overlap") / (self.probed * self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of `overlap`, by Student's t on the means of the trials; nan for one."""
        if self.trials == 1:
            return math.nan, math.nan
        means = np.array([o.overlap / (o.probed * o.n) for o in self.outcomes])
        error = float(means.std(ddof=1)) / math.sqrt(self.trials)
        reach = student_t(CONFIDENCE, self.trials - 1) * error
        return self.overlap - reach, self.overlap + reach

    @property
    def deviation(self) -> float:
        """Standard deviation of the final overlap m over all probes."""
        # In integers: the difference would lose the digits of a deviation near 0.
        spread = self.probed * self.count("squares") - self.count("overlap") ** 2
        return math.sqrt(spread) / (self.probed * self.n)

    def count(self, field: str) -> int:
        """The sum of a field of `Outcome` over the trials."""
        return sum(getattr(outcome, field) for outcome in self.outcomes)

    def share(self, field: str) -> float:
        """The share of the probes that a field of `Outcome` counts: "exact", "within", "memory", ..."""
        return self.count(field) / self.probed

    def share_interval(self, field: str) -> tuple[float, float]:
        """95 % Wilson interval of `share`, as if the probes of one network were independent too."""
        return wilson(self.count(field), self.probed)


@dataclass(frozen=True, repr=False)
class RetrievalResult(Displayed):
    """Outcomes of retrieval at several loads, sizes or starts under one definition.

    outcomes: ordered by n, p, flips and trial.  backend: where it ran.  seconds: of all trials, added up.
    Raises ValueError for outcomes that cannot be.
    """

    definition: RetrievalDefinition
    outcomes: tuple[Outcome, ...]
    backend: str
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcomes", tuple(sorted(self.outcomes)))
        if not self.outcomes:
            raise ValueError("outcomes is empty; give at least one")
        if not re.fullmatch("[A-Za-z0-9_-]+", self.backend):
            raise ValueError(f"backend is {self.backend!r}; it must be the name of one")
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds is {self.seconds}; it must be at least 0")
        for o in self.outcomes:
            fits = (
                min(o.n, o.p) >= 1
                and 0 <= o.flips <= o.n
                and o.probed == min(self.definition.probes, o.p)
                and sum(o[-len(ENDS) :]) == o.probed
                and min(o[-len(ENDS) :]) >= 0
                and 0 <= o.exact <= o.within <= o.probed
                and 0 <= o.converged <= o.probed
                and o.probed <= o.sweeps <= o.probed * self.definition.max_sweeps
                and o.overlap**2 <= o.squares * o.probed <= (o.probed * o.n) ** 2
            )
            if not fits:
                raise ValueError(f"outcomes holds numbers that cannot be together: {o}")
        for point in self.points:
            if [o.trial for o in point.outcomes] != list(range(point.trials)):
                found = ", ".join(str(o.trial) for o in point.outcomes[:20])
                raise ValueError(
                    f"outcomes of n = {point.n}, p = {point.p}, {point.flips} flips hold the trials {found}; "
                    "they must be 0, 1, 2, ... each once"
                )

    @cached_property
    def points(self) -> tuple[RetrievalPoint, ...]:
        """One point each n, p and number of flipped units, in that order."""
        return tuple(RetrievalPoint(tuple(group)) for _, group in groupby(self.outcomes, lambda o: o[:3]))

    @property
    def curves(self) -> dict[tuple[int, float], tuple[RetrievalPoint, ...]]:
        """Points by n and start overlap, each in the order of the load."""
        found: dict[tuple[int, float], tuple[RetrievalPoint, ...]] = {}
        for point in self.points:
            key = (point.n, point.start)
            found[key] = (*found.get(key, ()), point)
        return found

    def __str__(self) -> str:
        return self.table()

    def _summary(self) -> dict[str, Any]:
        ranges = {name: span([getattr(point, name) for point in self.points]) for name in ("n", "p", "start")}
        return ranges | {"points": len(self.points), "trials": len(self.outcomes)}

    def _figure(self) -> Figure:
        from fastrec import plot

        return plot.basin_figure(self) if self._has_basins else plot.retrieval_figure(self)

    @property
    def _has_basins(self) -> bool:
        """Whether networks of one size were probed from several starts, which a map shows best."""
        return len({point.n for point in self.points}) == 1 < len({point.start for point in self.points})

    def table(self) -> str:
        """One row each point as aligned text, the definition in the first line; +- is half the interval.

        m0 and m are the overlaps before and after recall, m (AGS) that of `theory.ags_overlap`; shares of the
        probes are in per cent, sweeps a mean.
        """
        return self._table().text()

    def _table(self) -> Table:
        tolerant = ["within"] * bool(self.definition.tolerance)
        shares = ("exact", *tolerant, "converged", *ENDS)
        heads = ["n", "p", "p/n", "m0", "trials", "probes", "m", "+-", "m (AGS)", "sweeps", *shares]
        rows = [
            [
                str(q.n),
                str(q.p),
                f"{q.alpha:.4f}",
                f"{q.start:.3f}",
                str(q.trials),
                str(q.probed),
                f"{q.overlap:.5f}",
                "-" if q.trials == 1 else f"{q.interval[1] - q.overlap:.5f}",
                "-" if q.alpha > theory.ALPHA_C else f"{theory.ags_overlap(q.alpha):.5f}",
                f"{q.count('sweeps') / q.probed:.1f}",
                *(f"{100 * q.share(name):.1f}" for name in shares),
            ]
            for q in self.points
        ]
        return Table(f"retrieval: {self.definition}", heads, rows)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw m against the load, or the map of basins if there are several starts, into ax or a new figure.

        Returns the axes, whose `.figure` is a new figure's.
        """
        from fastrec import plot

        if ax is None:
            return self._figure().axes[0]
        return plot.draw_basins(ax, self) if self._has_basins else plot.draw_retrieval(ax, self)

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame with one row per trial, in the columns that `save` writes.

        Raises ImportError where pandas is not installed.
        """
        return import_pandas().DataFrame(self._rows(), columns=list(COLUMNS))

    def _rows(self) -> list[tuple[Any, ...]]:
        """A row each trial, in the order of `COLUMNS`."""
        shared = (*asdict(self.definition).values(), self.backend, self.seconds)
        return [(*outcome, *shared) for outcome in self.outcomes]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file, one row per trial with the full definition, replacing path in one step.

        `pandas.read_csv(path, comment="#")` reads it.  Raises ValueError unless path ends in .csv,
        FileNotFoundError unless its folder exists.
        """
        require_suffix(path, ".csv")
        write_table(path, "retrieval", "1", COLUMNS, self._rows())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RetrievalResult:
        """Read what `save` wrote, as an equal object; nothing in the file is executed.

        Reads run files too, and CSV files exported from them: of each n, p and number of flipped units the
        trials before the first that is missing.  Raises ValueError naming the file and what is wrong for one
        that is foreign, truncated or damaged.
        """
        finished, rows = runs.read_trials(path, RUN, COLUMNS)
        try:
            return from_trials(rows) if finished else from_rows(rows)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def retrieval_curve(
    n: int,
    alphas: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    noise: float = 0.0,
    update: Update = "async",
    seed: int = 0,
    backend: str | None = None,
    *,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
) -> RetrievalResult:
    """How close to a memory recall ends at each load, in networks of n units with random patterns.

    alphas: loads; at each, p = round(alpha n) patterns are stored, at least 1.  Loads of equal p are one.
    trials: independent networks at each load; see `trial_seed`.
    probes: memories of each network that are probed, the first ones, all if there are fewer.
    noise: share of the units flipped in each probe, round(noise n) of them, at random.
    update, max_sweeps: as of `HopfieldNetwork.recall`, in random order.
    tolerance: share of the units, round(tolerance n), that may be wrong where recall succeeds "within" it.
    out: a .csv file, written at the end (`RetrievalResult.save`), or a run file (.db, .sqlite) in which
        trials are committed as they finish.  If that exists, only trials that it has not are run.
    progress: show a bar with the time left, in a terminal or a notebook.
    executor, workers: as of `capacity_scaling`; each network is a task.

    Recall from the memory itself (noise 0) need not reach the state that AGS describe: m = 0.99346 +- 0.00012
    was measured at a load of 0.12 and n = 20000, where `theory.ags_overlap` is 0.99322.

    Returns a `RetrievalResult`; the numbers are the same on every backend, thread count and executor.  Raises
    ValueError before any work if an argument is out of range or a network would not fit in memory.
    """
    return retrieval_scaling(
        [n],
        alphas,
        trials,
        probes,
        noise,
        update,
        seed,
        backend,
        tolerance=tolerance,
        max_sweeps=max_sweeps,
        out=out,
        progress=progress,
        executor=executor,
        workers=workers,
    )


def retrieval_scaling(
    sizes: Iterable[int],
    alphas: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    noise: float = 0.0,
    update: Update = "async",
    seed: int = 0,
    backend: str | None = None,
    *,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
) -> RetrievalResult:
    """`retrieval_curve` at each of several sizes, whose networks are independent."""
    numbers = [as_int("n", n, 1, MAX_UNITS) for n in sizes]
    if not numbers:
        raise ValueError("sizes is empty; give at least one number of units")
    share = _as_number("noise", noise, 0, 1)
    cases = [(n, p, round(share * n)) for n in numbers for p in _loads(n, alphas)]
    definition = RetrievalDefinition(probes, tolerance, update, max_sweeps, seed)
    return _measure(cases, trials, definition, backend, out, progress, executor, workers)


def basin_map(
    n: int,
    alphas: ArrayLike,
    overlaps: ArrayLike,
    trials: int = 10,
    probes: int = 100,
    update: Update = "async",
    seed: int = 0,
    backend: str | None = None,
    *,
    tolerance: float = 0.0,
    max_sweeps: int = 100,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
) -> RetrievalResult:
    """`retrieval_curve` from each of several start overlaps, in the same networks.

    overlaps: m0 of the probes with their memories, -1..1: round((1 - m0) n / 2) units are flipped.
    """
    n = as_int("n", n, 1, MAX_UNITS)
    starts = _numbers("overlaps", overlaps, -1, 1)
    cases = [(n, p, round((1 - m0) / 2 * n)) for p in _loads(n, alphas) for m0 in starts]
    definition = RetrievalDefinition(probes, tolerance, update, max_sweeps, seed)
    return _measure(cases, trials, definition, backend, out, progress, executor, workers)


def from_rows(rows: Sequence[Sequence[Any]]) -> RetrievalResult:
    """A result from rows with the columns `COLUMNS`; ValueError if they disagree on what is shared."""
    width = len(Outcome._fields)
    if len({tuple(row[width:]) for row in rows}) != 1:
        raise ValueError("holds no rows, or rows of several definitions")
    *defined, backend, seconds = rows[0][width:]
    outcomes = tuple(Outcome(*row[:width]) for row in rows)
    return RetrievalResult(RetrievalDefinition(*defined), outcomes, backend, seconds)


def from_trials(rows: Iterable[Sequence[Any]]) -> RetrievalResult:
    """A result from rows of a run file: of each n, p and flips the trials before the first that is missing.

    Raises ValueError as `from_rows`, and if nothing is left.
    """
    whole = [values for group in runs.whole_trials(RUN, rows) for values in group]
    backend, seconds = runs.together(whole)
    shared = {"backend": backend, "seconds": seconds}
    return from_rows([[(values | shared)[name] for name in COLUMNS] for values in whole])


def trial_seed(seed: int, n: int, p: int, trial: int) -> int:
    """The seed of one network, which fixes its patterns, flipped units and orders.

    With s = trial_seed(seed, n, p, trial) they are those of ``random_patterns(p, n, s)``,
    ``corrupt(patterns[:probes], flips, s)`` and ``recall(..., seed=s)``.  It is the first 64 bits of the
    Philox block with counter (p, 0, trial, DERIVE) and the key of `seed` and n.
    """
    return int(derive(int(stream_key(seed, n)), p, trial))


class Task(NamedTuple):
    """One network: store p random patterns, recall the first ones from `flips` wrong units."""

    n: int
    p: int
    flips: int
    trial: int
    definition: RetrievalDefinition
    backend: str

    @property
    def cost(self) -> float:
        """Work, in any unit: recall lasts longer where memories are lost."""
        longer = 1.0 if self.p < theory.ALPHA_C * self.n else 6.0
        return longer * self.n * self.p * min(self.definition.probes, self.p)


def retrieve(task: Task) -> Outcome:
    """Run a task and count how its recalls end."""
    n, p, flips, trial, d, backend = task
    seed = trial_seed(d.seed, n, p, trial)
    memories = random_patterns(p, n, seed, backend=backend, packed=True)
    network = HopfieldNetwork(n, backend=backend)
    network.store(memories)
    b = min(d.probes, p)
    probes = corrupt(PackedStates(memories.words[:b], n), flips, seed, backend)
    found = network.recall(probes, d.update, max_sweeps=d.max_sweeps, seed=seed)
    # Overlaps are integers over n, from which the product with n is less than 1/2 away.
    m = np.rint(n * move(network.overlaps(found.states), "cpu")).astype(np.int64)
    own = m[np.arange(b), np.arange(b)]
    return Outcome(
        n,
        p,
        flips,
        trial,
        b,
        int(own.sum()),
        int(own @ own),  # b n^2 < 2^63, as p n^2 is
        int((own == n).sum()),
        int((n - own <= 2 * round(d.tolerance * n)).sum()),
        int(found.converged.sum()),
        int(found.sweeps.sum()),
        *ends(m, memories, found.states),
    )


def timed(task: Task) -> tuple[Outcome, Origin]:
    """`retrieve`, and where and how long it ran."""
    begin = clock()
    outcome = retrieve(task)
    return outcome, origin(task.backend, clock() - begin)


def timed_alone(task: Task) -> tuple[Outcome, Origin]:
    """`timed` on one thread."""
    with limit_threads(1):  # executors have workers enough for all cores
        return timed(task)


def ends(m: NDArray[np.int64], memories: PackedStates, states: PackedStates) -> tuple[int, ...]:
    """How many recalls end in each of `ENDS`, from overlaps m (b, p) of states (b, n) with memories."""
    n, (b, p) = memories.n, m.shape
    own = m[np.arange(b), np.arange(b)]
    near, against = 10 * m >= 9 * n, 10 * m <= -9 * n
    kinds = np.select([10 * own >= 9 * n, near.any(1), against.any(1)], [0, 1, 2], 4)
    if p >= 3 and len(rest := np.flatnonzero(kinds == 4)):
        size, three = np.abs(m[rest]), np.empty((len(rest), 3), dtype=np.int64)
        for k in range(3):  # largest first, and the first of equal ones, which no partial sort promises
            three[:, k] = size.argmax(1)
            size[np.arange(len(rest)), three[:, k]] = -1
        where = backend_of(states.words)
        chosen = move(memories.words[move(three, where)], "cpu")
        ends_at = move(states.words[move(rest, where)], "cpu")
        every = np.full(ends_at.shape[1], 2**64 - 1, dtype=np.uint64)
        every[-1] >>= np.uint64(-n % 64)
        chosen[m[rest[:, None], three] < 0] ^= every
        x, y, z = chosen.swapaxes(0, 1)
        wrong = np.bitwise_count((x & y | y & z | z & x) ^ ends_at).sum(1, dtype=np.int64)
        kinds[rest[10 * (n - 2 * wrong) >= 9 * n]] = 3
    return tuple(np.bincount(kinds, minlength=len(ENDS)).tolist())


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Score interval of a probability from successes in n independent draws (Wilson, JASA 22, 209, 1927).

    z: quantile of the normal distribution, 1.96 for 95 %.
    """
    share, weight = successes / n, z * z / n
    reach = z * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    centre = share + weight / 2
    low, high = (centre - reach) / (1 + weight), (centre + reach) / (1 + weight)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def student_t(confidence: float, freedom: int) -> float:
    """The t that a variable of Student's distribution exceeds in size with probability 1 - confidence.

    Bisection of the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.
    """

    def within(angle: float) -> float:
        factors = np.arange(1 + freedom % 2, freedom - 2 + freedom % 2, 2, dtype=float)
        terms = np.cumprod(np.append(1.0, factors / (factors + 1) * math.cos(angle) ** 2))
        total = math.sin(angle) * float(terms.sum())
        if freedom % 2 == 0:
            return total
        return 2 / math.pi * (angle + (total * math.cos(angle) if freedom > 1 else 0.0))

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _measure(
    cases: Sequence[tuple[int, int, int]],
    trials: int,
    definition: RetrievalDefinition,
    backend: str | None,
    out: str | os.PathLike[str] | None,
    progress: bool,
    executor: Executor | None,
    workers: int | None,
) -> RetrievalResult:
    """All trials of the cases (n, p, flips), each case once."""
    name = resolve(backend, domain="hopfield")
    trials = as_int("trials", trials, 1, 2**32 - 1)
    workers = as_workers(workers, executor)
    cases = list(dict.fromkeys(cases))
    if out is not None:
        runs.require_out(out)
    for n, p, _ in cases:
        b = min(definition.probes, p)
        require_memory(f"retrieval with n = {n}, p = {p}", n * p // 4 + n * b // 2 + 32 * b * p, backend=name)
    tasks = [Task(*case, trial, definition, name) for case in cases for trial in range(trials)]
    outcomes, backends, seconds = [], {name}, 0.0
    with ExitStack() as stack:
        file = stack.enter_context(runs.opened(out, RUN))
        if file is not None:
            file.require(asdict(definition))
            asked = {task[:4] for task in tasks}
            for row in file.rows():
                if row[:4] in asked:
                    values = dict(zip(RUN.columns, row, strict=True))
                    outcomes.append(Outcome(*row[: len(Outcome._fields)]))
                    backends.add(values["backend"])
                    seconds += values["seconds"]
        finished = {outcome[:4] for outcome in outcomes}
        todo = [task for task in tasks if task[:4] not in finished]
        total, left = (sum(task.cost for task in some) for some in (tasks, todo))
        advance = stack.enter_context(progress_bar("retrieval", total, progress, total - left))
        if workers is not None and todo:
            executor = stack.enter_context(process_pool(workers))

        def done(task: Task, found: tuple[Outcome, Origin]) -> None:
            nonlocal seconds
            outcome, where = found
            if file is not None:
                file.add([(*outcome, *asdict(definition).values(), *where)])
            outcomes.append(outcome)
            seconds += where[1]
            advance(task.cost, f"n = {task.n}, p = {task.p}")

        run_tasks(timed if executor is None else timed_alone, todo, executor, done)
    result = RetrievalResult(definition, tuple(outcomes), "-".join(sorted(backends)), seconds)
    if out is not None and file is None:
        runs.save_results(result, out)
    return result


def _loads(n: int, alphas: ArrayLike) -> list[int]:
    """Numbers of patterns of the loads."""
    # A network takes p n^2 < 2^63, and its number of patterns is a word of the random streams' counter.
    most = min(2**31 - 1, (2**63 - 1) // n**2) / n
    return [max(1, round(alpha * n)) for alpha in _numbers("alphas", alphas, 0, most)]


def _numbers(name: str, values: ArrayLike, low: float, high: float) -> list[float]:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}; it must hold numbers") from None
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; give at least one number, in one dimension")
    return [_as_number(name, value, low, high) for value in array.tolist()]


def _as_number(name: str, value: float, low: float, high: float) -> float:
    if isinstance(value, (int, float, np.number)) and low <= value <= high:
        return float(value)
    raise ValueError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}")

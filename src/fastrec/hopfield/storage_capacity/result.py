"""Capacity results: what was counted, under which definition, as a table, a picture, a fit and a file."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fastrec.files import require_suffix
from fastrec.hopfield import theory
from fastrec.jobs import store as runs

from ...display import Displayed, Table, import_pandas, span
from ...tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Criterion = Literal["all", "newest"]
Stop = Literal["first_failure", "largest"]
Update = Literal["async", "sync"]
Row = tuple[int, int, int, int, str, str, int, str, int, int, int, str, float]

COLUMNS: dict[str, type] = {
    "n": int,
    "trial": int,
    "capacity": int,
    "censored": int,
    "criterion": str,
    "stop": str,
    "corruption": int,
    "update": str,
    "max_sweeps": int,
    "max_patterns": int,
    "seed": int,
    "backend": str,
    "seconds": float,
}
RUN = runs.Table(
    "capacity",
    key={"n": "INTEGER", "trial": "INTEGER"},
    values={"capacity": "INTEGER", "censored": "INTEGER"},
    definition={
        "criterion": "TEXT",
        "stop": "TEXT",
        "corruption": "INTEGER",
        "update": "TEXT",
        "max_sweeps": "INTEGER",
        "max_patterns": "INTEGER",
        "seed": "TEXT",  # integers of SQLite end at 2^63 - 1
    },
    own=("max_patterns",),
)


@dataclass(frozen=True)
class CapacityDefinition:
    """Which number is called the capacity. Part of every result; two results compare only if it agrees.

    Memories are added one at a time. After each, the memories named by `criterion` (all stored ones, or the
    newest) are probed with `corruption` random bits flipped, recalled with `update` for at most `max_sweeps`
    sweeps, and must come back exactly. `stop`: "first_failure" counts the most memories before the first
    failure, "largest" the largest number that passes. No more than `max_patterns` are stored. `seed` fixes
    the patterns, the flipped bits and the order of updates. Raises ValueError for a value outside these.
    """

    criterion: Criterion
    stop: Stop
    corruption: int
    update: Update
    max_sweeps: int
    max_patterns: int
    seed: int

    def __post_init__(self) -> None:
        for name, allowed in (("criterion", Criterion), ("stop", Stop), ("update", Update)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}")
        for name, least in (("corruption", 0), ("max_sweeps", 1), ("max_patterns", 1)):
            if not least <= getattr(self, name) < 2**63:
                raise ValueError(
                    f"{name} must be an integer of at least {least}, got {getattr(self, name)!r}"
                )

    def __str__(self) -> str:
        """The definition as a phrase, without search limit and seed."""
        count = {
            "first_failure": "most memories stored before the first failure",
            "largest": "largest number of stored memories that passes",
        }[self.stop]
        memory = {"all": "every stored memory", "newest": "the newest memory"}[self.criterion]
        flips = {0: "unchanged", 1: "with 1 bit flipped"}.get(
            self.corruption, f"with {self.corruption} bits flipped"
        )
        return (
            f"{count}: {memory}, probed {flips}, must be recalled exactly "
            f"({self.update} updates, at most {self.max_sweeps} sweeps)"
        )

    @property
    def has_theory(self) -> bool:
        """Whether `theory.capacity_quantile` describes it: stop at first failure, at most one flipped bit."""
        return self.stop == "first_failure" and self.corruption <= 1

    def theory_quantile(self, n: int, probability: float = 0.5) -> int | None:
        """`theory.capacity_quantile` of this definition, or None where it has no theory (also for n < 2)."""
        return (
            theory.capacity_quantile(n, probability, self.criterion) if self.has_theory and n >= 2 else None
        )


@dataclass(frozen=True, eq=False, repr=False)
class CapacityResult(Displayed):
    """Capacities of independent trials of one network size.

    n: neurons. counts (trials,) int64: patterns, trial t at position t. censored (trials,) bool: the trial
    reached definition.max_patterns without its stop, so that its count is a lower bound. backend: where it
    ran, or several names joined by "-". seconds: wall time of all trials, added up over workers. Both arrays
    are copied and read-only. Raises ValueError for arrays of unlike or empty shape and for counts outside
    0..max_patterns. == compares every field.
    """

    n: int
    counts: NDArray[np.int64]
    censored: NDArray[np.bool_]
    definition: CapacityDefinition
    backend: str
    seconds: float

    def __post_init__(self) -> None:
        if np.asarray(self.counts).dtype.kind not in "iu":
            raise ValueError("counts must be integers, at least one")
        counts, censored = np.array(self.counts, np.int64), np.array(self.censored, np.bool_)
        if not re.fullmatch("[A-Za-z0-9_-]+", self.backend):
            raise ValueError(f"backend must be the name of one, got {self.backend!r}")
        if self.n < 1 or not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"n must be at least 1 and seconds at least 0, got {self.n} and {self.seconds}")
        if counts.ndim != 1 or counts.size == 0 or counts.shape != censored.shape:
            raise ValueError(
                f"counts and censored must be one value a trial, got shapes {counts.shape}, {censored.shape}"
            )
        if counts.min() < 0 or counts.max() > self.definition.max_patterns:
            raise ValueError(
                f"capacities must lie between 0 and max_patterns = {self.definition.max_patterns}, "
                f"got {counts.min()} to {counts.max()}"
            )
        for name, array in (("counts", counts), ("censored", censored)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CapacityResult):
            return NotImplemented
        return to_rows(self) == to_rows(other)

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.counts.size

    @property
    def mean(self) -> float:
        """Mean capacity, patterns."""
        return float(self.counts.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, patterns; nan for a single trial."""
        return float(self.counts.std(ddof=1)) / math.sqrt(self.trials) if self.trials > 1 else math.nan

    @property
    def median(self) -> float:
        """Median capacity, patterns."""
        return float(np.median(self.counts))

    @property
    def low(self) -> float:
        """10th percentile of the trials, patterns."""
        return float(np.percentile(self.counts, 10))

    @property
    def high(self) -> float:
        """90th percentile of the trials, patterns."""
        return float(np.percentile(self.counts, 90))

    @property
    def alpha(self) -> float:
        """Load at the median capacity, patterns per neuron."""
        return self.median / self.n

    def __str__(self) -> str:
        return self.table()

    def _summary(self) -> dict[str, Any]:
        return {"n": self.n, "trials": self.trials, "median": self.median, "low": self.low, "high": self.high}

    def _table(self) -> Table:
        return ScalingResult((self,))._table()

    def _figure(self) -> "Figure":
        from fastrec import plot

        return plot.capacity_figure(self)

    def table(self) -> str:
        """The numbers as aligned text, the definition in the first line."""
        return self._table().text()

    def to_frame(self) -> "DataFrame":
        """A pandas DataFrame; see `ScalingResult.to_frame`."""
        return ScalingResult((self,)).to_frame()

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the distribution over trials into ax, or into a new figure, and return the axes.

        A new figure is `.figure` of the axes; it needs no display and is no pyplot state.  A notebook shows
        it where the axes are the value of a cell.
        """
        from fastrec import plot

        return plot.draw_capacity(ax, self) if ax is not None else self._figure().axes[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file; see `ScalingResult.save`."""
        ScalingResult((self,)).save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CapacityResult":
        """Read what `save` wrote. Raises ValueError as `ScalingResult.load`, also for a file of several n."""
        scaling = ScalingResult.load(path)
        if len(scaling) != 1:
            sizes = ", ".join(map(str, scaling.sizes))
            raise ValueError(f"{path}: holds the sizes {sizes}; read it with ScalingResult.load")
        return scaling[0]


@dataclass(frozen=True, repr=False)
class ScalingFit(Displayed):
    """Two fits to mean capacities: capacity = a n^b, and capacity = n / (c ln n).

    Least squares weighted by the standard errors of the means. `*_error` are standard errors that follow from
    those alone, so they say little where chi2 per degree of freedom is far above 1: there the law does not
    hold at the precision of the data. `*_chi2` is nan without a degree of freedom. sizes: the n used.
    """

    sizes: tuple[int, ...]
    a: float
    a_error: float
    b: float
    b_error: float
    power_chi2: float
    c: float
    c_error: float
    log_chi2: float

    def _summary(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "sizes"}

    def _table(self) -> Table:
        rows = [
            ["a", f"{self.a:.4g}", f"{self.a_error:.2g}", "capacity = a n^b", f"{self.power_chi2:.3g}"],
            ["b", f"{self.b:.4f}", f"{self.b_error:.2g}", "", ""],
            ["c", f"{self.c:.4f}", f"{self.c_error:.2g}", "capacity = n / (c ln n)", f"{self.log_chi2:.3g}"],
        ]
        sizes = ", ".join(map(str, self.sizes))
        return Table(f"mean capacity at n = {sizes}", ["", "value", "+-", "law", "chi2/dof"], rows)

    def __str__(self) -> str:
        return (
            f"mean capacity at n = {', '.join(map(str, self.sizes))}\n"
            f"  a n^b:       a = {self.a:.4g} +- {self.a_error:.2g}, b = {self.b:.4f} +- {self.b_error:.2g}, "
            f"chi2/dof = {self.power_chi2:.3g}\n"
            f"  n/(c ln n):  c = {self.c:.4f} +- {self.c_error:.2g}, chi2/dof = {self.log_chi2:.3g}"
        )


@dataclass(frozen=True, repr=False)
class ScalingResult(Displayed):
    """Capacity results of several sizes under one definition, in the order given; a sequence of them.

    Raises ValueError without a result, for a size that comes twice, and for definitions that differ in more
    than max_patterns and seed.
    """

    results: tuple[CapacityResult, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(self.results))
        if not self.results:
            raise ValueError("results must hold at least one CapacityResult, got none")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"results must hold each n once, got {self.sizes}")
        first = self.results[0].definition
        for result in self.results:
            other = replace(result.definition, max_patterns=first.max_patterns, seed=first.seed)
            if other != first:
                raise ValueError(
                    f"results must share one definition; n = {result.n} has {other}, not {first}"
                )

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[CapacityResult]:
        return iter(self.results)

    def __getitem__(self, index: int) -> CapacityResult:
        return self.results[index]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons n of each result."""
        return tuple(result.n for result in self.results)

    @property
    def definition(self) -> CapacityDefinition:
        """The definition that all results share; its max_patterns and seed are those of the first."""
        return self.results[0].definition

    def __str__(self) -> str:
        return self.table()

    def _summary(self) -> dict[str, Any]:
        trials = sum(result.trials for result in self)
        return {"sizes": len(self), "n": span(self.sizes), "trials": trials}

    def _figure(self) -> "Figure":
        from fastrec import plot

        return plot.capacity_scaling_figure(self)

    def table(self) -> str:
        """One row per n as aligned text, the definition in the first line.

        Capacities in patterns; s.e. is the standard error of the mean. The column "theory" (the median by
        `theory.capacity_quantile`) and "censored" (trials cut off by max_patterns) appear where they apply.
        """
        return self._table().text()

    def _table(self) -> Table:
        heads = ["n", "trials", "median", "mean", "s.e.", "10-90 %", "median/n", "n/(4 ln n)"]
        rows = [
            [
                str(r.n),
                str(r.trials),
                f"{r.median:g}",
                f"{r.mean:.2f}",
                "-" if r.trials == 1 else f"{r.standard_error:.2f}",
                f"{r.low:.0f}-{r.high:.0f}",
                f"{r.alpha:.4f}",
                "-" if r.n < 2 else f"{theory.mceliece_all(r.n):.1f}",
            ]
            for r in self
        ]
        if self.definition.has_theory:
            heads.append("theory")
            for row, r in zip(rows, self, strict=True):
                row.append(str(r.definition.theory_quantile(r.n) or "-"))
        if any(r.censored.any() for r in self):
            heads.append("censored")
            for row, r in zip(rows, self, strict=True):
                row.append(str(r.censored.sum()))
        return Table(f"capacity = {self.definition}", heads, rows)

    def to_frame(self) -> "DataFrame":
        """A pandas DataFrame with one row per trial, in the columns that `save` writes.

        Raises ImportError where pandas is not installed.
        """
        rows = [row for result in self for row in to_rows(result)]
        return import_pandas().DataFrame(rows, columns=list(COLUMNS))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw capacity against n into ax, or into a new figure with the ratio to n/(4 ln n) below.

        Returns the axes of capacity against n; a new figure is its `.figure`, see `CapacityResult.plot`.
        """
        from fastrec import plot

        return plot.draw_capacity_scaling(ax, self) if ax is not None else self._figure().axes[0]

    def fit(self) -> ScalingFit:
        """Fit both laws of `ScalingFit` to the means.

        Left out are sizes below 3, with mean 0, with a single trial (no standard error) and with censored
        trials (a mean that is only a lower bound). Where every trial counts the same, the standard error is
        that of rounding to integers, sqrt(1 / (12 trials)). Raises ValueError below two usable sizes.
        """
        used = [r for r in self if r.n >= 3 and r.mean > 0 and r.trials > 1 and not r.censored.any()]
        if len(used) < 2:
            raise ValueError(
                "a fit needs at least two sizes with n >= 3, several uncensored trials and a mean above 0, "
                f"got {len(used)} of {len(self)}"
            )
        n = np.array([r.n for r in used], float)
        mean = np.array([r.mean for r in used])
        error = np.array([r.standard_error or math.sqrt(1 / (12 * r.trials)) for r in used])
        # ln(mean) has the error error/mean; centred ln n keeps the two parameters apart until the end.
        weight = (mean / error) ** 2
        centre = np.average(np.log(n), weights=weight)
        x, y = np.log(n) - centre, np.log(mean)
        spread = float(weight @ x**2)
        slope, height = float(weight @ (x * y)) / spread, float(np.average(y, weights=weight))
        a = math.exp(height - slope * centre)
        a_error = a * math.sqrt(1 / weight.sum() + centre**2 / spread)
        power_chi2 = (
            float(weight @ (y - height - slope * x) ** 2) / (len(used) - 2) if len(used) > 2 else math.nan
        )
        law = n / np.log(n)
        information = float(np.sum((law / error) ** 2))
        factor = float(np.sum(law * mean / error**2)) / information
        log_chi2 = float(np.sum(((mean - factor * law) / error) ** 2)) / (len(used) - 1)
        return ScalingFit(
            sizes=tuple(r.n for r in used),
            a=a,
            a_error=a_error,
            b=slope,
            b_error=1 / math.sqrt(spread),
            power_chi2=power_chi2,
            c=1 / factor,
            c_error=1 / (math.sqrt(information) * factor**2),
            log_chi2=log_chi2,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file, one row per trial with its full definition, replacing path in one step.

        `pandas.read_csv(path, comment="#")` reads it. Raises ValueError unless path ends in .csv,
        FileNotFoundError unless its folder exists.
        """
        require_suffix(path, ".csv")
        write_table(path, "capacity", "1", COLUMNS, (row for result in self for row in to_rows(result)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ScalingResult":
        """Read what `save` wrote, as equal objects; nothing in the file is executed.

        Reads run files too, and CSV files exported from them: of each n, in ascending order, the trials
        before the first that is missing.  Raises ValueError naming the file and what is wrong for one that
        is foreign, truncated or damaged.
        """
        finished, rows = runs.read_trials(path, RUN, COLUMNS)
        try:
            return cls(from_trials(rows) if finished else from_rows(rows))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def to_rows(result: CapacityResult) -> list[Row]:
    """One row per trial, of plain int, float and str in the order of `COLUMNS`; censored is 0 or 1."""
    d = result.definition
    return [
        (
            int(result.n),
            trial,
            capacity,
            int(censored),
            d.criterion,
            d.stop,
            int(d.corruption),
            d.update,
            int(d.max_sweeps),
            int(d.max_patterns),
            int(d.seed),
            result.backend,
            float(result.seconds),
        )
        for trial, (capacity, censored) in enumerate(
            zip(result.counts.tolist(), result.censored.tolist(), strict=True)
        )
    ]


def from_rows(rows: Iterable[Sequence[int | str | float]]) -> tuple[CapacityResult, ...]:
    """Results from rows as `to_rows` gives them, in any order; one per n, in the order of first appearance.

    Raises ValueError for rows of one n that disagree on anything but trial, capacity and censored, for trials
    that are not 0, 1, 2, ... each once, and for values that no result can have.
    """
    groups: dict[int, dict[int, tuple[int, int]]] = {}
    shared: dict[int, dict[str, Any]] = {}
    for row in rows:
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        n, trial, capacity, censored = (values.pop(name) for name in list(COLUMNS)[:4])
        if n < 1 or censored not in (0, 1) or not abs(capacity) < 2**63:
            raise ValueError(f"n = {n}, trial {trial}: capacity {capacity}, censored {censored} cannot be")
        trials, common = groups.setdefault(n, {}), shared.setdefault(n, values)
        if values != common:
            name = next(name for name in common if values[name] != common[name])
            raise ValueError(f"n = {n}: trials disagree on {name}, {common[name]!r} and {values[name]!r}")
        if trial in trials:
            raise ValueError(f"n = {n}: trial {trial} comes twice")
        trials[trial] = (capacity, censored)
    results = []
    for n, trials in groups.items():
        if set(trials) != set(range(len(trials))):
            raise ValueError(
                f"n = {n}: trials must be 0 to {len(trials) - 1}, got {min(trials)} to {max(trials)}"
            )
        counts, censored = np.array([trials[trial] for trial in range(len(trials))]).T
        backend, seconds = shared[n].pop("backend"), shared[n].pop("seconds")
        try:
            definition = CapacityDefinition(**shared[n])
            results.append(CapacityResult(n, counts, censored, definition, backend, seconds))
        except ValueError as error:
            raise ValueError(f"n = {n}: {error}") from None
    return tuple(results)


def from_trials(rows: Iterable[Sequence[Any]]) -> tuple[CapacityResult, ...]:
    """Results from rows of a run file, in ascending order of n.

    The trials of one n that come before the first that is missing; no result where that is trial 0.  Raises
    ValueError as `from_rows`, and if nothing is left.
    """
    flat: list[list[Any]] = []
    for whole in runs.whole_trials(RUN, rows):
        backend, seconds = runs.together(whole)
        for values in whole:
            shared = values | {"backend": backend, "seconds": seconds}
            flat.append([shared[name] for name in COLUMNS])
    return from_rows(flat)

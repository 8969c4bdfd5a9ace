"""Results of capacity: what was counted, under which definition, as a table, a picture and a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...display import Column, Table, span, tabulate
from ...jobs.export import JobResult
from ...jobs.schema import Schema, Trials
from ...messages import shown
from .. import theory
from ..ensemble import COUPLINGS, DEFAULTS
from ..states import MAX_UNITS
from .definition import CapacityDefinition
from .statistics import ScalingFit, SizeMean, fit_scaling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class CapacityTrial(NamedTuple):
    """One trial in a file: the number of units, its number, the count of patterns, whether it is censored."""

    n: int
    trial: int
    capacity: int
    censored: int


def is_possible(trial: CapacityTrial, definition: CapacityDefinition) -> bool:
    """Whether a trial may have ended so."""
    return (
        1 <= trial.n <= MAX_UNITS
        and trial.trial >= 0
        and 0 <= trial.capacity <= definition.max_patterns
        and trial.censored in (0, 1)
    )


SCHEMA: Schema = Schema(
    "capacity",
    CapacityTrial,
    CapacityDefinition,
    key=2,
    shared_key=1,
    by_size=("max_patterns",),
    is_possible=is_possible,
    added={"share": (2, 0.0), "tolerance": (3, 0.0)}
    | {name: (3, value) for name, value in DEFAULTS.items()}
    | {"degree": (4, COUPLINGS)},
)


@dataclass(frozen=True, eq=False, repr=False)
class CapacityResult(JobResult):
    """Capacities of independent trials of one network size; ``==`` compares every field.

    Parameters
    ----------
    n : int
        Number of units.
    counts : ndarray of int64, shape (trials,)
        Capacity of each trial, in patterns.  Copied and read-only, as is `censored`.
    censored : ndarray of bool, shape (trials,)
        Whether the trial reached ``definition.max_patterns``, so that its count is a lower bound.
    definition : CapacityDefinition
        Which number was counted.
    backend : str
        Where the trials ran; several names are joined by "-".
    seconds : float
        Wall time of all trials, added up over workers.

    Raises
    ------
    ValueError
        For arrays of different or empty shape, and for counts outside 0..max_patterns.

    Notes
    -----
    `plot` draws the distribution over trials.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.capacity(50, trials=20, seed=1, backend="reference")
    CapacityResult(n=50, trials=20, median=7, low=6, high=8.1)
    """

    _schema = SCHEMA

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
            raise ValueError(f"backend must be the name of one, got {shown(self.backend)}")
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
        return self._rows() == other._rows()

    def _rows(self) -> list[tuple[Any, ...]]:
        columns = (range(self.trials), self.counts.tolist(), self.censored.astype(int).tolist())
        records = zip(repeat(int(self.n)), *columns, strict=False)
        return list(SCHEMA.rows(records, self.definition, self.backend, float(self.seconds)))

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
        """Load at the median capacity, memories per unit."""
        return self.median / self.n

    def _summary(self) -> dict[str, Any]:
        return {"n": self.n, "trials": self.trials, "median": self.median, "low": self.low, "high": self.high}

    def _columns(self) -> list[Column]:
        return ScalingResult((self,))._columns()

    def _table(self) -> Table:
        return ScalingResult((self,))._table()

    def _drawn_by(self) -> tuple[Callable[[Self], Figure], Callable[[Axes, Self], Axes]]:
        from fastrec import plot

        return plot.capacity_figure, plot.draw_capacity

    @classmethod
    def _of_trials(cls, groups: list[Trials]) -> Self:
        scaling = ScalingResult._of_trials(groups)
        if len(scaling) != 1:
            sizes = ", ".join(map(str, scaling.sizes))
            raise ValueError(f"holds the sizes {sizes}; read it with ScalingResult.load")
        return cls(**vars(scaling[0]))


@dataclass(frozen=True, repr=False)
class ScalingResult(JobResult):
    """A sequence of capacity results of several sizes under one definition.

    Parameters
    ----------
    results : iterable of CapacityResult
        Each size once, in any order.

    Raises
    ------
    ValueError
        Without a result, for a size that occurs twice, and for definitions that differ in more than
        max_patterns and seed.

    Notes
    -----
    `table` has one row for each n.  Capacities are in memories; s.e. is the standard error of the mean.  The
    columns "n/(4 ln n)" (McEliece et al., 1987, see `theory.mceliece_all`), "binomial mean" or, of dense
    memories, "theory mean" (the mean by `theory.capacity_mean`, from 20 units on) and "censored" (trials that
    reached max_patterns) appear where they apply.

    `plot` draws capacity against n with the laws of `fit`; a new figure shows the ratio to n/(4 ln n) and the
    local exponents below.  `fit` answers which law holds: see `ScalingFit.summary`.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([20, 40], trials=10, backend="reference")
    >>> scaling.sizes, scaling[1].trials
    ((20, 40), 10)
    """

    _schema = SCHEMA

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
        """Units n of each result."""
        return tuple(result.n for result in self.results)

    @property
    def definition(self) -> CapacityDefinition:
        """The definition that all results share; its max_patterns and seed are those of the first."""
        return self.results[0].definition

    def _summary(self) -> dict[str, Any]:
        trials = sum(result.trials for result in self)
        return {"sizes": len(self), "n": span(self.sizes), "trials": trials}

    def _drawn_by(self) -> tuple[Callable[[Self], Figure], Callable[[Axes, Self], Axes]]:
        from fastrec import plot

        return plot.capacity_scaling_figure, plot.draw_capacity_scaling

    def _columns(self) -> list[Column]:
        d = self.definition
        shown = {
            "n": ("", None),
            "trials": ("", None),
            "median": ("g", None),
            "mean": (".2f", None),
            "standard_error": (".2f", "s.e."),
            "low": (".0f", None),
            "high": (".0f", None),
            "alpha": (".4f", "median/n"),
        }
        columns = [Column(name, [getattr(r, name) for r in self], *form) for name, form in shown.items()]
        if d.is_scanned:
            limits = [theory.mceliece_all(r.n) if r.n > 1 else np.nan for r in self]
            columns.append(Column("mceliece", limits, ".1f", "n/(4 ln n)"))
        if d.has_theory:
            means = [r.definition.theory_mean(r.n) or np.nan for r in self]
            columns.append(Column("theory", means, ".2f", d.theory_name))
        return [*columns, Column("censored", [int(r.censored.sum()) for r in self])]

    def _table(self) -> Table:
        d, columns = self.definition, {column.name: column for column in self._columns()}
        ends = zip(columns["low"].cells(), columns.pop("high").cells(), strict=True)
        columns["low"] = Column("range", map("-".join, ends), head="10-90 %")
        if not any(columns["censored"].values):
            del columns["censored"]
        caption = f"capacity = {d}" + f"; {d.theory_name}: theory.capacity_mean" * d.has_theory
        spare = ("median/n", "n/(4 ln n)", "trials", "10-90 %", "median", d.theory_name)
        return tabulate(caption, list(columns.values()), spare)

    def _rows(self) -> list[tuple[Any, ...]]:
        return [row for result in self for row in result._rows()]

    def fit(self) -> ScalingFit:
        """Fit the two laws of `ScalingFit` to the means.

        Sizes below 3, with mean 0, with a single trial (no standard error) and with censored trials (whose
        mean is only a lower bound) are left out.  Where all trials count the same, the standard error is that
        of rounding to integers, sqrt(1 / (12 trials)).

        Returns
        -------
        ScalingFit
            Parameters of both laws and their errors.

        Raises
        ------
        ValueError
            If fewer than two sizes can be used.
        """
        used = [r for r in self if r.n >= 3 and r.mean > 0 and r.trials > 1 and not r.censored.any()]
        if len(used) < 2:
            raise ValueError(
                "a fit needs at least two sizes with n >= 3, several uncensored trials and a mean above 0, "
                f"got {len(used)} of {len(self)}"
            )
        definition = self.definition
        means = [
            SizeMean(
                r.n,
                r.trials,
                r.mean,
                r.standard_error or math.sqrt(1 / (12 * r.trials)),
                definition.theory_mean(r.n) or math.nan,
                float(theory.mceliece_all(r.n)) if definition.has_limit else math.nan,
            )
            for r in used
        ]
        return fit_scaling(means, max(definition.degree - 1, 1), definition.theory_name)

    @classmethod
    def _of_trials(cls, groups: list[Trials]) -> Self:
        return cls(build_results(groups))


def build_results(groups: Sequence[Trials]) -> tuple[CapacityResult, ...]:
    """Results from trials in any order; ValueError for trials that are not 0, 1, 2, ... each once."""
    for n, trial, capacity, censored in (record for group in groups for record in group.records):
        if not 1 <= n <= MAX_UNITS or censored not in (0, 1) or not abs(capacity) < 2**63:
            raise ValueError(f"n = {n}, trial {trial}: capacity {capacity}, censored {censored} cannot be")
    results = []
    for records, definition, backend, seconds in groups:
        n, counts = records[0].n, dict[int, list[int]]()
        for _, trial, *values in records:
            if trial in counts:
                raise ValueError(f"n = {n}: trial {trial} comes twice")
            counts[trial] = values
        if set(counts) != set(range(len(counts))):
            raise ValueError(
                f"n = {n}: trials must be 0 to {len(counts) - 1}, got {min(counts)} to {max(counts)}"
            )
        capacities, censored = np.array([counts[trial] for trial in range(len(counts))]).T
        try:
            results.append(CapacityResult(n, capacities, censored, definition, backend, seconds))
        except ValueError as error:
            raise ValueError(f"n = {n}: {error}") from None
    return tuple(results)

"""Results of retrieval: outcomes at each load, size and start, as a table, a picture and a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...display import Column, Table, percent, span, tabulate
from ...jobs.outcomes import LoadPoint, OutcomesResult
from ...jobs.schema import Schema
from ..ensemble import COUPLINGS, DEFAULTS
from ..states import MAX_UNITS
from .census import ENDS, Outcome
from .definition import RetrievalDefinition
from .statistics import CONFIDENCE, student_t, wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def is_possible(o: Outcome, definition: RetrievalDefinition) -> bool:
    """Whether the recalls of a trial may have ended so."""
    return (
        min(o.n, o.p) >= 1
        and max(o.n, o.p) <= MAX_UNITS
        and 0 <= o.flips <= o.n
        and o.probed == min(definition.probes, o.p)
        and sum(o[-len(ENDS) :]) == o.probed
        and min(o[-len(ENDS) :]) >= 0
        and 0 <= o.exact <= o.within <= o.probed
        and 0 <= o.converged <= o.probed
        and o.probed <= o.sweeps <= o.probed * definition.max_sweeps
        and o.overlap**2 <= o.squares * o.probed <= (o.probed * o.n) ** 2
    )


SCHEMA: Schema = Schema(
    "retrieval",
    Outcome,
    RetrievalDefinition,
    key=4,
    is_possible=is_possible,
    added={name: (2, value) for name, value in DEFAULTS.items()}
    | {"degree": (3, COUPLINGS), "temperature": (3, 0.0)},
)


@dataclass(frozen=True, repr=False)
class RetrievalPoint(LoadPoint):
    """The trials of one n, p and number of flipped units; its numbers are over all their probes.

    Parameters
    ----------
    outcomes : tuple of Outcome
        One for each trial.
    """

    outcomes: tuple[Outcome, ...]

    def _summary(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("n", "p", "flips", "trials", "probed", "overlap")}

    @property
    def flips(self) -> int:
        """Units flipped in each probe."""
        return self.outcomes[0].flips

    @property
    def start(self) -> float:
        """Overlap of the probes with their memories, 1 - 2 flips / n."""
        return 1 - 2 * self.flips / self.n

    @property
    def probed(self) -> int:
        """Number of probes of all trials."""
        return self.count("probed")

    @property
    def overlap(self) -> float:
        """Mean final overlap m = (1/n) sum_i x_i s_i with the probed memory."""
        return self.count("overlap") / (self.probed * self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of `overlap` by Student's t on the means of trials; nan for one trial."""
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
        """Return the sum of a field of `Outcome` over the trials."""
        return sum(getattr(outcome, field) for outcome in self.outcomes)

    def share(self, field: str) -> float:
        """Return the share of the probes that a field of `Outcome` counts: "exact", "within", ..."""
        return self.count(field) / self.probed

    def share_interval(self, field: str) -> tuple[float, float]:
        """Return the 95 % Wilson interval of `share`, with the probes of a network taken as independent."""
        return wilson(self.count(field), self.probed)


@dataclass(frozen=True, repr=False)
class RetrievalResult(OutcomesResult):
    """Outcomes of retrieval at several loads, sizes or starts under one definition.

    Parameters
    ----------
    definition : RetrievalDefinition
        How they were measured.
    outcomes : iterable of Outcome
        In any order; kept ordered by n, p, flips and trial.
    backend : str
        Where the trials ran; several names are joined by "-".
    seconds : float
        Wall time of all trials, added up.

    Raises
    ------
    ValueError
        For outcomes that no trials can have.

    Notes
    -----
    `table` has one row for each point.  m0 and m are the overlaps before and after recall, +- half the width
    of the confidence interval, and m (AGS) the overlap by `theory.ags_overlap`, where that holds.  Shares of
    the probes are in per cent, sweeps are means.

    `plot` draws m against the load, or the map of basins if networks of one size were probed from several
    starts.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.retrieval_curve(100, [0.05, 0.2], trials=5, seed=1, backend="reference")
    >>> [f"{point.overlap:.2f}" for point in result.points]
    ['1.00', '0.90']
    """

    _schema = SCHEMA

    definition: RetrievalDefinition
    outcomes: tuple[Outcome, ...]
    backend: str
    seconds: float

    @cached_property
    def points(self) -> tuple[RetrievalPoint, ...]:
        """A point for each n, p and number of flipped units, in that order."""
        return tuple(map(RetrievalPoint, self._groups()))

    @property
    def curves(self) -> dict[tuple[int, float], tuple[RetrievalPoint, ...]]:
        """Points by n and start overlap, each in the order of the load."""
        curves: dict[tuple[int, float], tuple[RetrievalPoint, ...]] = {}
        for point in self.points:
            key = (point.n, point.start)
            curves[key] = (*curves.get(key, ()), point)
        return curves

    def _summary(self) -> dict[str, Any]:
        ranges = {name: span([getattr(point, name) for point in self.points]) for name in ("n", "p", "start")}
        return ranges | {"points": len(self.points), "trials": len(self.outcomes)}

    def _drawn_by(self) -> tuple[Callable[[Self], Figure], Callable[[Axes, Self], Axes]]:
        from fastrec import plot

        if len({point.n for point in self.points}) == 1 < len({point.start for point in self.points}):
            return plot.basin_figure, plot.draw_basins
        return plot.retrieval_figure, plot.draw_retrieval

    def _columns(self) -> list[Column]:
        d, points = self.definition, self.points
        tolerant = ["within"] * bool(d.tolerance)
        law = "m (theory)" if d.is_sequence else "m (AGS)"
        theory = [Column("theory", [float(d.theory_overlap(q.alpha)) for q in points], ".5f", law)]
        return [
            Column("n", [q.n for q in points]),
            Column("p", [q.p for q in points]),
            Column("alpha", [q.alpha for q in points], ".4f", "p/n"),
            Column("start", [q.start for q in points], ".3f", "m0"),
            Column("trials", [q.trials for q in points]),
            Column("probes", [q.probed for q in points]),
            Column("overlap", [q.overlap for q in points], ".5f", "m"),
            Column("overlap_error", [q.interval[1] - q.overlap for q in points], ".5f", "+-"),
            *theory * d.has_theory,
            Column("sweeps", [q.count("sweeps") / q.probed for q in points], ".1f"),
            *(
                Column(name, [q.share(name) for q in points], percent(1))
                for name in ("exact", *tolerant, "converged", *ENDS)
            ),
        ]

    def _table(self) -> Table:
        spare = ("probes", "sweeps", *reversed(ENDS), "converged", "within", "exact", "p", "trials", "m0")
        return tabulate(f"retrieval: {self.definition}", self._columns(), spare)

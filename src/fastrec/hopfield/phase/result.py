"""Results in the plane of load and temperature, as a table, a picture and a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ...display import Column, Table, span, tabulate
from ...jobs.outcomes import LoadPoint, OutcomesResult
from ...jobs.schema import Schema
from .. import theory
from ..states import MAX_UNITS
from .definition import PhaseDefinition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class PhaseOutcome(NamedTuple):
    """What one network held at one temperature: whole numbers, sums over its starts.

    Attributes
    ----------
    n : int
        Number of units.
    p : int
        Number of memories.
    temperature : float
        Temperature T, in units of the energy.
    trial : int
        Number of the network.
    probed : int
        Number of starts, each at another memory.
    overlap : int
        Sum of the overlaps sum_i x_i s_i of the states, after each of the last sweeps, with that memory.
    squares : int
        Sum over the units of the square of what each sums to over these sweeps.
    """

    n: int
    p: int
    temperature: float
    trial: int
    probed: int
    overlap: int
    squares: int


def is_possible(o: PhaseOutcome, definition: PhaseDefinition) -> bool:
    """Whether a network may have held so much."""
    most = o.n * o.probed * definition.sweeps
    return (
        min(o.n, o.p) >= 1
        and max(o.n, o.p) <= MAX_UNITS
        and 0 <= o.temperature < math.inf
        and o.probed == min(definition.probes, o.p)
        and o.overlap**2 <= o.squares * o.n * o.probed
        and o.squares <= most * definition.sweeps
    )


SCHEMA: Schema = Schema("phase", PhaseOutcome, PhaseDefinition, key=4, is_possible=is_possible)


@dataclass(frozen=True, repr=False)
class PhasePoint(LoadPoint):
    """The networks of one n, p and temperature.

    Parameters
    ----------
    outcomes : tuple of PhaseOutcome
        One for each network.
    sweeps : int
        Sweeps after which states were counted.
    """

    outcomes: tuple[PhaseOutcome, ...]
    sweeps: int

    def _summary(self) -> dict[str, Any]:
        names = ("n", "p", "temperature", "trials", "overlap", "edwards_anderson")
        return {name: getattr(self, name) for name in names}

    @property
    def temperature(self) -> float:
        """Temperature T, in units of the energy."""
        return self.outcomes[0].temperature

    @property
    def overlap(self) -> float:
        """Mean overlap m = (1/n) sum_i x_i s_i with the memory from which the network started."""
        return sum(o.overlap for o in self.outcomes) / self._states

    @property
    def error(self) -> float:
        """Standard error of `overlap`, from the means of the networks; nan for one."""
        if self.trials == 1:
            return math.nan
        means = np.array([o.overlap / (o.n * o.probed * self.sweeps) for o in self.outcomes])
        return float(means.std(ddof=1)) / math.sqrt(self.trials)

    @property
    def expected(self) -> float:
        """The overlap of `theory.ags_overlap`; nan where there is no retrieval state."""
        return float(theory.ags_overlap(self.alpha, self.temperature))

    @property
    def difference(self) -> float:
        """`overlap` less `expected`, in standard errors; nan without theory or where there is no error."""
        return (self.overlap - self.expected) / self.error if self.error else math.nan

    @property
    def edwards_anderson(self) -> float:
        """Mean over the units of the square of the average of each, as of `Averages`."""
        return sum(o.squares for o in self.outcomes) / (self._states * self.sweeps)

    @property
    def _states(self) -> int:
        """Number of states of units that were counted."""
        return self.n * self.outcomes[0].probed * self.trials * self.sweeps


@dataclass(frozen=True, repr=False)
class PhaseResult(OutcomesResult):
    """What networks hold of their memories at several loads and temperatures, under one definition.

    Parameters
    ----------
    definition : PhaseDefinition
        How it was measured.
    outcomes : iterable of PhaseOutcome
        In any order; kept ordered by n, p, temperature and trial.
    backend : str
        Where the networks ran; several names are joined by "-".
    seconds : float
        Wall time of all networks, added up.

    Raises
    ------
    ValueError
        For outcomes that no networks can have.

    Notes
    -----
    `table` has one row for each point: the measured overlap m +- its standard error over the networks, the
    overlap by `theory.ags_overlap` where there is a retrieval state, the difference of the two in standard
    errors, and the measured order parameter q of Edwards and Anderson.

    `plot` draws a map of m in the plane, with the lines of theory.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.phase_diagram(500, [0.02, 0.1], [0.2, 0.8], trials=4, sweeps=50, burn_in=50)
    >>> [f"{point.overlap:.2f}" for point in result.points]
    ['1.00', '0.16', '0.99', '0.11']
    """

    _schema = SCHEMA

    definition: PhaseDefinition
    outcomes: tuple[PhaseOutcome, ...]
    backend: str
    seconds: float

    @cached_property
    def points(self) -> tuple[PhasePoint, ...]:
        """A point for each n, p and temperature, in that order."""
        return tuple(PhasePoint(group, self.definition.sweeps) for group in self._groups())

    def _summary(self) -> dict[str, Any]:
        names = ("n", "p", "temperature")
        ranges = {name: span([getattr(point, name) for point in self.points]) for name in names}
        return ranges | {"points": len(self.points), "trials": len(self.outcomes)}

    def _drawn_by(self) -> tuple[Callable[[Self], Figure], Callable[[Axes, Self], Axes]]:
        from fastrec import plot

        return plot.phase_figure, plot.draw_phase

    def _columns(self) -> list[Column]:
        points = self.points
        return [
            Column("n", [q.n for q in points]),
            Column("p", [q.p for q in points]),
            Column("alpha", [q.alpha for q in points], ".4f", "p/n"),
            Column("temperature", [q.temperature for q in points], ".4g", "T"),
            Column("trials", [q.trials for q in points]),
            Column("overlap", [q.overlap for q in points], ".5f", "m"),
            Column("standard_error", [q.error for q in points], ".5f", "s.e."),
            Column("theory", [q.expected for q in points], ".5f", "m (AGS)"),
            Column("difference", [q.difference for q in points], "+.1f", "errors apart"),
            Column("edwards_anderson", [q.edwards_anderson for q in points], ".4f", "q"),
        ]

    def _table(self) -> Table:
        spare = ("q", "p", "trials", "errors apart")
        return tabulate(f"phases: {self.definition}", self._columns(), spare)

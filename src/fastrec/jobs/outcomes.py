"""Jobs of independent networks, each of which has one outcome: the job and its result."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from ..display import Displayed
from ..messages import shown
from .export import JobResult
from .schema import Schema, Trials


@dataclass(frozen=True, repr=False)
class OutcomesResult(JobResult):
    """Outcomes of networks under one definition: what results of such jobs share.

    Parameters
    ----------
    definition : object
        How they were measured.
    outcomes : iterable of tuple
        Records of the schema, in any order; kept in that of their keys.
    backend : str
        Where the trials ran; several names are joined by "-".
    seconds : float
        Wall time of all trials, added up.

    Raises
    ------
    ValueError
        For outcomes that no trials can have.
    """

    definition: Any
    outcomes: tuple[Any, ...]
    backend: str
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcomes", tuple(sorted(self.outcomes)))
        if not self.outcomes:
            raise ValueError("outcomes is empty; give at least one")
        if not re.fullmatch("[A-Za-z0-9_-]+", self.backend):
            raise ValueError(f"backend is {shown(self.backend)}; it must be the name of one")
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds is {self.seconds}; it must be at least 0")
        for outcome in self.outcomes:
            if not self._schema.is_possible(outcome, self.definition):
                raise ValueError(f"outcomes holds numbers that cannot be together: {outcome}")
        for group in self._groups():
            if [o.trial for o in group] != list(range(len(group))):
                numbers = ", ".join(str(o.trial) for o in group[:20])
                names = self._schema.keys[:-1]
                place = ", ".join(f"{name} = {getattr(group[0], name)}" for name in names)
                raise ValueError(
                    f"outcomes of {place} hold the trials {numbers}; they must be 0, 1, 2, ... each once"
                )

    def _groups(self) -> list[tuple[Any, ...]]:
        """The outcomes that differ in nothing but the trial."""
        places = groupby(self.outcomes, lambda o: o[: self._schema.key - 1])
        return [tuple(group) for _, group in places]

    def _rows(self) -> list[tuple[Any, ...]]:
        return list(self._schema.rows(self.outcomes, self.definition, self.backend, self.seconds))

    @classmethod
    def _of_trials(cls, groups: list[Trials]) -> Self:
        if not groups:
            raise ValueError("holds no rows")
        ((outcomes, definition, backend, seconds),) = groups
        return cls(definition, tuple(outcomes), backend, seconds)


@dataclass(frozen=True, repr=False)
class LoadPoint(Displayed):
    """The independent networks of one n and p, and whatever else their outcomes share.

    Parameters
    ----------
    outcomes : tuple
        One for each network.
    """

    outcomes: tuple[Any, ...]

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.outcomes[0].n)

    @property
    def p(self) -> int:
        """Number of memories."""
        return int(self.outcomes[0].p)

    @property
    def alpha(self) -> float:
        """Load p/n."""
        return self.p / self.n

    @property
    def trials(self) -> int:
        """Number of independent networks."""
        return len(self.outcomes)


class OutcomesJob:
    """Networks that are tasks of their own; see `jobs.run.Job`."""

    def __init__(self, tasks: list[Any], kind: type[OutcomesResult]) -> None:
        self.tasks = tasks
        self.kind = kind
        self.schema: Schema = kind._schema
        self.outcomes: list[Any] = []
        self.keys: set[tuple[Any, ...]] = {self._key(task) for task in tasks}
        self.backends: set[str] = {tasks[0].backend}
        self.seconds: float = 0.0

    def _key(self, task_or_outcome: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(task_or_outcome[: self.schema.key])

    def is_asked(self, key: Sequence[Any]) -> bool:
        return key in self.keys

    def take(self, columns: Sequence[Sequence[Any]], backends: Iterable[str], seconds: float) -> None:
        self.outcomes += map(self.schema.record, *columns)
        self.backends.update(backends)
        self.seconds += seconds

    def missing(self) -> list[Any]:
        finished = {self._key(outcome) for outcome in self.outcomes}
        return [task for task in self.tasks if self._key(task) not in finished]

    def split(self, tasks: list[Any], cost: float) -> list[Any]:
        return tasks

    def result(self) -> Any:
        backend = "-".join(sorted(self.backends))
        return self.kind(self.tasks[0].definition, tuple(self.outcomes), backend, self.seconds)

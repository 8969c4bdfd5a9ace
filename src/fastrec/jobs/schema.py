"""What a job stores, described once: columns of files, fields of Python objects, versions."""

from __future__ import annotations

import datetime
import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, takewhile
from typing import Any, ClassVar, NamedTuple, get_type_hints

import numpy as np

from .. import __version__
from ..backend import array_module


class Origin(NamedTuple):
    """Where, when and by what a record was computed.

    Attributes
    ----------
    backend : str
    seconds : float
        Wall time of the trial.
    fastrec, numpy, kernels : str
        Versions of fastrec, of NumPy, and of the compiler of the kernels (empty for the reference).
    machine, processor : str
    finished : str
        Time (UTC, ISO 8601).  It comes last, as a file that is cut loses the end of a row first: a row with a
        valid time is complete.
    """

    backend: str
    seconds: float
    fastrec: str
    numpy: str
    kernels: str
    machine: str
    processor: str
    finished: str


class Trials(NamedTuple):
    """Records that share everything else: what one result object is made of."""

    records: list[Any]
    definition: Any
    backend: str
    seconds: float


@dataclass(frozen=True)
class Schema:
    """What one kind of job stores; SQL columns, CSV columns and Python objects are derived from it.

    Attributes
    ----------
    name : str
        Kind of the job, and name of its table in a run file.
    record : type
        Named tuple of one trial, its fields int, float or str.
    definition : type
        Data class of what defines the job, its fields int, float, bool or str.  Equal in all rows of a file,
        except for `by_size`.
    key : int
        Number of fields of `record`, the first ones, that identify a trial; the last of these is its number.
        A row whose key is already in the file is ignored.
    shared_key : int
        Number of fields of the key that all trials of one result object share.
    by_size : tuple of str
        Fields of the definition that depend on the first field of the key.
    added : mapping of str to (int, value)
        Fields of the definition that version 1 of the schema did not have: the version that introduced each,
        and the value that files of earlier versions stand for.
    is_possible : callable
        Whether a record, whose fields have their types, may be the outcome of a trial under a definition.
    """

    known: ClassVar[list[Schema]] = []  # all that were made

    name: str
    record: Any
    definition: Any
    key: int
    shared_key: int = 0
    by_size: tuple[str, ...] = ()
    added: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    is_possible: Callable[[Any, Any], bool] = lambda record, definition: True

    def __post_init__(self) -> None:
        self.known.append(self)

    @property
    def version(self) -> int:
        """The version of files that are written now."""
        return max((version for version, _ in self.added.values()), default=1)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns of the key."""
        return tuple(self.record._fields[: self.key])

    @cached_property
    def defined(self) -> dict[str, type]:
        """Types of the stored fields of the definition, in the order in which versions introduced them.

        Strings that are one of a few are str, truth values are 0 or 1.
        """
        hints, kinds = get_type_hints(self.definition), {int: int, float: float, bool: int}
        names = sorted(hints, key=lambda name: self.added.get(name, (1, None))[0])
        return {name: kinds.get(hints[name], str) for name in names}

    @cached_property
    def run_columns(self) -> dict[str, type]:
        """Columns of a run file and their Python types: record, definition, origin."""
        return {**get_type_hints(self.record), **self.defined, **get_type_hints(Origin)}

    @cached_property
    def columns(self) -> dict[str, type]:
        """Columns of the CSV file of a result: those of a run file up to backend, and total_seconds.

        These are the seconds of all trials of the result, where a run file has those of each trial.
        """
        names = list(self.run_columns)
        return {name: self.run_columns[name] for name in names[: names.index("seconds")]} | {
            "total_seconds": float
        }

    def of_version(self, columns: Mapping[str, type], version: int) -> dict[str, type]:
        """Those of the columns that files of a version have."""
        return {name: kind for name, kind in columns.items() if self.added.get(name, (1, None))[0] <= version}

    def complete(self, row: Sequence[Any], columns: Mapping[str, type], version: int) -> tuple[Any, ...]:
        """A row of a file of a version with a value for each of `columns`."""
        stored = dict(zip(self.of_version(columns, version), row, strict=True))
        return tuple(stored[name] if name in stored else self.added[name][1] for name in columns)

    def rows(self, records: Iterable[Any], definition: Any, *origin: Any) -> Iterator[tuple[Any, ...]]:
        """A row for each record, with the definition and an origin, or only its backend and seconds."""
        shared = (*(kind(getattr(definition, name)) for name, kind in self.defined.items()), *origin)
        return ((*record, *shared) for record in records)

    def define(self, values: Iterable[Any]) -> Any:
        """The definition with these values of the fields `defined`; ValueError if it is none."""
        fields = zip(self.defined.items(), values, strict=True)
        return self.definition(**{name: kind(value) for (name, kind), value in fields})

    def complete_trials(self, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Rows of a result from rows of a run file, which may be unfinished, in the order of their keys.

        Kept are the trials before the first missing one of each n, p, ...; the backends of the trials of one
        result are joined and their seconds added.  Raises ValueError if no trial is left.
        """
        groups: dict[tuple[Any, ...], dict[int, Sequence[Any]]] = {}
        for row in rows:
            groups.setdefault(tuple(row[: self.key - 1]), {})[row[self.key - 1]] = row
        results: dict[tuple[Any, ...], list[Sequence[Any]]] = {}
        for place, trials in sorted(groups.items()):
            unbroken = [trials[trial] for trial in takewhile(trials.__contains__, count())]
            if unbroken:
                results.setdefault(place[: self.shared_key], []).extend(unbroken)
        kinds = list(self.columns.values())[:-2]
        completed: list[tuple[Any, ...]] = []
        for kept in results.values():
            shared = join_origins((row[len(kinds)], row[len(kinds) + 1]) for row in kept)
            for row in kept:
                values = (kind(value) for kind, value in zip(kinds, row, strict=False))
                completed.append((*values, *shared))
        if not completed:
            raise ValueError("no finished trials")
        return completed

    def results(self, rows: Iterable[Sequence[Any]]) -> list[Trials]:
        """Rows of results, in any order, as one `Trials` for each result object.

        Raises ValueError if rows of one result disagree on anything but their records, or if their definition
        is invalid.
        """
        width = len(self.record._fields)
        shared: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        records: dict[tuple[Any, ...], list[Any]] = {}
        names = list(self.columns)[width:]
        for row in rows:
            place, common = tuple(row[: self.shared_key]), tuple(row[width:])
            first = shared.setdefault(place, common)
            for name, expected, value in zip(names, first, common, strict=True):
                if value != expected:
                    raise ValueError(
                        f"{self.label(place)}trials disagree on {name}, {expected!r} and {value!r}"
                    )
            records.setdefault(place, []).append(self.record(*row[:width]))
        results = []
        for place, (*definition, backend, seconds) in shared.items():
            try:
                results.append(Trials(records[place], self.define(definition), backend, seconds))
            except ValueError as error:
                raise ValueError(f"{self.label(place)}{error}") from None
        return results

    def label(self, place: Sequence[Any]) -> str:
        """What messages about one result begin with, such as "n = 100: "; nothing if a file holds one."""
        values = (f"{name} = {value}" for name, value in zip(self.keys, place, strict=False))
        return ", ".join(values) + ": " * bool(place)


def join_origins(origins: Iterable[tuple[str, float]]) -> tuple[str, float]:
    """Names of all backends, sorted and joined by "-", and the sum of all seconds."""
    backends, seconds = zip(*origins, strict=True)
    return "-".join(sorted(set(backends))), math.fsum(seconds)


def origin(backend: str, seconds: float) -> Origin:
    """The origin of a record that is finished now."""
    compiler = ""
    if backend == "cpu":
        import numba

        compiler = f"numba {numba.__version__}"
    elif backend == "gpu":
        compiler = f"cupy {array_module(backend).__version__}"
    # Characters with a meaning in CSV files are replaced.
    machine, processor = (
        re.sub(r"[^\w.:+()@ -]+", " ", name)
        for name in (platform.node(), platform.processor() or platform.machine())
    )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return Origin(backend, float(seconds), __version__, np.__version__, compiler, machine, processor, now)

"""Run files that long jobs make on their own, so that an interrupt loses nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from ..compilation import clock
from ..progress import duration
from .schema import Schema
from .store import RunFile

LONG = 60.0  # seconds of work from which on it is kept
TRIAL = 3.0  # seconds of work from which the rest is estimated


class Keeper:
    """Makes the run files of the jobs of a ``with`` block of `keep_long_jobs`.

    Attributes
    ----------
    tell : callable
        Called with a sentence about what is kept and where.
    paths : list of Path
        The files that were made or gone on with.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell = tell
        self.paths: list[Path] = []

    def file_of(self, schema: Schema, tasks: Iterable[Any]) -> LateRunFile:
        """Return the run file of a job, whose name is that of its kind and of its definition."""
        definitions = dict.fromkeys((task.n, task.definition) for task in tasks)
        text = json.dumps([(n, asdict(each)) for n, each in definitions], default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return LateRunFile(Path(f"{schema.name}-{digest}.db"), schema, self)


KEEPER: ContextVar[Keeper | None] = ContextVar("KEEPER", default=None)


@contextmanager
def keep_long_jobs(tell: Callable[[str], object]) -> Iterator[Keeper]:
    """A ``with`` block in which jobs of more than a minute that have no run file get one.

    The files lie in the working directory, are gone on with by a second start, and are removed at the end of
    the block, unless an exception ends it.
    """
    keeper = Keeper(tell)
    token = KEEPER.set(keeper)
    try:
        yield keeper
    finally:
        KEEPER.reset(token)
    for path in keeper.paths:
        path.unlink(missing_ok=True)


class LateRunFile:
    """A run file that is made once a job turns out to be long; what was found before is held in memory.

    If the file exists, it is gone on with from the beginning.
    """

    def __init__(self, path: Path, schema: Schema, keeper: Keeper) -> None:
        self.path, self.schema, self.keeper = path, schema, keeper
        self.file: RunFile | None = None
        self.waiting: list[Iterable[Sequence[Any]]] = []
        self.stack, self.failed = ExitStack(), False
        self.begin, self.done = clock(), 0.0

    def __enter__(self) -> LateRunFile:
        if self.path.exists():
            self._open()
            self.keeper.tell(f"goes on with {self.path}, which an earlier start left")
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()

    def _open(self) -> None:
        self.file = self.stack.enter_context(RunFile(self.path, self.schema))
        self.keeper.paths.append(self.path)

    def note(self, work: float, left: float) -> None:
        """Count work that is done, and make the file if what is left takes long."""
        self.done += work
        seconds = clock() - self.begin
        if self.file is not None or self.failed or seconds < TRIAL or not self.done:
            return
        if (rest := seconds / self.done * (left - self.done)) > LONG:
            try:
                self._open()
                self.add(chain.from_iterable(self.waiting))
            except OSError as error:
                self.failed = True
                self.keeper.tell(f"trials are not kept, as {self.path} cannot be written: {error}")
                return
            self.waiting.clear()
            self.keeper.tell(f"about {duration(rest)} left; until then, trials are kept in {self.path}")

    def rows(self) -> list[tuple[Any, ...]]:
        """As of `RunFile`."""
        return self.file.rows() if self.file is not None else []

    def require(self, definition: Mapping[str, Any]) -> None:
        """As of `RunFile`."""
        if self.file is not None:
            self.file.require(definition)

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """As of `RunFile`, or hold the rows until the file is made."""
        if self.file is not None:
            self.file.add(rows)
        elif not self.failed:
            self.waiting.append(rows)

    def load_progress(self, key: Sequence[int], definition: Mapping[str, Any]) -> tuple[bytes | None, float]:
        """As of `RunFile`."""
        return self.file.load_progress(key, definition) if self.file is not None else (None, 0.0)

    def save_progress(
        self, key: Sequence[int], definition: Mapping[str, Any], state: bytes, seconds: float
    ) -> None:
        """As of `RunFile`, where there is a file."""
        if self.file is not None:
            self.file.save_progress(key, definition, state, seconds)


TrialFile = RunFile | LateRunFile

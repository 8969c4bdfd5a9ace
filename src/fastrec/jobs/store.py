"""Run files: an SQLite table with a row for each finished piece of a long job, which may be killed any time.

The journal is a rollback journal, since a write-ahead log does not work on network file systems; several
processes may write one file.  Format and program are in the header (user_version, application_id), the kind
of job is the name of that table.  A second table, `UNFINISHED`, holds how far large pieces are.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import logging
import math
import os
import platform
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..backend import array_module
from ..files import new_file, require_file, require_suffix, require_writable
from ..tables import read_table, write_table

SUFFIXES = (".db", ".sqlite")
FORMAT = 1
APPLICATION = b"fRec"
UNFINISHED = "unfinished"  # the table of how far pieces are that have no row yet
CHECKSUM = 32  # bytes of the checksum that a state there begins with
BUSY_SECONDS = 60  # wait for other processes that write the same file

log = logging.getLogger("fastrec")

_MAGIC = b"SQLite format 3\0"
_PYTHON = {"INTEGER": int, "REAL": float, "TEXT": str}
_ORIGIN = {
    "backend": "TEXT",
    "seconds": "REAL",
    "fastrec": "TEXT",
    "numpy": "TEXT",
    "kernels": "TEXT",
    "machine": "TEXT",
    "processor": "TEXT",
    # Last, as the end of a record is what a cut through it takes: a row with a time is whole.
    "finished": "TEXT",
}


Origin = tuple[str, float, str, str, str, str, str, str]


class DamagedFile(ValueError):
    """A run file that was cut or overwritten."""


class Table(NamedTuple):
    """What one kind of job stores: columns and their SQL types (INTEGER, REAL, TEXT).

    name: of the table, which names the kind.  key: what names a row; one whose key is there is ignored.
    values: what was found.  definition: equal in all rows of a file, but for the columns `own`, which are
    equal in all rows of one value of the first key column.  Every table also has the columns of `origin`.
    """

    name: str
    key: Mapping[str, str]
    values: Mapping[str, str]
    definition: Mapping[str, str]
    own: tuple[str, ...] = ()

    @property
    def types(self) -> dict[str, str]:
        """SQL type of every column, in order: key, values, definition, origin."""
        return {**self.key, **self.values, **self.definition, **_ORIGIN}

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column, in order."""
        return tuple(self.types)

    @property
    def read_as(self) -> dict[str, type]:
        """Type of every column; seeds are whole numbers, stored as text."""
        return {name: int if name == "seed" else _PYTHON[kind] for name, kind in self.types.items()}


def origin(backend: str, seconds: float) -> Origin:
    """Last columns of a row that is finished now: backend, seconds, fastrec, numpy, kernels (the compiler and
    its version), machine, processor, finished (UTC)."""
    compiler = ""
    if backend == "cpu":
        import numba

        compiler = f"numba {numba.__version__}"
    elif backend == "gpu":
        compiler = f"cupy {array_module(backend).__version__}"
    # Free of what CSV files give a meaning to.
    machine, processor = (
        re.sub(r"[^\w.:+()@ -]+", " ", name)
        for name in (platform.node(), platform.processor() or platform.machine())
    )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return backend, float(seconds), __version__, np.__version__, compiler, machine, processor, now


class RunFile:
    """A run file, open in a ``with`` block: made if there is none, resumed if there is one.

    A damaged file is replaced by a new one with every row that can still be read, and kept beside it as
    NAME.damaged; a warning tells so.  Raises ValueError, and changes nothing, for a file of another program,
    format or kind, and OSError if it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], table: Table) -> None:
        self.path, self.table = Path(path), table

    def __enter__(self) -> RunFile:
        require_writable(self.path)
        if self.path.exists():
            require_run_file(self.path)
        try:
            self._connection = self._open()
        except DamagedFile:
            salvage(self.path, self.table)
            self._connection = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        with told(self.path):
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            with told(self.path), transaction(connection):
                if names := tables(connection):
                    require_kind(self.path, names, self.table)
                    require_whole(connection, self.path)
                    require_unchanged(connection, self.path)
                else:
                    connection.execute(f"PRAGMA application_id = {int.from_bytes(APPLICATION)}")
                    connection.execute(f"PRAGMA user_version = {FORMAT}")
                    columns = [f'"{name}" {kind} NOT NULL' for name, kind in self.table.types.items()]
                    key = ", ".join(f'"{name}"' for name in self.table.key)
                    connection.execute(
                        f'CREATE TABLE "{self.table.name}" ({", ".join(columns)}, PRIMARY KEY ({key}))'
                    )
        except BaseException:
            connection.close()
            raise
        return connection

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Commit rows, values in the order of the table's columns, all or none; known keys are ignored.

        Raises ValueError if their definition is not that of the file, OSError if the disk is full.
        """
        types = self.table.types
        kinds = [_PYTHON[kind] for kind in types.values()]
        values = [tuple(kind(value) for kind, value in zip(kinds, row, strict=True)) for row in rows]
        first = next(iter(self.table.key))
        place = {name: i for i, name in enumerate(types) if name == first or name in self.table.definition}
        definitions = {tuple(row[i] for i in place.values()) for row in values}
        with told(self.path), transaction(self._connection):
            for definition in definitions:
                self.require(dict(zip(place, definition, strict=True)))
            self._connection.executemany(
                f'INSERT INTO "{self.table.name}" VALUES ({", ".join("?" * len(types))}) '
                "ON CONFLICT DO NOTHING",
                values,
            )
            if keeps(self._connection):
                done = [(json.dumps(row[: len(self.table.key)]),) for row in values]
                self._connection.executemany(f'DELETE FROM "{UNFINISHED}" WHERE key = ?', done)

    def keep(self, key: Sequence[int], definition: Mapping[str, Any], state: bytes, seconds: float) -> None:
        """Commit how far a piece is that has no row yet, and the time that it has taken."""
        name, given = json.dumps(list(key)), json.dumps(dict(definition), default=int)
        values = name, given, checksum(name, given, state, seconds) + state, float(seconds)
        with told(self.path), transaction(self._connection):
            self._connection.execute(
                f'CREATE TABLE IF NOT EXISTS "{UNFINISHED}" (key TEXT PRIMARY KEY, definition TEXT NOT NULL, '
                "state BLOB NOT NULL, seconds REAL NOT NULL)"
            )
            self._connection.execute(f'INSERT OR REPLACE INTO "{UNFINISHED}" VALUES (?, ?, ?, ?)', values)

    def kept(self, key: Sequence[int], definition: Mapping[str, Any]) -> tuple[bytes | None, float]:
        """What `keep` was given last for a piece, and its seconds; None and 0 if nothing.

        Raises ValueError if it is of another definition.
        """
        found = None
        with told(self.path):
            if keeps(self._connection):
                found = self._connection.execute(
                    f'SELECT definition, state, seconds FROM "{UNFINISHED}" WHERE key = ?',
                    (json.dumps(list(key)),),
                ).fetchone()
        if found is None:
            return None, 0.0
        if found[0] != json.dumps(dict(definition), default=int):
            raise ValueError(
                f"{self.path}: an unfinished run of another definition, {found[0]}; give another file"
            )
        return found[1][CHECKSUM:], found[2]

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows in the order of their keys."""
        with told(self.path):
            return ordered(self._connection, self.table.name, self.table.types, self.table.key, self.path)

    def finished(self) -> set[tuple[Any, ...]]:
        """The keys of all rows."""
        keys = ", ".join(f'"{name}"' for name in self.table.key)
        with told(self.path):
            return set(self._connection.execute(f'SELECT {keys} FROM "{self.table.name}"'))

    def require(self, definition: Mapping[str, Any]) -> None:
        """Raise ValueError, naming every difference, if the file has rows of another definition.

        definition: a value of each definition column, and of the first key column where the table has `own`.
        """
        t, first = self.table, next(iter(self.table.key))
        shared = [name for name in t.definition if name not in t.own]
        differences = []
        for names, where in ((shared, ()), (t.own, (definition.get(first),))):
            if not names:
                continue
            columns, condition = ", ".join(f'"{name}"' for name in names), f'WHERE "{first}" = ?'
            with told(self.path):
                found = self._connection.execute(
                    f'SELECT {columns} FROM "{t.name}" {condition if where else ""} LIMIT 1', where
                ).fetchone()
            for name, there in zip(names, found or (), strict=bool(found)):
                if there != _PYTHON[t.definition[name]](definition[name]):
                    at = f" of {first} = {where[0]}" if where else ""
                    differences.append(f"{name}{at} is {there} in the file, {definition[name]} is asked")
        if differences:
            raise ValueError(
                f"{self.path}: a run of another definition, {'; '.join(differences)}; give another file"
            )


def require_out(path: str | os.PathLike[str]) -> None:
    """Raise ValueError or OSError unless path can be written and ends as a CSV or a run file."""
    require_suffix(path, ".csv", *SUFFIXES)
    require_writable(path)


@contextmanager
def opened(path: str | os.PathLike[str] | None, table: Table) -> Iterator[RunFile | None]:
    """The run file that path names, None if it names none."""
    if path is None or Path(path).suffix.lower() not in SUFFIXES:
        yield None
        return
    with RunFile(path, table) as file:
        yield file


def save_results(results: Any, out: str | os.PathLike[str]) -> None:
    """Write what a job ends in to a CSV file; if that fails, the exception has it: no work is lost."""
    try:
        results.save(out)
    except OSError as error:
        error.result = results  # type: ignore[attr-defined]
        raise


def whole_trials(table: Table, rows: Iterable[Sequence[Any]]) -> list[list[dict[str, Any]]]:
    """Rows by all of their key but the trial, which is its last: those before the first that is missing.

    Seeds are integers.  Raises ValueError if nothing is left.
    """
    groups: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for row in rows:
        values = dict(zip(table.columns, row, strict=True))
        *place, trial = (values[name] for name in table.key)
        groups.setdefault(tuple(place), {})[trial] = values | {"seed": int(values["seed"])}
    found = []
    for _, trials in sorted(groups.items()):
        first = next(t for t in range(len(trials) + 1) if t not in trials)
        if first:
            found.append([trials[t] for t in range(first)])
    if not found:
        raise ValueError("no finished trials")
    return found


def together(trials: Iterable[Mapping[str, Any]]) -> tuple[str, float]:
    """The backends of trials, joined, and their seconds, added up."""
    found = list(trials)
    backends = sorted({values["backend"] for values in found})
    return "-".join(backends), math.fsum(values["seconds"] for values in found)


def is_run_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is SQLite's, by its first bytes."""
    require_file(path)
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def require_run_file(path: Path) -> None:
    """Raise ValueError for a file of another program or format; one that is too short to tell passes."""
    require_file(path)
    with open(path, "rb") as file:
        head = file.read(72)
    if not _MAGIC.startswith(head[:16]):
        raise ValueError(f"{path}: not a run file of fastrec; give another name")
    if len(head) == 72 and head[68:] != APPLICATION:
        raise ValueError(f"{path}: an SQLite file of another program, not a run file; give another name")
    if len(head) == 72 and (found := int.from_bytes(head[60:64])) != FORMAT:
        raise ValueError(f"{path}: format {found}, but this fastrec reads format {FORMAT}")


def require_kind(path: Path, names: Sequence[str], table: Table) -> None:
    """Raise ValueError unless a run file with tables of these names is of the kind of `table`."""
    if table.name not in names:
        raise ValueError(f"{path}: a run of {', '.join(names)}, not of {table.name}; give another file")


def require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile unless all pages are there and well-formed; in a transaction, so nobody writes."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % size:  # SQLite reads zeros past the end of a cut page
        raise DamagedFile(f"{path}: damaged, the last page is cut")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedFile(f"{path}: damaged, {' '.join(found.split())}")


def keeps(connection: sqlite3.Connection) -> bool:
    """Whether a file has a table of pieces that are not finished."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (UNFINISHED,)).fetchone() is not None


def checksum(key: str, definition: str, state: bytes, seconds: float) -> bytes:
    """What the state of an unfinished piece begins with in a file."""
    return hashlib.sha256(repr((key, definition, state, float(seconds))).encode()).digest()


def require_unchanged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile if an unfinished piece is not as `RunFile.keep` has written it."""
    for row in connection.execute(f'SELECT * FROM "{UNFINISHED}"') if keeps(connection) else ():
        if [type(value) for value in row] == [str, str, bytes, float]:
            key, definition, state, seconds = row
            if state[:CHECKSUM] == checksum(key, definition, state[CHECKSUM:], seconds):
                continue
        raise DamagedFile(f"{path}: damaged, what is kept of {row[0]} has changed")


def tables(connection: sqlite3.Connection) -> list[str]:
    """Names of the tables of results of a file."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in names if name != UNFINISHED]


def ordered(
    connection: sqlite3.Connection, name: str, types: Mapping[str, str], key: Iterable[str], path: Path
) -> list[tuple[Any, ...]]:
    """All rows of a table in the order of a key; DamagedFile for one that no `RunFile` has written."""
    order = ", ".join(f'"{column}"' for column in key)
    # All at once: a cursor that is read slowly would keep other processes from writing.
    rows: list[tuple[Any, ...]] = connection.execute(f'SELECT * FROM "{name}" ORDER BY {order}').fetchall()
    for row in rows:
        if not sound(row, types):
            raise DamagedFile(f"{path}: damaged, the row {row[:3]}... has values that cannot be")
    return rows


def sound(row: Sequence[Any], types: Mapping[str, str]) -> bool:
    """Whether a row has values of its types and ends in a time."""
    if [type(value) for value in row] != [_PYTHON[kind] for kind in types.values()]:
        return False
    try:
        return datetime.datetime.fromisoformat(row[-1]).utcoffset() is not None
    except ValueError:
        return False


def salvage(path: Path, table: Table) -> None:
    """Replace a damaged run file by a new one with the rows that can be read; keep it as NAME.damaged."""
    before = path.stat()
    rows = readable(path, table)
    with new_file(path) as fresh:
        with RunFile(fresh, table) as file:
            file.add(rows)
        names = itertools.chain([f"{path}.damaged"], (f"{path}.damaged{i}" for i in itertools.count(2)))
        damaged = next(name for name in names if not os.path.exists(name))
        with new_file(damaged) as copy:
            shutil.copyfile(path, copy)
        after = path.stat()
        if (after.st_ino, after.st_size, after.st_mtime_ns) != (
            before.st_ino,
            before.st_size,
            before.st_mtime_ns,
        ):
            raise OSError(f"{path}: damaged, and written by another process meanwhile; start again")
        with suppress(FileNotFoundError):  # or it would be played back into the new file
            os.replace(f"{path}-journal", f"{damaged}-journal")
    log.warning(
        "%s: damaged; %d rows could be read and are kept, the damaged file is now %s",
        *(path, len(rows), damaged),
    )


def readable(path: Path, table: Table) -> list[tuple[Any, ...]]:
    """Every whole row of a damaged file.  Raises ValueError if it is of another kind."""
    rows: list[tuple[Any, ...]] = []
    # Immutable: without locks and journals, and not changed.
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA writable_schema = ON")  # reads a file with fewer pages than it says
            if names := tables(connection):
                require_kind(path, names, table)
            else:
                return rows
        except sqlite3.DatabaseError:
            return rows
        columns = ", ".join(f'"{name}"' for name in table.columns)
        query = (
            f'SELECT rowid, {columns} FROM "{table.name}" NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?'
        )
        # Row numbers are consecutive, and a row takes more than 64 bytes.  After an error read one row, as
        # a cursor that looks ahead drops the row before the error; if that fails, try the next number.
        last, end, limit = 0, path.stat().st_size // 64, -1
        while last <= end:
            try:
                for number, *row in connection.execute(query, (last, limit)):
                    if number <= last:  # of a broken page, where a cursor might go round
                        raise sqlite3.DatabaseError
                    last = number
                    if sound(row, table.types):
                        rows.append(tuple(row))
                if limit < 0:
                    break
                limit = -1
            except sqlite3.DatabaseError:
                last, limit = last + (limit == 1), 1
    return list({row[: len(table.key)]: row for row in rows}.values())


def read(
    path: str | os.PathLike[str], table: Table | None = None
) -> tuple[str, list[str], list[tuple[Any, ...]]]:
    """Kind, columns and rows, in the order of their keys, of a run file, which may still be written.

    Raises ValueError for a damaged file, and one of another program, format or kind than `table`.
    """
    path = Path(path)
    require_run_file(path)
    with (
        told(path),
        closing(
            # Not mode=ro, which cannot roll back what a killed process has left.
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
        ) as connection,
    ):
        connection.execute("BEGIN")
        names = tables(connection)
        if not names:
            raise DamagedFile(f"{path}: an empty file, no run has begun")
        if table is not None:
            require_kind(path, names, table)
        require_whole(connection, path)
        columns = connection.execute(f'PRAGMA table_info("{names[0]}")').fetchall()
        types = {column[1]: column[2] for column in columns}
        key = [column[1] for column in columns if column[5]]
        return names[0], list(types), ordered(connection, names[0], types, key, path)


def read_trials(
    path: str | os.PathLike[str], table: Table, columns: Mapping[str, type]
) -> tuple[bool, Sequence[Sequence[Any]]]:
    """Rows of a run file or its export, or of a result's own CSV file with these columns, and whether they
    are of a run; ValueError as `read`, or naming what is wrong with the CSV file."""
    if is_run_file(path):
        return True, read(path, table)[2]
    forms = {"1": columns, f"run {FORMAT}": table.read_as}
    try:
        form, rows = read_table(Path(path).read_bytes(), table.name, forms)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return form != "1", rows


def export(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Write all rows of a run file to a .csv or .parquet file with every column; give their number.

    `pandas.read_csv(out, comment="#")` reads the CSV file, and `ScalingResult.load` that of capacities.
    """
    require_suffix(out, ".csv", ".parquet")
    require_writable(out)
    if Path(out).suffix.lower() == ".csv":
        kind, columns, rows = read(path)
        return write_table(out, kind, f"run {FORMAT}", columns, rows)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            f'{out}: Parquet needs pyarrow, which is not installed: pip install "fastrec[parquet]"'
        ) from None
    kind, columns, rows = read(path)
    arrays = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in columns]
    with new_file(out) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(dict(zip(columns, arrays, strict=True))), temporary)
    return len(rows)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that no other writer can enter: committed at the end, undone if the body raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # if the disk is full SQLite has undone it, or does at the next start
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Errors of SQLite as DamagedFile and OSError, one sentence that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        # A text that cannot be decoded has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedFile(f"{path}: damaged, {error}") from None
        raise OSError(f"{path}: {error}; rows committed before are kept") from None

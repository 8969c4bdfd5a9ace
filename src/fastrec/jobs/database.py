"""SQLite files of fastrec: whether a file is one, whether it is whole, errors that name it."""

from __future__ import annotations

import datetime
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..files import require_file

FORMAT = 1  # latest version of any schema
APPLICATION = b"fRec"
MAGIC = b"SQLite format 3\0"
UNFINISHED = "unfinished"  # table of the progress of trials that have no row yet
CHECKSUM = 32  # bytes of the checksum that a state in that table begins with
SQL_TYPES = {int: "INTEGER", float: "REAL", str: "TEXT"}
PYTHON_TYPES = {sql: kind for kind, sql in SQL_TYPES.items()}


class DamagedFile(ValueError):
    """A run file that was cut or overwritten."""


def sql_types(columns: Mapping[str, type]) -> dict[str, str]:
    """SQL types of columns.  Seeds are text, as integers of SQLite end at 2^63 - 1."""
    return {name: "TEXT" if name == "seed" else SQL_TYPES[kind] for name, kind in columns.items()}


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite as DamagedFile or OSError, in one sentence that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        # A text that cannot be decoded has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedFile(f"{path}: damaged, {error}") from None
        raise OSError(f"{path}: {error}; rows committed before are kept") from None


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that excludes other writers: committed at the end, undone if the body raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # if the disk is full SQLite has undone it, or does at the next start
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def is_run_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an SQLite file, by its first bytes."""
    require_file(path)
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def require_run_file(path: Path, latest: int = FORMAT) -> int:
    """Return the version of a run file; ValueError if it is foreign or later than `latest`.

    A file too short to tell is accepted, as of version `latest`.
    """
    require_file(path)
    with open(path, "rb") as file:
        head = file.read(72)
    if not MAGIC.startswith(head[:16]):
        raise ValueError(f"{path}: not a run file of fastrec; give another name")
    if len(head) < 72:
        return latest
    if head[68:] != APPLICATION:
        raise ValueError(f"{path}: an SQLite file of another program, not a run file; give another name")
    version = int.from_bytes(head[60:64])
    if not 1 <= version <= latest:
        raise ValueError(f"{path}: format {version}, but this fastrec reads format {latest}")
    return version


def require_kind(path: Path, names: Sequence[str], name: str) -> None:
    """Raise ValueError unless `name` is among the names of the tables of a run file."""
    if name not in names:
        raise ValueError(f"{path}: a run of {', '.join(names)}, not of {name}; give another file")


def require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile unless all pages are present and well-formed.

    To be called in a transaction, so that nobody writes meanwhile.
    """
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % size:  # SQLite reads zeros past the end of a cut page
        raise DamagedFile(f"{path}: damaged, the last page is cut")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedFile(f"{path}: damaged, {' '.join(verdict.split())}")


def require_unchanged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile if the progress of a trial is not as `RunFile.save_progress` wrote it."""
    for row in connection.execute(f'SELECT * FROM "{UNFINISHED}"') if has_unfinished(connection) else ():
        if [type(value) for value in row] == [str, str, bytes, float]:
            key, definition, state, seconds = row
            if state[:CHECKSUM] == checksum(key, definition, state[CHECKSUM:], seconds):
                continue
        raise DamagedFile(f"{path}: damaged, the progress of the unfinished trial {row[0]} has changed")


def has_unfinished(connection: sqlite3.Connection) -> bool:
    """Whether a file has the table of unfinished trials."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (UNFINISHED,)).fetchone() is not None


def checksum(key: str, definition: str, state: bytes, seconds: float) -> bytes:
    """The checksum that the state of an unfinished trial begins with."""
    return hashlib.sha256(repr((key, definition, state, float(seconds))).encode()).digest()


def result_tables(connection: sqlite3.Connection) -> list[str]:
    """Names of the tables of a file but that of unfinished trials."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in names if name != UNFINISHED]


def ordered_rows(
    connection: sqlite3.Connection, name: str, types: Mapping[str, str], key: Iterable[str], path: Path
) -> list[tuple[Any, ...]]:
    """All rows of a table in the order of its key; DamagedFile for a row that no `RunFile` wrote."""
    order = ", ".join(f'"{column}"' for column in key)
    # All at once: a cursor that is read slowly would keep other processes from writing.
    rows: list[tuple[Any, ...]] = connection.execute(f'SELECT * FROM "{name}" ORDER BY {order}').fetchall()
    for row in rows:
        if not is_valid_row(row, types):
            raise DamagedFile(f"{path}: damaged, the row {row[:3]}... has values that cannot be")
    return rows


def is_valid_row(row: Sequence[Any], types: Mapping[str, str]) -> bool:
    """Whether the values of a row have their SQL types and the last is a time."""
    if [type(value) for value in row] != [PYTHON_TYPES[kind] for kind in types.values()]:
        return False
    try:
        return datetime.datetime.fromisoformat(row[-1]).utcoffset() is not None
    except ValueError:
        return False

"""SQLite files of fastrec: whether a file is one, whether it is whole, errors that name it.

Nothing in a file is trusted: its tables must be, to the letter, those that fastrec writes, before anything
else in it is looked at.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from ..files import DamagedFile, require_file, target_of
from ..messages import printable
from .schema import Schema

APPLICATION = b"fRec"
MAGIC = b"SQLite format 3\0"
HEADER = 100  # bytes
OF_SEVERAL = bytes.fromhex("d9d505f920a163d7")  # last in the journal of a transaction on several files
CHECKED = 256  # added to the version, in the header, if rows have checksums
UNFINISHED = "unfinished"  # table of the progress of trials that have no row yet
CHECKSUM = 32  # bytes of the checksum that a state in that table begins with
SQL_TYPES = {int: "INTEGER", float: "REAL", str: "TEXT"}
PYTHON_TYPES = {sql: kind for kind, sql in SQL_TYPES.items()}
BUSY_SECONDS = 60  # wait for other processes that write the same file
DAMAGE = (  # codes of errors that a whole file with the right tables does not cause
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_FORMAT),
    sqlite3.SQLITE_NOTADB,
)
LIMITS = {  # far above what files of fastrec need
    sqlite3.SQLITE_LIMIT_LENGTH: 2**26,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 2**14,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}
SETTINGS = (
    "trusted_schema = OFF",
    "cell_size_check = ON",
    # Journal and file are on the disk before a commit ends.  If the power fails before the folder forgets the
    # journal, the last commit is undone: its trials run again.
    "synchronous = FULL",
)
NEW_FILES = ("page_size = 4096", "auto_vacuum = NONE", "encoding = 'UTF-8'")  # however SQLite was built


class Form(NamedTuple):
    """How a run file is written: the version of its schema, and whether rows have checksums."""

    version: int
    checked: bool = True

    @property
    def number(self) -> int:
        """The user_version in the header."""
        return self.version + CHECKED * self.checked

    def columns(self, schema: Schema) -> dict[str, type]:
        """Columns of the results, without their checksum, and their Python types."""
        return schema.of_version(schema.run_columns, self.version)

    def complete(self, schema: Schema, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows with a value for each column of the latest version."""
        if self.version == schema.version:
            return rows
        return [schema.complete(row, schema.run_columns, self.version) for row in rows]

    def sql(self, schema: Schema) -> str:
        """The statement that creates the table of the results."""
        types = {"checksum": "INTEGER"} if self.checked else {}  # first, as a file that is cut loses ends
        types |= sql_types(self.columns(schema))
        columns = [f'"{name}" {kind} NOT NULL' for name, kind in types.items()]
        key = ", ".join(f'"{name}"' for name in schema.keys)
        return f'CREATE TABLE "{schema.name}" ({", ".join(columns)}, PRIMARY KEY ({key}))'


UNFINISHED_SQL = (
    f'CREATE TABLE "{UNFINISHED}" (key TEXT PRIMARY KEY, definition TEXT NOT NULL, '
    "state BLOB NOT NULL, seconds REAL NOT NULL)"
)


def sql_types(columns: Mapping[str, type]) -> dict[str, str]:
    """SQL types of columns.  Seeds are text, as integers of SQLite end at 2^63 - 1."""
    return {name: "TEXT" if name == "seed" else SQL_TYPES[kind] for name, kind in columns.items()}


def stored_types(columns: Mapping[str, type]) -> list[type]:
    """Python types of the values of columns as SQLite returns them."""
    return [PYTHON_TYPES[sql] for sql in sql_types(columns).values()]


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite as DamagedFile or OSError, in one sentence that names the file."""
    try:
        yield
    except UnicodeDecodeError:  # in the name of a column
        raise DamagedFile(f"{path}: damaged, a name in it is no text") from None
    except sqlite3.Error as error:
        # A text that cannot be decoded has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in DAMAGE:
            raise DamagedFile(f"{path}: damaged, {printable(error, most=200)}") from None
        journal = f"{target_of(path)}-journal"
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and os.path.exists(journal):
            raise OSError(
                f"{path}: a run that was killed has left {journal}, which cannot be undone where nothing can "
                "be written; copy both files to another folder, and use them there"
            ) from None
        raise OSError(f"{path}: {error}; rows committed before are kept") from None


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to a run file; with mode "rwc" to a new one if there is none, with "rw" not."""
    with translate_sqlite_errors(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            for limit, value in LIMITS.items():
                connection.setlimit(limit, value)
            for setting in (*SETTINGS, *(NEW_FILES if mode == "rwc" else ())):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
    return connection


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


def require_run_file(path: Path) -> Form:
    """Return how a run file is written; ValueError if it is foreign or later than those of all kinds.

    A file too short to tell is accepted, as of the latest version.
    """
    require_file(path)
    with open(path, "rb") as file:
        head = file.read(HEADER)
    latest = latest_version()
    if not MAGIC.startswith(head[:16]):
        raise ValueError(f"{path}: not a run file of fastrec, such as --out run.db writes; give another file")
    if len(head) < HEADER:
        return Form(latest)
    if head[68:72] != APPLICATION:
        raise ValueError(f"{path}: an SQLite file of another program, not a run file; give another name")
    return read_form(path, int.from_bytes(head[60:64]), latest)


def latest_version() -> int:
    """The latest version of all kinds of run files."""
    return max((schema.version for schema in Schema.known), default=1)


def read_form(path: Path, number: int, latest: int) -> Form:
    """The form with that user_version; ValueError if it is of a version later than `latest`."""
    form = Form(number % CHECKED, number >= CHECKED)
    if number != form.number or not 1 <= form.version <= latest:
        version = form.version if number == form.number else number
        raise ValueError(f"{path}: format {version}, but this fastrec reads format {latest}")
    return form


def require_header(path: Path) -> None:
    """Raise DamagedFile unless the header says what fastrec writes.

    ValueError if another program has set another journal, or left one that leads SQLite to other files.
    """
    with open(path, "rb") as file:
        head = file.read(HEADER)
    place, last = target_of(path), b""
    journal = f"{place}-journal"
    with suppress(FileNotFoundError):  # also if its writer has just finished
        require_file(journal)
        with open(journal, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(OF_SEVERAL)))
            last = file.read()
    if last == OF_SEVERAL:  # it names a file, which SQLite would delete
        raise ValueError(f"{path}: {journal} is no journal of fastrec; remove it to read the file")
    if head[18:20] == b"\2\2" or os.path.exists(f"{place}-wal"):
        raise ValueError(
            f"{path}: another program has set write-ahead logging, with which no two machines can share a "
            "file; set PRAGMA journal_mode = DELETE there"
        )
    if len(head) < HEADER:
        return
    size = page_size(head)
    rest = (head[18:24], head[52:60], head[64:68], head[72:92])
    if not size or rest != (b"\1\1\0\x40\x20\x20", bytes(7) + b"\1", bytes(4), bytes(20)):
        raise DamagedFile(f"{path}: damaged, its header has changed")


def page_size(head: bytes) -> int:
    """Bytes of a page according to a header, or 0 if that cannot be."""
    size = int.from_bytes(head[16:18])
    return 65536 if size == 1 else size if 512 <= size <= 32768 and not size & (size - 1) else 0


def require_kind(path: Path, names: Sequence[str], schema: Schema) -> None:
    """Raise ValueError if the names of the tables of a run file are those of another kind of job."""
    if names != [schema.name] and names and {*names} <= {known.name for known in Schema.known}:
        raise ValueError(f"{path}: a run of {', '.join(names)}, not of {schema.name}; give another file")


def tables(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """What the file says that it holds, five entries at most: two tables with their indices, and one more."""
    entries = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT 5").fetchall()
    return sorted(entries, key=repr)


def find_schema(
    connection: sqlite3.Connection, path: Path, form: Form, schemas: Sequence[Schema]
) -> Schema | None:
    """The schema of a file, or None for an empty one, which has no form either.

    Raises DamagedFile unless the file holds the tables of one of them, ValueError if those of another kind.
    """
    entries = tables(connection)
    if not entries and connection.execute("PRAGMA user_version").fetchone() == (0,):
        return None
    names = [entry[1] for entry in entries if entry[0] == "table" and entry[1] != UNFINISHED]
    if len(schemas) == 1:
        require_kind(path, names, schemas[0])
        read_form(path, form.number, schemas[0].version)
    for schema in schemas:
        expected: list[tuple[Any, ...]] = [("table", schema.name, schema.name, form.sql(schema))]
        if len(entries) > 2:
            expected.append(("table", UNFINISHED, UNFINISHED, UNFINISHED_SQL))
        expected += [("index", f"sqlite_autoindex_{name}_1", name, None) for _, name, *_ in expected]
        if entries == sorted(expected, key=repr):
            return schema
    raise DamagedFile(f"{path}: damaged, its tables are not those of a run file of this format")


def require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile unless all pages are present and well-formed, and indices agree with their tables.

    To be called in a transaction, so that nobody writes meanwhile.
    """
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % size:  # SQLite reads zeros past the end of a cut page
        raise DamagedFile(f"{path}: damaged, the last page is cut")
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedFile(f"{path}: damaged, {printable(' '.join(verdict.split()), most=200)}")


def require_unchanged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedFile if the progress of a trial is not as `RunFile.save_progress` wrote it."""
    for row in connection.execute(f'SELECT * FROM "{UNFINISHED}"') if has_unfinished(connection) else ():
        if [type(value) for value in row] == [str, str, bytes, float]:
            key, definition, state, seconds = row
            if state[:CHECKSUM] == checksum(key, definition, state[CHECKSUM:], seconds):
                continue
        name = printable(row[0], most=80)
        raise DamagedFile(f"{path}: damaged, the progress of the unfinished trial {name} has changed")


def has_unfinished(connection: sqlite3.Connection) -> bool:
    """Whether a file has the table of unfinished trials."""
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return connection.execute(query, (UNFINISHED,)).fetchone() is not None


def checksum(key: str, definition: str, state: bytes, seconds: float) -> bytes:
    """The checksum that the state of an unfinished trial begins with."""
    return hashlib.sha256(repr((key, definition, state, float(seconds))).encode()).digest()


def row_checksum(row: tuple[Any, ...]) -> int:
    """The checksum of a row of results, which finds any flipped bit: that of its values, one a line."""
    return crc32((lines(len(row)) % row).encode())


@cache
def lines(count: int) -> str:
    """The format of so many values, one a line."""
    return "\n".join(["%s"] * count)


def ordered_rows(
    connection: sqlite3.Connection, schema: Schema, form: Form, path: Path
) -> list[tuple[Any, ...]]:
    """All rows in the order of their keys, values as of `Form.columns`.

    Raises DamagedFile for a row that no `RunFile` wrote, or that was changed.
    """
    order = ", ".join(f'"{column}"' for column in schema.keys)
    # All at once: a cursor that is read slowly would keep other processes from writing.
    rows = connection.execute(f'SELECT * FROM "{schema.name}" ORDER BY {order}').fetchall()
    possible, found = possible_rows(schema, form), list[tuple[Any, ...]]()
    for row in rows:
        values = row[form.checked :]
        if not possible(values):
            raise DamagedFile(f"{path}: damaged, the row {described(values)} has values that cannot be")
        if form.checked and row[0] != row_checksum(values):
            raise DamagedFile(f"{path}: damaged, the row {described(values)} has changed")
        found.append(values)
    return found


def described(row: Sequence[Any]) -> str:
    """The first values of a row, for messages."""
    return f"({', '.join(printable(value, most=20) for value in row[:3])}, ...)"


def possible_rows(schema: Schema, form: Form) -> Callable[[Sequence[Any]], bool]:
    """A function that tells whether a row, values as of `Form.columns`, may be one of a `RunFile`."""
    columns, known = form.columns(schema), dict[tuple[Any, ...], Any]()
    kinds, width, names = stored_types(columns), len(schema.record._fields), list(columns)
    seconds, backend = names.index("seconds"), names.index("backend")

    def define(row: Sequence[Any]) -> Any:
        if not re.fullmatch("[A-Za-z0-9_-]+", row[backend]):
            raise ValueError
        values = schema.complete(row, schema.run_columns, form.version)[width:]
        return schema.define(values[: len(schema.defined)])

    def possible(row: Sequence[Any]) -> bool:
        if [*map(type, row)] != kinds or not 0 <= row[seconds] < math.inf:
            return False
        place = tuple(row[width : backend + 1])  # the same in many rows
        try:
            if place not in known:
                known[place] = define(row)
            return (
                schema.is_possible(schema.record(*row[:width]), known[place])
                and datetime.datetime.fromisoformat(row[-1]).utcoffset() is not None
            )
        except ValueError:
            return False

    return possible

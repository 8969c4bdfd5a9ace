"""Run files: an SQLite table with a row for each finished trial of a long job, which may be killed any time.

The journal is a rollback journal, since a write-ahead log does not work on network file systems; several
processes may write one file.  Version and program are in the header (user_version, application_id), the kind
of job is the name of the table.  A second table, `UNFINISHED`, holds the progress of large trials.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from ..files import DamagedFile, require_writable
from ..messages import printable
from . import database
from .database import UNFINISHED, Form, translate_sqlite_errors
from .salvage import readable_rows, replace_damaged
from .schema import Schema

SUFFIXES = (".db", ".sqlite")

log: logging.Logger = logging.getLogger("fastrec")


class RunFile:
    """A run file, open in a ``with`` block: created if it does not exist, resumed if it does.

    A damaged file is replaced by a new one with every row that can still be read, and kept beside it as
    NAME.damaged; a warning says so.  A file of an earlier version of the schema stays of that version.

    Parameters
    ----------
    path : path-like
    schema : Schema
        What the file holds.
    checked : bool, default True
        Whether the rows of a new file get checksums, which those that earlier versions wrote do not have.

    Raises
    ------
    ValueError
        For a file of another program, kind or later version, which is not changed.
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], schema: Schema, checked: bool = True) -> None:
        self.path: Path = Path(path)
        self.schema = schema
        self._new = Form(schema.version, checked)

    def __enter__(self) -> RunFile:
        require_writable(self.path)
        if self.path.exists():
            database.require_run_file(self.path)
        try:
            self._connection = self._open()
        except DamagedFile:
            with replace_damaged(self.path) as (fresh, names):
                rows, checked = readable_rows(self.path, self.schema)
                with RunFile(fresh, self.schema, checked) as file:
                    file.add(rows)
            text = "%s: damaged; %d rows could be read and are kept, the damaged file is now %s"
            log.warning(text, printable(self.path), len(rows), printable(names[0]))
            self._connection = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        schema, form = self.schema, self._new
        if self.path.exists():
            database.require_header(self.path)
        connection = database.connect(self.path, "rwc")
        try:
            with translate_sqlite_errors(self.path), database.transaction(connection):
                (number,) = connection.execute("PRAGMA user_version").fetchone()
                if number:
                    form = database.read_form(self.path, number, database.latest_version())
                self._rows: list[tuple[Any, ...]] | None = []
                if database.find_schema(connection, self.path, form, [schema]):
                    database.require_whole(connection, self.path)
                    database.require_unchanged(connection, self.path)
                    self._rows = database.ordered_rows(connection, schema, form, self.path)
                else:
                    connection.execute(f"PRAGMA application_id = {int.from_bytes(database.APPLICATION)}")
                    connection.execute(f"PRAGMA user_version = {form.number}")
                    connection.execute(form.sql(schema))
        except BaseException:
            connection.close()
            raise
        self._form, self._columns = form, form.columns(schema)
        return connection

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Commit rows, values in the order of `Schema.run_columns`, all or none; known keys are ignored.

        Raises ValueError if their definition is not that of the file, OSError if the disk is full.
        """
        named = [dict(zip(self.schema.run_columns, row, strict=True)) for row in rows]
        defined = (self.schema.keys[0], *self.schema.defined)
        definitions = {tuple(row[name] for name in defined) for row in named}
        kinds = database.stored_types(self._columns)
        values = [
            tuple(kind(row[name]) for name, kind in zip(self._columns, kinds, strict=True)) for row in named
        ]
        stored = values
        if self._form.checked:
            stored = [(database.row_checksum(row), *row) for row in values]
        places = ", ".join("?" * (len(kinds) + self._form.checked))
        self._rows = None
        with translate_sqlite_errors(self.path), database.transaction(self._connection):
            for definition in definitions:
                self.require(dict(zip(defined, definition, strict=True)))
            self._connection.executemany(
                f'INSERT INTO "{self.schema.name}" VALUES ({places}) ON CONFLICT DO NOTHING', stored
            )
            if database.has_unfinished(self._connection):
                finished = [(json.dumps(row[: self.schema.key]),) for row in values]
                self._connection.executemany(f'DELETE FROM "{UNFINISHED}" WHERE key = ?', finished)

    def save_progress(
        self, key: Sequence[int], definition: Mapping[str, Any], state: bytes, seconds: float
    ) -> None:
        """Commit the state of a trial that has no row yet, and the time that it has taken."""
        name, text = json.dumps(list(key)), self._definition_text(definition)
        values = name, text, database.checksum(name, text, state, seconds) + state, float(seconds)
        with translate_sqlite_errors(self.path), database.transaction(self._connection):
            if not database.has_unfinished(self._connection):
                self._connection.execute(database.UNFINISHED_SQL)
            self._connection.execute(f'INSERT OR REPLACE INTO "{UNFINISHED}" VALUES (?, ?, ?, ?)', values)

    def load_progress(self, key: Sequence[int], definition: Mapping[str, Any]) -> tuple[bytes | None, float]:
        """State and seconds of the last `save_progress` for a trial; None and 0 if there is none.

        Raises ValueError if it is of another definition.
        """
        stored = None
        with translate_sqlite_errors(self.path):
            if database.has_unfinished(self._connection):
                stored = self._connection.execute(
                    f'SELECT definition, state, seconds FROM "{UNFINISHED}" WHERE key = ?',
                    (json.dumps(list(key)),),
                ).fetchone()
        if stored is None:
            return None, 0.0
        if stored[0] != self._definition_text(definition):
            raise ValueError(
                f"{self.path}: an unfinished run of another definition, {printable(stored[0], most=1000)}; "
                "give another file"
            )
        return stored[1][database.CHECKSUM :], stored[2]

    def _definition_text(self, definition: Mapping[str, Any]) -> str:
        """The definition as JSON, without fields that the version of this file does not have."""
        stored = {name: value for name, value in definition.items() if name in self._columns}
        return json.dumps(stored, default=int)

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows in the order of their keys, values in the order of `Schema.run_columns`."""
        rows, self._rows = self._rows, None  # those that were read when the file was opened
        if rows is None:
            with translate_sqlite_errors(self.path), database.transaction(self._connection):
                rows = database.ordered_rows(self._connection, self.schema, self._form, self.path)
        return self._form.complete(self.schema, rows)

    def require(self, definition: Mapping[str, Any]) -> None:
        """Raise ValueError, naming every difference, if the file has rows of another definition.

        definition: a value of each field of the definition, and of the first field of the key where some of
        them depend on it.
        """
        schema, first, differences = self.schema, self.schema.keys[0], []
        for name in sorted(schema.defined, key=schema.by_size.__contains__):  # those of all sizes first
            size = [definition[first]] if name in schema.by_size else []
            column, condition = f'"{name}"' if name in self._columns else "NULL", f'WHERE "{first}" = ?'
            with translate_sqlite_errors(self.path):
                row = self._connection.execute(
                    f'SELECT {column} FROM "{schema.name}" {condition if size else ""} LIMIT 1', size
                ).fetchone()
            if row is None:
                continue
            value = row[0] if name in self._columns else schema.added[name][1]
            kind = str if isinstance(value, str) else schema.defined[name]
            if value != (asked := kind(definition[name])):
                place = f" of {first} = {size[0]}" if size else ""
                differences.append(f"{name}{place} is {kind(value)} in the file, {asked} is asked")
        if differences:
            raise ValueError(
                f"{self.path}: a run of another definition, {'; '.join(differences)}; give another file"
            )


def known_schemas() -> list[Schema]:
    """Schemas of all kinds of run files."""
    from ..hopfield import PhaseResult, RetrievalResult, ScalingResult  # noqa: F401, which make theirs

    return Schema.known


def read(
    path: str | os.PathLike[str], schema: Schema | None = None
) -> tuple[str, list[str], list[tuple[Any, ...]]]:
    """Kind, columns and rows, in the order of their keys, of a run file, which may still be written.

    Rows have the columns of the file, or with a schema those of its latest version.  Raises ValueError for a
    damaged file, and for one of another program, later version or other kind than that of `schema`.
    """
    path, schemas = Path(path), known_schemas() if schema is None else [schema]
    database.require_run_file(path)
    database.require_header(path)
    # Not mode=ro, which cannot roll back what a killed process has left.
    with closing(database.connect(path, "rw")) as connection, translate_sqlite_errors(path):
        connection.execute("BEGIN")
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        form = database.read_form(path, number or 1, database.latest_version())
        found = database.find_schema(connection, path, form, schemas)
        if found is None:
            raise DamagedFile(f"{path}: an empty file, no run has begun")
        database.require_whole(connection, path)
        rows = database.ordered_rows(connection, found, form, path)
    if schema is None:
        return found.name, list(form.columns(found)), rows
    return found.name, list(schema.run_columns), form.complete(schema, rows)

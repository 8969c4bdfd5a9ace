"""Damaged run files: the rows that can still be read, and a new file beside the old one."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..files import new_file
from .database import is_valid_row, require_kind, require_run_file, result_tables, sql_types
from .schema import Schema


@contextmanager
def replace_damaged(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give the path of a file that replaces a damaged one, which is kept as NAME.damaged.

    The list receives that name at the end.  Raises OSError, and replaces nothing, if another process writes
    to the damaged file meanwhile.
    """
    before, names = path.stat(), list[str]()
    with new_file(path) as fresh:
        yield fresh, names
        numbered = itertools.chain([f"{path}.damaged"], (f"{path}.damaged{i}" for i in itertools.count(2)))
        names.append(next(name for name in numbered if not os.path.exists(name)))
        with new_file(names[0]) as copy:
            shutil.copyfile(path, copy)
        after = path.stat()
        if any(
            getattr(after, name) != getattr(before, name) for name in ("st_ino", "st_size", "st_mtime_ns")
        ):
            raise OSError(f"{path}: damaged, and written by another process meanwhile; start again")
        with suppress(FileNotFoundError):  # or it would be played back into the new file
            os.replace(f"{path}-journal", f"{names[0]}-journal")


def readable_rows(path: Path, schema: Schema) -> list[tuple[Any, ...]]:
    """Every complete row of a damaged file.  Raises ValueError if it is of another kind."""
    version, rows = require_run_file(path, schema.version), list[tuple[Any, ...]]()
    types = sql_types(schema.of_version(schema.run_columns, version))
    # Immutable: without locks and journals, and not changed.
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA writable_schema = ON")  # reads a file with fewer pages than it says
            names = result_tables(connection)
        except sqlite3.DatabaseError:
            return rows
        if not names:
            return rows
        require_kind(path, names, schema.name)
        columns = ", ".join(f'"{name}"' for name in types)
        query = (
            f'SELECT rowid, {columns} FROM "{schema.name}" NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?'
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
                    if is_valid_row(row, types):
                        rows.append(schema.complete(row, schema.run_columns, version))
                if limit < 0:
                    break
                limit = -1
            except sqlite3.DatabaseError:
                last, limit = last + (limit == 1), 1
    return list({row[: schema.key]: row for row in rows}.values())

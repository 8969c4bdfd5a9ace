"""Finished work as tables: results written to CSV files and read back, run files written to other formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..files import new_file, require_suffix, require_writable
from ..tables import read_table, write_table
from .database import is_run_file, require_run_file
from .schema import Schema, Trials
from .store import read

R = TypeVar("R")


def save_rows(path: str | os.PathLike[str], schema: Schema, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of results, values in the order of `Schema.columns`, to a CSV file.

    Raises ValueError unless path ends in .csv, FileNotFoundError unless its folder exists.
    """
    require_suffix(path, ".csv")
    write_table(path, schema.name, str(schema.version), schema.columns, rows)


def load_results(path: str | os.PathLike[str], schema: Schema, build: Callable[[list[Trials]], R]) -> R:
    """Read a run file, a CSV file exported from one, or one of `save_rows`.

    Parameters
    ----------
    path : path-like
    schema : Schema
        The kind of job that the file must hold.
    build : callable
        Makes the result of the trials; a ValueError that it raises gets the name of the file.

    Raises
    ------
    ValueError
        Naming the file and what is wrong, for one that is foreign, truncated or damaged.
    """
    if is_run_file(path):
        of_run, rows = True, read(path, schema)[2]
    else:
        versions = range(1, schema.version + 1)
        plain, run = (
            {prefix + str(version): schema.of_version(columns, version) for version in versions}
            for prefix, columns in (("", schema.columns), ("run ", schema.run_columns))
        )
        try:
            form, values = read_table(Path(path).read_bytes(), schema.name, plain | run)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        of_run, version = form in run, int(form.removeprefix("run "))
        columns = schema.run_columns if of_run else schema.columns
        rows = [schema.complete(row, columns, version) for row in values]
    try:
        return build(schema.results(schema.complete_trials(rows) if of_run else rows))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def export(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Write all rows of a run file, finished or not, to a .csv or .parquet file with every column.

    ``pandas.read_csv(out, comment="#")`` reads the CSV file, and so does the `load` of the results.

    Returns
    -------
    int
        The number of rows.
    """
    require_suffix(out, ".csv", ".parquet")
    require_writable(out)
    if Path(out).suffix.lower() == ".csv":
        kind, columns, rows = read(path)
        return write_table(out, kind, f"run {require_run_file(Path(path))}", columns, rows)
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

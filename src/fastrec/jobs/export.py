"""Finished work as tables: results written to CSV files and read back, run files written to other formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from ..display import Displayed, import_pandas
from ..files import new_file, require_suffix, require_writable
from ..messages import install_command
from ..tables import read_table, write_table
from ..validation import as_bool
from .database import is_run_file, require_run_file
from .schema import Schema, Trials
from .store import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

R = TypeVar("R")


class JobResult(Displayed):
    """Base class of the results of jobs, which are saved and loaded by the schema of their job."""

    _schema: ClassVar[Schema]

    def _rows(self) -> list[tuple[Any, ...]]:
        """A row of a file for each trial, values in the order of `Schema.columns`."""
        raise NotImplementedError

    @classmethod
    def _of_trials(cls, groups: list[Trials]) -> Self:
        """The result that consists of these trials; ValueError if they cannot be one."""
        raise NotImplementedError

    def _drawn_by(self) -> tuple[Callable[[Self], Figure], Callable[[Axes, Self], Axes]]:
        """The functions of `fastrec.plot` that make its figure, and that draw it into axes."""
        raise NotImplementedError

    def _figure(self) -> Figure:
        return self._drawn_by()[0](self)

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Return the numbers as aligned text, the definition in the first line.

        Returns
        -------
        str
            Lines without a newline at the end.
        """
        return self._table().text()

    def to_frame(self, trials: bool = False) -> DataFrame:
        """Return the numbers of `table`, or those of each trial, as a pandas DataFrame.

        The page "How to take results into pandas, LaTeX and SQL" lists the columns and their units.

        Parameters
        ----------
        trials : bool, default False
            Whether to return a row for each trial, with the columns of `save`, in place of the rows of
            `table`.

        Returns
        -------
        pandas.DataFrame
            Columns of numbers, with names where a column says what something is.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        if not as_bool("trials", trials):
            return super().to_frame()
        return import_pandas().DataFrame(self._rows(), columns=list(self._schema.columns))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the figure of this result.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure, which needs no display and is not known to
            pyplot.  A notebook shows it if the axes are the value of a cell.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn into, the first ones of a new figure.
        """
        return self._figure().axes[0] if ax is None else self._drawn_by()[1](ax, self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file, one row for each trial with its full definition, replacing path in one step.

        ``pandas.read_csv(path, comment="#")`` reads it.

        Parameters
        ----------
        path : path-like
            A .csv file.

        Raises
        ------
        ValueError
            If path does not end in .csv.
        FileNotFoundError
            If its folder does not exist.
        """
        require_suffix(path, ".csv")
        schema = self._schema
        write_table(path, schema.name, str(schema.version + 1), schema.columns, self._rows())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file of `save`, as an equal object; nothing in the file is executed.

        Run files and CSV files exported from them are read too: of each size, load and start the trials
        before the first missing one, in ascending order.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Self
            Equal to the one that was saved.

        Raises
        ------
        ValueError
            Naming the file and what is wrong, for one that is foreign, truncated or damaged, and for one that
            holds another kind of result.
        """
        return load_results(path, cls._schema, cls._of_trials)


def load_results(path: str | os.PathLike[str], schema: Schema, build: Callable[[list[Trials]], R]) -> R:
    """Read a run file, a CSV file exported from one, or one that `JobResult.save` wrote.

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
        # Results of version v of a schema are of format v + 1: format 1 called their total_seconds seconds.
        formats = {f"run {v}": (v, schema.run_columns) for v in range(1, schema.version + 1)}
        formats |= {str(v + 1): (v, schema.columns) for v in range(schema.version + 1)}
        types = {form: schema.of_version(columns, max(v, 1)) for form, (v, columns) in formats.items()}
        types["1"] = {name.removeprefix("total_"): kind for name, kind in types["1"].items()}
        try:
            form, values = read_table(Path(path).read_bytes(), schema.name, types)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        of_run, version = form.startswith("run "), max(formats[form][0], 1)
        columns = formats[form][1]
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
        return write_table(out, kind, f"run {require_run_file(Path(path)).version}", columns, rows)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            f"{out}: Parquet needs pyarrow, which is not installed: {install_command('pyarrow')}"
        ) from None
    kind, columns, rows = read(path)
    arrays = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in columns]
    with new_file(out) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(dict(zip(columns, arrays, strict=True))), temporary)
    return len(rows)

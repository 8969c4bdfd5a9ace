"""Display of results: a line in a shell, a table and a figure in a notebook, a pandas DataFrame."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .messages import install_command
from .terminal import wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

PIXELS_PER_INCH = 160  # of figures in notebooks, displayed at half size so that they are sharp on any screen
MOST_PIXELS = 2400  # along an edge of a figure in a notebook
MOST_ROWS = 12  # of a table in a notebook, or printed; a longer one loses its middle rows


class Table(NamedTuple):
    """A table of text with a caption.

    Parameters
    ----------
    caption : str
        Text above the table.
    heads : sequence of str
        Heads of the columns.
    rows : sequence of sequences of str
        The cells, one string per column in each row.
    spare : sequence of str, optional
        Heads of the columns that are left out first where there is no room, in this order.  Others follow
        from the right; the first column stays.

    Examples
    --------
    >>> from fastrec.display import Table
    >>> print(Table("capacity", ["n", "median"], [["100", "10"], ["1000", "56"]]).text())
    capacity
       n  median
     100      10
    1000      56
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    spare: Sequence[str] = ()

    def text(self, width: int | None = None) -> str:
        """Return the caption and, below it, the columns aligned to the right.

        Parameters
        ----------
        width : int, optional
            Of a terminal.  The caption is wrapped to it, columns that find no room are left out, those of
            `spare` first, and a last line names them.

        Returns
        -------
        str
            Lines, no longer than the width unless a word is.

        Examples
        --------
        >>> table = Table("capacity", ["n", "median", "mean"], [["100", "10", "10.4"]], spare=["mean"])
        >>> print(table.text(12))
        capacity
          n  median
        100      10
        without the
        column mean
        """
        columns = list(zip(self.heads, *self.rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        kept = list(range(len(columns)))
        spare = [i for head in self.spare for i in kept if self.heads[i] == head]
        for i in [*spare, *(i for i in kept[:0:-1] if i not in spare)]:
            if width is None or sum(widths[i] + 2 for i in kept) - 2 <= width:
                break
            kept.remove(i)
        lines = ["  ".join(cells[i].rjust(widths[i]) for i in kept) for cells in (self.heads, *self.rows)]
        left_out = [head for i, head in enumerate(self.heads) if i not in kept and head]
        if left_out:
            names = ", ".join(left_out)
            lines.append(wrapped(f"without the column{'s' * (len(left_out) > 1)} {names}", width))
        return "\n".join([wrapped(self.caption, width), *lines])

    def shortened(self) -> Table:
        """Return a table of at most `MOST_ROWS` rows, without those in the middle of a longer one."""
        rows = list(self.rows)
        if len(rows) > MOST_ROWS:
            rows[MOST_ROWS // 2 : -MOST_ROWS // 2] = [["⋮"] * len(self.heads)]
        return self._replace(rows=rows)

    def html(self) -> str:
        """Return HTML: the caption as a paragraph, and a table of at most `MOST_ROWS` rows."""
        body = "".join(html_row("td", row) for row in self.shortened().rows)
        head = f"<thead>{html_row('th', self.heads)}</thead>\n" if any(self.heads) else ""
        return f"<p>{escape(self.caption)}</p>\n<table>{head}<tbody>{body}</tbody></table>\n"


def html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"


class Column(NamedTuple):
    """One quantity of a result, as numbers for `Displayed.to_frame` and as text for its table.

    Parameters
    ----------
    name : str
        Name of the column of the frame.
    values : iterable
        One value for each row.
    form : str or callable, default ""
        How the table writes a value: a format, or a function that returns the text.  nan is written "-".
    head : str, optional
        Head of the column of the table; by default the name with spaces.
    """

    name: str
    values: Iterable[Any]
    form: str | Callable[[Any], str] = ""
    head: str | None = None

    def cells(self) -> list[str]:
        """Return the values as text."""
        form = self.form
        write = form if callable(form) else lambda value: format(value, form)
        return ["-" if value != value else write(value) for value in self.values]


def tabulate(caption: str, columns: Sequence[Column], spare: Sequence[str] = ()) -> Table:
    """Return a table of columns, which are equally long; `spare` as of `Table`."""
    heads = [c.name.replace("_", " ") if c.head is None else c.head for c in columns]
    return Table(caption, heads, list(map(list, zip(*(c.cells() for c in columns), strict=True))), spare)


def percent(digits: int) -> Callable[[float], str]:
    """Return the `Column.form` of a share that its table shows in per cent."""
    return lambda share: f"{100 * share:.{digits}f}"


def by_index(axes: Sequence[str], **arrays: Any) -> list[Column]:
    """Return columns of NumPy arrays, which share their first axes, with a row for each index of these.

    Parameters
    ----------
    axes : sequence of str
        Names of the axes that all share: the columns of the indices.
    **arrays : ndarray
        By the name of their column.  One that has a further axis becomes columns name_0, name_1, ...
    """
    shape = next(iter(arrays.values())).shape[: len(axes)]
    columns = [Column(name, index.ravel()) for name, index in zip(axes, np.indices(shape), strict=True)]
    for name, array in arrays.items():
        if array.ndim == len(axes):
            columns.append(Column(name, array.ravel()))
        else:
            parts = array.reshape(prod(shape), prod(array.shape[len(axes) :])).T
            columns += [Column(f"{name}_{i}", part) for i, part in enumerate(parts)]
    return columns


class Displayed:
    """Base class of results, which define what their line, their table and frame, and their figure show.

    A dataclass must be declared with ``repr=False``, or its own `__repr__` would take the place of this one.
    """

    def _summary(self) -> Mapping[str, Any]:
        """Return the values shown in the line, by name."""
        raise NotImplementedError

    def _table(self) -> Table:
        """Return the table that a notebook shows."""
        rows = [[name.replace("_", " "), short(value)] for name, value in self._summary().items()]
        return Table(type(self).__name__, ["", ""], rows)

    def _columns(self) -> Sequence[Column]:
        """Return the numbers of which the frame consists, and in many results the table too."""
        return [Column(name, [value]) for name, value in self._summary().items()]

    def _figure(self) -> Figure | None:
        """Return the figure that a notebook shows below the table, or None."""
        return None

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={short(value)}" for name, value in self._summary().items())
        return f"{type(self).__name__}({values})"

    def __str__(self) -> str:
        has_table = type(self)._table is not Displayed._table
        return self._table().shortened().text() if has_table else repr(self)

    def _repr_html_(self) -> str:
        figure = self._figure()
        return self._table().html() + (html_image(figure, repr(self)) if figure is not None else "")

    def to_frame(self) -> DataFrame:
        """Return the numbers of this result as a pandas DataFrame.

        The page "How to take results into pandas, LaTeX and SQL" lists the columns and their units.

        Returns
        -------
        pandas.DataFrame
            Columns of numbers, with names where a column says what something is.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return import_pandas().DataFrame({column.name: column.values for column in self._columns()})


def short(value: Any) -> str:
    """Return a value as text: floats to four digits, of an array its range."""
    if isinstance(value, np.ndarray) and value.size:
        return span(value.ravel().tolist())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def span(values: Sequence[float]) -> str:
    """Return the range of values as "1..9", or the value if all are equal."""
    low, high = min(values), max(values)
    return short(low) if low == high else f"{short(low)}..{short(high)}"


def png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return the figure as a PNG file, with the width and height at which a notebook shows it."""
    inches = figure.get_size_inches()
    dpi = min(PIXELS_PER_INCH, MOST_PIXELS / max(inches))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    width, height = (round(length * dpi / 2) for length in inches)
    return file.getvalue(), {"width": width, "height": height}


def html_image(figure: Figure, alt: str) -> str:
    """Return the figure as an HTML element with its pixels embedded."""
    data, shown = png(figure)
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" width="{shown["width"]}" alt="{escape(alt)}">'


def import_pandas() -> ModuleType:
    """Import pandas, or raise an ImportError that says how to install it."""
    try:
        import pandas
    except ImportError:
        raise ImportError(
            f"to_frame needs pandas, which is not installed: {install_command('pandas')}"
        ) from None
    return pandas

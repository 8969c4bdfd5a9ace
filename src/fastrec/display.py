"""Display of results: a line in a shell, a table and a figure in a notebook, a pandas DataFrame."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from .messages import install_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 160  # of figures in notebooks, displayed at half size so that they are sharp on any screen
MOST_PIXELS = 2400  # along an edge of a figure in a notebook
MOST_ROWS = 12  # of a table in a notebook; a longer one loses its middle rows


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

    def text(self) -> str:
        """Return the caption and, below it, the columns aligned to the right."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = ["  ".join(map(str.rjust, cells, widths)) for cells in (self.heads, *self.rows)]
        return "\n".join([self.caption, *lines])

    def html(self) -> str:
        """Return HTML: the caption as a paragraph, and a table of at most `MOST_ROWS` rows."""
        rows = list(self.rows)
        if len(rows) > MOST_ROWS:
            rows[MOST_ROWS // 2 : -MOST_ROWS // 2] = [["⋮"] * len(self.heads)]
        body = "".join(html_row("td", row) for row in rows)
        head = f"<thead>{html_row('th', self.heads)}</thead>\n" if any(self.heads) else ""
        return f"<p>{escape(self.caption)}</p>\n<table>{head}<tbody>{body}</tbody></table>\n"


def html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"


class Displayed:
    """Base class of results, which define what their line, their table and their figure show.

    A dataclass must be declared with ``repr=False``, or its own `__repr__` would take the place of this one.
    """

    def _summary(self) -> Mapping[str, Any]:
        """Return the values shown in the line, by name."""
        raise NotImplementedError

    def _table(self) -> Table:
        """Return the table that a notebook shows."""
        rows = [[name.replace("_", " "), short(value)] for name, value in self._summary().items()]
        return Table(type(self).__name__, ["", ""], rows)

    def _figure(self) -> Figure | None:
        """Return the figure that a notebook shows below the table, or None."""
        return None

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={short(value)}" for name, value in self._summary().items())
        return f"{type(self).__name__}({values})"

    def _repr_html_(self) -> str:
        figure = self._figure()
        return self._table().html() + (html_image(figure, repr(self)) if figure is not None else "")


def short(value: Any) -> str:
    """Return a value as text, with floats to four digits."""
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

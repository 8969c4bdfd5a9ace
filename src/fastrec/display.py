"""How results are shown: a line in a shell, a table and a figure in a notebook, a DataFrame of pandas."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 160  # of figures in notebooks, shown at half their size in pixels: sharp on any screen
MOST_PIXELS = 2400  # along an edge of such a figure
MOST_ROWS = 12  # of a table in a notebook; the middle rows of a longer one are left out


class Table(NamedTuple):
    """A caption, the heads of the columns, and rows of text."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """The caption, and below it the columns, aligned to the right."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = ["  ".join(map(str.rjust, cells, widths)) for cells in (self.heads, *self.rows)]
        return "\n".join([self.caption, *lines])

    def html(self) -> str:
        """The caption as a paragraph, and a table of at most `MOST_ROWS` rows."""
        rows = list(self.rows)
        if len(rows) > MOST_ROWS:
            rows[MOST_ROWS // 2 : -MOST_ROWS // 2] = [["⋮"] * len(self.heads)]
        body = "".join(html_row("td", row) for row in rows)
        head = f"<thead>{html_row('th', self.heads)}</thead>\n" if any(self.heads) else ""
        return f"<p>{escape(self.caption)}</p>\n<table>{head}<tbody>{body}</tbody></table>\n"


def html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"


class Displayed:
    """Base class of results, which say what their line, their table and their figure hold.

    A data class needs ``repr=False``, so that it does not write a `__repr__` of its own.
    """

    def _summary(self) -> Mapping[str, Any]:
        """What the line says: short values by name."""
        raise NotImplementedError

    def _table(self) -> Table:
        """The table that a notebook shows."""
        rows = [[name.replace("_", " "), short(value)] for name, value in self._summary().items()]
        return Table(type(self).__name__, ["", ""], rows)

    def _figure(self) -> Figure | None:
        """The figure that a notebook shows below the table."""
        return None

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={short(value)}" for name, value in self._summary().items())
        return f"{type(self).__name__}({values})"

    def _repr_html_(self) -> str:
        figure = self._figure()
        return self._table().html() + (html_image(figure, repr(self)) if figure is not None else "")


def short(value: Any) -> str:
    """A value as text, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def span(values: Sequence[float]) -> str:
    """The least and the greatest of values, as "1..9", or the one that all are equal to."""
    low, high = min(values), max(values)
    return short(low) if low == high else f"{short(low)}..{short(high)}"


def png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """The figure as a PNG file, with the width and the height at which a notebook shows it."""
    inches = figure.get_size_inches()
    dpi = min(PIXELS_PER_INCH, MOST_PIXELS / max(inches))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    width, height = (round(length * dpi / 2) for length in inches)
    return file.getvalue(), {"width": width, "height": height}


def html_image(figure: Figure, alt: str) -> str:
    """The figure as an HTML element that holds its pixels."""
    data, shown = png(figure)
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" width="{shown["width"]}" alt="{escape(alt)}">'


def import_pandas() -> ModuleType:
    """The module pandas, or an ImportError that says how to install it."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_frame needs pandas, which is not installed: pip install pandas") from None
    return pandas

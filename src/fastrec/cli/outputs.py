"""What commands print, without what a terminal would obey, and their files, checked before the work."""

from __future__ import annotations

import sys
from pathlib import Path

from ..display import Table
from ..messages import visible
from ..terminal import terminal_width, wrapped


def show(text: object, end: str = "\n", flush: bool = False) -> None:
    """Print text that may hold what comes from files, models and names of files, wrapped to a terminal.

    Of a table, what is printed fits the terminal.
    """
    width = terminal_width(sys.stdout)
    shown = text.text(width) if isinstance(text, Table) else wrapped(str(text), width)
    print(visible(shown), end=end, flush=flush)


class Rows:
    """A table that is printed row by row.

    Parameters
    ----------
    widths : dict of str to int
        Head and width of each column, the most important first.
    """

    def __init__(self, widths: dict[str, int]) -> None:
        width = terminal_width(sys.stdout) or sum(widths.values()) + len(widths)
        self.widths, used = list[int](), -1
        for head in widths.values():
            used += head + 1
            if used <= width:
                self.widths.append(head)
        self.add(*widths)

    def add(self, *cells: str) -> None:
        """Print a row."""
        show(" ".join(map(str.rjust, cells, self.widths)), flush=True)


def require_file_for(path: Path | None, suffix: str) -> None:
    """Raise ValueError or OSError unless path is None, or has the suffix and can be written."""
    from ..files import require_suffix, require_writable

    if path is not None:
        require_suffix(path, suffix)
        require_writable(path)


def require_two_files(checkpoint: Path | None, out: Path) -> None:
    """Raise ValueError if a model and the checkpoint of its training would be one file."""
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ValueError(f"--checkpoint and --out are both {out}; give two files")


def require_picture(path: Path | None) -> None:
    """Raise ValueError or OSError unless path is None, or names a figure format and can be written."""
    from ..files import require_writable
    from ..plot import require_format

    if path is not None:
        require_format(path)
        require_writable(path)


def written_to(*paths: Path | None) -> str:
    """Return "written to A and B", without paths that are None."""
    return "written to " + " and ".join(str(path) for path in paths if path is not None)


def took(seconds: float, *paths: Path | None) -> str:
    """Return how long a command ran, compilation aside, and what it has written."""
    text = f"{seconds:.1f} s without compilation"
    return f"{text}, {written_to(*paths)}" if any(paths) else text

"""Tables as CSV files: a line that names kind and format, the columns, the rows, a line that counts them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .files import new_file


def write_table(
    path: str | os.PathLike[str], kind: str, form: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write rows of values without commas, replacing path in one step, and return their number."""
    lines = [",".join(map(str, row)) for row in rows]
    text = "\n".join([f"# fastrec {kind} {form}", ",".join(columns), *lines, f"# end {len(lines)}", ""])
    with new_file(path) as temporary:
        temporary.write_bytes(text.encode())
    return len(lines)


def read_table(
    content: bytes, kind: str, forms: Mapping[str, Mapping[str, type]]
) -> tuple[str, list[list[Any]]]:
    """Return the format and the rows of a file of `write_table`.

    Parameters
    ----------
    content : bytes
        The file.
    kind : str
        What it must hold.
    forms : mapping
        Columns and their types (int, float, str) of each known format; those of result files are numbers.

    Raises
    ------
    ValueError
        Saying what is wrong with the file.
    """
    head = f"# fastrec {kind} "
    lines = content.decode(errors="replace").splitlines()
    if not lines or not lines[0].startswith(head):
        raise ValueError(f"not a fastrec {kind} file")
    form = lines[0].removeprefix(head)
    types = forms.get(form)
    if types is None:
        known = " or ".join(name for name in forms if name.isdigit())
        raise ValueError(f"format {form!r}, but this fastrec reads format {known}")
    end = re.fullmatch("# end ([0-9]{1,18})", lines[-1])
    if not end:
        raise ValueError("truncated, the end line is missing")
    if lines[1] != ",".join(types):
        raise ValueError(f"damaged, line 2 should name the columns but reads {lines[1][:80]!r}")
    if len(lines) != int(end[1]) + 3:
        raise ValueError(f"damaged, the end line counts {int(end[1])} rows but there are {len(lines) - 3}")
    rows = []
    for number, line in enumerate(lines[2:-1], start=3):
        fields = line.split(",")
        if len(fields) != len(types):
            raise ValueError(f"damaged, line {number} has {len(fields)} fields instead of {len(types)}")
        rows.append([_value(*item, number) for item in zip(types.items(), fields, strict=True)])
    return form, rows


def _value(column: tuple[str, type], text: str, line: int) -> int | str | float:
    """The value of a field, or a ValueError that names the line and the column."""
    name, kind = column
    if kind is str:
        return text
    try:
        if kind is float:
            return float(text)
        if re.fullmatch("-?[0-9]{1,40}", text):
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"damaged, line {line} has {text[:40]!r} for {name}")

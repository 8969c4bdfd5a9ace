"""Tables as CSV files: a line that names kind and format, the columns, the rows, a line that counts them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .files import new_file

GUARDED = re.compile(
    "'*[=+@\t\r\n-]"
)  # what programs for tables take for a formula, where a text begins with it
END = re.compile(rb"(?:\A|\n)# end ([0-9]{1,18})\r?\n?\Z")
INTEGER = re.compile("-?[0-9]{1,40}").fullmatch


def write_table(
    path: str | os.PathLike[str], kind: str, form: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write rows, with types as in the first one, replacing path in one step, and return their number.

    A text that a program for tables would take for a formula gets an apostrophe before it, and one with
    commas, quotes or ends of lines is quoted.
    """
    rows = [*rows]
    texts = [place for place, value in enumerate(rows[0]) if isinstance(value, str)] if rows else []
    for place in texts:
        quoted = {value: _quoted(value) for value in {row[place] for row in rows}}
        if any(value != text for value, text in quoted.items()):
            rows = [[*row[:place], quoted[row[place]], *row[place + 1 :]] for row in rows]
    lines = [",".join(map(str, row)) for row in rows]
    text = "\n".join([f"# fastrec {kind} {form}", ",".join(columns), *lines, f"# end {len(lines)}", ""])
    with new_file(path) as temporary:
        temporary.write_bytes(text.encode())
    return len(lines)


def _quoted(value: str) -> str:
    """A text as a field of a file."""
    text = f"'{value}" if GUARDED.match(value) else value
    if re.search("[\",'#\r\n]", text):
        return '"' + text.replace('"', '""') + '"'
    return text


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
    head, begin = f"# fastrec {kind} ", content[:100].decode(errors="replace").splitlines()
    if not begin or not begin[0].startswith(head):
        raise ValueError(f"not a fastrec {kind} file")
    form = begin[0].removeprefix(head)
    types = forms.get(form)
    if types is None:
        known = " or ".join(name for name in forms if name.isdigit())
        raise ValueError(f"format {form!r}, but this fastrec reads format {known}")
    end = END.search(content, max(0, len(content) - 40))
    if not end:
        raise ValueError("truncated, the end line is missing")
    text = io.TextIOWrapper(io.BytesIO(content[: end.start() + 1]), "utf-8", "replace", newline="")
    try:
        rows = _rows(csv.reader(text, strict=True), types, int(end[1]))
    except csv.Error as error:
        raise ValueError(f"damaged, {error}") from None
    return form, rows


def _rows(lines: Any, types: Mapping[str, type], expected: int) -> list[list[Any]]:
    """The rows of a table, or a ValueError that names the line."""
    next(lines)
    columns = ",".join(next(lines, []))
    if columns != ",".join(types):
        raise ValueError(f"damaged, line 2 should name the columns but reads {columns[:80]!r}")
    texts: dict[str, str] = {}  # each once, as most are the same in all rows

    def text(field: str) -> str:
        return texts.setdefault(field, field[1:] if field[:1] == "'" and GUARDED.match(field, 1) else field)

    readers: dict[type, Callable[[str], Any]] = {int: _integer, float: float, str: text}
    columns_read = [readers[kind] for kind in types.values()]
    rows, fault, count = list[list[Any]](), "", 0
    for fields in lines:
        count += 1
        if not fault and len(fields) != len(types):
            fault = f"line {lines.line_num} has {len(fields)} fields instead of {len(types)}"
        if fault:
            continue
        try:
            rows.append([read(field) for read, field in zip(columns_read, fields, strict=True)])
        except ValueError:
            pairs = zip(types, columns_read, fields, strict=True)
            name, field = next((name, field) for name, read, field in pairs if not _reads(read, field))
            fault = f"line {lines.line_num} has {field[:40]!r} for {name}"
    if count != expected:
        fault = f"the end line counts {expected} rows but there are {count}"
    if fault:
        raise ValueError(f"damaged, {fault}")
    return rows


def _reads(read: Callable[[str], Any], field: str) -> bool:
    try:
        read(field)
    except ValueError:
        return False
    return True


def _integer(text: str) -> int:
    if not INTEGER(text):
        raise ValueError
    return int(text)

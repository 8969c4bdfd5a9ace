"""Damaged run files: the rows that can still be read, and a new file beside the old one."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..files import move, new_file, target_of
from .database import HEADER, Form, page_size, possible_rows, row_checksum, stored_types
from .schema import Schema

LEAF = 13  # the first byte of a page with rows
POINTER = struct.Struct(">H")


@contextmanager
def replace_damaged(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give the path of a file that replaces a damaged one, which is kept as NAME.damaged.

    The list receives that name at the end.  Raises OSError, and replaces nothing, if another process writes
    to the damaged file meanwhile.
    """
    before, names, target = path.stat(), list[str](), target_of(path)
    with new_file(path) as fresh:
        yield fresh, names
        numbered = itertools.chain([f"{path}.damaged"], (f"{path}.damaged{i}" for i in itertools.count(2)))
        names.append(next(name for name in numbered if not os.path.lexists(name)))
        with new_file(names[0]) as copy:
            shutil.copyfile(path, copy)
            shutil.copymode(path, copy)
        after = path.stat()
        if any(
            getattr(after, name) != getattr(before, name) for name in ("st_ino", "st_size", "st_mtime_ns")
        ):
            raise OSError(f"{path}: damaged, and written by another process meanwhile; start again")
        with suppress(FileNotFoundError):  # or it would be played back into the new file
            move(f"{target}-journal", f"{names[0]}-journal")


def readable_rows(path: Path, schema: Schema) -> tuple[list[tuple[Any, ...]], bool]:
    """Every complete row of a damaged file, and whether each was found to agree with its checksum.

    SQLite is not asked: nothing that leads to a page or says what is in it needs to be whole.
    """
    forms = [Form(version, checked) for version in range(1, schema.version + 1) for checked in (True, False)]
    readers = [(form, stored_types(form.columns(schema)), possible_rows(schema, form)) for form in forms]
    found = dict[bool, dict[tuple[Any, ...], tuple[Any, ...]]]({True: {}, False: {}})
    for record in records(path):
        for form, kinds, possible in readers:
            if len(record) != len(kinds) + form.checked:
                continue
            # A float that is a whole number is stored as one.
            row = tuple(
                float(value) if kind is float and type(value) is int else value
                for kind, value in zip(kinds, record[form.checked :], strict=True)
            )
            if possible(row) and (not form.checked or record[0] == row_checksum(row)):
                complete = schema.complete(row, schema.run_columns, form.version)
                found[form.checked].setdefault(complete[: schema.key], complete)
    # No file has rows of both kinds: a few of the other one are what damage looks like.
    checked = len(found[True]) >= len(found[False])
    return list(found[checked].values()), checked


def records(path: Path) -> Iterator[list[Any]]:
    """The values of each row that begins and ends in one page, and of much that is none."""
    with open(path, "rb") as file:
        size = page_size(file.read(HEADER)) or 4096
        file.seek(0)
        while page := file.read(size):
            if (page[0] ^ LEAF).bit_count() > 1:
                continue
            page = page.ljust(size, b"\0")
            # Pointers to the rows stand after a header of 8 bytes, and the rows at the end of the page.
            at, lowest = 8, size
            while at + 2 <= lowest:
                (pointer,) = POINTER.unpack_from(page, at)
                at += 2
                if at <= pointer < size:
                    with suppress(ValueError, IndexError, struct.error):
                        values = read_record(page, pointer)
                        lowest = min(lowest, pointer)
                        yield values


def read_record(page: bytes, at: int) -> list[Any]:
    """The values of the row at a place of a page; ValueError, IndexError or struct.error if there is none."""
    length, at = read_varint(page, at)
    _, at = read_varint(page, at)  # number of the row
    end = at + length
    width, kind_at = read_varint(page, at)
    value_at = at + width
    if not (at < value_at <= end <= len(page) and width < 256):
        raise ValueError("longer than the page")
    kinds = []
    while kind_at < at + width:
        kind, kind_at = read_varint(page, kind_at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        length = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind] if kind < 10 else max(0, kind - 12) // 2
        value = page[value_at : value_at + length]
        value_at += length
        if kind == 7:
            values += struct.unpack(">d", value)
        elif kind < 8:
            values.append(int.from_bytes(value, signed=True) if kind else None)
        elif kind < 10:
            values.append(kind - 8)
        else:
            values.append(value.decode() if kind % 2 else value)
    if value_at != end:
        raise ValueError("ends elsewhere")
    return values


def read_varint(page: Sequence[int], at: int) -> tuple[int, int]:
    """A number in SQLite's bytes of 7 bits, of which only the last is below 128, and the place after it."""
    number = 0
    while page[at] >= 128:
        number, at = number << 7 | page[at] & 127, at + 1
    return number << 7 | page[at], at + 1

"""NumPy .npz archives of arrays and JSON texts.

They may be from anybody: what they hold is checked against the file before anything is read.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from math import prod
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .files import DamagedFile, new_file, require_file
from .kernels.interruption import uninterrupted
from .messages import printable
from .validation import require_memory

FORMAT = 1
LONGEST = 2**16  # bytes that the headers of arrays may have
SMALL = 2**23  # bytes that the values in a text may take in any archive
LOCAL = struct.Struct("<4s5H3L2H")  # before each member
ENTRY = struct.Struct("<4s6H3L5H2L")  # of a member in the directory
END = struct.Struct("<4s4H2LH")
LARGE_END = struct.Struct("<4sQ2H2L4Q")  # before END and LOCATOR where numbers need 64 bits
LOCATOR = struct.Struct("<4sLQL")
MOST_MEMBERS = 2**16
FULL = 2**32 - 1  # instead of a number of 64 bits that stands elsewhere
MAGIC = b"\x93NUMPY\1\0"

Sizes = TypeVar("Sizes")


class Member(NamedTuple):
    """Where the bytes of a member are, and their checksum."""

    begin: int
    size: int
    checksum: int


class Archive:
    """An archive as `numpy.savez` writes it: uncompressed, its members one after the other.

    An archive of s bytes needs little more memory than the arrays that are read, which have fewer than s.

    Parameters
    ----------
    file : binary file
        Open while the archive is read.

    Attributes
    ----------
    members : dict of str to Member
        By name, without its suffix.
    size : int
        Bytes of the file.

    Raises
    ------
    BadZipFile
        If the file is no archive.
    ValueError
        If it is one that `numpy.savez` does not write, or does not hold what it says.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self.file = file
        self.members: dict[str, Member] = {}
        self.size: int = os.fstat(file.fileno()).st_size
        begin, end, count = self._directory(self.size)
        file.seek(begin)
        entries = file.read(end - begin)
        at, free = 0, 0
        for _ in range(count):
            at, name, offset, member = read_entry(entries, at)
            file.seek(offset)
            head = LOCAL.unpack(file.read(LOCAL.size))
            data = offset + LOCAL.size + head[9] + head[10]
            same = head[0] == b"PK\3\4" and file.read(head[9]) == name and head[2:4] == (head[2] & 0x800, 0)
            if not same or offset < free or data + member.size > begin:
                raise ValueError("damaged, its members are not where its directory says")
            free, key = data + member.size, name.decode().removesuffix(".npy")
            if key in self.members:
                raise ValueError("damaged, it has two members of one name")
            self.members[key] = member._replace(begin=data)
        if at != len(entries):
            raise ValueError("damaged, its directory is longer than it says")

    def _directory(self, size: int) -> tuple[int, int, int]:
        """Begin and end of the directory, and the number of its entries."""
        last = size - END.size
        self.file.seek(max(0, last))
        magic, *disks, count, length, begin, comment = END.unpack(self.file.read(END.size))
        if magic != b"PK\5\6" or disks[:2] != [0, 0] or comment:
            raise BadZipFile("its end is not that of an archive")
        self.file.seek(max(0, last - LOCATOR.size))
        magic, _, larger, _ = LOCATOR.unpack(self.file.read(LOCATOR.size))
        if magic == b"PK\6\7":  # which `zipfile` writes above 2 GB
            last = min(larger, size)
            self.file.seek(last)
            magic, *_, count, length, begin = LARGE_END.unpack(self.file.read(LARGE_END.size))
            if magic != b"PK\6\6":
                raise BadZipFile("its end is not that of an archive")
        if begin + length != last or count > MOST_MEMBERS:
            raise ValueError("damaged, its directory is not where its end says")
        return begin, last, count

    def read(self, name: str) -> NDArray[Any]:
        """Read an array; ValueError if it is damaged, holds objects, or has another size than its member."""
        begin, size, checksum = self.members[name]
        self.file.seek(begin)
        head = self.file.read(min(size, 10))
        length = int.from_bytes(head[8:], "little")
        head += self.file.read(min(size - len(head), length))
        if not head.startswith(MAGIC) or len(head) != 10 + length:
            raise ValueError(f"damaged, {name} is no array")
        reader = io.BytesIO(head)
        reader.seek(len(MAGIC))
        try:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(reader)
        except ValueError as error:
            raise ValueError(f"damaged, {name} has no header: {error}") from None
        if dtype.hasobject:
            raise ValueError(f"Object arrays cannot be loaded, and {name} is one")
        count = prod(shape)
        if len(head) + count * dtype.itemsize != size:
            longer = len(head) + count * dtype.itemsize < size
            raise ValueError(f"damaged, {name} is {'longer' if longer else 'shorter'} than it says")
        array = np.empty(count, dtype)
        data: Any = array.view(np.uint8) if array.nbytes else bytearray()
        if self.file.readinto(data) != len(data):
            raise ValueError(f"damaged, {name} is cut")
        if crc32(data, crc32(head)) != checksum:
            raise ValueError(f"damaged, {name} has changed")
        return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def read_entry(entries: bytes, at: int) -> tuple[int, bytes, int, Member]:
    """The place after an entry of a directory, the name of its member, where that is, and its size."""
    magic, _, _, flags, method, *_, checksum, packed, size, named, extra, comment, _, _, _, offset = (
        ENTRY.unpack_from(entries, at)
    )
    at += ENTRY.size
    name, more = entries[at : at + named], entries[at + named : at + named + extra]
    if magic != b"PK\1\2" or comment or len(more) != extra:
        raise ValueError("damaged, its directory is not one")
    if flags & ~0x800 or method:
        raise ValueError("its members are compressed or encrypted; fastrec writes and reads neither")
    if FULL in (packed, size, offset):
        numbers = iter(struct.unpack_from(f"<{(len(more) - 4) // 8}Q", more, 4))
        if more[:2] != b"\1\0":
            raise ValueError("damaged, its directory lacks a size")
        size, packed, offset = (next(numbers) if n == FULL else n for n in (size, packed, offset))
    if packed != size:
        raise ValueError("damaged, a member has two sizes")
    return at + named + extra, name, offset, Member(0, size, checksum)


def write_archive(
    path: str | os.PathLike[str], texts: dict[str, dict[str, Any]], arrays: dict[str, NDArray[Any]]
) -> None:
    """Write settings as arrays of JSON text, then arrays, replacing the file in one step."""
    written = {name: np.array(json.dumps({"format": FORMAT} | text)) for name, text in texts.items()}
    # NumPy would raise a ValueError about its archive in place of what Ctrl-C does.
    with new_file(path) as temporary, uninterrupted(), temporary.open("wb") as file:
        np.savez(file, **written, **arrays)  # type: ignore[arg-type]


@contextmanager
def open_archive(path: str | os.PathLike[str], what: str) -> Iterator[Archive]:
    """Open an archive in a `with` block, whose exceptions become ValueErrors that name the file."""
    require_file(path)
    with open(os.fspath(path), "rb") as file:
        try:
            yield Archive(file)
        except OSError as error:
            raise type(error)(f"{path}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise DamagedFile(f"{path}: {printable(error, most=1000)}") from None
        except Exception as error:  # what is read may fail in many ways on bytes that are not fastrec's
            reason = printable(error, most=200)
            raise DamagedFile(f"{path}: not a fastrec {what}, or truncated or damaged ({reason})") from None


def read_text(archive: Archive, name: str, what: str, most: int = 0) -> dict[str, Any]:
    """Read the settings in an array of text, which may be `most` bytes longer than usual."""
    if name not in archive.members:
        raise ValueError(f"not a fastrec {what}")
    size = archive.members[name].size
    nbytes = min(most, max(0, size - LONGEST))
    require_memory("the text", nbytes)
    array = read_array(archive, name, nbytes)
    codes = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    if array.dtype.kind != "U" or array.ndim or (array.itemsize and array.reshape(1).view(codes).max() > 127):
        raise ValueError(f"damaged, {name} is not a text that fastrec writes")
    text = array.item()
    # A value takes 200 bytes at most, also in the tables of a vocabulary.
    if 200 * sum(map(text.count, ",[{")) > 2 * archive.size + SMALL:
        raise ValueError(f"damaged, {name} holds more than goes with its archive")
    del array
    settings = json.loads(text)
    form = settings.pop("format", None)
    if form != FORMAT:
        raise ValueError(f"format {form!r}, but this fastrec reads format {FORMAT}")
    return settings


def settings_of(sizes: Any) -> dict[str, Any]:
    """Return the fields of a dataclass of sizes as files hold them: without those of later versions that say
    nothing."""
    values = [(field, getattr(sizes, field.name)) for field in fields(sizes)]
    return {
        field.name: value for field, value in values if field.default is MISSING or value != field.default
    }


def sizes_of(kind: type[Sizes], settings: dict[str, Any]) -> Sizes:
    """Make a dataclass of sizes from settings with the names of its fields; defaults may be missing."""
    known = fields(kind)  # type: ignore[arg-type]
    needed = {field.name for field in known if field.default is MISSING}
    if not needed <= settings.keys() <= {field.name for field in known}:
        raise ValueError(f"damaged, its sizes are {', '.join(settings)}")
    return kind(**settings)


def read_arrays(
    archive: Archive, shapes: dict[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, NDArray[Any]]:
    """Read arrays of such shapes of an archive."""
    require_memory("the network", sum(map(prod, shapes.values())) * dtype.itemsize)
    parameters = {}
    for key, shape in shapes.items():
        array = read_array(archive, key, prod(shape) * dtype.itemsize)
        if array.shape != shape or array.dtype.newbyteorder("=") != dtype:
            raise ValueError(f"damaged, {key} is {array.shape}, {array.dtype}, not {shape}, {dtype}")
        parameters[key] = np.ascontiguousarray(array, dtype)
    return parameters


def read_array(archive: Archive, name: str, nbytes: int) -> NDArray[Any]:
    """Read an array of nbytes, if the archive says it has as many: no small file asks for much memory."""
    size = archive.members[name].size
    if not nbytes <= size <= nbytes + LONGEST:
        raise ValueError(f"damaged, {name} has {size} bytes")
    return archive.read(name)

"""NumPy .npz archives from anybody: what they hold is checked against the file before anything is read."""

from __future__ import annotations

import io
import os
import struct
from math import prod
from typing import Any, NamedTuple
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

LOCAL = struct.Struct("<4s5H3L2H")  # before each member
ENTRY = struct.Struct("<4s6H3L5H2L")  # of a member in the directory
END = struct.Struct("<4s4H2LH")
LARGE_END = struct.Struct("<4sQ2H2L4Q")  # before END and LOCATOR where numbers need 64 bits
LOCATOR = struct.Struct("<4sLQL")
MOST_MEMBERS = 2**16
FULL = 2**32 - 1  # instead of a number of 64 bits that stands elsewhere
MAGIC = b"\x93NUMPY\1\0"


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
        self.file, self.members = file, dict[str, Member]()
        self.size = os.fstat(file.fileno()).st_size
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

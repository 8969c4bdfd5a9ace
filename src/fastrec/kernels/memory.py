"""Arrays in memory that is used again.

The C library returns large arrays to the system when they are freed, and fresh pages are cleared one by one
as they are first written: for the arrays of a training step that takes a tenth of its time, or half.  Here
memory of an array that has died is kept for the next one of about its size.
"""

from __future__ import annotations

import bisect
import math
import operator
from typing import Any

import numpy as np

LEAST, MOST = 1 << 16, 1 << 27  # bytes of arrays for which this is done, and bytes that are kept
LINE = 64  # bytes of a cache line, with which an array begins
STEPS = 4  # sizes in a power of two
SIZES = [
    (LEAST << octave) + (LEAST << octave) // STEPS * step
    for octave in range(MOST.bit_length() - LEAST.bit_length())
    for step in range(STEPS)
]
KEPT: list[list[Block]] = [[] for _ in SIZES]  # of each size


class Block:
    """Bytes in memory, and what NumPy asks for to make an array of them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.memory = np.empty(SIZES[number] + LINE, np.uint8)
        begin = self.memory.ctypes.data
        begin += -begin % LINE
        self.interface = {"version": 3, "data": (begin, False), "shape": (SIZES[number],), "typestr": "|u1"}


class Loan:
    """What an array of a block refers to; the block is kept when no array does so any more."""

    def __init__(self, block: Block) -> None:
        self.block, self.__array_interface__ = block, block.interface

    def __del__(self) -> None:
        # Appending and popping are atomic, so that no lock is needed, which a collection could ask for twice.
        try:
            KEPT[self.block.number].append(self.block)
            if kept() > MOST:
                forget()
        except TypeError:  # names are None as the interpreter ends
            pass


def kept() -> int:
    """Bytes that are kept."""
    return sum(map(operator.mul, SIZES, map(len, KEPT)))


def forget() -> None:
    """Free what is kept."""
    for blocks in KEPT:
        blocks.clear()


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """``np.empty``, of memory that has been used before where there is some."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if not LEAST <= nbytes <= MOST // 2:
        return np.empty(shape, dtype)
    number = bisect.bisect_left(SIZES, nbytes)
    try:
        block = KEPT[number].pop()
    except IndexError:
        block = Block(number)
    return np.ndarray(shape, dtype, np.asarray(Loan(block)).data)

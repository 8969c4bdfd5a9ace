"""States between bytes and bits, and from rows to columns of bits, on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import empty
from .jit import jit
from .parallel import tasks
from .random import ONE, U64
from .simd import sign_word, transpose_square, word_signs


@jit
def pack_row(states, row, packed):
    """Pack a row of states (r, n) int8 into packed (w,)."""
    n = states.shape[1]
    for word in range(n // 64):
        packed[word] = sign_word(states, row * n + 64 * word)
    if n % 64:
        last = U64(0)
        for i in range(n // 64 * 64, n):
            last |= U64(states[row, i] > 0) << U64(i & 63)
        packed[n // 64] = last


@tasks(lambda states, packed: (len(states), states.size / 8))
def pack(row, states, packed):
    """Pack states (r, n) int8 into packed (r, w)."""
    pack_row(states, row, packed[row])


@jit
def bit(words, i):
    """Bit i of packed words (w,), as int64."""
    return np.int64(words[i >> 6] >> U64(i & 63) & ONE)


@jit
def unpack_row(packed, states, row):
    """Unpack packed (w,) into a row of states (r, n) int8."""
    n = states.shape[1]
    for word in range(n // 64):
        word_signs(packed[word], states, row * n + 64 * word)
    for i in range(n // 64 * 64, n):
        states[row, i] = 2 * bit(packed, i) - 1


@tasks(lambda packed, states: (len(states), states.size / 8))
def unpack(row, packed, states):
    """Unpack packed (r, w) into states (r, n) int8."""
    unpack_row(packed[row], states, row)


@jit
def transpose_words(packed, first, p, column, units):
    """Words first.. of the units 64 column.. of units (n, >= words(p)), from rows 64 first..p-1 of packed."""
    n = len(units)
    square = empty((64,), np.uint64)
    for word in range(first, (p + 63) // 64):
        for b in range(64):
            square[b] = packed[64 * word + b, column] if 64 * word + b < p else U64(0)
        transpose_square(square)
        for i in range(min(64, n - 64 * column)):
            units[64 * column + i, word] = square[i]


@tasks(lambda packed, units: (packed.shape[0] * packed.shape[2], 4 * packed.size))
def transpose(column, packed, units):
    """Fill units (k, n, u) from packed (k, p, w)."""
    _, p, w = packed.shape
    transpose_words(packed[column // w], 0, p, column % w, units[column // w])

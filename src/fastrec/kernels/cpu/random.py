"""Philox4x32-10 streams: patterns, corruption and update orders from a key and a counter.

The layout of the counters is in `fastrec.kernels`.
"""

from __future__ import annotations

import numpy as np

from .. import BIASED, CORRUPT, ORDER, PATTERN
from .arrays import empty, zeros
from .jit import jit, kernel
from .parallel import tasks
from .simd import MULTIPLIERS, WEYLS, philox_blocks

U64 = np.uint64
MULTIPLIER_0, MULTIPLIER_1 = map(U64, MULTIPLIERS)
WEYL_0, WEYL_1 = map(U64, WEYLS)
LOW, HALF, ONE = U64(0xFFFFFFFF), U64(32), U64(1)


@jit
def block(key, c0, c1, c2, c3):
    """One Philox4x32-10 block as two 64-bit words, low word first."""
    c0, c1, c2, c3 = U64(c0) & LOW, U64(c1) & LOW, U64(c2) & LOW, U64(c3) & LOW
    k0, k1 = U64(key) & LOW, U64(key) >> HALF
    for _ in range(10):
        a, b = MULTIPLIER_0 * c0, MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & LOW, (a >> HALF) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
    return c0 | c1 << HALF, c2 | c3 << HALF


@kernel
def philox(key, counters, words):
    """Fill words (m, 4) uint32 with the blocks of counters (m, 4) uint32."""
    for i in range(len(counters)):
        first, second = block(key, counters[i, 0], counters[i, 1], counters[i, 2], counters[i, 3])
        words[i, 0], words[i, 1] = first & LOW, first >> HALF
        words[i, 2], words[i, 3] = second & LOW, second >> HALF


@jit
def fill(key, row, network, tag, draws):
    """Fill draws (count,) uint64 with the first draws of a stream; tag = stream | step << 8."""
    fill_from(key, 0, row, network, tag, draws)


@jit
def fill_from(key, begin, row, network, tag, draws):
    """Fill draws (count,) uint64 with those of a stream from number `begin` on, which is even."""
    count, before = len(draws), begin // 2
    whole = count // 16 * 16
    for at in range(0, whole, 16):
        philox_blocks(key, before + at // 2, row, network, tag, draws, at)
    for i in range(whole, count, 2):
        first, second = block(key, before + i // 2, row, network, tag)
        draws[i] = first
        if i + 1 < count:
            draws[i + 1] = second


@jit
def random_pattern(key, mu, network, n, packed):
    """Fill packed (w,) with pattern mu of a network."""
    fill(key, mu, network, PATTERN, packed)
    if n % 64:
        packed[-1] &= (ONE << U64(n % 64)) - ONE


@tasks(lambda key, first, n, packed: (packed.shape[0] * packed.shape[1], 5 * packed.size))
def random_patterns(row, key, first, n, packed):
    """Fill packed (k, p, w) with the patterns 0..p-1 of the networks first..first+k-1."""
    p = packed.shape[1]
    random_pattern(key, row % p, first + row // p, n, packed[row // p, row % p])


@tasks(lambda key, first, n, threshold, packed: (packed.shape[0] * packed.shape[1], 160 * packed.size))
def biased_patterns(row, key, first, n, threshold, packed):
    """`random_patterns` whose units are +1 where a 64-bit draw is below threshold, a uint64."""
    p, draws = packed.shape[1], empty((n,), np.uint64)
    pattern = packed[row // p, row % p]
    fill(key, row % p, first + row // p, BIASED, draws)
    for word in range(len(pattern)):
        ones = U64(0)
        for i in range(64 * word, min(n, 64 * word + 64)):
            ones |= U64(draws[i] < threshold) << U64(i & 63)
        pattern[word] = ones


@jit
def draw_below(draw, m):
    """floor(draw * m / 2^64) for m < 2^32."""
    return (draw >> HALF) * m + ((draw & LOW) * m >> HALF) >> HALF


@kernel
def random_order(key, network, step, sweep, order):
    """Fill order (n,) int32 with the random permutation of one sweep.

    The stable argsort of n draws: they fall into n buckets by their high bits, one on average, in order of
    their index, and an insertion sort finishes each.
    """
    n = len(order)
    draws = empty((n,), np.uint64)
    fill(key, sweep, network, ORDER | step << 8, draws)
    ends = zeros((n + 1,), np.int32)
    for i in range(n):
        ends[draw_below(draws[i], U64(n)) + ONE] += 1
    for bucket in range(n):
        ends[bucket + 1] += ends[bucket]
    for i in range(n):
        bucket = draw_below(draws[i], U64(n))
        order[ends[bucket]] = i
        ends[bucket] += 1
    begin = 0
    for bucket in range(n):
        end = ends[bucket]
        for i in range(begin + 1, end):
            unit = order[i]
            j = i
            while j > begin and draws[order[j - 1]] > draws[unit]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = unit
        begin = end


@jit
def holds(units, size, unit):
    """Whether a unit is among the first `size` ones."""
    held = False
    for i in range(size):
        held |= units[i] == unit
    return held


@jit
def choose(key, row, network, step, n, chosen):
    """Fill chosen (flips,) int64 with distinct random units: Floyd's sampling without replacement."""
    flips = len(chosen)
    used = zeros((n if flips > 32 else 0,), np.bool_)
    draws = (U64(0), U64(0))
    for i in range(flips):
        if i % 2 == 0:
            draws = block(key, i // 2, row, network, CORRUPT | step << 8)
        last = n - flips + i
        unit = np.int64(draw_below(draws[i % 2], U64(last + 1)))
        if len(used):
            unit = last if used[unit] else unit
            used[unit] = True
        elif holds(chosen, i, unit):
            unit = last
        chosen[i] = unit


@jit
def flip(chosen, packed):
    """Flip the chosen units of packed (w,)."""
    for unit in chosen:
        packed[unit >> 6] ^= ONE << U64(unit & 63)


def corrupt_tasks(rows, flips, n):
    """Number of rows, and nanoseconds for the flips and for clearing the marks of units."""
    return rows, rows * (100 + 20 * flips + (n / 20 if flips > 32 else 0))


@tasks(lambda key, first, flips, n, packed: corrupt_tasks(packed.shape[0] * packed.shape[1], flips, n))
def corrupt(row, key, first, flips, n, packed):
    """Flip `flips` distinct random units of the rows first..first+b-1, packed (k, b, w), in place."""
    b = packed.shape[1]
    chosen = empty((flips,), np.int64)
    choose(key, first + row % b, row // b, 0, n, chosen)
    flip(chosen, packed[row // b, row % b])


@tasks(
    lambda key, first, flips, states: corrupt_tasks(states.shape[0] * states.shape[1], flips, states.shape[2])
)
def corrupt_states(row, key, first, flips, states):
    """`corrupt` for states (k, b, n) int8."""
    _, b, n = states.shape
    chosen = empty((flips,), np.int64)
    choose(key, first + row % b, row // b, 0, n, chosen)
    for unit in chosen:
        states[row // b, row % b, unit] = -states[row // b, row % b, unit]

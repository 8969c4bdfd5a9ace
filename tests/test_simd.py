"""Intrinsics that take other ways on other CPUs, one by one; test_portable runs them as those of others."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from fastrec.bench import peak_rates as limits
from fastrec.kernels.cpu.byte_products import (
    DIGIT,
    MOST,
    NEVER,
    PANEL,
    PRODUCTS,
    UNITS,
    advance,
    split,
    spread_bits,
)
from fastrec.kernels.cpu.byte_products import ROWS as MEMORIES
from fastrec.kernels.cpu.jit import Kernel
from fastrec.kernels.cpu.matrix import ROWS as TILE_ROWS
from fastrec.kernels.cpu.matrix import multiply, pack, pack_transposed, packed, padded, pair, panel_width
from fastrec.kernels.cpu.products import COLUMNS, ROWS, full_tile, mirrored_tile, row_tile
from fastrec.kernels.cpu.simd import (
    LANES,
    add_signed,
    masked_sum,
    philox_blocks,
    sign_word,
    signed_sum,
    transpose_square,
    word_signs,
)
from fastrec.kernels.reference.random import philox

RNG = np.random.default_rng(0)


@numba.njit
def sums_of(digits, bits, first, groups, sums, centers, width, x, memory, panel, near):
    return advance(digits, 0, bits, first, groups, sums, 0, centers, 1, width, x, memory, panel, near, 2)


@numba.njit
def digits_of(overlaps, row, begin, end, stop, shift, digits):
    return split(overlaps, row, begin, end, stop, shift, digits, 3)


@numba.njit
def panel_of(units, start, stride, bits, at):
    spread_bits(units, start, stride, bits, at)


@numba.njit
def transposed(square):
    transpose_square(square)


@numba.njit
def blocks_of(key, first, c1, c2, c3, words, at):
    philox_blocks(key, first, c1, c2, c3, words, at)


@numba.njit
def sum_by_signs(word, count, values, first):
    return signed_sum(word, count, values, first)


@numba.njit
def count_full(a, words, panels, bits, out, at, pitch, mirror):
    full_tile(a, 1, words, panels, 0, words, bits, out, at, pitch, mirror, 0, 0)


@numba.njit
def count_row(a, words, panels, bits, out, at, pitch, mirror):
    row_tile(a, 1, words, panels, 0, words, bits, out, at, pitch, mirror, 0, 0)


@numba.njit
def count_mirrored(a, words, panels, bits, out, at, pitch, mirror):
    mirrored_tile(a, 1, words, panels, 0, words, bits, out, at, pitch, mirror, 2, 9)


@numba.njit
def sum_of(words, start, count, values, first):
    return masked_sum(words, start, count, values, first)


@numba.njit
def add_by_signs(words, start, count, step, values):
    add_signed(words, start, count, step, values)


@numba.njit
def turned(states, start, words):
    for k in range(len(words)):
        words[k] = sign_word(states, start + 64 * k)
        word_signs(~words[k], states, start + 64 * k)


def bits(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")


def test_panels_have_the_bits_of_units() -> None:
    units = RNG.integers(0, 2**64, (UNITS, 5), np.uint64)
    panel = np.full(16 * PANEL + 9, 7, np.uint8)
    panel_of(units, 3, 5, panel, 4)
    expected = 2 * bits(units[:, 3:4]).reshape(UNITS, 16, 4).transpose(1, 0, 2)
    assert np.array_equal(panel[4:-5].reshape(16, UNITS, 4), expected)
    assert (panel[:4] == 7).all() and (panel[-5:] == 7).all()


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_overlaps_are_digits_and_rests(shift: int) -> None:
    overlaps = RNG.integers(-150 << shift, 150 << shift, (3, 64)).astype(np.int32)
    for begin, end, stop in ((0, 64, 64), (8, 24, 24), (8, 32, 17), (16, 24, 10)):
        digits = np.full(64 // 4 * MEMORIES + 3, 9, np.int32)
        found = digits_of(overlaps, 1, begin, end, stop, shift, digits)
        m = np.where(np.arange(begin, end) < stop, overlaps[1, begin:end], 0).astype(int)
        digit = np.clip(m + (1 << shift >> 1) >> shift, -DIGIT, DIGIT)
        assert found == (digit.sum(), abs(m - (digit << shift)).sum(), abs(m).sum())
        fours = digits[3::MEMORIES][: (end - begin) // 4].copy()
        assert np.array_equal(fours.view(np.int8), digit)
        assert (np.delete(digits, np.arange((end - begin) // 4) * MEMORIES + 3) == 9).all()


@pytest.mark.parametrize("patterns", [0, 8, 24, MOST])
def test_products_of_bytes_are_added_and_seen_where_near(patterns: int) -> None:
    digits = RNG.integers(-DIGIT, DIGIT + 1, (patterns, MEMORIES)).astype(np.int8)
    up = RNG.integers(0, 2, (patterns, UNITS))
    digits[:, 0], up[:, 0] = -DIGIT, 1  # the most that sums must hold
    fours = digits.reshape(-1, 4, MEMORIES).transpose(0, 2, 1).copy().view(np.int32).ravel()
    panel = np.zeros(PANEL + patterns * UNITS, np.uint8)
    panel[PANEL:] = 2 * up.reshape(-1, 4, UNITS).transpose(0, 2, 1).ravel()
    before = RNG.integers(-9999, 9999, (MEMORIES, UNITS)).astype(np.int32)
    after = before + 2 * digits.T.astype(int) @ up
    centers = RNG.integers(-5000, 5000, MEMORIES + 1).astype(np.int32)
    z = before + after + centers[1:, None]
    x = RNG.integers(0, 2**64, (MEMORIES + 2, 3), np.uint64)
    own = bits(x[2:])[:, 3 * UNITS : 4 * UNITS]  # panel 3
    for width in (NEVER, 0, 1000, 40_000, 2 * int(abs(z).max()), -8, -60_000):
        sums, near = before.copy(), np.zeros(MEMORIES + 3, np.uint32)
        found = sums_of(fours, panel, PANEL, patterns // 4, sums, centers, np.int32(width), x, 2, 3, near)
        assert np.array_equal(sums, after)
        outside = z.astype(np.uint32) > np.uint32(width & 0xFFFFFFFF)
        hits = np.where(own, z < 0, z > width)
        if width < NEVER or (outside.any() and hits[outside].any()):
            rows = hits.any(axis=1)
            seen = np.unpackbits(near[2:].view(np.uint8), bitorder="little").reshape(-1, 32)
            assert found == hits.any()
            if found and 2 * PRODUCTS.width // 4 == UNITS:
                assert np.array_equal(seen[:-1], hits) and np.array_equal(seen[-1][:MEMORIES], rows)
            assert (seen[:-1] <= hits).all() and (hits & outside <= seen[:-1]).all()
        elif not outside.any():
            assert not found


def test_squares_of_bits_are_transposed() -> None:
    square = RNG.integers(0, 2**64, 64, np.uint64)
    transposed(turned_square := square.copy())
    assert np.array_equal(bits(turned_square[:, None]), bits(square[:, None]).T)


def test_eight_blocks_are_those_of_philox() -> None:
    words = np.zeros(20, np.uint64)
    key, counters = np.uint64(0x0123456789ABCDEF), np.empty((8, 4), np.uint32)
    counters[:, 0], counters[:, 1:] = np.arange(2**32 - 3, 2**32 + 5) % 2**32, (7, 2**32 - 1, 9)
    philox(int(key), counters, expected := np.empty((8, 4), np.uint32))
    u64 = np.uint64
    blocks_of(key, u64(2**32 - 3), u64(7), u64(2**32 - 1), u64(9), words, 2)
    assert np.array_equal(words[2:18].view(np.uint32), expected.ravel())
    assert not words[:2].any() and not words[18:].any()


@pytest.mark.parametrize("count", [1, 17, 63])
def test_signed_sums_of_a_part_of_a_word(count: int) -> None:
    values = RNG.integers(-(2**20), 2**20, 70).astype(np.int32)
    word = RNG.integers(0, 2**64, 1, np.uint64)
    signs = 2 * bits(word)[:count].astype(int) - 1
    assert sum_by_signs(word[0], count, values, 5) == (signs * values[5 : 5 + count]).sum()


@pytest.mark.parametrize("words", [1, 31, 75])
@pytest.mark.parametrize("kernel", [count_full, count_row, count_mirrored])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float64"])
def test_products_of_signs_are_counted(kernel: Any, words: int, dtype: str) -> None:
    """Written from a place on, and to their mirror image, and nowhere else."""
    rows, n = 1 if kernel is count_row else ROWS, 64 * words
    a, b = (RNG.integers(0, 2**64, (count, words), np.uint64) for count in (rows + 2, COLUMNS))
    b[0] = ~a[1]  # the least there can be
    panels = np.ascontiguousarray(b.reshape(-1, LANES, words).transpose(0, 2, 1))
    out, mirror = np.full((rows, COLUMNS + 5), 7, dtype), np.full((COLUMNS, 9), 7, dtype)
    kernel(a, words, panels, n, out, 3, COLUMNS + 5, mirror)
    sums = n - 2 * bits(a[1 : 1 + rows, None] ^ b).sum(axis=-1).astype(int)
    expected = sums / n if dtype == "float64" else sums.astype(dtype)  # what does not fit wraps around
    assert np.array_equal(out[:, 3:-2], expected) and (out[:, :3] == 7).all() and (out[:, -2:] == 7).all()
    if kernel is count_mirrored:
        assert np.array_equal(mirror[:, 2 : 2 + rows], expected.T)
        mirror[:, 2 : 2 + rows] = 7
    assert (mirror == 7).all()


@pytest.mark.parametrize("count", [0, 1, 3, 64])
def test_values_are_summed_and_changed_by_bits(count: int) -> None:
    words = RNG.integers(0, 2**64, count + 2, np.uint64)
    values = RNG.integers(-(2**20), 2**20, 64 * count).astype(np.int32)
    ones = bits(words[1 : 1 + count]).ravel()
    assert sum_of(words, 1, count, values, 0) == (ones * values.astype(int)).sum()
    changed = values.copy()
    add_by_signs(words, 1, count, np.int32(-7), changed)
    assert np.array_equal(changed, values - 7 * (2 * ones.astype(np.int32) - 1))


def test_words_of_signs_and_back() -> None:
    states = RNG.choice(np.array([-1, 1], np.int8), 5 + 3 * 64 + 2)
    words, before = np.empty(3, np.uint64), states.copy()
    turned(states, 5, words)
    assert np.array_equal(bits(words).ravel(), before[5:-2] > 0)
    assert np.array_equal(states[5:-2], -before[5:-2])
    assert np.array_equal(states[:5], before[:5]) and np.array_equal(states[-2:], before[-2:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "depth"), [(1, 1), (33, 17), (32, 16), (70, 50)])
def test_transposes_are_packed(rows: int, depth: int, dtype: type) -> None:
    W = RNG.standard_normal((2, rows + 3, depth)).astype(dtype)
    width = panel_width(W)
    panels = padded(rows, W) // width
    found = (
        pack_transposed("float32", W, rows)
        .reshape(2, panels, depth, width)
        .transpose(0, 2, 1, 3)
        .reshape(2, depth, -1)
    )
    assert np.array_equal(found[:, :, :rows], W[:, :rows].transpose(0, 2, 1))
    assert not found[:, :, rows:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 2, 7, 21])
def test_rows_are_multiplied_by_packed_panels(rows: int, dtype: type) -> None:
    depth, columns = 5, 75
    b = RNG.integers(-9, 10, (1, depth, columns)).astype(dtype)
    a, c = RNG.integers(-9, 10, (rows, depth + 2)).astype(dtype), np.ones((rows, padded(columns, b)), dtype)
    pack(b, 0, False, depth, columns, panels := packed(b, depth, columns), 0)
    kernel = Kernel(multiply.py_func)
    kernel(a, 1, depth + 2, rows, panels[0], depth, c)
    assert np.array_equal(c[:, :columns], 1 + a[:, 1:-1] @ b[0])
    if dtype == np.float32:  # whose small integers have 16 bits of 0 at the end
        halves = np.ones_like(c)
        kernel(a, 1, depth + 2, rows, pair(panels)[0], depth, halves)
        assert np.array_equal(halves[:, :columns], c[:, :columns])


def test_inner_loops_that_are_timed_do_all_their_rounds() -> None:
    assert len(rates := limits.limits()) in (5, 6) and all(0 < rate < 1e15 for rate in rates.values())
    width = panel_width(np.empty(0, np.float32))
    a, b = (RNG.integers(-3, 4, (2, 5, size)).astype(np.float32) for size in (TILE_ROWS, width))
    limits.multiply_adds(a, b, c := np.zeros((2, TILE_ROWS, width), np.float32), 3)
    assert np.array_equal(c, 3 * a.transpose(0, 2, 1) @ b)
    rows, columns = (RNG.integers(0, 2**64, (2, count, 3), np.uint64) for count in (ROWS, COLUMNS))
    panels = np.ascontiguousarray(columns.reshape(2, -1, LANES, 3).transpose(0, 1, 3, 2))
    limits.popcounts(rows, panels, counts := np.zeros((2, ROWS, COLUMNS), np.int32), 3)
    assert np.array_equal(counts, -2 * bits(rows[:, :, None] ^ columns[:, None]).sum(axis=-1).astype(int))
    digits = np.full((2, MOST // 4 * MEMORIES), 0x01010101, np.int32)
    sums, centers = np.zeros((2, MEMORIES, UNITS), np.int32), np.zeros((2, MEMORIES), np.int32)
    panel, near = np.full((2, MOST // 4 * PANEL), 2, np.uint8), np.zeros((2, MEMORIES + 1), np.uint32)
    memories = np.zeros((2, MEMORIES, 1), np.uint64)
    limits.pattern_additions(digits, panel, memories, sums, centers, near, 3)
    assert (sums == 3 * 2 * MOST).all()
    words = RNG.integers(0, 2**64, (2, 2), np.uint64)
    values = RNG.integers(-9, 9, (2, 128)).astype(np.int32)
    limits.masked_additions(words, values, sums := np.zeros(2, np.int64), 3)
    assert np.array_equal(sums, 3 * (bits(words) * values).sum(axis=-1))

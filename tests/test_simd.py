"""Intrinsics that take other ways on other CPUs, one by one; test_portable runs them as those of others."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from fastrec.kernels.cpu import limits
from fastrec.kernels.cpu.capacity import GROUP, add, add_and_look, gram_tile
from fastrec.kernels.cpu.hopfield import COLUMNS, ROWS, full_tile, row_tile
from fastrec.kernels.cpu.jit import Kernel
from fastrec.kernels.cpu.matrix import ROWS as TILE_ROWS
from fastrec.kernels.cpu.matrix import multiply, pack, packed, padded, pair, panel_width
from fastrec.kernels.cpu.simd import (
    LANES,
    add_signed,
    masked_sum,
    sign_word,
    unit_codes,
    word_signs,
)

RNG = np.random.default_rng(0)


@numba.njit
def add_only(fields, row, codes, group, x, memory, count, m, limit, low):
    return add(fields, row, codes, group, x, memory, count, m, limit, low)


@numba.njit
def add_looking(fields, row, codes, group, x, memory, count, m, limit, low):
    return add_and_look(fields, row, codes, group, x, memory, count, m, limit, low)


@numba.njit
def codes_of(x, first, count, codes):
    unit_codes(x, first, count, codes)


@numba.njit
def count_gram(a, row, words, panels, counts):
    gram_tile(a, row, words, panels, 0, words, counts)


@numba.njit
def count_full(a, row, words, panels, counts):
    full_tile(a, row, words, panels, 0, words, counts)


@numba.njit
def count_row(a, row, words, panels, counts):
    row_tile(a, row, words, panels, 0, words, counts[0])


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


@pytest.mark.parametrize("count", [1, 3, 16])
def test_codes_are_the_signs_of_eight_patterns(count: int) -> None:
    x = RNG.integers(0, 2**64, (3 * GROUP, count), np.uint64)
    codes = np.full(64 * count, 255, np.uint8)
    codes_of(x, GROUP, count, codes)
    expected = (bits(x[GROUP : 2 * GROUP]).astype(int) << np.arange(GROUP)[:, None]).sum(axis=0)
    assert np.array_equal(codes, expected)


@pytest.mark.parametrize("lane", [np.int16, np.int32])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("kernel", [add_only, add_looking])
def test_eight_patterns_are_added(kernel: Any, count: int, lane: type) -> None:
    info = np.iinfo(lane)
    for size in (3, 1000, info.max // 16):  # of overlaps; the last ones wrap
        fields = RNG.integers(info.min // 2, info.max // 2, (3, 64 * count)).astype(lane)
        codes = RNG.integers(0, 256, (2, 64 * count)).astype(np.uint8)
        x = RNG.integers(0, 2**64, (4, count), np.uint64)
        m = RNG.integers(-size, size + 1, 8).astype(lane)
        signs = (codes[1] >> np.arange(8)[:, None]) & 1
        steps = np.where(signs == bits(x[2]), m[:, None], -m[:, None]).astype(lane)
        sums = fields[1] + np.cumsum(steps, axis=0, dtype=lane)
        limit = lane(np.median(sums.min(axis=0)))
        low = np.full(count, 2**64 - 1, np.uint64)
        kept = fields.copy()
        found = kernel(fields, 1, codes, 1, x, 2, count, m, limit, low)
        assert np.array_equal(fields[1], sums[-1]) and np.array_equal(fields[::2], kept[::2])
        if kernel is add_looking:
            assert np.array_equal(bits(low), sums.min(axis=0) <= limit) and found
            none = kernel(kept, 1, codes, 1, x, 2, count, m, lane(info.min), low)
            assert not none and not low.any()


@pytest.mark.parametrize("words", [1, 31, 75])
@pytest.mark.parametrize(
    ("kernel", "rows", "columns"),
    [(count_gram, ROWS, GROUP), (count_full, ROWS, COLUMNS), (count_row, 1, COLUMNS)],
)
def test_differing_bits_are_counted(kernel: Any, rows: int, columns: int, words: int) -> None:
    a, b = (RNG.integers(0, 2**64, (count, words), np.uint64) for count in (rows + 2, columns))
    b[0] = ~a[1]  # the most there can be
    panels = np.ascontiguousarray(b.reshape(-1, LANES, words).transpose(0, 2, 1))
    counts = np.empty((rows, columns), np.int32)
    kernel(a, 1, words, panels, counts)
    assert np.array_equal(counts, bits(a[1 : 1 + rows, None] ^ b).sum(axis=-1))


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
    assert len(rates := limits.limits()) == 4 and all(0 < rate < 1e15 for rate in rates.values())
    width = panel_width(np.empty(0, np.float32))
    a, b = (RNG.integers(-3, 4, (2, 5, size)).astype(np.float32) for size in (TILE_ROWS, width))
    limits.multiply_adds(a, b, c := np.zeros((2, TILE_ROWS, width), np.float32), 3)
    assert np.array_equal(c, 3 * a.transpose(0, 2, 1) @ b)
    rows, columns = (RNG.integers(0, 2**64, (2, count, 3), np.uint64) for count in (ROWS, COLUMNS))
    panels = np.ascontiguousarray(columns.reshape(2, -1, LANES, 3).transpose(0, 1, 3, 2))
    limits.popcounts(rows, panels, counts := np.zeros((2, ROWS, COLUMNS), np.int32), 3)
    assert np.array_equal(counts, bits(rows[:, :, None] ^ columns[:, None]).sum(axis=-1))
    x = RNG.integers(0, 2**64, (2, 1, 2), np.uint64)
    codes = np.where(bits(x) == 1, 255, 0).astype(np.uint8)  # every pattern is that of x
    m = np.tile(np.arange(1, 9, dtype=np.int16), (2, 1))
    fields = np.zeros((2, 1, 128), np.int16)
    limits.pattern_additions(fields, codes, x, m, np.zeros((2, 2), np.uint64), 3)
    assert (fields == 3 * 36).all()
    words, values = x[:, 0], RNG.integers(-9, 9, (2, 128)).astype(np.int32)
    limits.masked_additions(words, values, sums := np.zeros(2, np.int64), 3)
    assert np.array_equal(sums, 3 * (bits(words) * values).sum(axis=-1))

"""Intrinsics that take other ways on other CPUs, one by one; test_portable runs them as those of others."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from fastrec.kernels.cpu.capacity import GROUP, add, add_and_look
from fastrec.kernels.cpu.simd import unit_codes

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

"""Local fields, energies and stability of states on the CPU.

The field of a unit is the sum of the overlaps over the patterns, signed by the unit's own bits: p additions.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first, zeros
from .jit import jit
from .packing import bit, unpack
from .parallel import tasks
from .simd import masked_sum, masked_sums, popcount

FIELDS = 4  # units, and states, whose fields are computed together: 16 sums fit the registers of AVX-512
square_of_sums, single_sum = masked_sums(FIELDS, FIELDS), masked_sums(1, 1)
SUMS = 1 << 20  # sums that are computed in floating point at a time


@jit
def row_overlaps(packed, p, state, n, m):
    """Fill m (64 u,) int32 with the overlaps of one packed state with p patterns, the rest with 0."""
    for mu in range(p):
        differing = 0
        for word in range(len(state)):
            differing += popcount(packed[mu, word] ^ state[word])
        m[mu] = n - 2 * differing
    fill(m, p, 0)


@jit
def unit_field(units, i, u, n, m, total):
    """sum_mu m_mu x_mu_i of unit i of units (n, >= u), with overlaps m (64 u,) and total their sum."""
    stride = units.shape[1]
    span = max(1, (1 << 29) // n)
    if u <= span:
        return 2 * masked_sum(units, i * stride, u, m, 0) - total
    plus = 0
    for first in range(0, u, span):
        plus += masked_sum(units, i * stride + first, min(span, u - first), m, 64 * first)
    return 2 * plus - total


@jit
def sum_squares(m, p):
    """Sum of squares of the first p overlaps, int64."""
    total = 0
    for mu in range(p):
        total += np.int64(m[mu]) * m[mu]
    return total


@jit
def padded_overlaps(m, u):
    """A copy of overlaps m (p,) int32, filled up with 0 to whole words: (64 u,)."""
    padded = zeros((64 * u,), np.int32)
    copy(m, padded)
    return padded


@jit
def weight_fields(weights, states, fields):
    """Fill fields (rows, n) with weights (n, n) times the packed states (rows, w), in the fields' own type.

    W s is twice the sum of W where s is +1, less the sum of all.  Four lines of the weights are read for four
    rows at a time.
    """
    rows, n = fields.shape
    number, whole = fields.dtype.type, n // 64
    some = empty((FIELDS * FIELDS,), fields)
    for i in range(0, n, FIELDS):
        lines = min(FIELDS, n - i)
        for r in range(0, rows, FIELDS):
            columns = min(FIELDS, rows - r)
            if lines == FIELDS and columns == FIELDS:
                square_of_sums(weights, i, states, r, whole, some)
            else:
                for line in range(lines):
                    for c in range(columns):
                        single_sum(weights, i + line, states, r + c, whole, some[FIELDS * line + c :])
            for line in range(lines):
                for c in range(columns):
                    fields[r + c, i + line] = number(2 * some[FIELDS * line + c])
        for line in range(lines):
            w, total = weights[i + line], number(0)
            for j in range(64 * whole):
                total = number(total + number(w[j]))
            for r in range(rows):
                field = number(fields[r, i + line] - total)
                for j in range(64 * whole, n):
                    field = number(field + number((2 * bit(states[r], j) - 1) * w[j]))
                fields[r, i + line] = field


@jit
def turn(w, s, fields):
    """Add to fields (n,) what a unit with couplings w (n,) changes that has turned to s."""
    number = fields.dtype.type
    if s > 0:  # without a product, which takes three times as long as a sum
        for j in range(len(fields)):
            fields[j] = number(fields[j] + (number(w[j]) << 1))
    else:
        for j in range(len(fields)):
            fields[j] = number(fields[j] - (number(w[j]) << 1))


@jit
def turn_four(w0, s0, w1, s1, w2, s2, w3, s3, fields):
    """`turn` of four units at once: fields are read and written once."""
    number = fields.dtype.type
    f0, f1, f2, f3 = number(2 * s0), number(2 * s1), number(2 * s2), number(2 * s3)
    for j in range(len(fields)):
        change = number(f0 * number(w0[j]) + f1 * number(w1[j]))
        change = number(change + number(f2 * number(w2[j]) + f3 * number(w3[j])))
        fields[j] = number(fields[j] + change)


def field_tasks(units, states, m, self_coupling, out):
    """Rows, and for each unit 3 ns and 20 additions a nanosecond."""
    k, b, p = m.shape
    return k * b, k * b * units.shape[1] * (p / 20 + 3)


@tasks(field_tasks)
def local_fields(row, units, states, m, self_coupling, fields):
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    _, b, p = m.shape
    n, u = units.shape[1:]
    network, r = row // b, row % b
    m_row, diagonal = padded_overlaps(m[network, r], u), 0 if self_coupling else p
    total = sum_first(m_row, p)
    for i in range(n):
        s = 2 * bit(states[network, r], i) - 1
        fields[network, r, i] = unit_field(units[network], i, u, n, m_row, total) - diagonal * s


def signed_sums(units, values, bound, sums):
    """Fill sums (k, b, n) int32 or int64 with sum_mu v_mu x_mu_i from units (k, n, u): see the reference.

    Products of floating-point matrices of whole numbers, which are exact while all sums are below 2^24 or
    2^53.
    """
    (k, b, p), n = values.shape, units.shape[1]
    dtype = np.float32 if bound * p < 1 << 24 else np.float64
    signs, x = np.empty((n, p), np.int8), np.empty((n, p), dtype)
    rows = min(b, max(1, SUMS // max(n, p)))
    product = np.empty((rows, n), dtype)
    for network in range(k):
        unpack(units[network], signs)
        x[:] = signs
        for first in range(0, b, rows):
            some = values[network, first : first + rows]
            np.matmul(some.astype(dtype), x.T, out=product[: len(some)])
            sums[network, first : first + rows] = product[: len(some)]


@tasks(lambda weights, states, fields: (fields.shape[0] * fields.shape[1], weights.shape[1] * fields.size))
def local_fields_weights(row, weights, states, fields):
    """Fill fields (k, b, n) int32 or int64 with W s from weights (k, n, n)."""
    network, r = row // fields.shape[1], row % fields.shape[1]
    weight_fields(weights[network], states[network, r : r + 1], fields[network, r : r + 1])


@tasks(lambda m, n, self_coupling, form: (form.size, m.size))
def quadratic_form(row, m, n, self_coupling, form):
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    _, b, p = m.shape
    form[row // b, row % b] = sum_squares(m[row // b, row % b], p) - (0 if self_coupling else p * n)


@tasks(field_tasks)
def is_stable(row, units, states, m, self_coupling, stable):
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    _, b, p = m.shape
    n, u = units.shape[1:]
    network, r = row // b, row % b
    m_row, diagonal = padded_overlaps(m[network, r], u), 0 if self_coupling else p
    total, i = sum_first(m_row, p), 0
    while i < n:
        s = 2 * bit(states[network, r], i) - 1
        if unit_field(units[network], i, u, n, m_row, total) * s < diagonal:
            break
        i += 1
    stable[network, r] = i == n

"""Local fields, energies and stability of states on the CPU.

The field of a unit is the sum of the overlaps over the patterns, signed by the unit's own bits: p additions.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first, zeros
from .jit import jit
from .packing import bit, unpack_row
from .parallel import tasks
from .simd import masked_sum, popcount


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
def unit_field(units, i, u, bound, m, total):
    """sum_mu m_mu x_mu_i of unit i of units (n, >= u), for m (64 u,) in -bound..bound of sum `total`."""
    stride = units.shape[1]
    span = max(1, (1 << 29) // bound)
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
def weight_fields(weights, s, fields):
    """Fill fields (rows, n) with weights (n, n) times the states s (rows, n) int8, in the fields' own type.

    Each line of the weights is read for all rows, by four of them at a time.
    """
    rows, n = s.shape
    number = fields.dtype.type
    for i in range(n):
        w, r = weights[i], 0
        while r + 4 <= rows:
            s0, s1, s2, s3 = s[r], s[r + 1], s[r + 2], s[r + 3]
            f0 = f1 = f2 = f3 = number(0)
            for j in range(n):
                value = number(w[j])
                f0 = number(f0 + value * number(s0[j]))
                f1 = number(f1 + value * number(s1[j]))
                f2 = number(f2 + value * number(s2[j]))
                f3 = number(f3 + value * number(s3[j]))
            fields[r, i], fields[r + 1, i], fields[r + 2, i], fields[r + 3, i] = f0, f1, f2, f3
            r += 4
        while r < rows:
            s0, f0 = s[r], number(0)
            for j in range(n):
                f0 = number(f0 + number(w[j]) * number(s0[j]))
            fields[r, i] = f0
            r += 1


@jit
def turn(w, s, fields):
    """Add to fields (n,) what a unit with couplings w (n,) changes that has turned to s."""
    number = fields.dtype.type
    twice = number(2 * s)
    for j in range(len(fields)):
        fields[j] = number(fields[j] + twice * number(w[j]))


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


@tasks(lambda units, values, bound, sums: field_tasks(units, None, values, True, sums))
def signed_sums(row, units, values, bound, sums):
    """Fill sums (k, b, n) int32 or int64 with sum_mu v_mu x_mu_i from units (k, n, u): see the reference."""
    _, b, p = values.shape
    n, u = units.shape[1:]
    network, r = row // b, row % b
    v = padded_overlaps(values[network, r], u)
    total = sum_first(v, p)
    for i in range(n):
        sums[network, r, i] = unit_field(units[network], i, u, bound, v, total)


@tasks(lambda weights, states, fields: (fields.shape[0] * fields.shape[1], weights.shape[1] * fields.size))
def local_fields_weights(row, weights, states, fields):
    """Fill fields (k, b, n) int32 or int64 with W s from weights (k, n, n)."""
    network, r, n = row // fields.shape[1], row % fields.shape[1], weights.shape[1]
    s = empty((1, n), np.int8)
    unpack_row(states[network, r], s, 0)
    weight_fields(weights[network], s, fields[network, r : r + 1])


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

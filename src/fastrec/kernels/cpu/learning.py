"""Learning rules on the CPU whose couplings are not simply sums over the patterns."""

from __future__ import annotations

import math

import numpy as np

from .arrays import copy, empty, fill, zeros
from .jit import jit
from .packing import bit, unpack_row
from .parallel import tasks


@jit
def signed_total(values, signs):
    """Sum of values (n,) int64, each times its sign, int8."""
    total = 0
    for i in range(len(values)):
        total += values[i] * signs[i]
    return total


@jit
def add_strengths(x, overlap, b, g, field):
    """field (n,) int64 += overlap x + g b, with signs x and strengths b."""
    for i in range(len(field)):
        field[i] += overlap * x[i] + g * b[i]


def storkey_tasks(packed, units, gram, amplitudes, strengths):
    """Networks, and for two patterns three additions of a unit, 4 a nanosecond."""
    k, p, n = strengths.shape
    return k, k * p * p * n * 3 / 8


@tasks(storkey_tasks)
def storkey(network, packed, units, gram, amplitudes, strengths):
    """Storkey's rule: strengths (k, p, n) int64, see the reference.

    The sums over earlier patterns make n p^2 / 2 steps, where couplings that are kept would take n^2 p.
    """
    p, n = strengths.shape[1:]
    x, diagonal, field = empty((p, n), np.int8), zeros((n,), np.int64), empty((n,), np.int64)
    for mu in range(p):
        unpack_row(packed[network, mu], x, mu)
        own, b = x[mu], strengths[network, mu]
        fill(field, 0, 0)
        for nu in range(mu):
            earlier = strengths[network, nu]
            overlap = signed_total(earlier, own)
            add_strengths(x[nu], overlap, earlier, np.int64(gram[network, nu, mu]), field)
        for i in range(n):
            rest = field[i] - 2 * diagonal[i] * own[i]
            b[i] = amplitudes[mu] * own[i] - (2 * rest + n + 2) // (2 * (n + 2))
            diagonal[i] += own[i] * b[i]


@jit
def add_overlaps(sign, overlaps, fields):
    """fields (p,) += sign times overlaps (p,)."""
    number = fields.dtype.type
    factor = number(sign)
    for mu in range(len(fields)):
        fields[mu] = number(fields[mu] + factor * number(overlaps[mu]))


@jit
def learn(x, gram, threshold, margin, own, size, max_passes, most, fields, learnt, state):
    """Go on with the perceptron rule for one unit of signs x (p,) int8, up to `most` additions; the passes.

    0 where it has not stopped.  fields (p,): sum of strength x_nu_i G_nu_mu, less the threshold; the terms
    j = i in it, `own` of each addition, are taken out here.  state (5,) int64: passes, the next pattern,
    additions of this pass and of all, |J|^2; size is |y|^2 of a pattern.
    """
    p = len(x)
    passes, mu, added, total, squares = state[0], state[1], state[2], state[3], state[4]
    bound, stopped = margin * math.sqrt(np.float64(squares)), 0
    while total < most and passes < max_passes and stopped == 0:
        stability = np.int64(fields[mu]) * x[mu] - own * total
        if np.float64(stability) <= bound:
            squares += 2 * (stability + x[mu] * threshold) + size
            bound = margin * math.sqrt(np.float64(squares))
            add_overlaps(x[mu], gram[mu], fields)
            learnt[mu] += 1
            added += 1
            total += 1
        mu += 1
        if mu == p:
            passes += 1
            stopped = 0 if added else passes
            mu = added = 0
    state[0], state[1], state[2], state[3], state[4] = passes, mu, added, total, squares
    return stopped


@jit
def least_stability(x, fields, own, state):
    """The least stability of a unit over |J|."""
    least = np.int64(fields[0]) * x[0]
    for mu in range(1, len(x)):
        least = min(least, np.int64(fields[mu]) * x[mu])
    squares = np.float64(state[4])
    return np.float64(least - own * state[3]) / math.sqrt(squares) if squares else -np.inf


@tasks(lambda units, gram, *rest: (units.shape[0] * units.shape[1], 1e3 * units.shape[1] * gram.size))
def perceptron(
    unit, units, gram, thresholds, margin, self_coupling, max_passes, strengths, passes, stability
):
    """The perceptron rule: strengths (k, n, p) int32, see the reference.

    The stabilities of all patterns are kept: a test costs O(1), only an addition costs p.
    """
    n, p = strengths.shape[1:]
    network, i = unit // n, unit % n
    x, state = empty((p,), np.int8), zeros((5,), np.int64)
    narrow, learnt = empty((p,), np.int32), strengths[network, i]
    threshold, own = thresholds[network, i], 0 if self_coupling else 1
    for mu in range(p):
        x[mu] = 2 * bit(units[network, i], mu) - 1
    fill(learnt, 0, 0)
    # Each addition changes a field by n at most.
    most = max(0, (1 << 30) - abs(threshold)) // n
    fill(narrow, 0, np.int32(-threshold if most else 0))
    given = (x, gram[network], threshold, margin, own, n - own, max_passes)
    stopped = learn(*given, most, narrow, learnt, state)
    least = least_stability(x, narrow, own, state)
    if state[3] == most:
        wide = empty((p,), np.int64)
        fill(wide, 0, -threshold)
        if most:
            copy(narrow, wide)
        stopped = learn(*given, 1 << 62, wide, learnt, state)
        least = least_stability(x, wide, own, state)
    passes[network, i], stability[network, i] = stopped, least

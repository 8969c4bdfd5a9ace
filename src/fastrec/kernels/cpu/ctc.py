"""Connectionist temporal classification on the CPU.

The chances of alignments run out of any format, and so do those of the states at one step beside each other.
Each is therefore a number from 1 to 2 and a power of 2 of its own, whose exponent is another float64: as
precise as float64, and without logarithms.  Labels and the blanks before them lie apart, so that vectors hold
states of one kind; entry 1 + j of both is that of label j.  States that cannot be reached, or from which the
end cannot, are not computed.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import borrow, clear, empty, fill, keep
from .elementwise import elementwise, summed
from .functions import expm1_reduced, power_of, remainder, words_of
from .jit import jit
from .parallel import tasks
from .values import Value, constant, fma, magnitude, where

NEVER = -1e300  # the exponent of 0
LEAST = -1e290  # the logarithm of a chance that outputs can have
MAGIC = 1.5 * 2.0**52


def exp_parts(t: Value) -> tuple[Value, Value]:
    """(e^r, n) with t = n ln 2 + r, |r| <= ln(2)/2 and n whole, for float64."""
    t = where(t, "<", LEAST, LEAST, t)
    quotient = t * (1 / math.log(2))
    whole = fma(t, 1 / math.log(2), MAGIC) - MAGIC
    n = where(magnitude(quotient), "<", 2.0**51, whole, quotient)
    r = remainder(t, n)
    r = where(r, "<", -0.35, -0.35, where(r, ">", 0.35, 0.35, r))  # where the rounding of t is more than that
    return expm1_reduced(r) + 1.0, n


def scaled(m: Value, n: Value) -> Value:
    """m 2^n for a whole n of at most 1, and 0 below the least exponent."""
    return m * power_of(where(n, "<", -1023.0, -1023.0, n) + MAGIC)


def total_of(*parts: tuple[Value, Value]) -> tuple[Value, Value]:
    """The sum of numbers m 2^n, in the same form."""
    (_, top), *others = parts
    for _, n in others:
        top = where(n, ">", top, n, top)
    total, *rest = (scaled(m, n - top) for m, n in parts)
    for each in rest:
        total = total + each
    return total, top


def times(m: Value, n: Value, chance: Value, exponent: Value) -> tuple[Value, Value]:
    """The product of m 2^n and a chance in that form, with m from 1 to 2."""
    product, words = m * chance, words_of(m)
    builder = m.builder
    bits = builder.bitcast(product.value, words)
    raised = builder.or_(builder.lshr(bits, constant(words, 52)), constant(words, 0x433 << 52))
    power = m.made(builder.bitcast(raised, m.kind)) - (2.0**52 + 1023)
    fraction = builder.and_(bits, constant(words, (1 << 52) - 1))
    one_to_two = m.made(builder.bitcast(builder.or_(fraction, constant(words, 0x3FF << 52)), m.kind))
    return one_to_two, n + exponent + power


def share(m: Value, n: Value, other: Value, exponent: Value) -> Value:
    """The product of two numbers m 2^n that is at most 1, in the format itself."""
    power = n + exponent
    return scaled(m * other, where(power, ">", 1.0, 1.0, power))


def into_label(
    label: Value,
    label_n: Value,
    blank: Value,
    blank_n: Value,
    skipped: Value,
    skipped_n: Value,
    skip_n: Value,
    chance: Value,
    chance_n: Value,
) -> tuple[Value, ...]:
    """The chance of a label after a step from those of what it comes from."""
    parts = total_of((label, label_n), (blank, blank_n), (skipped, skipped_n + skip_n))
    return *times(*parts, chance, chance_n), *parts


def into_blank(
    blank: Value, blank_n: Value, label: Value, label_n: Value, chance: Value, chance_n: Value
) -> tuple[Value, ...]:
    """The chance of a blank after a step from those of what it comes from."""
    parts = total_of((blank, blank_n), (label, label_n))
    return *times(*parts, chance, chance_n), *parts


@elementwise
def chance_parts(t: Value) -> tuple[Value, ...]:
    """The chance e^t, t <= 0, as m and n, and in the format itself."""
    m, n = exp_parts(t)
    return m, n, scaled(m, n)


total = summed(lambda a: a)
label_ahead = elementwise(lambda *args: into_label(*args)[:2])
blank_ahead = elementwise(lambda *args: into_blank(*args)[:2])


@elementwise
def label_back(*args: Value) -> list[Value]:
    """The same from the end, and the share of alignments that pass through the label."""
    *new, m, n = into_label(*args[:-2])
    return [*new, share(m, n, *args[-2:])]


@elementwise
def blank_back(*args: Value) -> list[Value]:
    """The same from the end, and the share of alignments that pass through the blank."""
    *new, m, n = into_blank(*args[:-2])
    return [*new, share(m, n, *args[-2:])]


@jit
def largest(y, tops):
    """The maximum of y, 16 numbers at a time in tops (16,)."""
    for j in range(16):
        tops[j] = y[0]
    whole = len(y) // 16 * 16
    for first in range(0, whole, 16):
        for j in range(16):
            tops[j] = y[first + j] if y[first + j] > tops[j] else tops[j]
    top = y[0]
    for j in range(whole, len(y)):
        top = max(top, y[j])
    for j in range(16):
        top = max(top, tops[j])
    return np.float64(top)


@jit
def below(y, top, shifted):
    """shifted = y - top."""
    for j in range(len(y)):
        shifted[j] = np.float64(y[j]) - top


@jit
def to_gradient(posterior, norm, factor, d):
    """d = factor times the difference of d / norm, which are chances, and posterior ones."""
    part = factor / norm
    for j in range(len(d)):
        d[j] = part * d[j] - factor * posterior[j]


@jit
def set_never(row, at):
    """A number m 2^n of a row (2, .) = 0."""
    row[0, at], row[1, at] = 1.0, NEVER


@jit
def first_label(labels, t, steps):
    """The first label that the last one can still be reached from after step t."""
    return max(0, labels - (steps - t))


@jit
def spread(values, chances):
    """Fill the rows of values (2, .) with chances (2,)."""
    for part in range(2):
        for j in range(values.shape[1]):
            values[part, j] = chances[part]


@jit
def go_ahead(y, labels, blank, skips, lattice, chances, norms, d):
    """Fill lattice, chances and norms by the steps y (t, o); return the sum of the logarithms of norms.

    lattice (t + 1 or 2, 4, .): m and n of labels, then of blanks, before each step and after the last; of two
    rows those of step t are t & 1.  chances (t or 1, 2, u + 1): m and n of e^y of each label and of blank.
    norms (t,): the sum of e^y less its maximum, which e^y is less in chances too.  d (t, o), unless its width
    is 0, gets the terms of this sum; it may be y.
    """
    (steps, o), u = y.shape, len(labels)
    memory = empty((4, o), np.float64), empty((2, u + 1), np.float64), empty((16,), y)
    work, of_blanks, tops = borrow(memory)
    shifted, m, n, values = work[0], work[1], work[2], work[3]
    first = lattice[0]
    set_never(first[:2], 0)
    set_never(first[:2], 1)
    first[2, 1], first[3, 1] = 1.0, 0.0
    logs = 0.0
    for t in range(steps):
        below(y[t], largest(y[t], tops), shifted)
        chance_parts((shifted,), (m, n, values))
        norms[t] = total((values,))
        logs += math.log(norms[t])
        for j in range(d.shape[1]):
            d[t, j] = values[j]
        chance = chances[t % len(chances)]
        for j in range(u):
            chance[0, j], chance[1, j] = m[labels[j]], n[labels[j]]
        chance[0, u], chance[1, u] = m[blank], n[blank]
        spread(of_blanks, chance[:, u])
        before, after = lattice[t % len(lattice)], lattice[(t + 1) % len(lattice)]
        begin, end = first_label(u, t, steps), min(u, t + 1)
        label_ahead(
            (
                before[0, 1 + begin : 1 + end],
                before[1, 1 + begin : 1 + end],
                before[2, 1 + begin : 1 + end],
                before[3, 1 + begin : 1 + end],
                before[0, begin:end],
                before[1, begin:end],
                skips[begin:end],
                chance[0, begin:end],
                chance[1, begin:end],
            ),
            (after[0, 1 + begin : 1 + end], after[1, 1 + begin : 1 + end]),
        )
        set_never(after[:2], 0)
        set_never(after[:2], 1 + end)
        begin, end = first_label(u, t + 1, steps), min(u, t) + 1
        blank_ahead(
            (
                before[2, 1 + begin : 1 + end],
                before[3, 1 + begin : 1 + end],
                before[0, begin:end],
                before[1, begin:end],
                of_blanks[0, begin:end],
                of_blanks[1, begin:end],
            ),
            (after[2, 1 + begin : 1 + end], after[3, 1 + begin : 1 + end]),
        )
        set_never(after[2:], 1 + end)
    keep(memory)
    return logs


@jit
def go_back(labels, blank, skips, lattice, chances, norms, m, n, factor, d):
    """Fill d (t, o), as `go_ahead` left it, with factor times the gradient.

    The inverse of the chance of all alignments is m 2^n.
    """
    steps, o, u = len(norms), d.shape[1], len(labels)
    memory = empty((o,), np.float64), empty((4, u + 1), np.float64), empty((2, 4, u + 3), np.float64)
    posterior, beside, back = borrow(memory)
    shares, of_blanks = beside[:2], beside[2:]
    last = back[steps & 1]
    set_never(last[:2], u)
    last[2, 1 + u], last[3, 1 + u] = m, n
    for parity in range(2):
        set_never(back[parity, :2], 1 + u)
    for step in range(steps):
        t = steps - 1 - step
        chance, ahead = chances[t], lattice[t + 1]
        after, before = back[(t + 1) & 1], back[t & 1]
        spread(of_blanks, chance[:, u])
        begin, end = first_label(u, t, steps), min(u, t + 1)
        label_back(
            (
                after[0, 1 + begin : 1 + end],
                after[1, 1 + begin : 1 + end],
                after[2, 2 + begin : 2 + end],
                after[3, 2 + begin : 2 + end],
                after[0, 2 + begin : 2 + end],
                after[1, 2 + begin : 2 + end],
                skips[1 + begin : 1 + end],
                chance[0, begin:end],
                chance[1, begin:end],
                ahead[0, 1 + begin : 1 + end],
                ahead[1, 1 + begin : 1 + end],
            ),
            (before[0, 1 + begin : 1 + end], before[1, 1 + begin : 1 + end], shares[0, begin:end]),
        )
        set_never(before[:2], begin)
        clear(posterior, 0, o)
        for j in range(begin, end):
            posterior[labels[j]] += shares[0, j]
        begin, end = first_label(u, t + 1, steps), min(u, t) + 1
        blank_back(
            (
                after[2, 1 + begin : 1 + end],
                after[3, 1 + begin : 1 + end],
                after[0, 1 + begin : 1 + end],
                after[1, 1 + begin : 1 + end],
                of_blanks[0, begin:end],
                of_blanks[1, begin:end],
                ahead[2, 1 + begin : 1 + end],
                ahead[3, 1 + begin : 1 + end],
            ),
            (before[2, 1 + begin : 1 + end], before[3, 1 + begin : 1 + end], shares[1, begin:end]),
        )
        set_never(before[2:], begin)
        posterior[blank] = total((shares[1, begin:end],))
        to_gradient(posterior, norms[t], factor, d[t])
    keep(memory)


@jit
def read_labels(labels, skips):
    """The number of labels before the first negative one, and the least number of steps that they take.

    skips[j] is the logarithm of the chance to go on to label j without a blank before it, of 1 or 0.
    """
    u = 0
    while u < len(labels) and labels[u] >= 0:
        u += 1
    least = u
    for j in range(u + 1):
        apart = 0 < j < u and labels[j] != labels[j - 1]
        skips[j] = 0.0 if apart else NEVER
        least += 0 < j < u and not apart
    return u, least


@tasks(
    lambda blank, outputs, labels, *rest: (
        outputs.shape[0] * outputs.shape[1],
        outputs[..., 0].size * (5 * outputs.shape[3] + 15 * labels.shape[2]),
    )
)
def ctc(task, blank, outputs, labels, lengths, weights, scale, losses, d_outputs):
    """Losses and gradients of a row from chances of its states, from the first step on and from the last."""
    rows = outputs.shape[1]
    net, row = task // rows, task % rows
    steps, weight, d = lengths[row], weights[row], d_outputs[net, row]
    given, y = labels[min(net, len(labels) - 1), row], outputs[net, row, :steps]
    wanted = d.shape[1] > 0
    skips = empty((len(given) + 1,), np.float64)
    u, least = read_labels(given, skips)
    loss, m, n = np.inf, 1.0, NEVER
    held = steps + 1 if wanted else 2
    if weight != 0 and least <= steps:
        memory = (
            empty((held, 4, u + 3), np.float64),
            empty((max(held - 1, 1), 2, u + 1), np.float64),
            empty((steps,), np.float64),
        )
        lattice, chances, norms = borrow(memory)
        logs = go_ahead(y, given[:u], blank, borrow(skips), lattice, chances, norms, d)
        end = lattice[steps % held]
        # The last state is the last label, or the blank after it.
        label_n, blank_n = end[1, u], end[3, 1 + u]
        n = max(label_n, blank_n)
        m = end[0, u] * 2.0 ** max(label_n - n, -2000.0) + end[2, 1 + u] * 2.0 ** max(blank_n - n, -2000.0)
        if n > LEAST:
            loss = logs - (math.log(m) + n * math.log(2))
            if wanted:
                factor = scale[net] * weight
                go_back(given[:u], blank, borrow(skips), lattice, chances, norms, 1 / m, -n, factor, d)
        keep(memory)
    losses[net, row] = weight * loss if weight != 0 else 0.0
    if wanted:
        for t in range(steps if n > LEAST else 0, len(d)):
            fill(d[t], 0, 0)
    keep((skips,))
